"""A waiting line in which no principal stands in the way of another, and no connection in that of its siblings."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

from .owner import CALLER, Owner

T = TypeVar("T")


class FairLine(Generic[T]):
    """A line of units in which principals take turns, and the connections of each: a flood waits behind itself only."""

    def __init__(self) -> None:
        self._lines: OrderedDict[Owner, OrderedDict[str, deque[T]]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._lines)

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
        line = lines.get(caller)
        if line is None:
            lines[caller] = deque((unit,))
        else:
            line.append(unit)

    def peek(self) -> T:
        """The unit whose turn it is."""
        return next(iter(next(iter(self._lines.values())).values()))[0]

    def pop(self) -> T:
        """Takes that unit; the next one of its connection comes after one of each other connection of the principal,
        and the principal's next one after one of each other principal.
        """
        owner, lines = next(iter(self._lines.items()))
        caller, line = next(iter(lines.items()))
        unit = line.popleft()
        if line:
            lines.move_to_end(caller)
        else:
            del lines[caller]
        if not lines:
            del self._lines[owner]
        elif len(self._lines) > 1:
            self._lines.move_to_end(owner)
        return unit
