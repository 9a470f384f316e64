"""How many jobs wait in a queue that limits it: what was counted, and what came and went since."""

from __future__ import annotations

import pytest

from jobqueue_server.core.catalog.waiting_limits import WaitingLimit
from jobqueue_server.core.pace import Pace


class Time:
    """A clock that tests set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def limit_of(most: int, clock: Time | None = None) -> WaitingLimit:
    return WaitingLimit("mail", most, Pace(clock or Time(), lambda: 0.0))


def stored(limit: WaitingLimit, jobs: int) -> None:
    limit.enters(jobs)
    limit.leaves(jobs)
    limit.came(jobs)


def test_what_came_since_the_count_waits_and_what_went_does_not():
    limit = limit_of(10)
    limit.count_begins()
    limit.count_ended(4)
    limit.enters(3)
    assert limit.waiting == 7
    limit.leaves(3)
    assert limit.waiting == 4
    limit.came(3)
    limit.went(2)
    assert (limit.waiting, limit.full) == (5, False)
    stored(limit, 5)
    assert (limit.waiting, limit.full, limit.fill) == (10, True, 1.0)


def test_a_count_takes_away_what_came_before_it_and_keeps_what_came_meanwhile():
    limit = limit_of(100)
    stored(limit, 5)
    limit.enters(2)
    limit.count_begins()
    stored(limit, 7)
    limit.went(1)
    limit.count_ended(20)
    assert limit.waiting == 20 + 2 + 7 - 1


def test_jobs_of_a_batch_that_goes_over_the_limit_are_let_in_and_the_next_are_not():
    limit = limit_of(10)
    stored(limit, 9)
    assert (limit.full, limit.fill) == (False, 0.9)
    stored(limit, 500)
    assert (limit.full, limit.fill) == (True, 1.0)


def test_a_refusal_names_the_queue_the_limit_and_how_many_wait():
    limit = limit_of(10)
    stored(limit, 12)
    error = limit.refusal()
    assert error.metadata == {"queue": "mail", "waiting": "12", "limit": "10"}
    assert (error.reason, error.code) == ("QUEUE_BACKLOG_FULL", "RESOURCE_EXHAUSTED")
    assert "mail" in error.message


def test_the_time_to_come_again_follows_the_rate_at_which_the_queue_drains():
    clock = Time()
    limit = limit_of(1000, clock)
    limit.count_begins()
    limit.count_ended(1000)
    for waiting in (900, 800, 700):
        clock.now += 1
        limit.count_begins()
        limit.count_ended(waiting)
    stored(limit, 300)
    again = limit.refusal().retry_after
    assert again is not None
    # A quarter of the limit at 100 a second.
    assert again.total_seconds() == pytest.approx(2.5)


def test_what_came_and_went_between_two_counts_has_drained():
    clock = Time()
    limit = limit_of(1000, clock)
    limit.count_begins()
    limit.count_ended(1000)
    clock.now += 1
    stored(limit, 500)
    limit.went(500)
    limit.count_begins()
    limit.count_ended(1000)
    again = limit.refusal().retry_after
    assert again is not None
    assert again.total_seconds() == pytest.approx(0.5)


def test_a_queue_that_nothing_leaves_is_worth_a_long_wait_and_one_that_ran_empty_is_not():
    clock = Time()
    limit = limit_of(100, clock)
    limit.count_begins()
    limit.count_ended(100)
    for _ in range(15):
        clock.now += 1
        limit.count_begins()
        limit.count_ended(100)
    again = limit.refusal().retry_after
    assert again is not None
    assert again.total_seconds() == pytest.approx(15)
    limit.count_begins()
    limit.count_ended(0)
    stored(limit, 100)
    again = limit.refusal().retry_after
    assert again is not None
    assert again.total_seconds() == 0.2
