"""LISTEN and NOTIFY: a connection of its own, on which servers tell each other what happened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import asyncpg

from .connect import Connector
from .database import scrubbed
from .statements import statement

# A name in the database, not in the server: databases of one PostgreSQL do not hear each other.
CHANNEL = "jobqueue"
# PostgreSQL takes less than 8,000.
MAX_NOTICE_BYTES = 7900
TIMEOUT = 2.0


class Notices:
    """One connection that listens and notifies. It is open or it is not: whoever has it opens it again.

    Raises (every method but `close`): DatabaseAway.
    """

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._connection: asyncpg.Connection | None = None

    async def open(self, on_notice: Callable[[str], None]) -> None:
        """Connects, and calls `on_notice` with every notice from now on, one's own included."""
        with scrubbed():
            # A notice takes a number of a transaction, and so a commit; it has nothing to keep on disk.
            self._connection = await self._connector.connect(
                {"synchronous_commit": "off"}, timeout=TIMEOUT, command_timeout=TIMEOUT
            )
            await self._connection.add_listener(CHANNEL, lambda *arguments: on_notice(str(arguments[3])))

    async def send(self, notice: str) -> None:
        """Tells every server that listens."""
        assert self._connection is not None
        with scrubbed():
            async with asyncio.timeout(TIMEOUT):
                await self._connection.execute(statement("notify"), CHANNEL, notice)

    async def close(self) -> None:
        """Hangs up, without a word: the connection may be one that does not answer."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.terminate()
