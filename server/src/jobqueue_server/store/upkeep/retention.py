"""The statements of retention: partitions made, dropped and merged, and what expired deleted in small batches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import asyncpg

from ..database import Database
from .clock import Expected


class LocksBusy(Exception):
    """Another session holds a lock on the partitions, and to wait for it would block all others. Try again later."""


class Fate(StrEnum):
    """What became of a partition that was to be dropped or merged."""

    DROPPED = "dropped"
    MERGED = "merged"
    LIVE = "live"
    RECENT = "recent"
    PROGRESS = "progress"
    YOUNG = "young"
    TOO_MANY = "too many"
    UNKNOWN = "unknown"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class Partition:
    """A range of ids, and the three tables that hold it.

    Attributes:
        name: The UTC time of its first id, as digits.
        from_id: The smallest id it may hold.
        to_id: The first id beyond it.
        leftover: Whether a merge made it: it holds little more than jobs that outlived the retention.
        ended_at: The time of `to_id`, by which all of its jobs were enqueued.
        read_at: When this was read, by the database's clock.
        bytes: What its bodies take on disk.
        swept_to: How far the sweep that goes on has come; None: the next one begins anew.
        swept_at: When the last sweep that came to its end ended; None: none did.
    """

    name: str
    from_id: UUID
    to_id: UUID
    leftover: bool
    ended_at: datetime
    read_at: datetime
    bytes: int
    swept_to: UUID | None = None
    swept_at: datetime | None = None


@contextmanager
def busy_is_told() -> Iterator[None]:
    """Around a statement that gives up where it would have to wait for a lock.

    Raises:
        LocksBusy: It gave up.
    """
    try:
        yield
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
        raise LocksBusy("another session holds a lock on the partitions; try again later") from error


class RetentionStore:
    """What retention asks of PostgreSQL.

    The `sweep_*` generators delete a batch for each step and yield its size, so that the caller sets the pace; they
    end after a batch that was not full.

    Raises (every method): DatabaseAway when PostgreSQL does not answer, DatabaseFull when it has no room.
    """

    def __init__(
        self, database: Database, *, retention: timedelta, expected: Expected, batch: int = 500
    ) -> None:
        self._database = database
        self._expected = expected
        self._retention = retention
        self._age = retention + timedelta(days=1)
        self._batch = batch
        self._names_after = b""

    async def ensure_partitions(self, width: timedelta, *, behind: int, ahead: int) -> int:
        """Makes the partitions from `behind` widths ago to `ahead` widths from now; how many were missing.

        Raises:
            LocksBusy: Nothing was made.
        """
        with busy_is_told():
            row = await self._database.fetchrow("ensure_partitions", width, behind, ahead)
        return 0 if row is None else int(row["made"])

    async def list_partitions(self) -> list[Partition]:
        """Every partition, oldest first."""
        return [Partition(**row) for row in await self._database.fetch("list_partitions")]

    async def drop_partition(self, name: str) -> Fate:
        """Drops a partition without live jobs, and without jobs that ended within the longest retention of any queue.

        Returns:
            DROPPED, or why it was refused: LIVE, RECENT, PROGRESS (sweep that first), YOUNG, UNKNOWN or CLOCK.

        Raises:
            LocksBusy: Nothing was dropped.
        """
        with busy_is_told():
            row = await self._database.fetchrow("drop_partition", name, self._retention, self._expected())
        return Fate.UNKNOWN if row is None else Fate(row["fate"])

    async def merge_partitions(self, older: str, younger: str, *, max_rows: int, max_bytes: int) -> Fate:
        """Makes one partition of two adjacent ones, and keeps the jobs that live or are within a retention.

        The same name twice rewrites only that partition. The result has the older one's name.

        Returns:
            MERGED, or why it was refused: TOO_MANY jobs or bytes to copy, YOUNG, UNKNOWN or CLOCK.

        Raises:
            LocksBusy: Nothing was changed.
        """
        with busy_is_told():
            row = await self._database.fetchrow(
                "merge_partitions", older, younger, self._retention, max_rows, max_bytes, self._expected()
            )
        return Fate.UNKNOWN if row is None else Fate(row["fate"])

    async def claim_sweep(self, every: timedelta) -> bool:
        """Whether it is for this server to sweep now: once in `every`, over all servers."""
        return await self._database.fetchrow("claim_sweep", every) is not None

    async def shortest_retention(self) -> timedelta:
        """How long any job is kept at least: the retention, or the shortest of any queue and status."""
        row = await self._database.fetchrow("shortest_retention")
        assert row is not None
        return self._retention if row["shortest"] is None else min(self._retention, row["shortest"])

    async def sweep_finished(self, partition: Partition) -> AsyncGenerator[int, None]:
        """Deletes the jobs of a partition that ended before the retention or their queue's, with all of theirs.

        It goes on where the last sweep of the partition was stopped, on any server. It is noted how far it came when it
        is stopped, and that it came to the end.
        """
        reached = partition.swept_to
        try:
            async for swept, last in self._sweep_range("sweep_finished", partition, reached):
                reached = last
                yield swept
        except GeneratorExit:
            await self._database.fetch("mark_swept", partition.name, reached, self._expected())
            raise
        await self._database.fetch("mark_swept", partition.name, None, self._expected())

    async def sweep_progress(self, partition: Partition) -> AsyncGenerator[int, None]:
        """Deletes the progress of a partition's jobs that ended before the retention or their queue's."""
        async for swept, _ in self._sweep_range("sweep_progress", partition, None):
            yield swept

    async def _sweep_range(
        self, name: str, partition: Partition, after: UUID | None
    ) -> AsyncGenerator[tuple[int, UUID], None]:
        # Each batch starts behind the last one: from the beginning it would pass over all that was just deleted.
        after = after or UUID(int=max(partition.from_id.int - 1, 0))
        while True:
            row = await self._database.fetchrow(
                name, after, partition.to_id, self._retention, self._batch, self._expected()
            )
            if row is None or row["last"] is None:
                return
            after = row["last"]
            yield row["swept"], row["last"]
            if row["looked"] < self._batch:
                return

    async def sweep_keys(self) -> AsyncGenerator[int, None]:
        """Deletes idempotency keys whose time is over."""
        while True:
            row = await self._database.fetchrow("sweep_keys", self._batch, self._expected())
            if row is None or row["swept"] == 0:
                return
            yield row["swept"]
            if row["swept"] < self._batch:
                return

    async def sweep_names(self) -> AsyncGenerator[int, None]:
        """Deletes names whose job is gone; goes on where the last sweep of this server stopped."""
        while True:
            row = await self._database.fetchrow(
                "sweep_names", self._names_after, self._batch, self._expected()
            )
            assert row is not None
            done = row["looked"] < self._batch
            self._names_after = b"" if done else row["last"]
            yield row["swept"]
            if done:
                return

    async def sweep_operations(self) -> AsyncGenerator[int, None]:
        """Deletes operations that ended before the retention."""
        while True:
            row = await self._database.fetchrow(
                "sweep_operations", self._retention, self._batch, self._expected()
            )
            if row is None or row["swept"] == 0:
                return
            yield row["swept"]
            if row["swept"] < self._batch:
                return

    async def sweep_sessions(self) -> AsyncGenerator[int, None]:
        """Deletes sessions that ended a day more than the retention ago and that no attempt names."""
        after = 0
        while True:
            row = await self._database.fetchrow(
                "sweep_sessions", after, self._age, self._batch, self._expected()
            )
            if row is None or row["last"] is None:
                return
            after = row["last"]
            yield row["swept"]
            if row["looked"] < self._batch:
                return

    async def sweep_servers(self) -> int:
        """Deletes servers whose last heartbeat is as old and that no session names; how many."""
        row = await self._database.fetchrow("sweep_servers", self._age, self._expected())
        return 0 if row is None else int(row["swept"])
