"""The way in for callers: jobs are put in line, and a ticket tells what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ...errors import JobQueueError
from ...model import Enqueued, NewJobs, Ticket
from ...scope import Scope
from .batch import Batch
from .batcher import Batchers
from .intake import Intake
from .keyed import KeyedBatches
from .singles import SingleJobs
from .ticket import LateTicket, answer_of, refused
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

    def put(self, scope: Scope, jobs: Sequence[NewJobs], path: str, caller: str) -> Ticket:
        """Has jobs stored, all or none, without waiting for it: what is wrong with them is told by the ticket too.

        A job whose idempotency key was used before, or whose name is held, is answered by the job that has it.

        Args:
            scope: Whose jobs they are.
            jobs: The jobs.
            path: As in `Intake.rows`.
            caller: As in `Batcher.put`.

        Errors of the ticket:
            QueueFull: Too many wait to be stored.
            RateLimited: Its principal enqueues more often than it may.
            NotAllowed: Its principal may not enqueue one of them, or hold its name.
            FieldInvalid: A job asks for what its queue forbids, or for a change of the job that holds its name which
                can't be made.
            PayloadInvalid, KindUnknown: One does not fit.
            IdempotencyKeyReused: A key stands for another request.
            Duplicate: Another job holds a name, and it asked to be refused then.
            QueueBacklogFull: Too many wait in the queue of a job that is new.
            KeyBacklogFull: As many jobs as its queue allows wait for a key.
            DatabaseAway: They may have been stored or not.
        """
        try:
            count = 0
            for some in jobs:
                count += len(some.payloads)
            self._waiting.check(scope.owner, count)
            if scope.bucket is not None:
                # Follow-ups take none: they end a job.
                scope.bucket.take(count)
            batch = self._intake.rows(scope, jobs, path)
            if batch is not None:
                return self._line_up(scope, batch, caller)
        except JobQueueError as error:
            return refused(error)
        return LateTicket(partial(self._put_in_new_lanes, scope, jobs, path, caller), scope, caller)

    def check_room(self, scope: Scope, jobs: int) -> None:
        """Refuses jobs of a caller that there is no room for.

        Raises:
            QueueFull: Too many wait to be stored.
        """
        self._waiting.check(scope.owner, jobs)

    async def _put_in_new_lanes(
        self, scope: Scope, jobs: Sequence[NewJobs], path: str, caller: str
    ) -> Enqueued:
        batch = await self._intake.rows_in_new_lanes(scope, jobs, path, self._waiting)
        return await answer_of(self._line_up(scope, batch, caller))

    def _line_up(self, scope: Scope, batch: Batch, caller: str) -> Ticket:
        """Puts jobs in line for which there is room.

        Raises:
            QueueBacklogFull: Their queue is at its limit, and they have neither keys nor names.
        """
        row = batch.rows[0]
        if len(batch.rows) > 1:
            if batch.keyed or batch.named:
                return LateTicket(partial(self._keyed_batches.enqueue, scope, batch), scope, caller)
        elif row.key_digest is not None or row.name is not None:
            return self._singles.put(scope, batch, caller)
        if batch.backlogs and (full := batch.full_limit) is not None:
            raise self._waiting.refusal(full)
        self._batchers.of(batch).put(batch, caller)
        return batch
