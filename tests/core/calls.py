"""What callers read of jobs and do to them, over real stores; workers and lines are a list of what they were told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from jobqueue_server.core.bulk.changes import JobChanges
from jobqueue_server.core.bulk.effects import Effects
from jobqueue_server.core.events.ends import Ended, Ends
from jobqueue_server.core.events.wakes import Wakes
from jobqueue_server.core.query.reads import JobReads
from jobqueue_server.core.query.shared_reads import SharedReads
from jobqueue_server.core.query.waiters import Waiters
from tests.store.stored import Stored, stored

NEVER = timedelta(hours=1)


@dataclass
class Told:
    """What workers, lines and those who wait were told; a catalog whose jobs are all of one kind."""

    cancels: list[tuple[UUID, int, int, str]] = field(default_factory=list)
    made_ready: list[tuple[int, int]] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)

    def cancel(self, *what: Any) -> None:
        self.cancels.append(what)

    def due_at(self, lane_id: int, priority: int, run_at: datetime) -> None:
        self.made_ready.append((lane_id, priority))

    def lane_by_id(self, lane_id: int) -> Any:
        return SimpleNamespace(kind="hello")

    @property
    def finished(self) -> list[tuple[str, str]]:
        """Kind and outcome of those that are counted."""
        return [(each.kind, each.outcome) for each in self.ended if each.kind is not None]


@dataclass
class Service:
    store: Stored
    reads: JobReads
    changes: JobChanges
    waiters: Waiters
    ends: Ends
    told: Told


@asynccontextmanager
async def service(dsn: str, look_every: timedelta = NEVER) -> AsyncIterator[Service]:
    """The calls over real stores; `look_every` NEVER leaves the waking to memory alone."""
    async with stored(dsn) as s:
        ends, told = Ends(), Told()
        waiters = Waiters(s.reads, ends, look_every=look_every)
        ends.subscribe(told.ended.extend)
        others: Any = told
        reads = JobReads(s.reads, SharedReads(s.reads), waiters)
        effects = Effects(others, others, others, ends, Wakes())
        changes = JobChanges(s.changes, s.reads, effects)
        looking = asyncio.create_task(waiters.run())
        try:
            yield Service(s, reads, changes, waiters, ends, told)
        finally:
            looking.cancel()


async def so_many_wait(waiters: Waiters, count: int) -> None:
    """Returns once there are so many waits."""
    async with asyncio.timeout(10):
        while sum(len(events) for events in waiters._awaited.values()) < count:
            await asyncio.sleep(0.005)
