"""Processes of tests end with the run, whatever becomes of it: a run that is killed by a time limit can't clean up.

Each process that tests run in has a guard, which reads on a pipe what it has started. The end of the pipe is its end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import cache
from multiprocessing import parent_process
from typing import IO

_GUARD = """
import os, signal, sys
started = set()
for line in sys.stdin:
    what, pid = line.split()
    (started.add if what == "started" else started.discard)(int(pid))
for pid in started:
    try:
        # With all of its group, where it leads one.
        (os.killpg if os.getpgid(pid) == pid else os.kill)(pid, signal.SIGKILL)
    except OSError:
        pass
"""


@cache
def _guard(of: int) -> IO[bytes]:
    """The pipe to the guard of a process; a fork of it has one of its own."""
    guard = subprocess.Popen(
        [sys.executable, "-S", "-c", _GUARD],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert guard.stdin is not None
    return guard.stdin


def started(pid: int) -> None:
    """From now on this process of a test ends with the one that the test runs in."""
    _guard(os.getpid()).write(f"started {pid}\n".encode())


def ended(pid: int) -> None:
    """It was waited for, and its number may be another's."""
    _guard(os.getpid()).write(f"ended {pid}\n".encode())


def end_with_parent() -> None:
    """Lets this process, one of a pool, end when its parent has: it waits for work on a pipe that it holds itself."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
