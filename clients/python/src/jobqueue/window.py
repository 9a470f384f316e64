"""How many enqueues may be in flight at once, as the server's hints say: more by one a round, less by a part."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from .errors import JobQueueError

_PRESSURE = "jobqueue-pressure"
_REFUSALS = frozenset({"QUEUE_FULL", "QUEUE_BACKLOG_FULL"})
_FIRST, _LEAST, _MOST = 64, 1, 1000
# What is left of the bound after a hint, and after a refusal.
_HINTED, _REFUSED = 0.8, 0.5


class Window:
    """Lets so many calls go at once; the others wait for their turns, first come first.

    The bound grows by one for each round of calls that were answered without a hint, while callers wait or the bound is
    reached. A round that brings hints or refusals makes it smaller, once however many it brings: they tell of the same.

    Attributes:
        bound: How many may be in flight.
        in_flight: How many are.
        round: Grows when the bound gets smaller: what began before tells nothing of the new one.
    """

    def __init__(self) -> None:
        self.bound = float(_FIRST)
        self.in_flight = 0
        self.round = 0
        self._line: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> Turn:
        """Waits until one more call may go; leave its block when the call is answered."""
        if not self._line and self.in_flight < int(self.bound):
            self.in_flight += 1
        else:
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._line.append(place)
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():
                    # It was let in at the same moment.
                    self.leave()
                raise
        return Turn(self, self.round)

    def leave(self) -> None:
        """A call is over: the next may go."""
        self.in_flight -= 1
        while self._line and self.in_flight < int(self.bound):
            place = self._line.popleft()
            if not place.done():
                self.in_flight += 1
                place.set_result(None)

    def grow(self) -> None:
        """A call was answered without a hint."""
        if self.in_flight >= int(self.bound):
            self.bound = min(self.bound + 1 / self.bound, float(_MOST))

    def shrink(self, part: float, began: int) -> None:
        """A call that began in this round was told to slow down: this part of the bound is left."""
        if began == self.round:
            self.round += 1
            self.bound = max(self.bound * part, float(_LEAST))


class Turn:
    """One call's turn. Its block ends with the call.

    Args:
        window: Whose turn it is.
        began: The round in which the call begins.
    """

    def __init__(self, window: Window, began: int) -> None:
        self._window = window
        self._began = began

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._window.leave()

    def answered(self, trailers: Iterable[tuple[str, Any]] | None) -> None:
        """The call was answered, with these trailers."""
        if any(name == _PRESSURE for name, _ in trailers or ()):
            self._window.shrink(_HINTED, self._began)
        else:
            self._window.grow()

    def refused(self, error: JobQueueError) -> None:
        """The call was refused; it may be sent again within the same turn."""
        if error.reason in _REFUSALS:
            self._window.shrink(_REFUSED, self._began)
            self._began = self._window.round
