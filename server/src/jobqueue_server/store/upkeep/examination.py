"""What the doctor alone reads, on a connection of its own that writes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg

from ...errors import JobQueueError
from .. import migrate
from ..database import Reads, Record, Session

#: Whatever may be raised by a statement that can't be answered: a table that is missing, a right, a connection.
UNREADABLE = (asyncpg.PostgresError, asyncpg.InterfaceError, JobQueueError, OSError, TimeoutError)


@asynccontextmanager
async def examined(
    dsn: str, name: str = "jobqueue-server doctor", timeout: str = "5s"
) -> AsyncIterator[tuple[Session, int]]:
    """A connection on which nothing can be written, and the number of the process that it was told it has.

    Raises:
        MigrationError: The database refuses the connection, or what the block left unanswered.
        DatabaseAway: The database does not answer.
    """
    async with migrate.connected(dsn, name) as connection:
        await connection.execute(
            f"set default_transaction_read_only = on; set statement_timeout = '{timeout}'"
        )
        yield Session(connection), connection.get_server_pid()


async def undurable(reads: Reads) -> list[str]:
    """The settings of a database, as `name = value`, with which an acknowledged job may be lost."""
    row = await reads.fetchrow("durability")
    assert row is not None  # a select without from has one row
    return [f"{name} = {value}" for name, value in row.items() if value == "off"]


class ExaminationStore:
    """Raises (every method): UNREADABLE."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def examine_postgres(self) -> Record:
        """Version, whether it is a standby, connections, checksums, and what else stands in the statement."""
        row = await self._reads.fetchrow("examine_postgres")
        assert row is not None  # each connection has a database
        return row

    async def examine_standbys(self) -> list[Record]:
        """Those that are connected: name, sync_state, lag_seconds."""
        return await self._reads.fetch("examine_standbys")

    async def examine_slots(self) -> list[Record]:
        """The replication slots: name, active, bytes of WAL that it keeps."""
        return await self._reads.fetch("examine_slots")

    async def examine_bloat(self, tables: Sequence[str]) -> list[Record]:
        """Of each table: name, bytes, rows."""
        return await self._reads.fetch("examine_bloat", tables)

    async def examine_rights(self) -> list[Record]:
        """What this role lacks: name of a table, sequence or function, and the rights."""
        return await self._reads.fetch("examine_rights")

    async def required_level(self) -> int:
        """The lowest level of a server that may run on this database."""
        row = await self._reads.fetchrow("required_level")
        return 0 if row is None else int(row["min_level"])

    async def database_us(self) -> int:
        """The database's time, in microseconds since 1970."""
        row = await self._reads.fetchrow("read_clock")
        assert row is not None  # a select without from has one row
        return int(row["us"])
