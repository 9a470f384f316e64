"""A waiting line in which no principal stands in the way of another, and no connection in that of its siblings."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

from .owner import CALLER, Owner

T = TypeVar("T")


class FairLine(Generic[T]):
    """A line of units in which principals take turns, and the connections of each: a flood waits behind itself only.

    Units have a cost. Next is the principal of which least was taken, counted from when it came: of one that brings
    jobs one by one as many are taken as of one that brings a thousand at once. Its connections take turns by unit.
    (Start-time fair queueing: P. Goyal, H. M. Vin, H. Cheng, IEEE/ACM Transactions on Networking 5(5), 1997.)
    """

    def __init__(self) -> None:
        self._lines: dict[Owner, OrderedDict[str, deque[T]]] = {}
        # What was taken of each principal in line; one that comes begins with what was taken of the one before.
        self._taken: dict[Owner, int] = {}
        self._now = 0

    def append(self, unit: T, owner: Owner = None, caller: str | None = None) -> None:
        """Puts a unit at the end of a connection's own line.

        Args:
            unit: What is to be in line.
            owner: Whose it is.
            caller: The connection; None: that of the current call.
        """
        if caller is None:
            caller = CALLER.get()
        lines = self._lines.get(owner)
        if lines is None:
            lines = self._lines[owner] = OrderedDict()
            self._taken[owner] = self._now
        line = lines.get(caller)
        if line is None:
            lines[caller] = deque((unit,))
        else:
            line.append(unit)

    def peek(self) -> T | None:
        """The unit whose turn it is; None where there is none."""
        lines = self._lines
        if not lines:
            return None
        owner = self._next() if len(lines) > 1 else next(iter(lines))
        return next(iter(lines[owner].values()))[0]

    def pop(self, cost: int = 1) -> T:
        """Takes that unit, which costs so much; the next one of its connection comes after one of each sibling."""
        owner = self._next() if len(self._lines) > 1 else next(iter(self._lines))
        lines = self._lines[owner]
        caller, line = next(iter(lines.items()))
        unit = line.popleft()
        self._now = self._taken[owner]
        self._taken[owner] += cost
        if line:
            lines.move_to_end(caller)
        else:
            del lines[caller]
            if not lines:
                del self._lines[owner], self._taken[owner]
        return unit

    def _next(self) -> Owner:
        """The principal whose turn it is, of several."""
        return min(self._taken, key=self._taken.__getitem__)
