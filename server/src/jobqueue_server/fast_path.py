"""The fast path of an enqueue: a call without a task, begun at its last byte and answered by the insert of its jobs.

It makes every check of the general path and gives the same answer. Where it is not sure of something, the general path
takes the request from the beginning. `rpc/fast` and `http/fast` have it for each transport. JOBQUEUE_FAST_PATH turns it
off.

A call that has ended must leave no reference cycle: for each 900 of them the collector would halt the server for 10 ms.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from datetime import datetime
from typing import Any, Generic, TypeVar

from .chain import NOTABLE_PRESSURE, Begun, time_is_up
from .errors import JobQueueError
from .model import Ticket

Answer = TypeVar("Answer")


class Deadlines:
    """Tells calls that their time is up, at most 20 ms after it was.

    Nearly all of them end long before, and a timer of the loop costs as much as the checks of a whole job. So those
    whose time is up in the same 20 ms share one.
    """

    _PER_SECOND = 50

    def __init__(self) -> None:
        self._slices: dict[int, set[FastCall[Any]]] = {}

    def add(self, call: FastCall[Any], deadline: float) -> set[FastCall[Any]]:
        """From now on it is told; it takes itself out of the answer once it has ended.

        Args:
            call: Tells its caller.
            deadline: In seconds of `time.monotonic()`.
        """
        number = int(deadline * self._PER_SECOND) + 1
        calls = self._slices.get(number)
        if calls is None:
            calls = self._slices[number] = set()
            self._wait(number)
        calls.add(call)
        return calls

    def _wait(self, number: int) -> None:
        left = number / self._PER_SECOND - time.monotonic()
        asyncio.get_running_loop().call_later(left, self._look, number)

    def _look(self, number: int) -> None:
        if number / self._PER_SECOND > time.monotonic():
            # A loop's timers may be early: by a rounded millisecond, or as long as its turn has taken.
            self._wait(number)
            return
        for call in list(self._slices.pop(number)):
            call.time_is_up()


class FastCall(ABC, Generic[Answer]):
    """One such call; a transport says how it is answered.

    Args:
        begun: As the chain let it in.
        ticket: Its jobs, in line.
        deadlines: Those of its transport.

    Attributes:
        over: Whether it is answered, or its caller has gone.
    """

    def __init__(self, begun: Begun, ticket: Ticket, deadlines: Deadlines) -> None:
        self.over = False
        self._begun = begun
        self._ticket = ticket
        deadline = begun.call.deadline
        assert deadline is not None, "the chain gives one to all"
        self._slice = deadlines.add(self, deadline)
        ticket.done.add_done_callback(self._done)

    def cancel(self) -> None:
        """Its caller has gone, or the server ends and has told it."""
        if not self.over:
            self._end()
            self._ticket.give_up()
            self._begun.end(asyncio.CancelledError())

    def time_is_up(self) -> None:
        """Refuses it."""
        if not self.over:
            self._refuse(time_is_up())
            self._ticket.give_up()

    @abstractmethod
    def _answer(self, at: datetime) -> Answer:
        """What `_send` takes, when its jobs were stored at that time."""

    @abstractmethod
    def _send(self, answer: Answer) -> None:
        """It was ended well."""

    @abstractmethod
    def _tell(self, error: JobQueueError | None) -> None:
        """It was refused; None where it was cancelled."""

    def _cut_off(self) -> BaseException:
        """Why it ends whose storing was cancelled."""
        return asyncio.CancelledError()

    def _done(self, done: asyncio.Future[datetime]) -> None:
        if self.over:
            return
        if done.cancelled():
            self._ticket.give_up()
            self._refuse(self._cut_off())
            return
        error = done.exception()
        if error is not None:
            self._refuse(error)
            return
        if self._ticket.pressure > NOTABLE_PRESSURE:
            self._begun.call.tell_pressure(self._ticket.pressure)
        try:
            answer = self._answer(done.result())
        except Exception as fault:
            self._refuse(fault)
            return
        span = self._begun.call.span
        if span is not None and self._ticket.instead is None and len(self._ticket.ids) == 1:
            span.stored(self._ticket.ids[0])
        self._end()
        self._begun.end()
        self._send(answer)

    def _refuse(self, error: BaseException) -> None:
        self._end()
        self._tell(self._begun.end(error))

    def _end(self) -> None:
        self.over = True
        self._slice.discard(self)
