"""What an operator asks after a restore: what would run again, and what had ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from ..database import Reads, Record


class RestoredStore:
    """Raises (every method): DatabaseAway."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def report_waiting(self, since: datetime) -> list[Record]:
        """By namespace, queue and kind: running, due, due_since, later, held, oldest, newest."""
        return await self._reads.fetch("report_waiting", since)

    async def report_ended(self, since: datetime) -> list[Record]:
        """By namespace, queue and kind: succeeded, failed, cancelled, last."""
        return await self._reads.fetch("report_ended", since)

    async def report_schedules(self, most: int) -> list[Record]:
        """The schedules that are due, each with its namespace and the time (at)."""
        return await self._reads.fetch("report_schedules", most)

    async def open_jobs(self, ids: Sequence[UUID]) -> list[Record]:
        """Of these jobs: id, and how it ended (status); None: it did not."""
        return await self._reads.fetch("open_jobs", ids, min(ids), max(ids)) if ids else []
