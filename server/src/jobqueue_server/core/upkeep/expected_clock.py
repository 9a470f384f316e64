"""The time that the database's clock should show: what tells a step of that clock from the passing of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from ... import logs

log = logs.get(__name__)

#: As in the statements that take an expected time. A heartbeat knows its moment to 1 s, a statement may wait for 4 s.
TOLERANCE = timedelta(seconds=5)


# How long the database's clock must go on from a time that it was set to, before anything is over by it. What was on
# its way when it was set has arrived by then (core/session/reaper.py), and a step that is taken back at once costs
# nothing.
REAP_AFTER_STEP = timedelta(seconds=10)
# What retention deletes is gone, and it has time.
DELETE_AFTER_STEP = timedelta(minutes=10)


class _Reading(NamedTuple):
    at: datetime
    monotonic: float

    def after(self, monotonic: float) -> datetime:
        """What the clock shows at another moment, if it is not set meanwhile."""
        return self.at + timedelta(seconds=monotonic - self.monotonic)

    def agrees(self, other: _Reading) -> bool:
        """Whether one clock may show both without being set in between."""
        return abs(self.after(other.monotonic) - other.at) <= TOLERANCE


class ExpectedClock:
    """The database's time as of the last heartbeat that was believed, and what has passed since by our monotonic clock.

    What is taken away because a time is over - leases, sessions, jobs past their retention - is gone for good. A clock
    that was set wrong is mostly set right again. So the statements that take it away compare their now() with
    this time, and do nothing while the two differ by more than 5 s. A heartbeat that agrees is believed. One that
    does not is believed once all that follow for `held_for` agree with it: the clock shows that time from now on.

    Before anything was believed there is nothing to compare with: two heartbeats that agree with each other suffice.

    Args:
        what: What waits meanwhile, for the log.
        held_for: How long a clock that was set must go on from its new time.
        monotonic: Our own clock, in seconds.
    """

    def __init__(
        self, what: str, *, held_for: timedelta, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._held_for = held_for
        self._monotonic = monotonic
        self._believed: _Reading | None = None
        self._doubted: _Reading | None = None

    def now(self) -> datetime | None:
        """What the database's clock should show; None before anything was believed."""
        return None if self._believed is None else self._believed.after(self._monotonic())

    def heard(self, at: datetime, monotonic: float) -> bool:
        """A heartbeat read the database's clock at this moment of ours. Answers whether it is believed."""
        reading = _Reading(at, monotonic)
        believed, doubted = self._believed, self._doubted
        if believed is not None and believed.agrees(reading):
            if doubted is not None:
                log.warning("the database's clock is right again", goes_on=self._what)
        elif doubted is None or not doubted.agrees(reading):
            self._doubted = reading
            if believed is not None:
                seconds = (at - believed.after(monotonic)).total_seconds()
                log.warning(
                    "the database's clock was set",
                    seconds=seconds,
                    waits=self._what,
                    for_at_least=self._held_for,
                )
            return False
        elif believed is not None:
            if monotonic - doubted.monotonic < self._held_for.total_seconds():
                return False
            log.warning("the database's clock keeps the time that it was set to", goes_on=self._what)
        self._believed, self._doubted = reading, None
        return True


class ExpectedClocks:
    """One for each kind of thing that is taken away because a time is over.

    Attributes:
        reaping: Leases and sessions.
        retention: Jobs and keys.
    """

    def __init__(self) -> None:
        self.reaping = ExpectedClock("reaping and timeouts", held_for=REAP_AFTER_STEP)
        self.retention = ExpectedClock("retention", held_for=DELETE_AFTER_STEP)

    def heard(self, at: datetime, monotonic: float) -> None:
        """A heartbeat read the database's clock at this moment of ours."""
        for clock in (self.reaping, self.retention):
            clock.heard(at, monotonic)
