"""A crowd that enqueues, runs, fails, cancels and retries jobs of keys in strict order, and notes how they start."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from jobqueue_server.core.catalog.catalog import Lane
from jobqueue_server.errors import JobNotFound, JobNotTerminal, JobTerminal
from jobqueue_server.lifecycle import Event
from jobqueue_server.store.attempt.attempts import AttemptEnd
from jobqueue_server.store.policy.semaphores import SemaphoreStore, semaphore_of

from .crowd import BROKEN
from .factories import look, new_row
from .stored import SCOPE, Stored

#: Ends of attempts after which the job goes on.
GOES_ON = (
    Event.FAIL,
    Event.TIMEOUT,
    Event.LOST,
    Event.SNOOZE,
    Event.RELEASE,
    Event.REVOKE,
    Event.UNDELIVERED,
    Event.UNSEEN,
)
_KEYS = 12


@dataclass
class OrderedCrowd:
    """What it did.

    Attributes:
        stores: Over one database, each with connections of its own.
        until: The time of the loop at which it stops.
        answered: By semaphore: the jobs in the order in which their enqueues were answered.
        started: Likewise, those that started, in that order.
        cancelled: Those that a cancel ended.
    """

    stores: list[Stored]
    lane: Lane
    session: tuple[int, int]
    until: float
    answered: dict[int, list[UUID]] = field(default_factory=dict)
    started: dict[int, list[UUID]] = field(default_factory=dict)
    cancelled: set[UUID] = field(default_factory=set)
    _semaphore_of: dict[UUID, int] = field(default_factory=dict)
    _turn: dict[int, asyncio.Lock] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number in range(_KEYS):
            semaphore_id = semaphore_of(self.lane.queue_id, f"key-{number}")
            self.answered[semaphore_id], self.started[semaphore_id], self._turn[semaphore_id] = (
                [],
                [],
                asyncio.Lock(),
            )

    @property
    def _goes_on(self) -> bool:
        return asyncio.get_running_loop().time() < self.until

    async def produce(self, number: int) -> None:
        """Producers of a key take turns: each waits for the answer of the one before, which another server gave."""
        while self._goes_on:
            store, semaphore_id = self.stores[number % len(self.stores)], random.choice(list(self.answered))
            async with self._turn[semaphore_id]:
                row = new_row(store, self.lane, payloads=[b"{}"] * random.randint(1, 3))
                row.of_keys(["key"] * len(row.ids), [semaphore_id] * len(row.ids))
                self._semaphore_of.update(dict.fromkeys(row.ids, semaphore_id))
                await store.intake.enqueue_limited([row])
                self.answered[semaphore_id] += row.ids

    async def work(self, store: Stored, *, drain: bool = False) -> None:
        """Runs what is let in. With `drain`: until nothing is left, and without failures."""
        number, epoch = self.session
        semaphores = SemaphoreStore(store.database)
        while self._goes_on or drain:
            rows = await store.claims.claim([look(self.lane, 20)], [number] * 20, {number: epoch})
            rows += await store.claims.claim_isolated([self.lane.id], {number: epoch})
            for row in rows:
                started = self.started[self._semaphore_of[row["id"]]]
                if row["id"] not in started:
                    started.append(row["id"])
                await self._end(store, (row["id"], row["attempts"], number), failing=not drain)
            await semaphores.release_due(100)
            calling = (await semaphores.calling(100)).semaphore_ids
            await semaphores.admit(list(calling), 100)
            if drain and not rows and not calling:
                await self._unblock(store)
                if not await store.sql.fetchval("select count(*) from live_job"):
                    return
            await asyncio.sleep(0)

    async def _end(self, store: Stored, lease: tuple[Any, int, int], *, failing: bool) -> None:
        how = random.random()
        if how < 0.6 or not failing:
            await store.attempts.end_and_admit([(*lease, None)], 100)
            return
        event = (
            Event.FAIL if how > 0.95 else random.choice([each for each in GOES_ON if each != Event.TIMEOUT])
        )
        await store.attempts.end_attempt([AttemptEnd(*lease, event, permanent=how > 0.95, after=timedelta())])

    async def _unblock(self, store: Stored) -> None:
        """Retries some of the jobs that block their keys, and passes over the others."""
        rows = await store.sql.fetch("select id, blocked_by from semaphore where blocked_by is not null")
        for row in rows:
            if random.random() < 0.5:
                with suppress(JobNotTerminal, JobNotFound):
                    await store.changes.retry(SCOPE, row["blocked_by"])
            else:
                await store.sql.execute(
                    "update semaphore set blocked_by = null, admit_at = now() where id = $1 and blocked_by = $2",
                    row["id"],
                    row["blocked_by"],
                )

    async def interfere(self, store: Stored) -> None:
        """Cancels some of the jobs that came last, and unblocks keys."""
        while self._goes_on:
            last = [job_id for jobs in self.answered.values() for job_id in jobs[-5:]]
            for job_id in random.sample(last, min(3, len(last))):
                with suppress(JobTerminal, JobNotFound):
                    if not (await store.changes.cancel(SCOPE, job_id))[1].pending:
                        self.cancelled.add(job_id)
            await self._unblock(store)
            await asyncio.sleep(0.02)

    async def watch(self, store: Stored) -> None:
        """Looks whether a key has more than one token out, or counts what is not there."""
        while self._goes_on:
            broken = await store.sql.fetch(BROKEN, 1)
            assert not broken, broken[:5]
            await asyncio.sleep(0.05)
