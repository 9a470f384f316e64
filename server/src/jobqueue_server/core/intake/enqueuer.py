"""The ways in for callers: one job, a batch, and jobs that nothing waits for. All of them go through the intake."""

from __future__ import annotations

from collections.abc import Sequence

from ...model import Enqueued, EnqueuedBatch, NewJob, NewJobs, Ticket
from ...scope import Scope
from .batch import Batch
from .batcher import Batchers
from .intake import Intake
from .keyed import KeyedBatches
from .singles import SingleJobs
from .waiting import Waiting


class Enqueuer:
    """Stores new jobs, and hands them to workers with credit in the same insert."""

    def __init__(
        self,
        intake: Intake,
        batchers: Batchers,
        singles: SingleJobs,
        keyed_batches: KeyedBatches,
        waiting: Waiting,
    ) -> None:
        self._intake = intake
        self._batchers = batchers
        self._singles = singles
        self._keyed_batches = keyed_batches
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
        if new.unique is not None or new.idempotency_key is not None:
            return await self._singles.enqueue(scope, new)
        batch = await self._intake.rows_in_new_lanes(scope, [NewJobs.of(new)], "job", self._waiting)
        self._check_limits(batch)
        at = await self._batchers.of(batch).stored(batch)
        return Enqueued(batch.rows[0].id, False, batch.job(at), batch.pressure)

    def put(self, scope: Scope, jobs: Sequence[NewJobs], path: str, caller: str) -> Ticket | None:
        """Puts jobs in line, without waiting for them.

        None where `enqueue` or `enqueue_batch` has to wait first, or has an error to tell: in a new lane, at a limit,
        for a key that is being stored right now, for a batch with keys or names.

        Args:
            scope: Whose jobs they are.
            jobs: The jobs.
            path: As in `Intake.rows`.
            caller: As in `Batcher.put`.

        Raises:
            NotAllowed: Its principal may not enqueue one of them, or hold its name.
            RateLimited: Its principal enqueues more often than it may.
            FieldInvalid: A job asks for what its queue forbids.
            PayloadInvalid: One does not fit.
        """
        batch = self._intake.rows(scope, jobs, path)
        if (
            batch is None
            or not self._waiting.has_room(batch.owner, batch.jobs)
            or (batch.backlogs and batch.full_limit)
        ):
            return None
        row = batch.rows[0]
        if len(batch.rows) > 1:
            if batch.keyed or batch.named:
                return None
        elif row.key_digest is not None or row.name is not None:
            if self._singles.stores_key_of(row):
                return None
            _pay(scope, 1)
            return self._singles.start(scope, batch, caller)
        _pay(scope, batch.jobs)
        self._batchers.of(batch).put(batch, caller)
        return batch

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
