"""The server itself: PostgreSQL in a temporary folder, a key of an administrator, and one line that says where it is.

Its PostgreSQL does without the writes to the disk that make jobs outlive a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..bootstrap import first_key
from ..embedded import EmbeddedPostgres, EmbeddedPostgresError
from ..errors import DatabaseAway
from ..settings import Settings
from ..store import migrate
from .templates import Templates

if TYPE_CHECKING:
    from ..app import App

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
# What a damaged template ends in, at the latest when its schema is looked at.
_UNUSABLE = (EmbeddedPostgresError, migrate.MigrationError, DatabaseAway)


class Ephemeral:
    """A server that lives until it is told to leave.

    Args:
        say: Called when it answers, with one line of JSON: `grpc` and `http` (HOST:PORT), `key` (permits everything,
            in the namespace `default`), `version` and `pid`.
        wait: Waits, in a thread of its own, until it is to leave.
        templates: Where clusters are that were made before; None: each start makes one.
        untell: Called when it begins to leave, before anything of it ends, so that no more callers are sent to it.
    """

    def __init__(
        self,
        say: Callable[[str], object],
        wait: Callable[[], object],
        templates: Templates | None,
        untell: Callable[[], object] | None = None,
    ) -> None:
        self._say = say
        self._wait = wait
        self._templates = templates
        self._untell = untell or (lambda: None)

    async def run(self) -> None:
        """Serves until `wait` returns, SIGTERM or SIGINT.

        Raises:
            EmbeddedPostgresError: PostgreSQL does not start.
        """
        starting = asyncio.create_task(self._cluster())
        # While PostgreSQL starts: to import it takes most of a second.
        await asyncio.sleep(0)
        from ..app import App
        from ..core.session import server_heartbeat

        logging.getLogger(server_heartbeat.__name__).addFilter(_not_of_durability)
        postgres = await starting
        try:
            key = await first_key(postgres.dsn, "ephemeral", force=False)
            settings = Settings.load({**_SETTINGS, "database_url": postgres.dsn})
            app = App(settings, on_ready=lambda app: self._tell(app, key.text))
            leave = partial(asyncio.get_running_loop().call_soon_threadsafe, app.asked_to_leave.set)
            threading.Thread(target=self._leave_after_wait, args=[leave], name="wait", daemon=True).start()
            leaving = asyncio.create_task(self._untell_when_asked_to_leave(app))
            try:
                await app.run()
            finally:
                leaving.cancel()
        finally:
            self._untell()
            await asyncio.to_thread(postgres.stop)

    async def _cluster(self) -> EmbeddedPostgres:
        """PostgreSQL with the whole schema: a copy of the template, which is made where it is missing."""
        templates = self._templates
        if templates is None:
            return await _started(None)
        if (copy := await self._copy(templates)) is not None:
            return copy
        async with _in_thread(templates.making()) as missing:
            if missing:
                return await _started(None, then=templates.keep)
        # Another process has made it in the meantime, or holds the lock for long.
        return await self._copy(templates) or await _started(None)

    async def _copy(self, templates: Templates) -> EmbeddedPostgres | None:
        copied = False

        def copy(target: Path) -> bool:
            nonlocal copied
            copied = templates.copy(target)
            if not copied:
                raise _NoTemplate
            return copied

        try:
            return await _started(copy)
        except _NoTemplate:
            return None
        except _UNUSABLE:
            if not copied:
                raise
            await asyncio.to_thread(templates.discard)
            return None

    def _tell(self, app: App, key: str) -> None:
        where = {"grpc": f"127.0.0.1:{app.grpc_port}", "http": f"127.0.0.1:{app.http_port}"}
        self._say(json.dumps({**where, "key": key, "version": __version__, "pid": os.getpid()}))

    def _leave_after_wait(self, leave: Callable[[], object]) -> None:
        try:
            self._wait()
        finally:
            # Also where it can't wait: it would serve for ever.
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended already
                leave()

    async def _untell_when_asked_to_leave(self, app: App) -> None:
        await app.asked_to_leave.wait()
        self._untell()


class _NoTemplate(Exception):
    """There is none to copy."""


async def _started(
    copy: Callable[[Path], bool] | None, then: Callable[[Path], None] | None = None
) -> EmbeddedPostgres:
    """PostgreSQL with the whole schema. `then` gets the folder of its files once, while it is stopped."""
    postgres = EmbeddedPostgres(settings=_POSTGRES, copy=copy)
    try:
        await asyncio.to_thread(postgres.start)
        await migrate.up(postgres.dsn)
        if then is not None:
            await asyncio.to_thread(postgres.pause)
            await asyncio.to_thread(then, postgres.data_dir / "data")
            await asyncio.to_thread(postgres.start)
    except BaseException:
        await asyncio.to_thread(postgres.stop)
        raise
    return postgres


@contextlib.asynccontextmanager
async def _in_thread(block: contextlib.AbstractContextManager[bool]) -> AsyncIterator[bool]:
    """A block whose begin may take long."""
    entered = await asyncio.to_thread(block.__enter__)
    try:
        yield entered
    finally:
        block.__exit__(None, None, None)


def end_of_input() -> None:
    """Returns at the end of stdin, or where there is none.

    To be called in a thread: of a file or /dev/null a loop can't tell the end.
    """
    # None where it was closed before the start. Its number may be another file's by now.
    while sys.stdin is not None and os.read(sys.stdin.fileno(), 4096):
        pass


def _not_of_durability(record: logging.LogRecord) -> bool:
    # That is wanted here, and no error.
    return "may lose acknowledged jobs" not in str(record.msg)
