"""What an operator wants to know of PostgreSQL: who keeps dead rows, how many there are, whether partitions go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from ..database import Reads


@dataclass(frozen=True, slots=True)
class Holder:
    """Which transaction numbers are in use.

    Attributes:
        next_xid: The number that the next transaction gets, counted over wraparounds.
        oldest_xid: The oldest number whose dead rows are kept; None: none are.
        seconds: For how long that one's transaction has been open, where it is told; an upper bound.
        who: Which session, slot or prepared transaction that is; None: none.
    """

    next_xid: int
    oldest_xid: int | None
    seconds: float | None
    who: str | None = None


@dataclass(frozen=True, slots=True)
class PartitionCounts:
    """How many partitions there are, by state."""

    past: int
    present: int
    ahead: int
    leftover: int


class ConditionStore:
    """Raises (every method): DatabaseAway, DatabaseFull."""

    def __init__(self, database: Reads, *, retention: timedelta) -> None:
        self._database = database
        self._retention = retention

    async def oldest_holder(self) -> Holder:
        """Who keeps dead rows of this database from being removed."""
        row = await self._database.fetchrow("oldest_holder")
        assert row is not None  # a select without from has one row
        held = row["held"]
        return Holder(
            row["next_xid"], None if held is None else row["next_xid"] - held, row["seconds"], row["who"]
        )

    async def slot_bytes(self) -> int:
        """How much WAL the replication slot that is furthest behind keeps; 0 also where this role may not know."""
        try:
            row = await self._database.fetchrow("slot_bytes")
        except (
            asyncpg.InsufficientPrivilegeError,
            asyncpg.FeatureNotSupportedError,
            asyncpg.UndefinedFunctionError,
        ):
            return 0
        return 0 if row is None else int(row["bytes"])

    async def dead_rows(self) -> Mapping[str, int]:
        """How many dead rows the tables have that change often."""
        return {row["name"]: row["dead"] for row in await self._database.fetch("dead_rows")}

    async def partition_counts(self) -> PartitionCounts:
        """How many partitions there are."""
        row = await self._database.fetchrow("partition_counts")
        assert row is not None  # an aggregate has one row
        return PartitionCounts(**row)

    async def retention_lag(self) -> float:
        """For how many seconds the oldest partition with jobs beyond the retention has been due; 0: there is none."""
        row = await self._database.fetchrow("retention_lag", self._retention)
        return 0.0 if row is None else float(row["seconds"])

    async def newest_migration(self) -> int:
        """The newest migration that was applied."""
        row = await self._database.fetchrow("newest_migration")
        return 0 if row is None else int(row["version"])
