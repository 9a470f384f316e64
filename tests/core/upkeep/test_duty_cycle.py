"""What is done again and again comes at its interval, and takes a fiftieth of the time at most."""

from __future__ import annotations

import pytest

from jobqueue_server.core.upkeep.duty_cycle import DutyCycle

pytestmark = pytest.mark.unit


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_is_quick_comes_at_its_interval(clock: Clock) -> None:
    pace = DutyCycle(10, clock)
    assert pace.left == 10
    clock.now += 10
    assert pace.left == 0
    with pace.done():
        clock.now += 0.1
    assert pace.left == 10
    clock.now += 11
    assert pace.left == 0


def test_what_takes_long_comes_less_often(clock: Clock) -> None:
    pace = DutyCycle(10, clock)
    with pace.done():
        clock.now += 2
    assert pace.left == 100


def test_it_comes_soon_without_its_interval_but_not_beyond_its_share(clock: Clock) -> None:
    pace = DutyCycle(10, clock)
    pace.soon()
    assert pace.left == 0
    with pytest.raises(ValueError, match="it failed"), pace.done():
        clock.now += 0.1
        raise ValueError("it failed")
    pace.soon()
    assert pace.left == pytest.approx(5)
