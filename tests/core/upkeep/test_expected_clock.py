"""A step of the database's clock is told from the passing of time, and is believed once it has held."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobqueue_server.core.upkeep.expected_clock import TOLERANCE, ExpectedClock

pytestmark = pytest.mark.unit

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HELD_FOR = timedelta(seconds=10)
BEAT = 2.0


class Heartbeats:
    """Heartbeats of a server, at moments of its own clock, that read a clock which is set as the test says."""

    def __init__(self) -> None:
        self.monotonic = 1000.0
        self.set_by = timedelta()
        self.clock = ExpectedClock("everything", held_for=HELD_FOR, monotonic=lambda: self.monotonic)

    @property
    def right(self) -> datetime:
        """What a clock that nobody set shows now."""
        return NOON + timedelta(seconds=self.monotonic - 1000)

    def beat(self, after: float = BEAT, *, off: float = 0.0) -> bool:
        """Some seconds later; `off`: how much later than its moment it was read."""
        self.monotonic += after
        return self.clock.heard(self.right + self.set_by + timedelta(seconds=off), self.monotonic)

    def run(self, beats: int = 3) -> Heartbeats:
        """With heartbeats that are believed behind it."""
        for _ in range(beats):
            self.beat()
        assert self.clock.now() == self.right
        return self


def test_before_two_heartbeats_that_agree_nothing_is_expected():
    beats = Heartbeats()
    assert beats.clock.now() is None
    assert not beats.beat(0)
    assert beats.clock.now() is None
    beats.set_by = timedelta(hours=1)
    assert not beats.beat()
    assert beats.clock.now() is None, "the two differ"
    assert beats.beat(0.01), "the clock may be wrong, which this server can't know"
    assert beats.clock.now() == beats.right + timedelta(hours=1)


def test_between_heartbeats_the_time_goes_on_by_our_own_clock():
    beats = Heartbeats().run()
    beats.monotonic += 3600
    assert beats.clock.now() == beats.right
    assert beats.beat(), "the database was away for an hour, which is no step"


@pytest.mark.parametrize("hours", [1, -1, 24 * 365])
def test_a_clock_that_was_set_is_believed_once_it_has_held(hours):
    beats = Heartbeats().run()
    beats.set_by = timedelta(hours=hours)
    for _ in range(5):
        assert not beats.beat(1.9)
        assert beats.clock.now() == beats.right
    assert beats.beat(3)
    assert beats.clock.now() == beats.right + beats.set_by
    assert beats.beat()


@pytest.mark.parametrize("hours", [1, -1])
def test_a_step_that_is_taken_back_costs_nothing(hours):
    beats = Heartbeats().run()
    beats.set_by = timedelta(hours=hours)
    for _ in range(3):
        assert not beats.beat()
    beats.set_by = timedelta()
    assert beats.beat()
    beats.set_by = timedelta(hours=hours)
    assert not beats.beat(11), "the first step does not count towards the second"


def test_each_step_is_to_hold_by_itself():
    beats = Heartbeats().run()
    for step in range(1, 20):
        beats.set_by = timedelta(minutes=step)
        assert not beats.beat()
    assert beats.clock.now() == beats.right


def test_a_slow_heartbeat_and_a_slow_drift_are_no_step():
    beats = Heartbeats().run()
    assert beats.beat(4, off=-1)
    assert beats.beat(off=1)
    for _ in range(1800):
        beats.set_by += timedelta(milliseconds=20)
        assert beats.beat()
    assert beats.set_by > 5 * TOLERANCE


def test_a_machine_that_slept_waits_for_its_heartbeats_to_agree():
    """Our own clock stood still meanwhile: to it the database's was set."""
    beats = Heartbeats().run()
    beats.set_by = timedelta(hours=8)
    assert not beats.beat()
    while not beats.beat():
        assert beats.monotonic < 1100
    assert beats.clock.now() == beats.right + timedelta(hours=8)
