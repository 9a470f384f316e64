"""From when until when statistics are asked for, and in which steps; buckets and quantiles of durations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobqueue_server.core.events.tallies import BOUNDS, BUCKETS, Tally, quantile
from jobqueue_server.core.stats.history import Wanted, stretch
from jobqueue_server.errors import FieldInvalid
from jobqueue_server.histogram import add_ascending

pytestmark = pytest.mark.unit

NOON = datetime(2026, 11, 28, 12, 0, 7, tzinfo=UTC)


def test_without_anything_it_is_the_last_hour_in_steps_of_ten_seconds():
    since, until, step = stretch(Wanted(), NOON)
    assert (since, until, step) == (NOON.replace(hour=11, second=0), NOON, timedelta(seconds=10))


def test_what_is_older_than_90_days_is_not_asked_for():
    since, _, step = stretch(Wanted(since=NOON - timedelta(days=400)), NOON)
    assert NOON - timedelta(days=91) < since <= NOON - timedelta(days=90)
    assert step == timedelta(hours=6)


def test_too_many_points_are_refused_with_the_shortest_step_that_will_do():
    wanted = Wanted(since=NOON - timedelta(days=1), step=timedelta(seconds=60))
    with pytest.raises(FieldInvalid, match="make it 120 s or longer"):
        stretch(wanted, NOON)


def test_a_batch_is_counted_as_each_of_its_values_would_be():
    values = sorted([0.0, 0.0005, 0.001, 0.0011, 0.002, 0.5, 0.5, 3.0, 5000.0, 1e6])
    together, apart = [0] * BUCKETS, [0] * BUCKETS
    add_ascending(together, BOUNDS, values)
    for value in values:
        add_ascending(apart, BOUNDS, [value])
    assert together == apart
    assert (together[0], together[1], together[-1]) == (3, 2, 2)


def test_a_quantile_is_within_the_bucket_that_has_it():
    tally = Tally()
    tally.waited([0.0005] * 90 + [0.012] * 10)
    half, most = quantile(tally.waits, 0.5), quantile(tally.waits, 0.99)
    assert half is not None
    assert most is not None
    assert half <= timedelta(milliseconds=1)
    assert timedelta(milliseconds=8) < most <= timedelta(milliseconds=16)
    assert quantile(None, 0.5) is None
    assert quantile([0] * BUCKETS, 0.5) is None


def test_an_hour_before_the_first_moment_that_there_is_is_no_fault():
    for wanted in (
        Wanted(until=datetime(1, 1, 1, tzinfo=UTC)),
        Wanted(until=datetime(1, 1, 1, 0, 30, tzinfo=UTC)),
    ):
        since, until, _ = stretch(wanted, NOON)
        assert since <= until == NOON - timedelta(days=90)
