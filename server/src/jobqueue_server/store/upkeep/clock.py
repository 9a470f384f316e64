"""Reads the database's clock, and builds ids the way the driver likes them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from asyncpg.pgproto.pgproto import UUID as DriverUUID

from ..database import Database

#: Builds an id that the driver encodes without conversion: a subclass of `uuid.UUID`, equal to it, hashed alike.
uuid_of: Callable[[bytes], UUID] = DriverUUID


#: What the database's clock should show now; None while unknown. Statements that take away compare it with now().
Expected = Callable[[], datetime | None]


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What the database's clock said, between two readings of ours. All three in microseconds.

    Attributes:
        sent_us: `time.monotonic` before the question.
        database_us: The answer, since 1970.
        received_us: `time.monotonic` after the answer.
    """

    sent_us: int
    database_us: int
    received_us: int

    @property
    def round_trip_us(self) -> int:
        """How long question and answer took; half of it bounds the error."""
        return self.received_us - self.sent_us

    @property
    def offset_us(self) -> int:
        """What to add to `time.monotonic` to have the database's time, taking both ways for equally long."""
        return self.database_us - (self.sent_us + self.received_us) // 2


class ClockStore:
    """The database's clock.

    Raises (every method): DatabaseAway when PostgreSQL does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read_clock(self, times: int) -> list[ClockReading]:
        """Reads it `times` times on one connection, so that waiting for a connection is in no reading."""
        readings = []
        async with self._database.session() as session:
            for _ in range(times):
                sent_us = time.monotonic_ns() // 1000
                row = await session.fetchrow("read_clock")
                received_us = time.monotonic_ns() // 1000
                assert row is not None  # a select without from has one row
                readings.append(ClockReading(sent_us, row["us"], received_us))
        return readings
