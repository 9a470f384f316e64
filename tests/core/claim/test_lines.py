"""What is known of lines of ready jobs: marks, floors and timers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from jobqueue_server.core.claim.lines import BEGINNING, CLAIM_FLOOR, SWEEP_FLOOR, TIMER_HORIZON, Line
from jobqueue_server.core.events.ends import Ended, Waits

from ..brain import NOON, Brain, lane

pytestmark = pytest.mark.unit

ONE = lane(1)
MOMENT = timedelta(milliseconds=20)


def test_a_job_that_was_made_ready_here_is_told_to_the_others_and_one_that_was_seen_is_not():
    brain = Brain(ONE)
    brain.lines.ready(1, 5)
    brain.lines.seen(1, 6)
    assert brain.told == [(1, 5, False)]
    assert {(line.priority, line.ready) for line in brain.lines.of_queue(1)} == {(5, True), (6, True)}


def test_each_reason_to_look_again_counts():
    brain = Brain(ONE)
    for _ in range(3):
        brain.lines.seen(1, 0)
    assert brain.lines.line(ONE, 0).mark == 3


def test_a_job_that_is_to_run_alone_is_in_no_line():
    brain = Brain(ONE)
    brain.lines.seen(1, 0, isolated=True)
    assert brain.lines.isolated == {1: 1}
    assert not list(brain.lines.of_queue(1))


def test_of_a_lane_that_is_not_known_nothing_is_noted():
    brain = Brain(ONE)
    brain.lines.seen(7, 0)
    assert not list(brain.lines.of_queue(1))


def test_the_floor_follows_the_newest_claim_and_goes_down_for_what_a_sweep_found():
    line = Line(ONE, 0)
    line.claimed(NOON)
    assert line.floor == NOON - CLAIM_FLOOR
    line.claimed(NOON - timedelta(hours=1))
    assert (line.floor, line.newest) == (NOON - CLAIM_FLOOR, NOON)
    line.found(NOON - timedelta(hours=2))
    assert line.floor == NOON - timedelta(hours=2)
    # What was left behind has been claimed: the next claim starts behind it again.
    line.claimed(NOON - timedelta(hours=1))
    assert line.floor == NOON - timedelta(hours=1) - CLAIM_FLOOR
    assert line.newest == NOON


def test_a_sweep_looks_from_so_far_behind_the_newest_claim():
    line = Line(ONE, 0)
    assert line.sweep_floor == BEGINNING
    line.claimed(NOON)
    assert line.sweep_floor == NOON - SWEEP_FLOOR
    line.forget()
    assert (line.floor, line.sweep_floor) == (BEGINNING, BEGINNING)


async def test_a_job_of_the_near_future_makes_its_line_ready_when_its_time_has_come():
    brain = Brain(ONE)
    brain.lines.due_at(1, 0, NOON + MOMENT)
    assert not list(brain.lines.of_queue(1))
    async with asyncio.timeout(10):
        while not list(brain.lines.of_queue(1)):
            await asyncio.sleep(0.001)
    assert brain.told == [(1, 0, False)]


@pytest.mark.parametrize(
    ("ahead", "ready"), [(-MOMENT, True), (timedelta(), True), (2 * TIMER_HORIZON, False)]
)
async def test_a_job_of_the_past_is_ready_at_once_and_one_of_the_far_future_is_left_to_the_sweeps(
    ahead: timedelta, ready: bool
):
    brain = Brain(ONE)
    brain.ends.tell([Ended([uuid4()], waits=Waits(1, 0, False, NOON + ahead))])
    assert bool(list(brain.lines.of_queue(1))) is ready
    assert not brain.lines._timers


async def test_thousands_of_jobs_of_one_moment_have_one_timer(monkeypatch: pytest.MonkeyPatch):
    brain = Brain(ONE)
    timers = []
    monkeypatch.setattr(asyncio.get_running_loop(), "call_at", lambda *one: timers.append(one))
    for _ in range(1000):
        brain.lines.seen_at(1, 0, NOON + 50 * MOMENT)
    # One for each hundredth of a second that the test takes.
    assert 1 <= len(timers) <= 10
