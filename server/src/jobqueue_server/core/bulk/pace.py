"""How fast an operation goes: how many jobs a step takes, and how long it rests before the next one. Pure."""

from __future__ import annotations

import math

#: What a step changes at most, and for how long it should hold its locks, in seconds.
MOST_CHANGED = 500
STEP_SECONDS = 0.2
#: What a step looks at, at least and at most: a filter that matches little reads further, for about as long.
_LEAST_WINDOW, _MOST_WINDOW = 50, 10_000
#: With a rate there are so many steps a second.
_STEPS_A_SECOND = 5


class Pace:
    """Keeps steps short, rests as long as a step took, and keeps to a rate by GCRA.

    In any time from its beginning on it lets through no more than the rate allows in that time and two steps: one to
    begin with, and one that makes up for a step that came late.

    Args:
        per_second: How many jobs a second; 0: as many as it goes.
        now: Seconds of a clock that only goes on.
        late: For how long the next step has been due, which another server may do.
        window: How many candidates the step before looked at, at most.
    """

    def __init__(self, per_second: int, now: float, late: float = 0.0, window: int = MOST_CHANGED) -> None:
        self._per_second = per_second
        self.most = MOST_CHANGED
        self._paid_until = now
        if per_second:
            self.most = min(MOST_CHANGED, math.ceil(per_second / _STEPS_A_SECOND))
            self._paid_until = now - min(late, self.most / per_second)
        self.window = window
        self._rested_at = now

    def stepped(self, jobs: int, began: float, ended: float) -> None:
        """A step changed so many jobs."""
        took = ended - began
        self._rested_at = ended + took
        if self._per_second:
            a_step = self.most / self._per_second
            self._paid_until = max(self._paid_until, began - a_step) + jobs / self._per_second
        if took > STEP_SECONDS:
            self.window = max(_LEAST_WINDOW, self.window // 2)
        elif took < STEP_SECONDS / 2 and jobs < self.most // 2:
            self.window = min(_MOST_WINDOW, self.window * 2)

    def wait(self, now: float) -> float:
        """Seconds until the next step."""
        return max(0.0, self._rested_at - now, self._paid_until - now)
