"""Commands that need not begin from nothing: each is a fork of one process that has imported all of its program.

A command takes 0.1 s of CPU so, and 0.65 s where it begins with Python: tests run a thousand of them. It has arguments,
environment, streams and an exit code of its own, and ends as any process does.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
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

_ROOT = Path(__file__).parents[1]
_PROGRAM = "from tests import forked; forked.become()"
#: Where each program has its `main`, and where its `app`.
_MODULES = {
    "jobqueue": ("jobqueue.cli", "jobqueue.cli.app"),
    "jobqueue-server": ("jobqueue_server.cli", "jobqueue_server.cli"),
    "jobqueue-worker": ("jobqueue_worker.cli", "jobqueue_worker.cli"),
}
# What is larger does not go into one message.
_MOST = 100_000


class Forks:
    """The process that commands are forks of. It ends with this one, whichever way that ends."""

    def __init__(self, program: str, environment: Mapping[str, str]) -> None:
        """Starts it. What is read while it imports is read from this environment."""
        self._program = program
        self._busy = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, program, str(theirs.fileno())],
                cwd=_ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def run(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        within: float,
        stdin: str | None = None,
        folder: Path | None = None,
    ) -> subprocess.CompletedProcess[str] | None:
        """Runs one command to its end; None: one is running, or this one is too large."""
        asked = json.dumps([str(folder or Path.cwd()), dict(environment), *arguments]).encode()
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
                [self._program, *arguments], code, out.read().decode(), err.read().decode()
            )


def _serve(program: str, control: socket.socket) -> bool:
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
            sys.argv = [program, *arguments]
            return True
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        control.send(str(os.waitstatus_to_exitcode(status)).encode())


def become() -> None:
    """Of a fork: the command. What it raises, and its exit code, are the interpreter's affair."""
    import typer.main

    program, control_of = sys.argv[1:]
    # As where it begins with a script: the folder that it is called in is not looked through for modules.
    sys.path.remove("")
    start, place = (importlib.import_module(name) for name in _MODULES[program])
    # It is made of the functions and their options, of which the server has 150, and is the same each time.
    made = typer.main.get_command(place.app)
    typer.main.get_command = lambda typer_instance: made
    gc.freeze()
    with socket.socket(fileno=int(control_of)) as control:
        forked = _serve(program, control)
    if forked:
        start.main()
