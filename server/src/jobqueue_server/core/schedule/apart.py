"""Schedules that are fired apart from the round: those that could not be stored together, and those that fail."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

#: So many wait to be fired apart. What finds no place is due still, and is found again.
MOST_APART = 2000
#: How long one that has failed is left alone: at first, twice as long each time, and at most, in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
_MOST_REMEMBERED = 20_000

Whose = tuple[int, str]


@dataclass(slots=True)
class _Failed:
    """How long a schedule was left alone after its last failure, and until when it is."""

    pause: float
    until: float


class Apart:
    """Who waits to be fired apart, by turns of principals. It knows no database.

    A group that could not be stored together is fired once more without the schedules of other principals, and then by
    halves, until each that is to blame stands alone. One that was refused alone is put into no round before it has
    fired. One that failed without a good reason is left alone for a growing time.

    Args:
        now: Seconds of a clock that only goes on.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        # Principals in the order of their turns.
        self._waiting: dict[Whose, deque[list[int]]] = {}
        # Those that wait or are fired apart just now.
        self._ids: set[int] = set()
        self._refused: set[int] = set()
        self._failed: dict[int, _Failed] = {}
        self.came = asyncio.Event()

    def left_out(self) -> list[int]:
        """Those that no round is to find."""
        now = self._now()
        return [*self._ids, *(each for each, failed in self._failed.items() if failed.until > now)]

    def was_refused(self, schedule_id: int) -> bool:
        """Whether it is to be fired alone, since it was refused the last time."""
        return schedule_id in self._refused or schedule_id in self._failed

    def add(self, whose: Whose, ids: Sequence[int]) -> bool:
        """These are to be fired together, apart from all others. Whether there is room for them."""
        if len(self._ids) + len(ids) > MOST_APART:
            return False
        self._ids.update(ids)
        self._waiting.setdefault(whose, deque()).append(list(ids))
        self.came.set()
        return True

    def take(self) -> tuple[Whose, list[int]] | None:
        """The next group, of the principal whose turn it is; None: none waits."""
        whose = next(iter(self._waiting), None)
        if whose is None:
            self.came.clear()
            return None
        groups = self._waiting.pop(whose)
        group = groups.popleft()
        if groups:
            # To the end of the line.
            self._waiting[whose] = groups
        return whose, group

    def done(self, ids: Iterable[int]) -> None:
        """These are not fired apart any more: rounds find them again."""
        self._ids.difference_update(ids)

    def fired(self, schedule_id: int) -> None:
        """It has nothing against it."""
        self._refused.discard(schedule_id)
        self._failed.pop(schedule_id, None)

    def refused(self, schedule_id: int) -> None:
        """Its job did not fit, which only the database could say."""
        self._failed.pop(schedule_id, None)
        if len(self._refused) >= _MOST_REMEMBERED:
            self._refused.clear()
        self._refused.add(schedule_id)

    def failed(self, schedule_id: int) -> float:
        """It failed: it is left alone for so many seconds."""
        if len(self._failed) >= _MOST_REMEMBERED:
            self._failed.clear()
        before = self._failed.get(schedule_id)
        pause = FIRST_PAUSE if before is None else min(LONGEST_PAUSE, before.pause * 2)
        self._failed[schedule_id] = _Failed(pause, self._now() + pause)
        return pause
