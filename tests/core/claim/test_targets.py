"""Where a claim looks for jobs: which lines, how many of each, and from where on."""

from __future__ import annotations

import pytest

from jobqueue_server.core.catalog.catalog import Lane
from jobqueue_server.core.claim.targets import LEAST_OF_QUEUE, UNBOUNDED, Group
from jobqueue_server.core.lease.session import Session
from tests.store.stored import SCOPE

from ..brain import NOON, Brain, Lanes, lane, session

pytestmark = pytest.mark.unit


class Looking:
    """A group of sessions, and lines in which jobs may wait."""

    def __init__(self, *lanes: Lane, of: Session | None = None) -> None:
        self.lines = Brain(*lanes).lines
        self.group = Group(SCOPE.namespace, frozenset((each.queue, each.kind) for each in lanes))
        self.group.see(Lanes(*lanes))
        for each in [of] if of is not None else [session(1, 10, *lanes), session(2, 10, *lanes)]:
            self.group.add(each)

    def ready(self, of: Lane, priority: int, *, saturated: bool = False) -> None:
        line = self.lines.line(of, priority)
        line.ready, line.saturated = True, saturated

    def targets(self, most: int) -> list[tuple[int, int, int]]:
        """Lane, priority and how many are asked for."""
        return [
            (target.lane_id, target.priority, target.take)
            for target in self.group.targets(self.lines, most)[0]
        ]


def test_without_a_ready_line_there_is_no_look():
    looking = Looking(lane(1))
    looking.lines.line(lane(1), 0)
    assert looking.targets(10) == []


def test_a_thin_line_is_asked_for_as_many_as_there_are_slots_and_higher_priorities_first():
    one = lane(1)
    looking = Looking(one)
    for priority in (0, 5, -3):
        looking.ready(one, priority)
    assert looking.targets(10) == [(1, 5, 10), (1, 0, 10), (1, -3, 10)]


def test_no_line_below_the_first_thick_one_is_looked_at():
    one = lane(1)
    looking = Looking(one)
    looking.ready(one, 9)
    looking.ready(one, 5, saturated=True)
    looking.ready(one, 0, saturated=True)
    looking.ready(one, -1)
    assert looking.targets(10) == [(1, 9, 10), (1, 5, 10)]


def test_thick_lines_share_the_slots():
    lanes = lane(1), lane(2), lane(3)
    looking = Looking(*lanes)
    for each in lanes:
        looking.ready(each, 0, saturated=True)
    assert looking.targets(10) == [(1, 0, 4), (2, 0, 4), (3, 0, 4)]


def test_queues_take_turns():
    lanes = lane(1, queue=1), lane(2, queue=2), lane(3, queue=3)
    looking = Looking(*lanes)
    for each in lanes:
        looking.ready(each, 0)
    orders = []
    for turn in range(4):
        looking.group.turn = turn
        orders.append([number for number, _, _ in looking.targets(9)])
    assert orders == [[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 2, 3]]


@pytest.mark.parametrize(("most", "of_each"), [(1000, 500), (10, LEAST_OF_QUEUE)])
def test_a_queue_gives_its_share_but_not_less_than_a_few(most: int, of_each: int):
    lanes = lane(1, queue=1), lane(2, queue=2)
    looking = Looking(*lanes)
    for each in lanes:
        looking.ready(each, 0)
    targets, _ = looking.group.targets(looking.lines, most)
    assert {target.most for target in targets} == {of_each}


def test_kinds_of_one_priority_are_not_cut_off_before_each_other():
    lanes = lane(1, queue=1), lane(2, queue=1), lane(3, queue=2)
    looking = Looking(*lanes)
    for each in lanes:
        looking.ready(each, 0)
    targets, _ = looking.group.targets(looking.lines, 1000)
    assert {target.most for target in targets} == {UNBOUNDED}


def test_a_look_starts_at_the_floor_of_its_line():
    one = lane(1)
    looking = Looking(one)
    looking.ready(one, 0)
    line = looking.lines.line(one, 0)
    line.floor = NOON
    targets, lines = looking.group.targets(looking.lines, 10)
    assert [target.floor for target in targets] == [NOON]
    assert lines == [line]


def test_of_a_kind_that_a_session_bounds_no_more_are_asked_for_than_it_has_slots_for():
    few, many = lane(1, kind="few"), lane(2, kind="many")
    looking = Looking(few, many, of=session(1, 10, few, many, by_kind={"few": 2}))
    looking.ready(few, 5)
    looking.ready(few, 4)
    looking.ready(many, 0)
    assert looking.targets(10) == [(1, 5, 2), (2, 0, 10)]


def test_a_kind_without_a_free_slot_does_not_stand_in_the_way_of_lower_priorities():
    few, many = lane(1, kind="few"), lane(2, kind="many")
    looking = Looking(few, many, of=session(1, 10, few, many, by_kind={"few": 0}))
    looking.ready(few, 9, saturated=True)
    looking.ready(many, 0)
    assert looking.targets(10) == [(2, 0, 10)]


def test_a_gated_lane_is_not_looked_at():
    closed, open_ = lane(1, closed=True), lane(2)
    looking = Looking(closed, open_)
    looking.ready(closed, 0)
    assert not looking.group.waiting(looking.lines)
    looking.ready(open_, 0)
    assert looking.targets(10) == [(2, 0, 10)]
