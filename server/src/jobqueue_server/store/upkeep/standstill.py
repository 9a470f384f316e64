"""The standstill in PostgreSQL: whether jobs are handed out and schedules fire, on all servers."""

from __future__ import annotations

from datetime import datetime

from ..database import Reads, Record


class StandstillStore:
    """Raises (every method): DatabaseAway, DatabaseFull."""

    def __init__(self, database: Reads) -> None:
        self._database = database

    async def begin_standstill(self, by: str) -> bool:
        """Begins one, unless there is one, or one was ended in this very database. Whether it did."""
        return await self._database.fetchrow("begin_standstill", by) is not None

    async def end_standstill(self, by: str) -> datetime | None:
        """Ends it. Since when it stood; None: it did not."""
        row = await self._database.fetchrow("end_standstill", by)
        return None if row is None else row["since"]

    async def read_standstill(self) -> Record:
        """Whether it stands: since (None: it does not), begun_by; of the last one: resumed_at, resumed_by."""
        row = await self._database.fetchrow("read_standstill")
        assert row is not None  # the migration made it
        return row
