"""What a caller holds whose jobs wait to be stored: a batch in line is a ticket itself, here are the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID

from ...errors import JobQueueError
from ...fair.owner import CALLER, OWNER, Owner
from ...model import Enqueued, FirstJob, Job, Ticket
from ...scope import Scope
from .batch import Batch

#: Answers for jobs where that takes more than their place in line.
Work: TypeAlias = Callable[[], Coroutine[Any, Any, Enqueued]]

# Of who is answered otherwise than by an insert.
_NO_TIME = datetime.min.replace(tzinfo=UTC)


class LateTicket:
    """The `model.Ticket` of jobs that need more than a place in line.

    Args:
        work: Answers them, in a task of its own.
        scope: Whose jobs they are.
        caller: As in `Batcher.put`.
        batch: The jobs, in line: the work is called for only where another job has the key or the name of the only
            one. None: the work comes first, and puts them in line.
    """

    def __init__(self, work: Work, scope: Scope, caller: str, batch: Batch | None = None) -> None:
        self.done: asyncio.Future[datetime] = asyncio.get_running_loop().create_future()
        self.instead: Enqueued | None = None
        self._work = work
        self._scope = scope
        self._caller = caller
        self._batch = batch
        self._working: asyncio.Task[Enqueued] | None = None
        if batch is None:
            self._begin()
        else:
            batch.done.add_done_callback(self._stored)

    @property
    def ids(self) -> Sequence[UUID]:
        """The ids of the jobs."""
        if self.instead is not None:
            return self.instead.ids
        return () if self._batch is None else self._batch.ids

    def first(self, at: datetime) -> FirstJob:
        """The job as it was enqueued at that time."""
        return self._in_line.first(at)

    @property
    def pressure(self) -> float:
        """As the batch or the answer has it."""
        return self._in_line.pressure if self.instead is None else self.instead.pressure

    def job(self, at: datetime) -> Job:
        """The same, whole."""
        return self._in_line.job(at)

    def give_up(self) -> None:
        """The caller has gone."""
        self.done.cancel()
        if self._batch is not None:
            self._batch.give_up()
        if self._working is not None:
            self._working.cancel()

    @property
    def _in_line(self) -> Batch:
        assert self._batch is not None, "it was answered otherwise"
        return self._batch

    def _stored(self, stored: asyncio.Future[datetime]) -> None:
        if self.done.done():
            return
        if self._in_line.lost_key:
            self._begin()
        elif stored.cancelled():
            self.done.cancel()
        elif (error := stored.exception()) is not None:
            self.done.set_exception(error)
        else:
            self.done.set_result(stored.result())

    def _begin(self) -> None:
        work = _answer(self._work, self._scope.owner, self._caller)
        self._working = asyncio.get_running_loop().create_task(work)
        self._working.add_done_callback(self._answered)

    def _answered(self, working: asyncio.Task[Enqueued]) -> None:
        self._working = None
        if self.done.done():
            # The caller has gone. An error that nothing looks at would be logged.
            if not working.cancelled():
                working.exception()
        elif working.cancelled():
            self.done.cancel()
        elif (error := working.exception()) is not None:
            self.done.set_exception(error)
        else:
            self.instead = working.result()
            self.done.set_result(_NO_TIME)


async def _answer(work: Work, owner: Owner, caller: str) -> Enqueued:
    """No method: the frames of an error would be a reference cycle with the ticket that ends with it."""
    OWNER.set(owner)
    CALLER.set(caller)
    return await work()


def refused(error: JobQueueError) -> Ticket:
    """The ticket of jobs that may not even wait."""
    batch = Batch([], [], "", 0, 0)
    batch.fail(error)
    return batch


async def answer_of(ticket: Ticket) -> Enqueued:
    """Waits for a ticket, which is given up where the caller is cancelled meanwhile.

    Raises:
        JobQueueError: As `Enqueuer.put` lists them.
    """
    try:
        # Shielded: a caller that gives up must not take its neighbours' insert along.
        at = await asyncio.shield(ticket.done)
    except asyncio.CancelledError:
        ticket.give_up()
        raise
    return ticket.instead or Enqueued(ticket.ids, pressure=ticket.pressure, job=ticket.job(at))
