"""How fast jobs leave a place that is full, and so when it is worth coming again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import timedelta

# Of what was measured, what counts still at the next measurement.
_KEPT = 0.8
# In seconds. The jitter comes on top of it, and half as much again is within 30 s.
_SHORTEST, _LONGEST = 0.2, 20.0
_JITTER = 0.5


class Pace:
    """Measures how fast jobs leave a place while others wait there.

    Args:
        clock: Tells seconds, on this host.
        random: Tells numbers from 0 to 1.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, random: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._random = random
        self._jobs = self._seconds = 0.0
        self._at = clock()

    @property
    def stalled(self) -> float:
        """For how many seconds none has left, though some wait."""
        return self._clock() - self._at

    def begins(self) -> None:
        """Jobs wait from now on, or wait and were seen to move: nothing has stalled."""
        self._at = self._clock()

    def left(self, jobs: int) -> None:
        """So many have left since the last call of this or of `begins`, and others waited all the time."""
        now = self._clock()
        self._jobs = self._jobs * _KEPT + jobs
        self._seconds = self._seconds * _KEPT + now - self._at
        self._at = now

    def room_in(self, jobs: int) -> timedelta:
        """When there is room for so many more: 0.2 to 30 s from now, other for each who asks.

        Where none leaves, the wait is as long as that has lasted. Callers that were refused at the same moment come
        back at different ones.
        """
        seconds = jobs * self._seconds / self._jobs if self._jobs else 0.0
        seconds = min(max(seconds, self.stalled, _SHORTEST), _LONGEST) * (1 + _JITTER * self._random())
        return timedelta(milliseconds=round(seconds * 1000))
