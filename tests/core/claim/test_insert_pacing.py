"""When an insert may go, how much it may bring, and which slots are kept for what it brings."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobqueue_server.core.tuning import Tuning
from jobqueue_server.store.claim.claims import Allowed

from ..brain import Brain, Load, lane, session

pytestmark = pytest.mark.unit

ONE = lane(1)
OUTRUN: dict[str, Any] = {"cpu_overcommitted": True, "workers_keep_up": True, "cpu_underused": False}


#: Nothing but what a test tells ends a wait.
PATIENT = Tuning(admission_patience=60.0)
MOST, LEAST = PATIENT.most_claimed, PATIENT.least_inserted


def brain(*, backlog: bool = False, slots: int = 10, tuning: Tuning = PATIENT, **load: Any) -> Brain:
    made = Brain(ONE, load=Load(**load), tuning=tuning)
    made.attach(session(1, slots, ONE))
    if backlog:
        made.lines.seen(1, 0)
    return made


async def admitted(made: Brain) -> int:
    """What an insert may have, at once."""
    task = asyncio.create_task(made.insert_pacing.room())
    for _ in range(3):
        await asyncio.sleep(0)
    assert task.done()
    return task.result()


async def waits(made: Brain) -> asyncio.Task[int]:
    """An insert that may not go yet."""
    task = asyncio.create_task(made.insert_pacing.room())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_without_a_backlog_an_insert_goes_at_once():
    assert await admitted(brain()) == MOST


async def test_with_a_backlog_and_no_credit_for_it_an_insert_goes_at_once():
    assert await admitted(brain(backlog=True, slots=0)) == MOST


async def test_with_a_backlog_and_credit_it_waits_for_a_whole_round_of_claims():
    made = brain(backlog=True)
    task = await waits(made)
    made.activity.round_ended()
    assert await task == MOST


async def test_with_a_backlog_it_waits_for_the_claim_that_is_under_way():
    made = brain(backlog=True, slots=0)
    with made.activity.claiming():
        task = await waits(made)
    assert await task == MOST


async def test_with_a_backlog_settlements_that_wait_go_first():
    made = brain(backlog=True, slots=0)
    made.activity.settlements(made, wait=True)
    task = await waits(made)
    made.activity.settlements(made, wait=False)
    made.activity.progressed()
    assert await task == MOST


async def test_it_waits_no_longer_than_its_patience():
    made = brain(backlog=True, tuning=Tuning(admission_patience=0.001))
    assert await made.insert_pacing.room() == MOST


async def test_where_producers_outrun_the_server_an_insert_over_a_backlog_brings_less_than_has_ended():
    made = brain(backlog=True, slots=0, **OUTRUN)
    made.insert_pacing.ended(500)
    assert await admitted(made) == 500 * PATIENT.drained_part
    made.insert_pacing.brought(300)
    assert await admitted(made) == LEAST


async def test_the_allowance_does_not_grow_beyond_one_claim():
    made = brain(backlog=True, slots=0, **OUTRUN)
    for _ in range(10):
        made.insert_pacing.ended(MOST)
    assert await admitted(made) == MOST


async def test_where_producers_outrun_the_server_without_a_backlog_an_insert_brings_what_can_be_handed_off():
    assert await admitted(brain(slots=300, **OUTRUN)) == 300
    made = brain(slots=0, **OUTRUN)
    with made.activity.settling_now():
        task = await waits(made)
    assert await task == LEAST


def test_slots_are_kept_for_jobs_that_are_just_being_stored_and_no_more_than_there_are():
    made = brain(slots=4)
    assert made.reserve(ONE, 10) == {1: 4}
    assert made.reserve(ONE, 10) == {}


def test_slots_that_were_kept_are_free_again_once_the_insert_was_answered():
    made = brain(slots=4)
    kept = made.hand_off.reserve(ONE, 0, [1] * 4)
    assert made.reserve(ONE, 1) == {}
    kept.release()
    assert made.reserve(ONE, 1) == {1: 1}


@pytest.mark.parametrize("priority", [0, 5])
def test_over_a_backlog_that_goes_before_no_slot_is_kept(priority: int):
    made = brain(slots=2 * MOST)
    line = made.lines.line(ONE, priority)
    line.ready, line.saturated = True, True
    assert made.reserve(ONE, 10, priority=0) == {}


def test_a_backlog_of_lower_priority_does_not_stand_in_the_way():
    made = brain()
    line = made.lines.line(ONE, -1)
    line.ready, line.saturated = True, True
    assert made.reserve(ONE, 10, priority=0) == {1: 10}


def test_while_a_few_are_claimed_the_slots_that_the_claim_can_not_use_are_kept():
    made = brain(slots=MOST + 3)
    made.lines.seen(1, 0)
    assert made.reserve(ONE, 10) == {1: 3}


@pytest.mark.parametrize("why", ["nobody takes it", "closed", "paused"])
def test_no_slot_is_kept_where(why: str):
    closed = lane(1, closed=why == "closed")
    made = Brain(closed)
    if why != "nobody takes it":
        made.attach(session(1, 10, closed))
    if why == "paused":
        made.activity.pause()
    assert made.reserve(closed, 10) == {}


@pytest.mark.parametrize("asks", [True, False])
def test_where_a_queue_limits_what_runs_slots_are_kept_for_an_insert_that_asks_it(asks: bool):
    counted = lane(1, closed=True, most=5)
    made = Brain(counted)
    made.attach(session(1, 10, counted))
    assert made.reserve(counted, 10, asks=asks) == ({1: 10} if asks else {})


@pytest.mark.parametrize("why", ["the queue is full", "the kind has limits", "the queue is paused"])
async def test_an_insert_that_would_ask_keeps_no_slot_where(why: str):
    counted = lane(1, closed=True, most=5)
    made = Brain(counted)
    made.attach(session(1, 10, counted))
    if why == "the kind has limits":
        counted.kind_max_running = 3
    if why == "the queue is paused":
        counted.paused = True
    if why == "the queue is full":
        made.full.asks(counted, frozenset([counted.kind]))
        made.full.add(counted, Allowed(1, 60.0))
    assert made.reserve(counted, 10, asks=True) == {}


def test_what_waits_in_a_queue_with_a_limit_goes_before_new_jobs():
    counted = lane(1, closed=True, most=5)
    made = Brain(counted)
    made.attach(session(1, 2 * MOST, counted))
    made.lines.seen(1, 0)
    assert made.reserve(counted, 10, asks=True) == {}
    with made.activity.claiming():
        # That claim leases what waits, and the insert asks after it.
        assert made.reserve(counted, 10, asks=True) == {1: 10}


def test_a_session_that_bounds_bytes_gets_what_fits():
    made = Brain(ONE)
    made.attach(session(1, 10, ONE, bytes_limit=100))
    assert made.reserve(ONE, 0, sizes=[60, 30, 30]) == {1: 2}


def test_a_session_that_bounds_kinds_gets_no_more_of_one():
    made = Brain(ONE)
    made.attach(session(1, 10, ONE, by_kind={ONE.kind: 3}))
    assert made.reserve(ONE, 10) == {1: 3}


def test_a_session_that_leaves_takes_its_credit_along():
    made = brain()
    other = session(2, 5, ONE)
    made.attach(other)
    made.takers.detach(other)
    assert made.reserve(ONE, 100) == {1: 10}
