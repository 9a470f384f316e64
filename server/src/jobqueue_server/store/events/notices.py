"""LISTEN and NOTIFY: a connection of its own, on which servers tell each other what happened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import asyncpg

from ..connect import Connector
from ..database import scrubbed
from ..statements import statement

# Followed by the number of the schema. It is a name in the database: those of one PostgreSQL do not hear each other.
CHANNEL = "jobqueue_"
# Of the version before, whose servers tell and hear every schema of a database here. The next version leaves it out.
CHANNEL_BEFORE = "jobqueue"
# A notice that begins like this came on the channel of its schema as well.
_TOLD_TWICE = '{"schema":'
# PostgreSQL takes less than 8,000, with the schema.
MAX_NOTICE_BYTES = 7900
TIMEOUT = 2.0


class Notices:
    """One connection that listens and notifies. It is open or it is not: its owner opens it again.

    Raises (every method but `close`): DatabaseAway.
    """

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._connection: asyncpg.Connection | None = None
        self._schema = 0

    async def open(self, on_notice: Callable[[str], None]) -> None:
        """Connects, and calls `on_notice` with every notice from now on, one's own included."""
        with scrubbed():
            # A notice takes a number of a transaction, and so a commit; it has nothing to keep on disk.
            self._connection = await self._connector.connect(
                {"synchronous_commit": "off"}, timeout=TIMEOUT, command_timeout=TIMEOUT
            )
            self._schema = await self._connection.fetchval(statement("channel"))

            def heard(_connection: object, _pid: int, channel: str, notice: object) -> None:
                if channel != CHANNEL_BEFORE or not str(notice).startswith(_TOLD_TWICE):
                    on_notice(str(notice))

            for channel in (f"{CHANNEL}{self._schema}", CHANNEL_BEFORE):
                await self._connection.add_listener(channel, heard)

    async def send(self, notice: str) -> None:
        """Tells every server that listens. A notice is a JSON object that is not empty."""
        assert self._connection is not None
        marked = f"{_TOLD_TWICE}{self._schema},{notice[1:]}"
        with scrubbed():
            async with asyncio.timeout(TIMEOUT):
                await self._connection.execute(
                    statement("notify"), f"{CHANNEL}{self._schema}", CHANNEL_BEFORE, marked
                )

    async def close(self) -> None:
        """Hangs up, without a word: the connection may be one that does not answer."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.terminate()
