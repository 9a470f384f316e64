"""The partitions of the audit log: made ahead of time, and dropped when their retention has ended."""

from __future__ import annotations

from datetime import timedelta

from ..database import Database
from .clock import Expected
from .retention import busy_is_told


class AuditPartitionStore:
    """Raises (every method): LocksBusy, after which nothing has changed; DatabaseAway, DatabaseFull.

    Attributes:
        retention: How long a row is kept.
    """

    def __init__(self, database: Database, *, retention: timedelta, expected: Expected) -> None:
        self._database = database
        self.retention = retention
        self._expected = expected

    async def ensure(self, width: timedelta, *, behind: int, ahead: int) -> int:
        """Makes the partitions from `behind` widths ago to `ahead` widths from now; how many were missing."""
        with busy_is_told():
            row = await self._database.fetchrow("ensure_audit_partitions", width, behind, ahead)
        return 0 if row is None else int(row["made"])

    async def drop(self) -> str | None:
        """Drops the oldest partition if all of it is older than the retention; its name, or None."""
        with busy_is_told():
            row = await self._database.fetchrow("drop_audit_partition", self.retention, self._expected())
        return None if row is None else row["name"]
