"""The worker's clock: the one that was there when the package was imported.

Test tools that freeze time replace `time.monotonic`. A session that took its time from the replacement would send no
heartbeat while time stands still, and lose its jobs.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime


class Clock:
    """The clocks of the worker. They are attributes of a class: test tools replace those of modules."""

    #: Seconds since some moment. It never goes back.
    monotonic = staticmethod(time.monotonic)
    #: Seconds since 1970.
    time = staticmethod(time.time)
    _datetime = datetime

    @classmethod
    def now(cls) -> datetime:
        """This moment, as a person reads it."""
        return cls.of(cls.time())

    @classmethod
    def of(cls, seconds: float) -> datetime:
        """The moment so many seconds after 1970."""
        return cls._datetime.fromtimestamp(seconds, UTC)


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop whose timers go by `Clock.monotonic`, whatever is patched later."""
    loop = asyncio.new_event_loop()
    loop.time = Clock.monotonic  # type: ignore[method-assign]
    return loop
