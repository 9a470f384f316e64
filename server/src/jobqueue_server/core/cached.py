"""What was read a moment ago, for all callers that ask in the meantime."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Cached(Generic[Value]):
    """Reads once for all who ask within `seconds`. A read that failed is made again by the next who asks."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # With when each began.
        self._reads: dict[Hashable, tuple[float, asyncio.Future[Value]]] = {}

    async def get(
        self, key: Hashable, read: Callable[[], Awaitable[Value]], *, max_age: float | None = None
    ) -> Value:
        """What `read` answered, now or less than `seconds` ago; less than `max_age` ago, if that is given."""
        now = time.monotonic()
        since = now - (self._seconds if max_age is None else max_age)
        if key not in self._reads:
            # All that is old goes, so that it holds no more than was asked for lately.
            for old in [old for old, (at, _) in self._reads.items() if at <= now - self._seconds]:
                del self._reads[old]
        at, reading = self._reads.get(key, (0.0, None))
        if reading is None or at <= since or (reading.done() and _failed(reading)):
            reading = asyncio.ensure_future(read())
            # An error is looked at also where all callers have hung up.
            reading.add_done_callback(_failed)
            self._reads[key] = (now, reading)
        # A caller that hangs up does not end it for the others.
        return await asyncio.shield(reading)


def _failed(reading: asyncio.Future[Value]) -> bool:
    return reading.cancelled() or reading.exception() is not None
