"""Lanes, queues and kinds that are no longer used, forgotten in small batches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from datetime import datetime
from uuid import UUID

import asyncpg

from ..database import Database
from .clock import Expected


class ForgettingStore:
    """What is asked of PostgreSQL to forget them.

    The generators delete a batch for each step and yield its size, so that the caller sets the pace.

    Raises (every method): DatabaseAway, DatabaseFull.
    """

    def __init__(self, database: Database, *, expected: Expected, batch: int = 500) -> None:
        self._database = database
        self._expected = expected
        self._batch = batch

    async def idle_lanes(self, since: datetime, after: int = 0) -> list[int]:
        """A batch of lanes that no server made sure of since then, of queues of which nothing is said, by number."""
        return [row["id"] for row in await self._database.fetch("idle_lanes", since, after, self._batch)]

    async def lanes_of_jobs(self, first: UUID, before: UUID) -> set[int]:
        """The lanes of all jobs whose ids are in this range, whether they live or have ended."""
        return {row["lane_id"] for row in await self._database.fetch("lanes_of_jobs", first, before)}

    async def forget_lanes(self, since: datetime, kept: Collection[int]) -> AsyncGenerator[int, None]:
        """Forgets the idle lanes but those that are kept."""
        after = 0
        while lanes := await self.idle_lanes(since, after):
            after = lanes[-1]
            idle = [lane for lane in lanes if lane not in kept]
            row = await self._database.fetchrow("forget_lanes", idle, since, self._expected())
            yield 0 if row is None else int(row["swept"])

    async def forget_queues(self, since: datetime) -> AsyncGenerator[int, None]:
        """Forgets queues without lanes that were made before then, and of which nothing is said."""
        async for swept in self._batches("forget_queues", since):
            yield swept

    async def forget_kinds(self, since: datetime) -> AsyncGenerator[int, None]:
        """Forgets kinds without lanes that were last seen before then, and that were never declared."""
        async for swept in self._batches("forget_kinds", since):
            yield swept

    async def sweep_catalog_changes(self) -> AsyncGenerator[int, None]:
        """Deletes what changed more than a day ago."""
        async for swept in self._batches("sweep_catalog_changes"):
            yield swept

    async def _batches(self, name: str, *since: datetime) -> AsyncGenerator[int, None]:
        while True:
            try:
                row = await self._database.fetchrow(name, *since, self._batch, self._expected())
            except asyncpg.ForeignKeyViolationError:
                # A lane was made in this very moment. The next sweep sees it.
                return
            swept = 0 if row is None else int(row["swept"])
            if swept:
                yield swept
            if swept < self._batch:
                return
