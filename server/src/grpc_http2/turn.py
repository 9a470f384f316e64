"""Whose frames are handled when, of the connections of one server."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

# For the frames of all connections together, in one turn of the loop, in seconds. Less cuts a burst of 100 good calls
# in pieces, whose jobs are then stored by more statements: with 2 ms that cost 10 % of CPU.
_TURN = 0.012
# What one has of that who sends without an end: of whom more than so many bytes came at once.
_SHARE = 0.001
_ENDLESS = 64 << 10


class Turn:
    """Deals the turns of the loop. Who is not done in one waits in line; what fits in a short read never waits."""

    __slots__ = ("_ends", "_waiting")

    def __init__(self) -> None:
        # When the current turn is used up; None: none of it is used.
        self._ends: float | None = None
        self._waiting: deque[Callable[[], None]] = deque()

    def ends(self, size: int) -> float:
        """When a connection's frames are to be left, by `time.monotonic()`; now or before: at once.

        Args:
            size: How many bytes of it came at once.
        """
        now = time.monotonic()
        if self._ends is None:
            self._begin(now)
        ends = self._ends or now
        return min(ends, now + _SHARE) if size > _ENDLESS else ends

    def wait(self, go_on: Callable[[], None]) -> None:
        """Calls it when those before it in line had their turns, in another turn of the loop."""
        self._waiting.append(go_on)
        if self._ends is None:
            self._begin(time.monotonic())

    def _begin(self, now: float) -> None:
        self._ends = now + _TURN
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        """A new turn of the loop: first those in line."""
        self._ends = None
        if not self._waiting:
            return
        now = time.monotonic()
        self._begin(now)
        ends = now + _TURN
        for _ in range(len(self._waiting)):
            self._waiting.popleft()()
            if time.monotonic() >= ends:
                break
