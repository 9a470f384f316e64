"""One of several server processes. Its parent gives it its settings, and it ends when its parent ends.

    python -m jobqueue_server.processes.child FD

The settings come pickled on stdin, so that no list of processes shows a password in them. FD is a pipe: when the
process is ready, it writes one line to it, the port of its metrics.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys

import typer

from .. import logs
from ..app import App
from ..program import run
from ..settings import Settings


def main() -> None:
    """Serves until its parent sends SIGTERM or ends."""
    ready = int(sys.argv[1])
    settings: Settings = pickle.load(sys.stdin.buffer)
    logs.configure(settings.log_level, settings.log_format)

    async def work() -> None:
        app = App(settings, reuse_port=True, on_ready=lambda app: _say(ready, app.metrics_port))
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _parent_is_gone)
        await app.run()

    try:
        run(work)
    except typer.Exit as end:
        sys.exit(end.exit_code)


def _say(ready: int, metrics_port: int) -> None:
    os.write(ready, f"{metrics_port}\n".encode())
    os.close(ready)


def _parent_is_gone() -> None:
    """Ends this process, because the parent has closed its end of the pipe: it could neither restart nor stop it."""
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
