"""The ways in for callers: one job, a batch, and jobs that nothing waits for. All of them go through the intake."""

from __future__ import annotations

from collections.abc import Sequence

from ...model import Enqueued, EnqueuedBatch, NewJob, NewJobs, Ticket
from ...scope import Scope
from .batch import Batch
from .batcher import Batcher
from .intake import Intake
from .keyed import KeyedBatches, KeyedJobs
from .waiting import Waiting


class Enqueuer:
    """Stores new jobs, and hands them to workers with credit in the same insert."""

    def __init__(
        self,
        intake: Intake,
        batcher: Batcher,
        keyed_jobs: KeyedJobs,
        keyed_batches: KeyedBatches,
        waiting: Waiting,
    ) -> None:
        self._intake = intake
        self._batcher = batcher
        self._keyed_jobs = keyed_jobs
        self._keyed_batches = keyed_batches
        self._waiting = waiting

    async def enqueue(self, scope: Scope, new: NewJob) -> Enqueued:
        """Stores one job, or answers the one that its idempotency key stands for.

        Raises:
            NotAllowed: Its principal may not enqueue it.
            RateLimited: Its principal enqueues more often than it may.
            PayloadInvalid, KindUnknown: It does not fit.
            ServersDiffer: It is to be held back, and an older server runs.
            IdempotencyKeyReused: Its key stands for another request.
            QueueFull: Too many wait to be stored.
            DatabaseAway: It may have been stored or not.
        """
        _pay(scope, 1)
        if new.idempotency_key is not None:
            return await self._keyed_jobs.enqueue(scope, new)
        batch = await self._intake.rows_in_new_lanes(scope, [NewJobs.of(new)], "job", self._waiting)
        at = await self._batcher.stored(batch)
        return Enqueued(batch.rows[0].id, False, batch.job(at))

    def start(self, scope: Scope, jobs: Sequence[NewJobs], caller: str) -> Batch | None:
        """Puts jobs without keys in line, without waiting for them; None where `enqueue` has more to do.

        Raises:
            NotAllowed: Its principal may not enqueue one of them.
            RateLimited: Its principal enqueues more often than it may.
            PayloadInvalid: One does not fit.
        """
        batch = self._intake.rows(scope, jobs, "jobs[]")
        if batch is None or not self._waiting.has_room(batch.jobs):
            return None
        _pay(scope, batch.jobs)
        self._batcher.put(batch, caller)
        return batch

    def start_keyed(self, scope: Scope, new: NewJob, caller: str) -> Ticket | None:
        """As `start`, for one job with a key. None also where its key is being stored right now.

        Raises:
            As `start`.
        """
        batch = self._intake.rows(scope, [NewJobs.of(new)], "job")
        if batch is None or not self._waiting.has_room(1) or self._keyed_jobs.stores_key_of(batch):
            return None
        _pay(scope, 1)
        return self._keyed_jobs.start(scope, batch, caller)

    async def enqueue_batch(self, scope: Scope, jobs: Sequence[NewJobs]) -> EnqueuedBatch:
        """Stores all of them, or none. Those with a key that was used before answer the job that it stands for.

        Raises:
            As `enqueue`; the violations name the jobs by their place, `jobs[3].payload`.
        """
        count = sum(len(some.payloads) for some in jobs)
        self._waiting.check(count)
        _pay(scope, count)
        batch = await self._intake.rows_in_new_lanes(scope, jobs, "jobs[]", self._waiting)
        if batch.keyed:
            return await self._keyed_batches.enqueue(scope, batch)
        await self._batcher.stored(batch)
        return EnqueuedBatch(list(batch.ids))

    def check_room(self, jobs: int) -> None:
        """Refuses jobs that there is no room for.

        Raises:
            QueueFull: Too many wait to be stored.
        """
        self._waiting.check(jobs)


def _pay(scope: Scope, jobs: int) -> None:
    """Counts jobs against the rate of their principal. Follow-ups are not: they end a job."""
    if scope.bucket is not None:
        scope.bucket.take(jobs)
