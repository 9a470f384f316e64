"""When a job may start, by what ended in the last minute."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobqueue_server.core.insight.estimate import Estimate, estimate_of
from jobqueue_server.core.insight.reasons import Code, Reason

from ..brain import NOON

pytestmark = pytest.mark.unit


def waiting(*codes: Code, ahead: int = 59, ended: int = 100) -> Estimate | None:
    return estimate_of([Reason(code, "") for code in codes], ahead, 1000, ended, NOON)


def test_the_range_is_two_square_roots_of_what_ended_around_it() -> None:
    found = waiting(Code.NO_CREDIT, Code.BEHIND)
    assert found is not None
    assert (found.ahead, found.capped, round(found.ends_per_second, 3)) == (59, False, 1.667)
    # The sixtieth end, of 120 a minute at most and 80 at least.
    assert (found.earliest_at - NOON, found.latest_at) == (
        timedelta(seconds=30),
        NOON + timedelta(seconds=45),
    )


def test_few_ends_and_a_bounded_count_have_no_latest_time() -> None:
    for found in (waiting(Code.BEHIND, ended=4), waiting(Code.BEHIND, ahead=1000)):
        assert found is not None
        assert found.latest_at is None
    assert waiting(Code.BEHIND, ended=0) is None


@pytest.mark.parametrize(
    "code", sorted(set(Code) - {Code.BEHIND, Code.NO_CREDIT, Code.QUEUE_AT_LIMIT, Code.QUEUE_RATE})
)
def test_what_waits_for_more_than_its_turn_has_no_estimate(code: Code) -> None:
    assert waiting(code, Code.BEHIND) is None
