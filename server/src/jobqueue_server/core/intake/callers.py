"""Who calls, and a waiting line in which no caller stands in the way of another."""

from __future__ import annotations

from collections import OrderedDict, deque
from contextvars import ContextVar
from typing import Generic, TypeVar

#: The connection that the current call came by; set by the chain, empty inside of the server.
CALLER: ContextVar[str] = ContextVar("caller", default="")

T = TypeVar("T")


class FairLine(Generic[T]):
    """A line of units in which the callers take turns: one that sends a flood waits behind itself only."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[T]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._lines)

    def append(self, unit: T, caller: str | None = None) -> None:
        """Puts a unit at the end of its caller's own line: that of the current call, where `caller` is None."""
        if caller is None:
            caller = CALLER.get()
        line = self._lines.get(caller)
        if line is None:
            self._lines[caller] = deque((unit,))
        else:
            line.append(unit)

    def peek(self) -> T:
        """The unit whose turn it is."""
        return next(iter(self._lines.values()))[0]

    def pop(self) -> T:
        """Takes that unit; its caller's next one comes after one of each other caller."""
        caller, line = next(iter(self._lines.items()))
        unit = line.popleft()
        if line:
            self._lines.move_to_end(caller)
        else:
            del self._lines[caller]
        return unit
