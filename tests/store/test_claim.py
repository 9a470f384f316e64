"""Claims: each job once, in order, within its slots; nothing too early, nothing behind a gate, nothing for the dead."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from jobqueue_server.lifecycle import Event, Hold, State
from jobqueue_server.store.claim.claims import ClaimTarget
from jobqueue_server.store.session.sessions import Told

from .factories import enqueue, everything, look, make_due, new_row
from .stored import SCOPE


async def claim(s, targets, slots, session):
    return await s.claims.claim(targets, [session[0]] * slots, dict([session]))


async def order(s, targets, slots, session):
    """The ids that a claim of one slot at a time takes, one after the other."""
    taken: list[UUID] = []
    while len(taken) < slots:
        rows = await claim(s, targets, 1, session)
        if not rows:
            break
        taken.append(rows[0]["id"])
    return taken


async def at(s, lane, run_at, **fields):
    """A job that waits since `run_at`, in the past, as if that time had passed."""
    (job_id,) = await enqueue(s, lane, **fields)
    await s.sql.execute("update live_job set run_at = $2 where id = $1", job_id, run_at)
    return job_id


# ---- what a claim makes of a row


async def test_a_claim_leases_counts_and_sets_the_deadline(s):
    lane, session = await s.lane(), await s.session()
    (job_id,) = await enqueue(s, lane, timeout=timedelta(seconds=9), max_attempts=5)
    (row,) = await claim(s, [look(lane)], 1, session)
    (stored,) = (await everything(s.sql, job_id))["live_job"]
    assert (stored["state"], stored["attempts"], stored["session_id"]) == (State.LEASED, 1, session[0])
    assert stored["deadline"] - stored["changed_at"] == timedelta(seconds=9)
    named = ("id", "lane_id", "priority", "run_at", "attempts", "session_id", "failures", "changed_at")
    assert dict(row) == {name: stored[name] for name in named}


async def test_a_job_without_a_timeout_has_no_deadline(s):
    lane, session = await s.lane(), await s.session()
    (job_id,) = await enqueue(s, lane)
    await claim(s, [look(lane)], 1, session)
    assert (await everything(s.sql, job_id))["live_job"][0]["deadline"] is None


async def test_bodies_come_by_a_second_statement_as_they_were_sent(s):
    lane, session = await s.lane(), await s.session()
    payload = b'{"n": 12345678901234567890,   "x": 1.0}'
    ids = [
        (await enqueue(s, lane, payload=payload, labels_text='{"a":"b"}', headers=b'{"t":"1"}'))[0],
        (await enqueue(s, lane))[0],
    ]
    await claim(s, [look(lane)], 2, session)
    bodies = {body["id"]: body for body in await s.claims.bodies(ids)}
    assert (bodies[ids[0]]["payload"], bodies[ids[0]]["headers"]) == (payload, b'{"t":"1"}')
    assert bodies[ids[0]]["labels"] == '{"a": "b"}'
    assert (bodies[ids[1]]["labels"], bodies[ids[1]]["headers"]) == (None, None)


# ---- each job once, within the slots


async def test_two_claims_at_once_take_different_jobs(s):
    lane, one, two = await s.lane(), await s.session("one"), await s.session("two")
    ids = await enqueue(s, lane, 1000)
    taken: list[UUID] = []
    while len(taken) < 1000:
        found = await asyncio.gather(
            *[claim(s, [look(lane, 40)], 40, session) for session in (one, two, one, two)]
        )
        taken += [row["id"] for rows in found for row in rows]
        assert any(found), "each round takes something"
    assert sorted(taken) == sorted(ids)


async def test_a_claim_steps_over_what_another_holds_without_waiting(s):
    lane, one, two = await s.lane(), await s.session("one"), await s.session("two")
    ids = await enqueue(s, lane, 10)
    async with s.database.transaction(hot=True) as first:
        targets = [look(lane, 4)]
        rows = await first.fetch(
            "claim", [lane.id], [0], [4], [targets[0].floor], [0], [one[0]] * 4, [one[0]], [one[1]], [4]
        )
        assert [row["id"] for row in rows] == ids[:4]
        rows = await asyncio.wait_for(claim(s, targets, 4, two), 20)
        assert {row["id"] for row in rows} == set(ids[4:8])
    assert {row["id"] for row in await claim(s, [look(lane)], 10, two)} == set(ids[8:])


@pytest.mark.parametrize("slots", [1, 7, 30])
async def test_a_claim_takes_no_more_than_its_slots(s, slots):
    session = await s.session()
    lanes = [await s.lane(queue=name) for name in "abc"]
    for lane in lanes:
        await enqueue(s, lane, 20)
    targets = [look(lane, 20, queue=index) for index, lane in enumerate(lanes)]
    assert len(await claim(s, targets, slots, session)) == slots
    assert await s.sql.fetchval("select count(*) from live_job where state = 2") == slots


async def test_a_look_takes_no_more_than_it_asked_for(s):
    lane, session = await s.lane(), await s.session()
    await enqueue(s, lane, 20)
    assert len(await claim(s, [look(lane, 3)], 10, session)) == 3


async def test_of_a_queue_no_more_is_taken_or_locked_than_its_most_by_priority(s):
    """80 lines, each of which locked as many as there are slots, made a claim ten times as dear."""
    session = await s.session()
    lanes = [await s.lane(queue=name) for name in "abc"]
    first = [(await enqueue(s, lane, 3, priority=5)) for lane in lanes]
    second = [(await enqueue(s, lane, 20, priority=0)) for lane in lanes]
    targets = [
        look(lane, priority=priority, queue=index, most=5)
        for index, lane in enumerate(lanes)
        for priority in (0, 5)
    ]
    async with s.database.transaction(hot=True) as claiming:
        columns = zip(
            *((at.lane_id, at.priority, at.take, at.floor, at.queue_number) for at in targets), strict=True
        )
        rows = await claiming.fetch(
            "claim", *map(list, columns), [session[0]] * 30, [session[0]], [session[1]], [5] * len(targets)
        )
        wanted = [*first, *(ids[:2] for ids in second)]
        assert {row["id"] for row in rows} == {job_id for ids in wanted for job_id in ids}
        # What another may lock meanwhile is all the rest.
        free = await s.sql.fetch("select id from live_job where state = 1 for update skip locked")
        assert len(free) == 3 * 23 - 15


async def test_what_was_looked_at_and_not_taken_is_free_after(s):
    lane, session = await s.lane(), await s.session()
    await enqueue(s, lane, 20)
    assert len(await claim(s, [look(lane, 20)], 5, session)) == 5
    assert len(await claim(s, [look(lane, 20)], 20, session)) == 15


async def test_slots_are_dealt_in_their_order(s):
    lane, one, two = await s.lane(), await s.session("one"), await s.session("two")
    ids = await enqueue(s, lane, 4)
    slots = [one[0], two[0], two[0], one[0]]
    rows = await s.claims.claim([look(lane)], slots, dict([one, two]))
    given = {row["id"]: row["session_id"] for row in rows}
    assert [given[job_id] for job_id in ids] == slots


# ---- order


async def test_within_a_priority_run_at_decides_then_the_id(s):
    lane, session = await s.lane(), await s.session()
    noon = datetime.now(UTC) - timedelta(hours=1)
    late = await at(s, lane, noon + timedelta(seconds=2))
    tied = [await at(s, lane, noon + timedelta(seconds=1)) for _ in range(3)]
    early = await at(s, lane, noon)
    assert await order(s, [look(lane)], 5, session) == [early, *tied, late]


async def test_in_a_queue_a_higher_priority_goes_first_over_all_its_kinds(s):
    session = await s.session()
    hello, bye = await s.lane(kind="hello"), await s.lane(kind="bye")
    wanted = {}
    for priority in (-10, 0, 5, 10):
        for lane in (hello, bye):
            wanted[lane.id, priority] = (await enqueue(s, lane, priority=priority))[0]
    targets = [look(lane, priority=priority) for lane in (hello, bye) for priority in (-10, 0, 5, 10)]
    taken = await order(s, targets, 8, session)
    place = {job_id: priority for (_, priority), job_id in wanted.items()}
    assert [place[job_id] for job_id in taken] == [10, 10, 5, 5, 0, 0, -10, -10]


async def test_one_claim_prefers_the_higher_priorities_too(s):
    lane, session = await s.lane(), await s.session()
    for priority in (0, 1, 2):
        await enqueue(s, lane, 10, priority=priority)
    rows = await claim(s, [look(lane, priority=priority) for priority in (0, 1, 2)], 15, session)
    assert Counter(row["priority"] for row in rows) == {2: 10, 1: 5}


async def test_an_older_job_does_not_overtake_a_higher_priority(s):
    lane, session = await s.lane(), await s.session()
    old = await at(s, lane, datetime.now(UTC) - timedelta(days=300))
    (high,) = await enqueue(s, lane, priority=1)
    assert await order(s, [look(lane), look(lane, priority=1)], 2, session) == [high, old]


async def test_queues_take_turns(s):
    """However long one line is, however high its priorities: with 6 slots each of 3 queues gets 2."""
    session = await s.session()
    long, short, low = [await s.lane(queue=name) for name in ("long", "short", "low")]
    await enqueue(s, long, 500, priority=10)
    await enqueue(s, short, 5)
    await enqueue(s, low, 5, priority=-10)
    targets = [look(long, priority=10, queue=0), look(short, queue=1), look(low, priority=-10, queue=2)]
    rows = await claim(s, targets, 6, session)
    assert Counter(row["lane_id"] for row in rows) == {long.id: 2, short.id: 2, low.id: 2}
    rows = await claim(s, targets, 12, session)
    assert Counter(row["lane_id"] for row in rows) == {long.id: 6, short.id: 3, low.id: 3}


# ---- time


async def test_a_job_is_never_claimed_before_its_time(s):
    lane, session = await s.lane(), await s.session()
    await enqueue(s, lane, delay=timedelta(milliseconds=300))
    (soon,) = await s.sql.fetchrow("select run_at from live_job")
    while not (rows := await claim(s, [look(lane)], 1, session)):
        assert await s.sql.fetchval("select now() - $1::timestamptz", soon) < timedelta(seconds=5)
    assert rows[0]["changed_at"] >= soon == rows[0]["run_at"]


async def test_the_future_is_not_taken_and_does_not_stand_in_the_way(s):
    lane, session = await s.lane(), await s.session()
    await enqueue(s, lane, 50, delay=timedelta(hours=1))
    assert await claim(s, [look(lane)], 10, session) == []
    (now,) = await enqueue(s, lane)
    assert [row["id"] for row in await claim(s, [look(lane)], 10, session)] == [now]
    await make_due(s.sql)
    assert len(await claim(s, [look(lane)], 100, session)) == 50


async def test_a_look_starts_at_its_floor(s):
    lane, session = await s.lane(), await s.session()
    noon = datetime.now(UTC) - timedelta(hours=1)
    below = await at(s, lane, noon - timedelta(microseconds=1))
    here = await at(s, lane, noon)
    above = await at(s, lane, noon + timedelta(seconds=1))
    assert {row["id"] for row in await claim(s, [look(lane, floor=noon)], 10, session)} == {here, above}
    assert [row["id"] for row in await claim(s, [look(lane)], 10, session)] == [below]


async def test_each_lane_and_priority_has_its_own_floor(s):
    session = await s.session()
    one, two = await s.lane("one"), await s.lane("two")
    noon = datetime.now(UTC) - timedelta(hours=1)
    ids = [await at(s, lane, noon) for lane in (one, two)]
    late = noon + timedelta(minutes=1)
    rows = await claim(s, [look(one, floor=late), look(two, queue=1)], 10, session)
    assert [row["id"] for row in rows] == ids[1:]


# ---- what is not taken


@pytest.mark.parametrize("state", [State.HELD_BACK, State.READY_ISOLATED], ids=lambda state: state.name)
async def test_what_is_not_ready_is_not_claimed(s, state):
    lane, session = await s.lane(), await s.session()
    await enqueue(s, lane, 3)
    hold = Hold.HAND if state is State.HELD_BACK else None
    await s.sql.execute("update live_job set state = $1, hold = $2", state, hold)
    assert await claim(s, [look(lane)], 3, session) == []


async def test_other_lanes_and_priorities_are_left_alone(s):
    session = await s.session()
    lane, other = await s.lane(), await s.lane(queue="other")
    await enqueue(s, other)
    await enqueue(s, lane, priority=1)
    assert await claim(s, [look(lane)], 5, session) == []


async def test_a_gated_lane_is_skipped_and_its_neighbours_are_not(s):
    session = await s.session()
    closed, free = await s.lane("closed"), await s.lane("free")
    await enqueue(s, closed, 3)
    await enqueue(s, free, 3)
    await s.sql.execute("update lane set closed = true where id = $1", closed.id)
    rows = await claim(s, [look(closed), look(free, queue=1)], 10, session)
    assert {row["lane_id"] for row in rows} == {free.id}
    await s.sql.execute("update lane set closed = false")
    assert len(await claim(s, [look(closed)], 10, session)) == 3


async def resumed(s, name="worker"):
    """A session that was resumed: as it was, and as it is."""
    server = (await s.sessions.register_server("server", 1))["id"]
    old = await s.sessions.open(SCOPE, server, Told(name), timedelta(seconds=30), b"a" * 32)
    row = await s.sessions.resume(SCOPE, Told("worker"), old[0], b"a" * 32, b"b" * 32, server)
    return old, (row["id"], row["epoch"])


async def ended(s):
    session = await s.session("ended")
    await s.sessions.end(*session, lambda row: pytest.fail("it held nothing"))
    return session


@pytest.mark.parametrize("gone", ["ended", "earlier epoch", "never was"])
async def test_a_session_that_is_gone_gets_nothing(s, gone):
    lane = await s.lane()
    (job_id,) = await enqueue(s, lane)
    session = {"ended": ended, "earlier epoch": resumed}.get(gone)
    dead = (1 << 40, 1) if session is None else await session(s)
    if gone == "earlier epoch":
        dead = dead[0]
    before = await everything(s.sql, job_id)
    assert await claim(s, [look(lane)], 1, dead) == []
    await s.sql.execute("update live_job set state = 4")
    assert await s.claims.claim_isolated([lane.id], dict([dead])) == []
    await s.sql.execute("update live_job set state = 1")
    assert await everything(s.sql, job_id) == before
    assert len(await claim(s, [look(lane)], 1, await s.session())) == 1


async def test_a_session_that_is_gone_takes_nothing_from_its_neighbours(s):
    lane, good, gone = await s.lane(), await s.session("good"), await ended(s)
    ids = await enqueue(s, lane, 4)
    slots = [gone[0], good[0], gone[0], good[0]]
    rows = await s.claims.claim([look(lane)], slots, dict([good, gone]))
    assert {row["id"] for row in rows} == {ids[1], ids[3]}
    assert {row["session_id"] for row in rows} == {good[0]}
    assert len(await claim(s, [look(lane)], 4, good)) == 2


async def test_epochs_are_not_mixed_up_between_sessions(s):
    """Session 1 is in epoch 1 and session 2 in epoch 2: each number is somebody's."""
    lane, one, (_, two) = await s.lane(), await s.session("one"), await resumed(s, "two")
    await enqueue(s, lane, 2)
    crossed = {one[0]: two[1], two[0]: one[1]}
    assert await s.claims.claim([look(lane)], list(crossed), crossed) == []
    assert len(await s.claims.claim([look(lane)], list(crossed), dict([one, two]))) == 2


# ---- jobs that lost a session before


async def lost(s, lane, count=1, **fields):
    """Jobs that wait isolated."""
    session = await s.session("lost")
    ids = await enqueue(s, lane, count, **fields)
    for event in (Event.UNSEEN, Event.LOST):
        for row in await claim(s, [look(lane, priority=fields.get("priority", 0))], count, session):
            await s.end_attempt(row["id"], row["attempts"], session[0], event)
    return ids


async def test_jobs_that_wait_apart_go_one_to_each_session(s):
    lane = await s.lane()
    ids = await lost(s, lane, 5)
    one, two = await s.session("one"), await s.session("two")
    rows = await s.claims.claim_isolated([lane.id], dict([one, two]))
    assert [row["id"] for row in sorted(rows, key=lambda row: row["id"])] == ids[:2]
    assert {row["session_id"] for row in rows} == {one[0], two[0]}
    assert {row["attempts"] for row in rows} == {3}


async def test_jobs_that_wait_apart_go_by_priority_and_not_before_their_time(s):
    lane, session = await s.lane(), await s.session()
    (low,) = await lost(s, lane, priority=-10)
    (high,) = await lost(s, lane, priority=10, timeout=timedelta(seconds=4))
    (later,) = await lost(s, lane, priority=10)
    await s.sql.execute("update live_job set run_at = now() + interval '1 hour' where id = $1", later)
    first = await s.claims.claim_isolated([lane.id], dict([session]))
    second = await s.claims.claim_isolated([lane.id], dict([session]))
    assert [row["id"] for row in first + second] == [high, low]
    assert await s.claims.claim_isolated([lane.id], dict([session])) == []
    (row,) = (await everything(s.sql, high))["live_job"]
    assert row["deadline"] - row["changed_at"] == timedelta(seconds=4)


async def test_a_gated_lane_keeps_what_waits_apart(s):
    lane, session = await s.lane(), await s.session()
    await lost(s, lane)
    await s.sql.execute("update lane set closed = true")
    assert await s.claims.claim_isolated([lane.id], dict([session])) == []


async def test_two_claims_at_once_take_different_jobs_that_wait_apart(s):
    lane = await s.lane()
    ids = await lost(s, lane, 10)
    sessions = [await s.session(str(number)) for number in range(10)]
    found = await asyncio.gather(
        *[s.claims.claim_isolated([lane.id], dict([session])) for session in sessions]
    )
    taken = [row["id"] for rows in found for row in rows]
    assert len(taken) == len(set(taken))
    assert set(taken) <= set(ids)


# ---- what the dispatcher asks before a claim


async def test_the_heads_of_lines_say_what_waits_and_whether_it_is_due(s):
    one, two, empty = await s.lane("one"), await s.lane("two"), await s.lane("empty")
    noon = datetime.now(UTC) - timedelta(hours=1)
    await at(s, one, noon)
    await at(s, one, noon + timedelta(seconds=1))
    later = new_row(s, two, run_at=datetime.now(UTC) + timedelta(hours=1))
    await s.intake.enqueue([later])
    floor = ClaimTarget(0, 0, 0, noon - timedelta(days=1), 0).floor
    rows = await s.claims.heads([(lane.id, 0, floor) for lane in (one, two, empty)])
    assert {(row["lane_id"], row["run_at"], row["due"]) for row in rows} == {
        (one.id, noon, True),
        (two.id, later.new.run_at, False),
    }


async def test_the_heads_of_those_that_wait_apart_name_their_lanes(s):
    lane, other = await s.lane(), await s.lane("other")
    await lost(s, lane, 2, priority=-3)
    await enqueue(s, other)
    rows = await s.claims.heads_isolated([lane.id, other.id])
    assert [(row["lane_id"], row["due"]) for row in rows] == [(lane.id, True)]


async def test_a_peek_tells_the_sizes_in_the_order_of_the_claim_and_takes_nothing(s):
    lane, session = await s.lane(), await s.session()
    for size, priority in ((10, 0), (3000, 0), (20, 1)):
        await enqueue(s, lane, priority=priority, payload=b'"' + b"x" * (size - 2) + b'"')
    targets = [look(lane), look(lane, priority=1)]
    assert await s.claims.peek(targets, 10) == [20, 10, 3000]
    assert await s.claims.peek(targets, 2) == [20, 10]
    assert len(await claim(s, targets, 3, session)) == 3
    assert await s.claims.peek(targets, 10) == []
