"""The ways in for callers: one job, a batch, and jobs that nothing waits for. All of them go through the intake."""

from __future__ import annotations

from collections.abc import Sequence

from ...model import Enqueued, EnqueuedBatch, NewJob, NewJobs, Ticket
from ...scope import Scope
from .batch import Batch
from .batcher import Batchers
from .intake import Intake
from .keyed import KeyedBatches, KeyedJobs
from .unique import UniqueJobs
from .waiting import Waiting


class Enqueuer:
    """Stores new jobs, and hands them to workers with credit in the same insert."""

    def __init__(
        self,
        intake: Intake,
        batchers: Batchers,
        keyed_jobs: KeyedJobs,
        keyed_batches: KeyedBatches,
        unique_jobs: UniqueJobs,
        waiting: Waiting,
    ) -> None:
        self._intake = intake
        self._batchers = batchers
        self._keyed_jobs = keyed_jobs
        self._keyed_batches = keyed_batches
        self._unique_jobs = unique_jobs
        self._waiting = waiting

    async def enqueue(self, scope: Scope, new: NewJob) -> Enqueued:
        """Stores one job, or answers the one that its idempotency key stands for or that holds its name.

        Raises:
            NotAllowed: Its principal may not enqueue it.
            RateLimited: Its principal enqueues more often than it may.
            PayloadInvalid, KindUnknown: It does not fit.
            IdempotencyKeyReused: Its key stands for another request.
            Duplicate: Another job holds its name, and it asked to be refused then.
            QueueFull: Too many wait to be stored.
            QueueBacklogFull: Too many wait in its queue; its key, if any, stands for no job, and its name is free.
            DatabaseAway: It may have been stored or not.
        """
        _pay(scope, 1)
        if new.unique is not None:
            return await self._unique_jobs.enqueue(scope, new)
        if new.idempotency_key is not None:
            return await self._keyed_jobs.enqueue(scope, new)
        batch = await self._intake.rows_in_new_lanes(scope, [NewJobs.of(new)], "job", self._waiting)
        self._check_limits(batch)
        at = await self._batchers.of(batch).stored(batch)
        return Enqueued(batch.rows[0].id, False, batch.job(at), batch.pressure)

    def start(self, scope: Scope, jobs: Sequence[NewJobs], caller: str, path: str) -> Batch | None:
        """Puts jobs without idempotency keys in line, without waiting for them; None where `enqueue` has more to do.

        Args:
            scope: Whose jobs they are.
            jobs: The jobs.
            caller: As in `Batcher.put`.
            path: As in `Intake.rows`.

        Raises:
            NotAllowed: Its principal may not enqueue one of them.
            RateLimited: Its principal enqueues more often than it may.
            PayloadInvalid: One does not fit.
        """
        batch = self._intake.rows(scope, jobs, path)
        if (
            batch is None
            or not self._waiting.has_room(batch.owner, batch.jobs)
            or (batch.backlogs and batch.full_limit)
        ):
            return None
        _pay(scope, batch.jobs)
        self._batchers.of(batch).put(batch, caller)
        return batch

    def start_keyed(self, scope: Scope, new: NewJob, caller: str) -> Ticket | None:
        """As `start`, for one job with an idempotency key. None also where that key is being stored right now.

        Raises:
            As `start`.
        """
        batch = self._intake.rows(scope, [NewJobs.of(new)], "job")
        if (
            batch is None
            or not self._waiting.has_room(batch.owner, 1)
            or (batch.backlogs and batch.full_limit)
        ):
            return None
        if self._keyed_jobs.stores_key_of(batch):
            return None
        _pay(scope, 1)
        return self._keyed_jobs.start(scope, batch, caller)

    def start_unique(self, scope: Scope, new: NewJob, caller: str) -> Ticket | None:
        """As `start`, for one unique job without an idempotency key.

        Raises:
            As `start`.
        """
        batch = self._intake.rows(scope, [NewJobs.of(new)], "job")
        if (
            batch is None
            or not self._waiting.has_room(batch.owner, 1)
            or (batch.backlogs and batch.full_limit)
        ):
            return None
        _pay(scope, 1)
        return self._unique_jobs.start(scope, batch, caller)

    async def enqueue_batch(self, scope: Scope, jobs: Sequence[NewJobs]) -> EnqueuedBatch:
        """Stores all of them, or none. Those with a key that was used before answer the job that it stands for.

        Those whose name is held answer the job that holds it.

        Raises:
            As `enqueue`; the violations name the jobs by their place, `jobs[3].payload`.
        """
        count = sum(len(some.payloads) for some in jobs)
        self._waiting.check(scope.owner, count)
        _pay(scope, count)
        batch = await self._intake.rows_in_new_lanes(scope, jobs, "jobs[]", self._waiting)
        if batch.keyed or batch.named:
            return await self._keyed_batches.enqueue(scope, batch)
        self._check_limits(batch)
        await self._batchers.of(batch).stored(batch)
        return EnqueuedBatch(list(batch.ids), pressure=batch.pressure)

    def check_room(self, scope: Scope, jobs: int) -> None:
        """Refuses jobs of a caller that there is no room for.

        Raises:
            QueueFull: Too many wait to be stored.
        """
        self._waiting.check(scope.owner, jobs)

    def _check_limits(self, batch: Batch) -> None:
        full = batch.full_limit
        if full is not None:
            raise self._waiting.refusal(full)


def _pay(scope: Scope, jobs: int) -> None:
    """Counts jobs against the rate of their principal. Follow-ups are not: they end a job."""
    if scope.bucket is not None:
        scope.bucket.take(jobs)
