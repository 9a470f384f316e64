"""Queues that limit how many of their jobs run: exact at every claim, and freed by every way in which a lease ends."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from jobqueue_server.lifecycle import Event
from jobqueue_server.model import Rate
from jobqueue_server.store.attempt.attempts import AttemptEnd

from .factories import enqueue, look, new_row
from .stored import SCOPE

HOUR = timedelta(hours=1)


async def limit(s: Any, most: int | None, queue: str = "default", **own: Any) -> None:
    own = {"max_running": most, **own}
    assert await s.catalog_store.set_key_policy(SCOPE, queue, {}, own=own, make=True)
    await s.catalog.refresh()


async def claim(s: Any, lane: Any, slots: int, session: tuple[int, int]) -> tuple[int, list[Any]]:
    """What may run, and what does from now on."""
    allowed, rows = await s.claims.claim_counted(
        lane.queue_id, [look(lane)], [session[0]] * slots, dict([session])
    )
    return allowed.room, rows


async def running(s: Any) -> int:
    return int(await s.sql.fetchval("select count(*) from live_job where state = 2"))


@pytest.fixture
async def lane(s: Any) -> Any:
    """Of a queue that lets three jobs run."""
    lane = await s.lane()
    await limit(s, 3)
    return lane


# ---- what is leased


async def test_a_claim_leases_no_more_than_the_queue_lets_run(s, lane):
    session = await s.session()
    ids = await enqueue(s, lane, 5)
    room, rows = await claim(s, lane, 10, session)
    assert (room, [row["id"] for row in rows]) == (3, ids[:3])
    assert await claim(s, lane, 10, session) == (0, [])
    await limit(s, 4)
    room, rows = await claim(s, lane, 10, session)
    assert (room, [row["id"] for row in rows]) == (1, ids[3:4])


async def test_a_queue_that_may_run_more_than_it_has_answers_what_is_left(s, lane):
    session = await s.session()
    assert await claim(s, lane, 2, session) == (3, [])
    await enqueue(s, lane, 1)
    room, rows = await claim(s, lane, 2, session)
    assert (room, len(rows)) == (3, 1)


async def test_the_kinds_of_a_queue_count_together_and_the_highest_priority_goes_first(s, lane):
    session, other = await s.session(), await s.lane(kind="other")
    low = await enqueue(s, lane, 3)
    high = await enqueue(s, other, 2, priority=5)
    targets = [look(lane), look(other, priority=5)]
    allowed, rows = await s.claims.claim_counted(lane.queue_id, targets, [session[0]] * 9, dict([session]))
    assert allowed.room == 3
    assert {row["id"] for row in rows} == {*high, low[0]}


async def test_statements_that_do_not_ask_lease_nothing_of_such_a_queue(s, lane):
    """Whatever a server knows: a claim, a claim of isolated jobs, and a hand-off."""
    session = await s.session()
    await enqueue(s, lane, 2)
    await s.sql.execute(
        "update live_job set state = 4, losses = 2 where id in (select id from live_job limit 1)"
    )
    assert await s.claims.claim([look(lane)], [session[0]], dict([session])) == []
    assert await s.claims.claim_isolated([lane.id], dict([session])) == []
    await s.intake.enqueue([new_row(s, lane, slot=session)])
    assert await running(s) == 0


async def test_a_lane_that_is_born_or_resumed_in_such_a_queue_is_kept_from_them_too(s, lane):
    born = await s.lane(kind="born")
    assert (born.closed, born.paused, born.counted) == (True, False, True)
    await s.queues.pause_queue(SCOPE, "default")
    assert (born.closed, born.paused, born.counted) == (True, True, False)
    await s.queues.resume_queue(SCOPE, "default")
    assert (born.closed, born.paused, born.counted) == (True, False, True)
    await limit(s, None)
    assert (born.closed, lane.closed, lane.counted) == (False, False, False)
    await s.queues.pause_queue(SCOPE, "default")
    await limit(s, 2)
    await limit(s, None)
    assert (lane.closed, lane.paused) == (True, True)


async def test_a_paused_queue_lets_none_start(s, lane):
    session = await s.session()
    await enqueue(s, lane, 1)
    await s.sql.execute("update queue set paused_at = now()")
    assert await claim(s, lane, 1, session) == (0, [])


async def test_an_isolated_job_counts_as_any(s, lane):
    session, other = await s.session(), await s.session()
    await enqueue(s, lane, 4)
    await claim(s, lane, 2, session)
    await s.sql.execute("update live_job set state = 4, losses = 2 where state = 1")
    allowed, rows = await s.claims.claim_isolated_counted(lane.queue_id, [lane.id], dict([session, other]))
    assert (allowed.room, len(rows)) == (1, 1)
    allowed, rows = await s.claims.claim_isolated_counted(lane.queue_id, [lane.id], dict([other]))
    assert (allowed.room, rows) == (0, [])


async def test_a_bounded_session_is_told_the_sizes_of_what_it_may_claim(s, lane):
    await enqueue(s, lane, 1, payload=b'"' + b"x" * 98 + b'"')
    assert await s.claims.peek([look(lane)], 1) == [100]
    await s.queues.pause_queue(SCOPE, "default")
    assert await s.claims.peek([look(lane)], 1) == []


# ---- what is freed


@pytest.mark.parametrize("event", Event, ids=lambda event: event.name)
async def test_every_end_of_a_lease_lets_the_next_one_start(s, lane, event):
    await limit(s, 1)
    session = await s.session()
    first, _ = await enqueue(s, lane, 2, max_attempts=1)
    _, [row] = await claim(s, lane, 1, session)
    lease = (row["id"], row["attempts"], session[0])
    assert row["id"] == first
    if event is Event.SUCCEED:
        await s.attempts.end_plain([([first], *lease[1:])])
    else:
        await s.sql.execute("update live_job set deadline = now() - interval '1 second' where id = $1", first)
        assert len(await s.attempts.end_attempt([AttemptEnd(*lease, event)])) == 1
    assert await running(s) == 0
    room, rows = await claim(s, lane, 1, session)
    assert (room, len(rows)) == (1, 1)


# ---- where a count begins


async def settle(s: Any, rows: list[Any], session: tuple[int, int]) -> None:
    await s.attempts.end_plain([([row["id"]], row["attempts"], session[0]) for row in rows])


async def begin(s: Any, ids: list[UUID], ago: timedelta) -> None:
    """Puts the beginning of these leases back."""
    await s.sql.execute(
        "update live_job set changed_at = changed_at - $2::interval where id = any($1)", ids, ago
    )


async def since(s: Any) -> datetime | None:
    found: datetime | None = await s.sql.fetchval("select since from queue_running")
    return found


async def test_a_count_begins_at_the_oldest_lease_that_runs(s, lane):
    session = await s.session()
    await enqueue(s, lane, 9)
    _, rows = await claim(s, lane, 2, session)
    await begin(s, [rows[0]["id"]], HOUR)
    await s.sql.execute("update queue_running set since = since - interval '2 hours'")
    assert (await claim(s, lane, 0, session))[0] == 1
    assert await since(s) == rows[0]["changed_at"] - HOUR
    await settle(s, rows[:1], session)
    assert (await claim(s, lane, 0, session))[0] == 2
    assert await since(s) == rows[1]["changed_at"]


async def test_a_full_queue_moves_it_on_too(s, lane):
    session = await s.session()
    await enqueue(s, lane, 3)
    _, rows = await claim(s, lane, 3, session)
    await s.sql.execute("update queue_running set since = since - interval '2 hours'")
    assert (await claim(s, lane, 1, session))[0] == 0
    assert await since(s) == rows[0]["changed_at"]


async def test_it_passes_over_none_that_runs_where_more_run_than_may(s, lane):
    """The limit was lowered, and the count ends before it has come to the oldest one."""
    session, other = await s.session(), await s.lane(kind="other")
    await enqueue(s, lane, 2)
    [old] = await enqueue(s, other, 1)
    _, rows = await claim(s, lane, 2, session)
    assert len((await claim(s, other, 1, session))[1]) == 1
    await begin(s, [old], HOUR)
    await s.sql.execute("update queue_running set since = since - interval '2 hours'")
    await limit(s, 1)
    assert (await claim(s, lane, 1, session))[0] == 0
    await settle(s, rows, session)
    assert (await claim(s, lane, 1, session))[0] == 0, "the old one runs"


@pytest.mark.parametrize("rate", [None, Rate(10, HOUR, 10)], ids=["", "a rate alone meanwhile"])
async def test_what_is_leased_after_the_clock_was_set_back_counts(s, lane, rate):
    session = await s.session()
    await enqueue(s, lane, 5)
    await claim(s, lane, 0, session)
    await s.sql.execute("update queue_running set since = since + interval '1 hour'")
    if rate is not None:
        await limit(s, None, rate=rate)
    _, rows = await claim(s, lane, 2, session)
    await limit(s, 3, rate=rate)
    assert (await claim(s, lane, 0, session))[0] == 1
    assert await since(s) == rows[0]["changed_at"]


# ---- many at once


async def test_with_claims_and_ends_from_all_sides_there_are_never_more_than_the_limit(s, lane, module_dsn):
    """Claims at once, as of several servers, and looks between them."""
    most, jobs = 5, 600
    await limit(s, most)
    await enqueue(s, lane, jobs)
    session = await s.session()
    left, seen = asyncio.Event(), []

    async def server() -> None:
        while not left.is_set():
            _, rows = await claim(s, lane, random.randint(1, 9), session)
            random.shuffle(rows)
            for row in rows:
                await asyncio.sleep(random.random() / 1000)
                await s.attempts.end_plain([([row["id"]], row["attempts"], session[0])])
            if not rows:
                await asyncio.sleep(0.001)

    async def look_at() -> None:
        connection = await asyncpg.connect(module_dsn)
        try:
            while await connection.fetchval("select count(*) from live_job"):
                seen.append(await connection.fetchval("select count(*) from live_job where state = 2"))
                # So that each claim moves it on, and not one in 0.25 s.
                await connection.execute("update queue_running set since = since - interval '1 second'")
        finally:
            left.set()
            await connection.close()

    await asyncio.wait_for(asyncio.gather(look_at(), *(server() for _ in range(4))), 60)
    assert max(seen) == most
    assert await s.sql.fetchval("select count(*) from finished_job") == jobs
