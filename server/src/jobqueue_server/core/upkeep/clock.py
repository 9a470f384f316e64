"""The database's clock, kept in memory, so that asking what time it is costs no round trip."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

from ... import logs
from ...errors import DatabaseAway, DatabaseFull
from ...store.upkeep.clock import ClockStore

log = logs.get(__name__)

READ_EVERY = timedelta(seconds=10)
READINGS = 5
# Two hosts that follow NTP differ by milliseconds. A step over a second is an operator or a failover.
WORTH_A_WARNING_US = 1_000_000


class Clock:
    """Now, by the database: its offset to `time.monotonic`, measured at start and every 10 s by `run`.

    It never goes backwards: when the database's clock did, this one stands still until the other caught up.
    """

    def __init__(self, store: ClockStore) -> None:
        self._store = store
        self._offset_us: int | None = None
        self._latest_us = 0

    async def measure(self) -> None:
        """Measures the offset: of a few readings the one with the shortest round trip, at its middle.

        Raises:
            DatabaseAway: PostgreSQL does not answer; the last offset stays in force.
        """
        best = min(await self._store.read_clock(READINGS), key=lambda reading: reading.round_trip_us)
        if self._offset_us is not None:
            step_us = best.offset_us - self._offset_us
            if abs(step_us) > WORTH_A_WARNING_US:
                log.warning("the database's clock was set; here time never goes back", seconds=step_us / 1e6)
        self._offset_us = best.offset_us

    async def run(self) -> None:
        """Measures now and every 10 s until cancelled; while the database is away the last offset is kept."""
        while True:
            try:
                await self.measure()
            except (DatabaseAway, DatabaseFull) as error:
                log.warning("could not read the database's clock", error=error)
            await asyncio.sleep(READ_EVERY.total_seconds())

    def now(self) -> datetime:
        """The database's time, in UTC.

        Raises:
            DatabaseAway: It was never measured.
        """
        return datetime.fromtimestamp(self._now_us() / 1e6, UTC)

    def now_ms(self) -> int:
        """The same in milliseconds since 1970.

        Raises:
            DatabaseAway: It was never measured.
        """
        return self._now_us() // 1000

    @property
    def host_ahead(self) -> timedelta:
        """How far the clock of this host is ahead of the database's; negative where it is behind."""
        if self._offset_us is None:
            return timedelta()
        database_us = time.monotonic_ns() // 1000 + self._offset_us
        return timedelta(microseconds=time.time_ns() // 1000 - database_us)

    def _now_us(self) -> int:
        if self._offset_us is None:
            raise DatabaseAway("the database's clock was not read yet; try again")
        self._latest_us = max(self._latest_us, time.monotonic_ns() // 1000 + self._offset_us)
        return self._latest_us
