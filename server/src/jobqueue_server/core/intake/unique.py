"""Single jobs that are unique: the job that holds their name already is answered instead of stored."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from ...grants import Permission
from ...metrics import Metrics
from ...model import Enqueued, Job, NewJob, NewJobs
from ...scope import Scope
from ..query.shared_reads import SharedReads
from .batch import Batch
from .batcher import Batchers
from .intake import Intake
from .keyed import KeyedBatches, KeyedJobs
from .keyed_ticket import KeyedTicket
from .names import refusal
from .waiting import Waiting


class UniqueJobs:
    """They share inserts, in a line of their own."""

    def __init__(
        self,
        intake: Intake,
        batchers: Batchers,
        keyed_jobs: KeyedJobs,
        keyed_batches: KeyedBatches,
        reads: SharedReads,
        waiting: Waiting,
        metrics: Metrics,
    ) -> None:
        self._intake = intake
        self._batchers = batchers
        self._keyed_jobs = keyed_jobs
        self._keyed_batches = keyed_batches
        self._reads = reads
        self._waiting = waiting
        self._metrics = metrics

    async def enqueue(self, scope: Scope, new: NewJob) -> Enqueued:
        """Stores a job, or answers the one that holds its name.

        Raises:
            Duplicate: Another job holds the name, and this one asked to be refused then.
            FieldInvalid: Another job holds the name, and can't be changed by this one.
            PayloadInvalid, KindUnknown: It does not fit.
            IdempotencyKeyReused: Its key stands for another request.
            QueueFull, QueueBacklogFull: Too many wait.
            DatabaseAway: It may have been stored or not.
        """
        if new.idempotency_key is not None:
            return await self._keyed_jobs.enqueue(scope, new, self._instead)
        batch = await self._intake.rows_in_new_lanes(scope, [NewJobs.of(new)], "job", self._waiting)
        await self._keyed_batches.check_limits(scope, batch)
        at = await self._batchers.of(batch).stored(batch)
        if batch.conflict is None:
            return Enqueued(batch.rows[0].id, False, batch.job(at), batch.pressure)
        return await self._instead(scope, batch)

    def start(self, scope: Scope, batch: Batch, caller: str) -> KeyedTicket:
        """Puts a job without an idempotency key in line, without waiting for it.

        Args:
            scope: Whose job it is.
            batch: The job. There is room for it.
            caller: As in `Batcher.put`.
        """
        self._batchers.of(batch).put(batch, caller)
        return KeyedTicket(batch, partial(self._instead, scope, batch))

    async def _instead(self, scope: Scope, batch: Batch) -> Enqueued:
        """The job that holds the name.

        Raises:
            Duplicate, FieldInvalid: As `enqueue`.
        """
        conflict = batch.conflict
        assert conflict is not None, "it was not stored"
        action = conflict.action
        self._metrics.duplicate(batch.rows[0].new.kind, action)
        if action is None:
            raise refusal(conflict, f"{batch.path}.unique")
        job = await self._read(scope, conflict.job_id)
        return Enqueued(conflict.job_id, False, job, batch.pressure, action)

    async def _read(self, scope: Scope, job_id: UUID) -> Job | None:
        """The job as it is now, for a principal that may read it: it may be of another queue or kind."""
        job = await self._reads.get(scope, job_id)
        if job is None or not scope.grants.may(Permission.READ | Permission.PAYLOADS, job.queue, job.kind):
            return None
        return job
