"""A call that has no task: begun where its last byte is read, and answered by the insert that stores its jobs.

Once it has ended it must leave no ring of references: for each 900 the collector would halt the server for 10 ms.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from datetime import datetime
from typing import Any

from .chain import Begun, time_is_up
from .errors import JobQueueError


class Deadlines:
    """Tells calls that their time is up, at most 20 ms after it was.

    Nearly all of them end long before, and a timer of the loop costs as much as the checks of a whole job. So those
    whose time is up in the same 20 ms share one.
    """

    _PER_SECOND = 50

    def __init__(self) -> None:
        self._slices: dict[int, set[TasklessCall]] = {}

    def add(self, call: TasklessCall, deadline: float) -> set[TasklessCall]:
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


class TasklessCall(ABC):
    """One such call; a transport says how it is answered.

    Args:
        begun: As the chain let it in.
        job: What stores its jobs: `done`, the future of that, and `give_up()`.
        deadlines: Those of its transport.

    Attributes:
        over: Whether it is answered, or its caller has gone.
    """

    def __init__(self, begun: Begun, job: Any, deadlines: Deadlines) -> None:
        self.over = False
        self._begun = begun
        self._job = job
        deadline = begun.call.deadline
        assert deadline is not None, "the chain gives one to all"
        self._slice = deadlines.add(self, deadline)
        job.done.add_done_callback(self._done)

    def cancel(self) -> None:
        """Its caller has gone, or the server ends and has told it."""
        if not self.over:
            self._end()
            self._job.give_up()
            self._begun.end(asyncio.CancelledError())

    def time_is_up(self) -> None:
        """Refuses it."""
        if not self.over:
            self._refuse(time_is_up())
            self._job.give_up()

    @abstractmethod
    def _answer(self, at: datetime) -> Any:
        """What `_send` takes, when its jobs were stored at that time."""

    @abstractmethod
    def _send(self, answer: Any) -> None:
        """It was ended well."""

    @abstractmethod
    def _tell(self, error: JobQueueError | None) -> None:
        """It was refused; None where it was cancelled."""

    def _cut_off(self) -> BaseException:
        """Why it ends whose storing was cancelled."""
        return asyncio.CancelledError()

    def _done(self, done: asyncio.Future[Any]) -> None:
        if self.over:
            return
        if done.cancelled():
            self._refuse(self._cut_off())
            return
        error = done.exception()
        if error is not None:
            self._refuse(error)
            return
        try:
            answer = self._answer(done.result())
        except Exception as fault:
            self._refuse(fault)
            return
        self._end()
        self._begun.end()
        self._send(answer)

    def _refuse(self, error: BaseException) -> None:
        self._end()
        self._tell(self._begun.end(error))

    def _end(self) -> None:
        self.over = True
        self._slice.discard(self)
