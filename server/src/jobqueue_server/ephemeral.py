"""`jobqueue-server ephemeral`: a server for tests, which ends with its caller and whose data end with it.

It brings its PostgreSQL along, without the writes to the disk that make jobs outlive a crash. When it answers, it says
where, in one line of JSON on stdout. It ends when its stdin does: a test runner that is killed leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import TextIO

from . import __version__
from .app import App
from .bootstrap import first_key
from .core.session import server_heartbeat
from .embedded import EmbeddedPostgres
from .settings import Settings
from .store import migrate

# Nothing has to outlive a crash, and tests wait for each commit.
_POSTGRES = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "64MB",
}
_SETTINGS = {
    "grpc_addr": "127.0.0.1:0",
    "http_addr": "127.0.0.1:0",
    "metrics_addr": "off",
    "auth": "keys",
    # Its workers are gone with its caller, and nothing of theirs is waited for.
    "shutdown_grace": "0s",
}


class Ephemeral:
    """A server that lives as long as its input.

    Args:
        said: Where it says that it answers: one line of JSON with `grpc` and `http` (HOST:PORT), `key` (permits
            everything, in the namespace `default`), `version` and `pid`.
    """

    def __init__(self, said: TextIO) -> None:
        self._said = said

    async def run(self) -> None:
        """Serves until stdin ends, SIGTERM or SIGINT.

        Raises:
            EmbeddedPostgresError: PostgreSQL does not start.
        """
        logging.getLogger(server_heartbeat.__name__).addFilter(_not_of_durability)
        async with EmbeddedPostgres(settings=_POSTGRES) as postgres:
            await migrate.up(postgres.dsn)
            key = await first_key(postgres.dsn, "ephemeral", force=False)
            settings = Settings.load({**_SETTINGS, "database_url": postgres.dsn})
            app = App(settings, on_ready=lambda app: self._tell(app, key.text))
            leave = partial(asyncio.get_running_loop().call_soon_threadsafe, app.asked_to_leave.set)
            threading.Thread(target=_at_end_of_input, args=[leave], name="end of input", daemon=True).start()
            await app.run()

    def _tell(self, app: App, key: str) -> None:
        where = {"grpc": f"127.0.0.1:{app.grpc_port}", "http": f"127.0.0.1:{app.http_port}"}
        print(
            json.dumps({**where, "key": key, "version": __version__, "pid": os.getpid()}),
            file=self._said,
            flush=True,
        )


def _not_of_durability(record: logging.LogRecord) -> bool:
    # That is wanted here, and no error.
    return "may lose acknowledged jobs" not in str(record.msg)


def _at_end_of_input(leave: Callable[[], object]) -> None:
    # A thread, and not the loop: of a file or /dev/null the loop can't tell the end.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended already
        leave()
