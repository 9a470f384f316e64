"""What takes several slots: who has room for it, who keeps slots free, and what holds up nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from jobqueue_server.core.catalog.catalog import Lane
from jobqueue_server.core.claim.plan import Plan
from jobqueue_server.core.claim.targets import Group
from jobqueue_server.core.claim.weigher import Weigher
from jobqueue_server.core.lease.session import Session
from jobqueue_server.store.claim.claims import ClaimTarget, Waiting

from ..brain import Brain, session
from ..brain import lane as light_lane

pytestmark = pytest.mark.unit

LIGHT = light_lane(1)


def heavy_lane(number: int, weight: int) -> Lane:
    return replace(light_lane(number), weight=weight)


HEAVY = heavy_lane(2, 3)


class Line:
    """What waits, as the database would tell it: lanes in the order of claims."""

    def __init__(self, *lanes: Lane) -> None:
        self.waits = [Waiting(lane.id, 0, 0) for lane in lanes]
        self.looks = 0

    async def waiting(self, targets: Sequence[ClaimTarget], most: int, *, sizes: bool) -> list[Waiting]:
        self.looks += 1
        asked = {target.lane_id for target in targets}
        return [each for each in self.waits if each.lane_id in asked][:most]


def planner(
    line: Line, *sessions: Session, lanes: Sequence[Lane] = (LIGHT, HEAVY)
) -> tuple[Weigher, Group, Brain]:
    """What plans claims of a group whose sessions are these, with a job in each line."""
    brain = Brain(*lanes)
    brain.attach(*sessions)
    for each in lanes:
        brain.lines.seen(each.id, 0)
    (group,) = brain.takers.groups
    store: Any = line
    return Weigher(store, brain.lines, brain.activity), group, brain


def of(number: int, slots: int, lanes: Sequence[Lane] = (LIGHT, HEAVY)) -> Session:
    return session(number, slots, *lanes)


def dealt(plan: Plan | None) -> tuple[int, list[int]]:
    """The weight, and the session of each job."""
    assert plan is not None
    return plan.weight, [each.id for each in plan.slots]


async def test_the_next_jobs_of_one_weight_are_dealt_to_those_with_the_most_room():
    weigher, group, _ = planner(Line(HEAVY, LIGHT, HEAVY, HEAVY), of(1, 7), of(2, 4))
    assert dealt(await weigher.plan(group)) == (3, [1, 2, 1])
    weigher, group, _ = planner(Line(LIGHT, LIGHT, HEAVY), of(1, 7), of(2, 4))
    assert dealt(await weigher.plan(group)) == (1, [1, 1])


async def test_the_one_with_the_most_room_keeps_slots_and_the_others_get_what_is_behind():
    one, two = of(1, 4), of(2, 4)
    one.claim_begins(2)
    two.claim_begins(3)
    weigher, group, _ = planner(Line(HEAVY, LIGHT, LIGHT), one, two)
    assert dealt(await weigher.plan(group)) == (1, [2])
    assert (one.kept, two.kept) == (3, 0)
    assert (one.free, one.room()) == (-1, (2, 2))


async def test_as_many_keep_slots_as_heavy_jobs_go_before_the_light_ones():
    sessions = [of(number, 4) for number in range(1, 5)]
    for each in sessions:
        each.claim_begins(2)
    weigher, group, _ = planner(Line(HEAVY, HEAVY, LIGHT, HEAVY), *sessions)
    assert len(dealt(await weigher.plan(group))[1]) == 1
    assert sum(each.kept > 0 for each in sessions) == 3
    line = Line(LIGHT, LIGHT, LIGHT, LIGHT, LIGHT, LIGHT, LIGHT, LIGHT, HEAVY)
    sessions = [of(number, 4) for number in range(1, 5)]
    for each in sessions:
        each.claim_begins(2)
    weigher, group, _ = planner(line, *sessions)
    assert len(dealt(await weigher.plan(group))[1]) == 8
    assert sum(each.kept for each in sessions) == 0


async def test_who_keeps_slots_goes_on_until_they_are_enough_and_then_has_the_job():
    one, two = of(1, 3), of(2, 3)
    one.claim_begins(2)
    two.claim_begins(2)
    weigher, group, _ = planner(Line(HEAVY), one, two)
    assert await weigher.plan(group) is None
    keeper = one if one.kept else two
    other = two if keeper is one else one
    weigher.round_ended()
    assert await weigher.plan(group) is None
    assert (keeper.kept, other.kept) == (3, 0)
    weigher.round_ended()
    keeper.claim_ended(2)
    assert dealt(await weigher.plan(group)) == (3, [keeper.id])
    assert keeper.kept == 0


async def test_slots_are_kept_where_none_is_free_and_given_back_when_nobody_asks_again():
    one = of(1, 3)
    one.claim_begins(3)
    line = Line(HEAVY)
    weigher, group, brain = planner(line, one)
    assert await weigher.plan(group) is None
    assert (one.kept, line.looks) == (3, 0)
    one.claim_ended(1)
    assert brain.reserve(LIGHT, 1) == {}
    weigher.round_ended()
    assert one.kept == 3
    weigher.round_ended()
    assert (one.kept, one.free) == (0, 1)


async def test_lines_in_which_nothing_waits_are_looked_at_no_more():
    weigher, group, brain = planner(Line(LIGHT), of(1, 3))
    assert dealt(await weigher.plan(group)) == (1, [1])
    assert not group.weighs(brain.lines)
    assert group.waiting(brain.lines)


LIMITED = replace(heavy_lane(3, 2), closed=True, kind_max_running=9)


async def test_what_keeps_slots_for_one_keeps_them_for_no_other():
    lanes = (LIGHT, HEAVY, LIMITED)
    one = of(1, 3, lanes)
    one.claim_begins(2)
    weigher, group, _ = planner(Line(LIGHT, HEAVY, LIMITED), one, lanes=lanes)
    assert await weigher.slots(group, [LIMITED], 10) == []
    assert one.kept == 2
    assert await weigher.plan(group) is None
    assert one.kept == 2
    one.claim_ended(2)
    assert await weigher.slots(group, [LIMITED], 10) == [one]
    assert one.kept == 0


async def test_no_slots_are_kept_for_a_limited_job_that_is_gone():
    lanes = (LIGHT, LIMITED)
    one = of(1, 3, lanes)
    one.claim_begins(2)
    line = Line(LIMITED)
    weigher, group, brain = planner(line, one, lanes=lanes)
    assert await weigher.slots(group, [LIMITED], 10) == []
    assert one.kept == 2
    weigher.round_ended()
    line.waits = []
    assert await weigher.slots(group, [LIMITED], 10) == []
    assert not group.waiting(brain.lines, [LIMITED])
    weigher.round_ended()
    assert one.kept == 0


async def test_as_many_are_dealt_at_once_as_fit():
    lanes = (LIGHT, LIMITED)
    one, two = of(1, 7, lanes), of(2, 5, lanes)
    weigher, group, _ = planner(Line(), one, two, lanes=lanes)
    found = await weigher.slots(group, [LIMITED], 10)
    assert sorted(each.id for each in found) == [1, 1, 1, 2, 2]
    assert await weigher.each(group, [heavy_lane(4, 6)], [one, two]) == [one]


def test_a_job_that_is_too_heavy_for_each_worker_holds_up_nothing():
    small = of(1, 2)
    _, group, brain = planner(Line(), small)
    brain.lines.line(LIGHT, 0).ready = False
    assert not group.waiting(brain.lines)
    assert not group.weighs(brain.lines)
    assert brain.takers.of_lane(HEAVY.id) == []
    assert brain.reserve(LIGHT, 2) == {1: 2}


def test_workers_that_come_grow_shrink_and_go_are_seen():
    small = of(1, 2)
    _, _, brain = planner(Line(), small)
    large = of(2, 3)
    brain.attach(large)
    assert brain.takers.of_lane(HEAVY.id) != []
    brain.takers.detach(large)
    assert brain.takers.of_lane(HEAVY.id) == []
    small.capacity.set(3, {}, 0)
    brain.attach(small)
    assert brain.takers.of_lane(HEAVY.id) != []
    small.capacity.set(2, {}, 0)
    brain.attach(small)
    assert brain.takers.of_lane(HEAVY.id) == []


def test_no_new_job_passes_by_a_heavy_one_of_its_queue():
    worker = of(1, 9)
    _, _, brain = planner(Line(), worker)
    brain.lines.line(LIGHT, 0).ready = False
    with brain.activity.claiming():
        assert brain.reserve(LIGHT, 1, priority=0) == {}
        assert brain.reserve(LIGHT, 1, priority=1) == {1: 1}
        assert brain.reserve(HEAVY, 1, priority=1) == {}
    other = light_lane(3, queue=2)
    lanes = (LIGHT, HEAVY, other)
    _, _, brain = planner(Line(), of(1, 9, lanes), lanes=lanes)
    brain.lines.line(LIGHT, 0).ready = brain.lines.line(other, 0).ready = False
    assert brain.reserve(other, 1) == {1: 1}


async def test_while_a_heavy_job_waits_in_vain_inserts_wait_for_no_claim():
    worker = of(1, 3)
    worker.claim_begins(1)
    _, group, brain = planner(Line(), worker)
    brain.lines.line(LIGHT, 0).ready = False
    assert group.waiting(brain.lines)
    assert group.has_credit()
    assert group.targets(brain.lines, 1) == ([], [])
