"""A job with an idempotency key, or a name, in line, as the fast path sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from ...model import Enqueued, FirstJob, Job
from .batch import Batch


class KeyedTicket:
    """The `model.Ticket` of a job with a key or a name. Where another job has it, `done` waits until that is read.

    Args:
        batch: The job, in line.
        look: Answers the other job, or stores this one if its key is free by then.
    """

    def __init__(self, batch: Batch, look: Callable[[], Coroutine[Any, Any, Enqueued]]) -> None:
        self.done: asyncio.Future[datetime] = asyncio.get_running_loop().create_future()
        self.instead: Enqueued | None = None
        self._batch = batch
        self._look = look
        self._looking: asyncio.Task[Enqueued] | None = None
        batch.done.add_done_callback(self._stored)

    @property
    def ids(self) -> Sequence[UUID]:
        """The id of the job."""
        return self._batch.ids

    def first(self) -> FirstJob:
        """The job."""
        return self._batch.first()

    @property
    def pressure(self) -> float:
        """As the batch has it."""
        return self._batch.pressure

    def job(self, at: datetime) -> Job:
        """The job as it was enqueued at that time."""
        return self._batch.job(at)

    def give_up(self) -> None:
        """The caller has gone."""
        self.done.cancel()
        self._batch.give_up()
        if self._looking is not None:
            self._looking.cancel()

    def _stored(self, stored: asyncio.Future[datetime]) -> None:
        if self._batch.lost_key and not self.done.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())
            self._looking.add_done_callback(self._looked)
        else:
            self._end(stored)

    def _looked(self, looking: asyncio.Task[Enqueued]) -> None:
        self._looking = None
        if not looking.cancelled() and looking.exception() is None:
            self.instead = looking.result()
        self._end(looking)

    def _end(self, by: asyncio.Future[Any]) -> None:
        """Ends the ticket as that ended."""
        if self.done.done():
            return
        if by.cancelled():
            self.done.cancel()
        elif (error := by.exception()) is not None:
            self.done.set_exception(error)
        else:
            self.done.set_result(self._batch.done.result())
