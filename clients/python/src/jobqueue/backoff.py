"""Waits between tries that spread callers apart."""

from __future__ import annotations

import random


class Backoff:
    """Decorrelated jitter: each wait is between the base and three times the one before, up to a cap.

    Args:
        base: The shortest wait, in seconds.
        cap: The longest wait, in seconds.
    """

    def __init__(self, base: float, cap: float) -> None:
        self._base = base
        self._cap = cap
        self._previous = base

    def next(self) -> float:
        """How long to wait now, in seconds."""
        self._previous = min(self._cap, random.uniform(self._base, 3 * self._previous))
        return self._previous

    def reset(self) -> None:
        """Starts anew from the base, after a success."""
        self._previous = self._base
