"""How busy the thread of the event loop is: whether waiting for company costs anybody anything."""

from __future__ import annotations

import time

_WINDOW = 0.05
# Of a core. At 1,000 enqueues a second, one a call, the loop takes about half of one, and nobody should wait.
_SATURATED = 0.75


class Load:
    """Measures the thread that asks."""

    def __init__(self) -> None:
        self._at = time.monotonic()
        self._used = time.thread_time()
        self._share = 0.0

    def saturated(self) -> bool:
        """Whether the thread took most of a core in the last whole twentieth of a second."""
        now = time.monotonic()
        if now - self._at >= _WINDOW:
            used = time.thread_time()
            self._share = (used - self._used) / (now - self._at)
            self._at, self._used = now, used
        return self._share >= _SATURATED
