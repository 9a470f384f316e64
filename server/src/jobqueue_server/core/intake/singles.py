"""Single jobs with an idempotency key or a name: the job that has it already is answered instead of stored."""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial
from uuid import UUID

from ...errors import Internal
from ...grants import Permission
from ...metrics import Metrics
from ...model import Enqueued, Job, NewJob, NewJobs, Ticket
from ...scope import Scope
from ...store.intake.intake import IntakeStore, NewRows
from ...store.query.reads import ReadStore
from ..query.shared_reads import SharedReads
from ..tuning import Tuning
from .batch import Batch
from .batcher import Batchers
from .intake import Intake
from .keyed import check_same_request, digest_of, is_foreign, step_aside
from .names import refusal
from .ticket import LateTicket, answer_of
from .waiting import Waiting


class SingleJobs:
    """They share inserts, in which each key stands once."""

    def __init__(
        self,
        intake: Intake,
        batchers: Batchers,
        store: IntakeStore,
        reads: ReadStore,
        shared_reads: SharedReads,
        waiting: Waiting,
        metrics: Metrics,
        tuning: Tuning,
    ) -> None:
        self._intake = intake
        self._batchers = batchers
        self._store = store
        self._reads = reads
        self._shared_reads = shared_reads
        self._waiting = waiting
        self._metrics = metrics
        self._tries = tuning.key_tries
        # What is being stored, by the key's digest.
        self._pending: dict[bytes, asyncio.Future[datetime]] = {}

    def put(self, scope: Scope, batch: Batch, caller: str) -> Ticket:
        """Puts a job in line, or has it answered by the one that has its key or its name already.

        Args:
            scope: Whose job it is.
            batch: The job. There is room for it.
            caller: As in `Batcher.put`.
        """
        if batch.rows[0].key_digest in self._pending or batch.full_limit is not None:
            return LateTicket(partial(self._enqueue, scope, batch, caller), scope, caller)
        self._line_up(batch, caller)
        return LateTicket(partial(self._answer_or_enqueue, scope, batch, caller), scope, caller, batch)

    def _line_up(self, batch: Batch, caller: str) -> None:
        self._batchers.of(batch).put(batch, caller)
        if (digest := batch.rows[0].key_digest) is not None:
            self._pending[digest] = batch.done
            batch.done.add_done_callback(partial(self._no_longer_pending, digest))

    async def _enqueue(self, scope: Scope, batch: Batch, caller: str) -> Enqueued:
        """Stores the job of a batch that is not in line, or answers the one that has its key or its name.

        Raises:
            IdempotencyKeyReused: Its key stands for another request.
            Duplicate: Another job holds the name, and this one asked to be refused then.
            FieldInvalid: Another job holds the name, and can't be changed by this one.
            QueueFull: Too many wait to be stored.
            QueueBacklogFull: Too many wait in its queue; its key stands for no job, and its name is free.
            DatabaseAway: It may have been stored or not.
        """
        for _ in range(self._tries):
            row, full = batch.rows[0], batch.full_limit
            place = row.key_digest
            is_new = full is not None and not await self._name_is_held(row)
            # Looked at last: the same key may have come while the name was asked for.
            pending = None if place is None else self._pending.get(place)
            if pending is not None:
                # The same key is being stored right now: what comes of it decides about this one.
                await asyncio.wait([pending])
            elif not is_new:
                self._waiting.check(batch.owner, batch.jobs)
                self._line_up(batch, caller)
                enqueued = await answer_of(batch)
                if batch.conflict is not None:
                    return await self._held(scope, batch)
                if not batch.lost_key:
                    return enqueued
            if place is not None and (replay := await self._replay(scope, batch)) is not None:
                return replay
            if pending is None and full is not None and row.key_digest == place:
                raise self._waiting.refusal(full)
            batch = await self._anew(scope, batch)
        raise Internal("the idempotency key changed hands too often; try again")

    async def _answer_or_enqueue(self, scope: Scope, batch: Batch, caller: str) -> Enqueued:
        """The job that has the key or the name of one that was in line; or this one, if the key is free by now."""
        if batch.conflict is not None:
            return await self._held(scope, batch)
        replay = await self._replay(scope, batch)
        return replay or await self._enqueue(scope, await self._anew(scope, batch), caller)

    async def _anew(self, scope: Scope, batch: Batch) -> Batch:
        """The same job for another try, with its key in the place where it was looked for last."""
        row = batch.rows[0]
        again = await self._intake.rows_in_new_lanes(scope, [NewJobs.of(row.new)], batch.path, self._waiting)
        if row.key_digest is not None:
            again.rows[0].place_key(row.key_digest)
        return again

    async def _name_is_held(self, row: NewRows) -> bool:
        """Whether the job is not new to a full queue, since another one holds its name."""
        if row.name is None:
            return False
        _, held = await self._store.held_names([row.name.digest])
        return row.name.digest in held

    async def _replay(self, scope: Scope, batch: Batch) -> Enqueued | None:
        """The job that the key stands for; None where the key is free, or is another principal's: then the row has
        another digest of it, to be tried next.
        """
        row = batch.rows[0]
        digest = digest_of(row)
        winner = (await self._store.find_keys(scope, [digest])).get(digest)
        if winner is None:
            return None
        if is_foreign(winner, row):
            await step_aside(self._store, {row: winner})
            return None
        check_same_request(winner, row, f"{batch.place(0)}.idempotency_key")
        job = await self._replayed(scope, row.new, winner.job_id)
        return Enqueued([winner.job_id], [winner.job_id], pressure=batch.pressure, job=job)

    async def _replayed(self, scope: Scope, new: NewJob, job_id: UUID) -> Job | None:
        """The job of a replay as it is now, for a principal that may read it; a producer is told its id alone."""
        seen = Permission.READ | Permission.PAYLOADS
        if not scope.grants.may(seen, new.queue, new.kind):
            return None
        job = await self._reads.get(scope, job_id)
        # One that held the name of the first request may be of another queue or kind.
        return None if job is None or not scope.grants.may(seen, job.queue, job.kind) else job

    async def _held(self, scope: Scope, batch: Batch) -> Enqueued:
        """The job that holds the name.

        Raises:
            Duplicate, FieldInvalid: As `_enqueue`.
        """
        conflict = batch.conflict
        assert conflict is not None, "it was not stored"
        action = conflict.action
        self._metrics.duplicate(batch.rows[0].new.kind, action)
        if action is None:
            raise refusal(conflict, f"{batch.place(0)}.unique")
        job = await self._read(scope, conflict.job_id)
        return Enqueued([conflict.job_id], actions={0: action}, pressure=batch.pressure, job=job)

    async def _read(self, scope: Scope, job_id: UUID) -> Job | None:
        """The job as it is now, for a principal that may read it: it may be of another queue or kind."""
        job = await self._shared_reads.get(scope, job_id)
        if job is None or not scope.grants.may(Permission.READ | Permission.PAYLOADS, job.queue, job.kind):
            return None
        return job

    def _no_longer_pending(self, digest: bytes, _: asyncio.Future[datetime]) -> None:
        del self._pending[digest]
