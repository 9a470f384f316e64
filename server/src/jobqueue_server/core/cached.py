"""What was read a moment ago, for all callers that ask in the meantime."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

Value = TypeVar("Value")

#: At most so many reads are kept, unless more of them go on. Callers choose their keys.
MOST_KEPT = 10_000


class _Reading(Generic[Value]):
    """A read that began at a time, and how many callers wait for it."""

    __slots__ = ("_callers", "at", "future")

    def __init__(self, at: float, future: asyncio.Future[Value]) -> None:
        self.at = at
        self.future = future
        self._callers = 0

    def enter(self) -> None:
        """One more waits for it."""
        self._callers += 1

    def leave(self) -> None:
        """One of them waits no more."""
        self._callers -= 1

    @property
    def in_vain(self) -> bool:
        """Whether it goes on, and no caller waits for it."""
        return not self._callers and not self.future.done()


class Cached(Generic[Value]):
    """Reads once for all who ask within `seconds`. A read that failed is made again by the next who asks.

    Args:
        seconds: How long what was read is kept.
        while_wanted: A read is ended once all who asked for it have hung up. Otherwise it goes on, for who asks next.
    """

    def __init__(self, seconds: float, *, while_wanted: bool = False) -> None:
        self._seconds = seconds
        self._while_wanted = while_wanted
        self._reads: dict[Hashable, _Reading[Value]] = {}

    async def get(
        self, key: Hashable, read: Callable[[], Awaitable[Value]], *, max_age: float | None = None
    ) -> Value:
        """What `read` answered, now or less than `seconds` ago; less than `max_age` ago, if that is given."""
        now = time.monotonic()
        since = now - (self._seconds if max_age is None else max_age)
        if key not in self._reads:
            self._forget(now - self._seconds)
        reading = self._reads.get(key)
        if reading is None or reading.at <= since or _failed(reading.future):
            reading = self.begin(key, read)
        reading.enter()
        try:
            # A caller that hangs up does not end it for the others.
            return await asyncio.shield(reading.future)
        finally:
            reading.leave()
            if self._while_wanted and reading.in_vain:
                reading.future.cancel()
                if self._reads.get(key) is reading:
                    del self._reads[key]
            # An error has this frame in its traceback, and would hold itself by the read.
            del reading

    def begin(self, key: Hashable, read: Callable[[], Awaitable[Value]]) -> _Reading[Value]:
        """Reads now, also for who has not asked yet."""
        now = time.monotonic()
        future = asyncio.ensure_future(read())
        # At the end: reads stand in the order of their beginnings.
        self._reads.pop(key, None)
        reading = self._reads[key] = _Reading(now, future)
        future.add_done_callback(partial(self._over, key))
        if len(self._reads) > MOST_KEPT:
            self._forget_oldest()
        return reading

    def _over(self, key: Hashable, future: asyncio.Future[Value]) -> None:
        """A read that failed is of no use. Its error is looked at also where all callers have hung up."""
        if _failed(future) and key in self._reads and self._reads[key].future is future:
            del self._reads[key]

    def _forget_oldest(self) -> None:
        for key, reading in self._reads.items():
            if reading.future.done():
                del self._reads[key]
                break

    def _forget(self, until: float) -> None:
        """All that is old goes, so that it holds no more than was asked for lately; nothing else is looked at."""
        while self._reads:
            oldest = next(iter(self._reads))
            if self._reads[oldest].at > until:
                break
            del self._reads[oldest]


def _failed(reading: asyncio.Future[Value]) -> bool:
    return reading.done() and (reading.cancelled() or reading.exception() is not None)
