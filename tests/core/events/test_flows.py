"""What came and ended is counted for a minute, by lane."""

from __future__ import annotations

from uuid import uuid4

import pytest

from jobqueue_server.core.events.ends import Ended, Ends, Waits
from jobqueue_server.core.events.flows import SPAN, Flow, Flows

from ..brain import NOON

pytestmark = pytest.mark.unit


class Clock:
    """Stands still until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def flows(ends: Ends, clock: Clock) -> Flows:
    return Flows(ends, clock)


def test_a_second_counts_once_it_is_over_and_for_a_minute(flows: Flows, clock: Clock) -> None:
    flows.arrived(1, 3)
    flows.arrived(2, 1)
    assert dict(flows.last_minute()) == {}
    clock.now += 1
    flows.arrived(1, 4)
    assert dict(flows.last_minute()) == {1: Flow(3), 2: Flow(1)}
    clock.now += 1
    assert dict(flows.last_minute()) == {1: Flow(7), 2: Flow(1)}
    clock.now = 1000 + SPAN
    assert dict(flows.last_minute()) == {1: Flow(7), 2: Flow(1)}
    clock.now += 1
    assert dict(flows.last_minute()) == {1: Flow(4)}
    clock.now += 1
    assert dict(flows.last_minute()) == {}


def test_what_is_old_is_forgotten_though_none_asks(flows: Flows, clock: Clock) -> None:
    flows.arrived(1, 3)
    clock.now += 10 * SPAN
    flows.arrived(2, 5)
    clock.now += 1
    assert dict(flows.last_minute()) == {2: Flow(5)}


def test_a_job_ends_once_and_only_after_an_attempt(ends: Ends, flows: Flows, clock: Clock) -> None:
    again = Waits(1, 0, False, NOON)
    ends.tell(
        [
            Ended((uuid4(), uuid4()), "hello", "succeeded", 1.0, None, 1),
            Ended((uuid4(),), "hello", "retried", 1.0, again, 1),
            Ended((uuid4(),), "hello", "cancelled"),
            Ended((uuid4(),)),
        ]
    )
    clock.now += 1
    assert dict(flows.last_minute()) == {1: Flow(ended=2)}
