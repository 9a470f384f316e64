"""Commands of `jobqueue` that need not begin from nothing: each is a fork of one process that has imported all of it.

A command takes 0.15 s of CPU so, and 0.65 s where it begins with Python: this folder runs some hundred of them. It has
arguments, environment, streams and an exit code of its own, and ends as any process does.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PROGRAM = "from tests.client_cli import forked; forked.become()"
# What is larger does not go into one message.
_MOST = 100_000


class Forks:
    """The process that commands are forks of. It ends with this one, whichever way that ends."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Starts it. What is read while it imports is read from this environment."""
        self._busy = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno())],
                cwd=_ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], stdin: str | None, within: float
    ) -> subprocess.CompletedProcess[str] | None:
        """Runs one command to its end; None: one is running, or this one is too large."""
        asked = json.dumps([os.getcwd(), dict(environment), *arguments]).encode()
        if len(asked) > _MOST or not self._busy.acquire(blocking=False):
            return None
        try:
            return self._run(asked, arguments, stdin, within)
        finally:
            self._busy.release()

    def close(self) -> None:
        """Ends the process."""
        self._control.close()
        self._process.wait(20)

    def _run(
        self, asked: bytes, arguments: Sequence[str], stdin: str | None, within: float
    ) -> subprocess.CompletedProcess[str]:
        with (
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            given.write((stdin or "").encode())
            given.seek(0)
            socket.send_fds(self._control, [asked], [given.fileno(), out.fileno(), err.fileno()])
            self._control.settimeout(within)
            try:
                code = int(self._control.recv(16))
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                raise
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(
                ["jobqueue", *arguments], code, out.read().decode(), err.read().decode()
            )


def _serve(control: socket.socket) -> bool:
    """Forks for each that is asked for. True: this is such a fork."""
    while True:
        asked, streams, *_ = socket.recv_fds(control, _MOST, 3)
        if not asked:
            return False
        child = os.fork()
        if child == 0:
            folder, environment, *arguments = json.loads(asked)
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)
            sys.argv = ["jobqueue", *arguments]
            return True
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        control.send(str(os.waitstatus_to_exitcode(status)).encode())


def become() -> None:
    """Of a fork: the command. What it raises, and its exit code, are the interpreter's affair."""
    import jobqueue.cli.app  # noqa: F401
    from jobqueue.cli import main

    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        forked = _serve(control)
    if forked:
        main()
