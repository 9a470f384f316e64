"""When to do again what is done all the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Of the time, what is done again and again takes so manieth at most.
_SHARE = 50


class DutyCycle:
    """Due at an interval, and later where it took long.

    A read of all leases passes over every dead entry of the index while a transaction holds a snapshot: 0.5 s after
    4 million jobs, and longer each time. It may take a fiftieth of the time.

    Args:
        every: Seconds.
        clock: Tells seconds, on this host.
    """

    def __init__(self, every: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._every = every
        self._clock = clock
        self._rests_until = clock()
        self._due_at = self._rests_until + every

    @property
    def left(self) -> float:
        """Seconds until it is due; 0 once it is."""
        return max(0.0, self._due_at - self._clock())

    def soon(self) -> None:
        """It is due without its interval, as soon as its share of the time lets it."""
        self._due_at = self._rests_until

    @contextmanager
    def done(self) -> Iterator[None]:
        """Around it, however it ends."""
        started = self._clock()
        try:
            yield
        finally:
            ended = self._clock()
            self._rests_until = ended + (ended - started) * _SHARE
            self._due_at = max(ended + self._every, self._rests_until)
