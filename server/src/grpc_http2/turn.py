"""How long the frames of a connection are handled before others have their turn."""

from __future__ import annotations

import asyncio
import time

# For all connections together, in one turn of the loop, in seconds. Less cuts a burst of 100 good calls in pieces,
# whose jobs are then stored by more statements: with 10 ms that cost 2 % of CPU, with 2 ms 10 %.
_TURN = 0.03
# What each connection has, also where others have used that up.
_LEAST = 0.002


class Turn:
    """The turn of the loop that is now, of one server."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends: float | None = None

    def ends(self) -> float:
        """When the frames of a connection that begins now are left for the next turn, by `time.monotonic()`."""
        now = time.monotonic()
        if self._ends is None:
            self._ends = now + _TURN
            asyncio.get_running_loop().call_soon(self._over)
        return max(self._ends, now + _LEAST)

    def _over(self) -> None:
        self._ends = None
