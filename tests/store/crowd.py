"""A crowd that enqueues, claims, settles, cancels, retries and lets in jobs of few keys; and who counts them."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from jobqueue_server.core.catalog.catalog import Lane
from jobqueue_server.errors import JobNotFound, JobNotTerminal, JobTerminal
from jobqueue_server.lifecycle import Event
from jobqueue_server.store.attempt.attempts import AttemptEnd
from jobqueue_server.store.policy.queue_keys import QueueKeyStore
from jobqueue_server.store.policy.semaphores import Admitted, SemaphoreStore, Slots, semaphore_of

from .factories import look, new_row
from .stored import SCOPE, Stored

#: Semaphores that do not count their live rows, and keys with more tokens out than the limit ($1).
BROKEN = """
with live as (
    select semaphore_id, count(*) filter (where hold is null) as taken, count(*) filter (where hold = 1) as waiting
    from live_job where semaphore_id is not null group by semaphore_id
)
select coalesce(t.id, l.semaphore_id) as id, t.taken, t.waiting, l.taken as taken_there, l.waiting as waiting_there
from semaphore t full join live l on l.semaphore_id = t.id
where coalesce(t.taken, 0) <> coalesce(l.taken, 0) or coalesce(t.waiting, 0) <> coalesce(l.waiting, 0)
    or coalesce(l.taken, 0) > $1
"""
#: What is said of a key of which nothing is said.
SAID_BACK: dict[str, Any] = {"max_running": None, "paused": False}
ENDS = (Event.FAIL, Event.SNOOZE, Event.RELEASE, Event.UNDELIVERED, Event.LOST, Event.UNSEEN, Event.CANCELLED)


@dataclass
class Crowd:
    """What it did, and what it has not finished.

    Attributes:
        stores: Over one database, so that together they have as many connections as the crowd wants.
        calls: Keys that may let one in, as the statements named them. Some are forgotten on purpose, as by a crash.
        forgets: How many of a hundred calls are forgotten.
    """

    stores: list[Stored]
    lane: Lane
    session: tuple[int, int]
    keys: int
    limit: int
    forgets: int = 0
    jobs: list[UUID] = field(default_factory=list)
    leases: list[tuple[UUID, int, int]] = field(default_factory=list)
    calls: set[int] = field(default_factory=set)
    done: dict[str, int] = field(default_factory=dict)
    looks: int = 0

    @property
    def s(self) -> Stored:
        """Any of them."""
        return random.choice(self.stores)

    @property
    def semaphores(self) -> SemaphoreStore:
        """Those of any of them."""
        return SemaphoreStore(self.s.database)

    def _did(self, what: str, jobs: int = 1) -> None:
        self.done[what] = self.done.get(what, 0) + jobs

    def _called(self, semaphore_ids: Any) -> None:
        self.calls.update(
            semaphore_id for semaphore_id in semaphore_ids or () if random.randrange(100) >= self.forgets
        )

    async def enqueue(self) -> None:
        rows = []
        for _ in range(random.randint(1, 40)):
            later = random.random() < 0.1
            row = new_row(
                self.s,
                self.lane,
                payloads=[b"{}"] * random.randint(1, 3),
                delay=timedelta(milliseconds=random.randint(0, 300)) if later else None,
            )
            if random.random() < 0.95:
                # Mostly the jobs of a call have different keys.
                keys = [f"key-{random.randrange(self.keys)}" for _ in row.ids]
                row.of_keys(keys, [semaphore_of(self.lane.queue_id, key) for key in keys])
            rows.append(row)
        number, epoch = self.session
        if random.random() < 0.5:
            for row in rows:
                if row.new.delay is None:
                    row.slots = [(Holder(number, epoch), random.randint(1, len(row.ids)))]
        stored = await self.s.intake.enqueue_limited(rows)
        self._called(stored.calling)
        for row in rows:
            self.jobs += row.ids
            taken = sum(count for _, count in row.slots)
            for job_id in row.ids[:taken]:
                if job_id not in stored.refused and job_id not in stored.kept:
                    self.leases.append((job_id, 1, number))
        self._did("enqueued", sum(len(row.ids) for row in rows))

    async def claim(self) -> None:
        number, epoch = self.session
        rows = await self.s.claims.claim([look(self.lane, 100)], [number] * 100, {number: epoch})
        rows += await self.s.claims.claim_isolated([self.lane.id], {number: epoch})
        self.leases += [(row["id"], row["attempts"], number) for row in rows]
        self._did("claimed", len(rows))

    def _some(self, most: int) -> list[tuple[UUID, int, int]]:
        random.shuffle(self.leases)
        some, self.leases = self.leases[:most], self.leases[most:]
        return some

    async def settle(self) -> None:
        some = self._some(random.randint(1, 120))
        if not some:
            return
        with_outputs = [(*lease, None) for lease in some]
        match random.randint(1, 3):
            case 1:
                settled = await self.s.attempts.end_plain([([id], attempt, of) for id, attempt, of in some])
            case 2:
                settled = await self.s.attempts.end_succeeded(with_outputs)
            case _:
                most = random.choice([7, 1000])
                settled = await self.s.attempts.end_and_admit(with_outputs, most, self._slots())
        self._admitted(settled.admitted)
        self._did("settled", len(some))

    async def end(self) -> None:
        some = self._some(random.randint(1, 30))
        rows = await self.s.attempts.end_attempt(
            [AttemptEnd(*lease, event=random.choice(ENDS), after=self._after()) for lease in some]
        )
        self._called(row["semaphore_id"] for row in rows if row["semaphore_id"] is not None)
        self._did("gone back", len(rows))

    async def pause(self) -> None:
        """Ends some attempts whose workers pause the keys: so shortly that the others go on meanwhile."""
        rows = await self.s.attempts.end_and_pause(
            [
                (
                    AttemptEnd(*lease, event=random.choice([Event.FAIL, Event.SNOOZE]), after=self._after()),
                    timedelta(milliseconds=random.randint(1, 100)),
                )
                for lease in self._some(random.randint(1, 5))
            ],
            random.choice([1, 1000]),
        )
        self._called(row["semaphore_id"] for row in rows if row["semaphore_id"] is not None)
        self._did("paused", len(rows))

    @staticmethod
    def _after() -> timedelta | None:
        return random.choice([timedelta(), timedelta(milliseconds=50), timedelta(milliseconds=200)])

    async def cancel(self) -> None:
        for job_id in random.sample(self.jobs, min(len(self.jobs), 5)):
            with suppress(JobTerminal, JobNotFound):
                calling = (await self.s.changes.cancel(SCOPE, job_id))[1].calling
                self._called([] if calling is None else [calling])
                self._did("cancelled")

    async def retry(self) -> None:
        for job_id in random.sample(self.jobs, min(len(self.jobs), 5)):
            with suppress(JobNotTerminal, JobNotFound):
                await self.s.changes.retry(SCOPE, job_id)
                self._did("retried")

    async def admit(self) -> None:
        calls = set(random.sample(sorted(self.calls), min(len(self.calls), random.randint(1, 60))))
        self.calls -= calls
        if calls:
            self._admitted(await self.semaphores.admit(list(calls), random.choice([7, 1000]), self._slots()))

    def _slots(self) -> Slots:
        number, epoch = self.session
        offered = random.choice([0, 5, 100])
        return Slots({self.lane.id: (0, offered)}, [number] * offered, {number: epoch})

    def _admitted(self, admitted: Admitted) -> None:
        self._called(admitted.again)
        self.leases += [(each[0], each[4], each[5]) for each in admitted.leased]
        self._did("let into lines", admitted.jobs - len(admitted.leased))
        self._did("let into leases", len(admitted.leased))

    async def release_due(self) -> None:
        moved, calling = await self.semaphores.release_due(random.choice([3, 1000]))
        self._called(calling)
        self._did("ripened", moved)

    async def sweep(self) -> None:
        calling, *_ = await self.semaphores.calling(1000)
        self.calls.update(calling)
        self._did("swept", len(calling))

    async def audit(self) -> None:
        walked = await self.semaphores.audit_keys(-(2**63), 1000, 10_000)
        assert not walked.drifted
        self._did("unused", walked.gone)

    async def say(self, key: str = "", **changes: Any) -> None:
        """Says something of a key, of any: no higher limit than the queue's, a pause, or nothing any more."""
        key = key or f"key-{random.randrange(self.keys)}"
        if not changes:
            changes = random.choice(
                [{"paused": True}, {"max_running": random.randint(1, self.limit)}, SAID_BACK]
            )
        store = QueueKeyStore(self.s.database)
        done = await store.set(SCOPE, self.lane.queue, key, changes, revision=None, most=10_000)
        assert done is not None
        if done.calling is not None:
            self._called([done.calling])
        self._did("said")

    async def say_nothing(self) -> None:
        """Takes back all that was said of keys."""
        for number in range(self.keys):
            await self.say(f"key-{number}", **SAID_BACK)

    async def rush(self, until: float, acts: dict[str, int]) -> None:
        """One of the crowd: does these things, so often each, until that time of the loop."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            (act,) = random.choices(list(acts), list(acts.values()))
            await getattr(self, act)()

    async def look(self, dsn: str, until: float) -> None:
        """Looks every 50 ms whether the semaphores count what is there."""
        connection = await asyncpg.connect(dsn)
        loop = asyncio.get_running_loop()
        try:
            while loop.time() < until:
                broken = await connection.fetch(BROKEN, self.limit)
                assert not broken, broken[:5]
                self.looks += 1
                await asyncio.sleep(0.05)
        finally:
            await connection.close()

    async def drain(self) -> None:
        """Runs all that is left, by calls alone."""
        loop = asyncio.get_running_loop()
        until = loop.time() + 60
        while await self.s.sql.fetchval("select count(*) from live_job"):
            assert loop.time() < until, await self.s.sql.fetch(
                "select state, hold, count(*) from live_job group by state, hold"
            )
            await self.claim()
            while self.leases:
                await self.settle()
            while self.calls:
                await self.admit()
            await self.release_due()


@dataclass
class Holder:
    id: int
    epoch: int
