"""How long the frames of a connection are handled before others have their turn."""

from __future__ import annotations

import asyncio
import time

# For all connections together, in one turn of the loop, in seconds. Less cuts a burst of 100 good calls in pieces,
# whose jobs are then stored by more statements: with 2 ms that cost 10 % of CPU.
_TURN = 0.012
# What each connection has, also where others have used that up, and all that one has that sends without an end.
_LEAST = 0.001
_ENDLESS = 64 << 10


class Turn:
    """The turn of the loop that is now, of one server."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends: float | None = None

    def ends(self, size: int) -> float:
        """When the frames of a connection are left for the next turn, of which so many bytes came at once.

        It begins with them now. By `time.monotonic()`.
        """
        now = time.monotonic()
        if size > _ENDLESS:
            return now + _LEAST
        if self._ends is None:
            self._ends = now + _TURN
            asyncio.get_running_loop().call_soon(self._over)
        return max(self._ends, now + _LEAST)

    def _over(self) -> None:
        self._ends = None
