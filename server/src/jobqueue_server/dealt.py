"""What is made of a value that many callers are given: made once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")
Made = TypeVar("Made")


class Dealt(Generic[Value, Made]):
    """Keeps what was made of the newest values. A value is known by which object it is, so it must never change.

    Args:
        most: How many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # With the value itself: while it is kept, no other object has its id.
        self._kept: dict[int, tuple[Value, Made]] = {}

    def get(self, value: Value, make: Callable[[Value], Made]) -> Made:
        """What `make` made of it, now or before."""
        kept = self._kept.get(id(value))
        if kept is not None:
            return kept[1]
        made = make(value)
        while len(self._kept) >= self._most:
            del self._kept[next(iter(self._kept))]
        self._kept[id(value)] = value, made
        return made
