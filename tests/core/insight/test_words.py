"""Sentences with numbers, as people read them: one job waits, two jobs wait."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobqueue_server.core.insight import demand, warnings
from jobqueue_server.core.session.load import Workers

from ..brain import NOON

pytestmark = pytest.mark.unit


def why(due: int = 0, runnable: int = 0, short: int = 0, by_key: int = 0, free: int = 1, **also: Any) -> str:
    flags = {name: also.pop(name, False) for name in ("all_run", "none_starts", "none_of_kinds")}
    stands = also.pop("stands", "")
    assert not also
    return demand._why("mail", stands, due, runnable, short, by_key, Workers(1, 5, free), **flags)


@pytest.mark.parametrize(
    ("said", "one", "two"),
    [
        (
            lambda n: why(runnable=n, free=n),
            "1 runnable, 1 slot free: it is about to start",
            "2 runnable, 2 slots free: they are about to start",
        ),
        (
            lambda n: why(runnable=n, short=n),
            "1 runnable, and no slot is free for it",
            "2 runnable, and no slot is free for 2 of them",
        ),
        (
            lambda n: why(due=n, stands="the queue mail is paused"),
            "the queue mail is paused, with 1 job that is due: more workers would not help",
            "the queue mail is paused, with 2 jobs that are due: more workers would not help",
        ),
        (
            lambda n: why(due=n, all_run=True),
            "as many jobs run as the queue mail lets run, and 1 is due: more workers would not help",
            "as many jobs run as the queue mail lets run, and 2 are due: more workers would not help",
        ),
        (
            lambda n: why(by_key=n),
            "1 job waits for its key and none for a slot: more workers would not help",
            "2 jobs wait for their keys and none for a slot: more workers would not help",
        ),
        (
            lambda n: why(runnable=2, free=2, by_key=n),
            "2 runnable, 2 slots free: they are about to start; 1 job waits for its key, not for a slot",
            "2 runnable, 2 slots free: they are about to start; 2 jobs wait for their keys, not for a slot",
        ),
        (
            lambda n: warnings.paused("mail", n, False, NOON, "ada").message,
            "the queue mail is paused by ada, and 1 of its jobs waits",
            "the queue mail is paused by ada, and 2 of its jobs wait",
        ),
        (
            lambda n: warnings.no_credit("mail", n, NOON).message,
            "jobs of the queue mail are due, and the one slot of its workers is taken",
            "jobs of the queue mail are due, and all 2 slots of its workers are taken",
        ),
        (
            lambda n: warnings.keys_blocked("mail", n).message,
            "1 key of the queue mail is blocked by jobs that failed",
            "2 keys of the queue mail are blocked by jobs that failed",
        ),
        (
            lambda n: warnings.workers_lost("mail", n, NOON).message,
            "1 attempt was lost with workers of the queue mail in the last hour",
            "2 attempts were lost with workers of the queue mail in the last hour",
        ),
    ],
)  # fmt: skip
def test_one_is_told_as_one_and_two_as_two(said: Any, one: str, two: str) -> None:
    assert (said(1), said(2)) == (one, two)


def test_what_was_counted_to_a_bound_is_told_as_at_least_so_many() -> None:
    message = warnings.paused("mail", 10_000, True, None, "").message
    assert message == "the queue mail is paused, and at least 10000 of its jobs wait"


def test_a_loss_is_told_of_for_ten_minutes_and_for_an_hour_where_it_was_not_the_only_one() -> None:
    def told(first: int, last: int) -> bool:
        minutes = [NOON - timedelta(minutes=each) for each in (first, last)]
        return warnings.goes_on(minutes[0], minutes[1], NOON)

    assert told(9, 9)
    assert not told(11, 11)
    # The workers of one restart are lost at once, or nearly.
    assert not told(12, 11)
    assert told(59, 50)
    assert told(59, 1)
