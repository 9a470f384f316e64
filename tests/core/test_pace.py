"""When those who were refused are told to come again: as jobs leave, at different moments, within 0.2 and 30 s."""

from __future__ import annotations

import random

import pytest

from jobqueue_server.core.intake.waiting import Waiting
from jobqueue_server.core.pace import Pace
from jobqueue_server.errors import QueueFull
from jobqueue_server.metrics import Metrics


class Time:
    """A clock that tests set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def pace_of(clock: Time, jitter: float = 0.0) -> Pace:
    return Pace(clock, lambda: jitter)


def seconds_until_room(pace: Pace, jobs: int) -> float:
    return pace.room_in(jobs).total_seconds()


def test_the_time_to_come_again_is_what_the_present_rate_needs_to_make_room():
    clock = Time()
    pace = pace_of(clock)
    pace.begins()
    for _ in range(20):
        clock.now += 0.1
        pace.left(100)
    assert seconds_until_room(pace, 3000) == pytest.approx(3)
    for _ in range(20):
        clock.now += 0.1
        pace.left(25)
    assert seconds_until_room(pace, 3000) == pytest.approx(12, rel=0.05)


def test_it_is_200_ms_at_least_and_30_s_at_most():
    clock = Time()
    pace = pace_of(clock)
    pace.begins()
    clock.now += 0.01
    pace.left(1000)
    assert seconds_until_room(pace, 1) == 0.2
    assert seconds_until_room(pace_of(Time(), 1.0), 0) == pytest.approx(0.3)
    clock.now += 3600
    assert seconds_until_room(pace, 1) == 20
    slow = pace_of(clock, 1.0)
    slow.begins()
    clock.now += 3600
    assert seconds_until_room(slow, 1) == 30


def test_where_nothing_leaves_it_is_as_long_as_that_has_lasted():
    clock = Time()
    pace = pace_of(clock)
    pace.begins()
    clock.now += 0.01
    pace.left(1000)
    clock.now += 7
    assert seconds_until_room(pace, 1) == pytest.approx(7)
    pace.begins()
    assert seconds_until_room(pace, 1) == 0.2


def test_those_who_were_refused_at_once_are_told_different_times():
    pace = Pace(Time(), random.Random(7).random)
    told = {seconds_until_room(pace, 1) for _ in range(100)}
    assert len(told) > 50
    assert 0.2 <= min(told) < max(told) <= 0.3


def test_a_refusal_names_the_limit_and_how_many_wait():
    clock = Time()
    waiting = Waiting(1000, Metrics(), pace_of(clock))
    waiting.storing_begins()
    waiting.enter(None, 1000)
    clock.now += 1
    waiting.stored(50, 0.1)
    with pytest.raises(QueueFull) as refused:
        waiting.check(None, 1)
    assert refused.value.metadata == {"waiting": "1000", "limit": "1000"}
    # A quarter of the line at 50 a second, so that those who come again find room.
    assert refused.value.retry_after is not None
    assert refused.value.retry_after.total_seconds() == pytest.approx(5)


def test_how_fast_jobs_come_is_not_taken_for_how_fast_they_are_stored():
    clock = Time()
    waiting = Waiting(1000, Metrics(), pace_of(clock))
    for _ in range(50):
        waiting.storing_begins()
        waiting.enter(None, 1)
        clock.now += 1
        waiting.stored(1, 0.001)
        waiting.leave(None, 1)
        waiting.storing_ends()
    waiting.storing_begins()
    waiting.enter(None, 1000)
    with pytest.raises(QueueFull) as refused:
        waiting.check(None, 1)
    assert refused.value.retry_after is not None
    assert refused.value.retry_after.total_seconds() == 0.2


def test_pressure_is_the_greater_of_how_full_the_line_is_and_of_the_commit():
    clock = Time()
    waiting = Waiting(100, Metrics(), pace_of(clock))
    waiting.storing_begins()
    waiting.enter(None, 80)
    assert waiting.stored(10, 0.25) == 0.8
    waiting.leave(None, 80)
    assert waiting.pressure == 0.25
    waiting.enter(None, 10)
    assert waiting.stored(10, 0.7) == 0.7
    assert waiting.stored(10, 7) == 1
    waiting.leave(None, 10)


def test_pressure_from_outside_counts_an_insert_under_way_and_forgets_one_long_ago():
    clock = Time()
    waiting = Waiting(100, Metrics(), pace_of(clock))
    waiting.storing_begins()
    waiting.enter(None, 10)
    clock.now += 0.6
    assert waiting.pressure == pytest.approx(0.6)
    waiting.stored(10, 0.6)
    waiting.leave(None, 10)
    waiting.storing_ends()
    assert waiting.pressure == 0.6
    clock.now += 6
    assert waiting.pressure == 0
