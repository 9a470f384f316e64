"""Queues that limit how many of their jobs start in a time: exact in every window, over all who claim."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from jobqueue_server.model import Rate
from jobqueue_server.store.claim.claims import Allowed

from .factories import enqueue, look, new_row
from .stored import SCOPE

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


async def limit(s: Any, rate: Rate | None, **own: Any) -> None:
    assert await s.catalog_store.set_key_policy(SCOPE, "default", {}, own={"rate": rate, **own}, make=True)
    await s.catalog.refresh()


async def claim(s: Any, lane: Any, slots: int, session: tuple[int, int]) -> tuple[Allowed, list[Any]]:
    answer: tuple[Allowed, list[Any]] = await s.claims.claim_counted(
        lane.queue_id, [look(lane)], [session[0]] * slots, dict([session])
    )
    return answer


def most_in(period: timedelta, starts: Sequence[datetime]) -> int:
    """The most that started in any window of this length."""
    starts = sorted(starts)
    return max(bisect_left(starts, at + period) - n for n, at in enumerate(starts))


@pytest.fixture
async def lane(s: Any) -> Any:
    """Of a queue that lets four jobs start in an hour, three of them at once."""
    lane = await s.lane()
    await limit(s, Rate(4, HOUR, 3))
    return lane


# ---- what may start


async def test_as_many_start_at_once_as_the_burst_and_then_one_after_the_other(s, lane):
    session = await s.session()
    ids = await enqueue(s, lane, 9)
    allowed, rows = await claim(s, lane, 2, session)
    assert (allowed, [row["id"] for row in rows]) == (Allowed(3), ids[:2]), "one more may start at once"
    allowed, rows = await claim(s, lane, 9, session)
    assert (allowed.room, [row["id"] for row in rows]) == (1, ids[2:3])
    assert allowed.wait == pytest.approx(HOUR.total_seconds() / 4, abs=60)
    allowed, rows = await claim(s, lane, 9, session)
    assert (allowed.room, rows) == (0, [])
    assert allowed.wait == pytest.approx(HOUR.total_seconds() / 4, abs=60)
    # The time of one start goes by, and a half.
    await s.sql.execute("update queue_rate set tat = tat - interval '22.5 minutes'")
    allowed, rows = await claim(s, lane, 9, session)
    assert (allowed.room, [row["id"] for row in rows]) == (1, ids[3:4])
    assert allowed.wait == pytest.approx(HOUR.total_seconds() / 8, abs=60)


async def test_a_claim_that_finds_no_job_uses_nothing_up(s, lane):
    session = await s.session()
    for _ in range(5):
        assert await claim(s, lane, 2, session) == (Allowed(3), [])


async def test_what_was_not_used_is_not_saved_beyond_the_burst(s, lane):
    session = await s.session()
    await enqueue(s, lane, 9)
    await claim(s, lane, 1, session)
    await s.sql.execute("update queue_rate set tat = tat - interval '10 days'")
    _, rows = await claim(s, lane, 9, session)
    assert len(rows) == 3


async def test_each_start_counts_also_that_of_a_retry_and_of_an_isolated_job(s, lane):
    session = await s.session()
    await enqueue(s, lane, 9)
    await claim(s, lane, 2, session)
    await s.sql.execute("update live_job set state = 4, session_id = null, losses = 2")
    allowed, rows = await s.claims.claim_isolated_counted(lane.queue_id, [lane.id], dict([session]))
    assert (allowed.room, len(rows)) == (1, 1)
    allowed, rows = await s.claims.claim_isolated_counted(lane.queue_id, [lane.id], dict([session]))
    assert (allowed.room, rows) == (0, [])


async def test_both_limits_hold(s, lane):
    session = await s.session()
    await enqueue(s, lane, 9)
    await limit(s, Rate(4, HOUR, 3), max_running=2)
    _, rows = await claim(s, lane, 9, session)
    assert len(rows) == 2
    await s.attempts.end_plain([([row["id"]], row["attempts"], session[0]) for row in rows])
    allowed, rows = await claim(s, lane, 9, session)
    assert (allowed.room, len(rows)) == (1, 1), "the rate had one more"


async def test_a_clock_that_was_set_back_makes_it_wait_for_one(s, lane):
    session = await s.session()
    await enqueue(s, lane, 9)
    await claim(s, lane, 1, session)
    await s.sql.execute("update queue_rate set tat = now() + interval '30 days'")
    allowed, rows = await claim(s, lane, 9, session)
    assert (allowed.room, rows) == (0, [])
    assert allowed.wait == pytest.approx(HOUR.total_seconds() / 4, abs=60)
    await s.sql.execute("update queue_rate set tat = tat - interval '15 minutes'")
    _, rows = await claim(s, lane, 9, session)
    assert len(rows) == 1


async def test_a_rate_that_is_raised_holds_from_then_on(s, lane):
    session = await s.session()
    await enqueue(s, lane, 9)
    await claim(s, lane, 9, session)
    await limit(s, Rate(1_000_000, SECOND, 2))
    rows: list[Any] = []
    async with asyncio.timeout(10):
        while len(rows) < 6:
            rows += (await claim(s, lane, 9, session))[1]


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
    assert await s.sql.fetchval("select count(*) from live_job where state = 2") == 0


async def test_a_lane_that_is_born_or_resumed_in_such_a_queue_is_kept_from_them_too(s, lane):
    born = await s.lane(kind="born")
    assert (born.closed, born.paused, born.counted) == (True, False, True)
    await s.queues.pause_queue(SCOPE, "default")
    assert (born.closed, born.paused, born.counted) == (True, True, False)
    await s.queues.resume_queue(SCOPE, "default")
    assert (born.closed, born.paused, born.counted) == (True, False, True)
    await limit(s, None)
    assert (born.closed, lane.closed, lane.counted) == (False, False, False)


async def test_a_claim_that_waited_for_others_counts_from_when_its_turn_came(s, lane, module_dsn):
    session = await s.session()
    await enqueue(s, lane, 1)
    other = await asyncpg.connect(module_dsn)
    try:
        async with asyncio.timeout(10), other.transaction():
            await other.execute("select from queue for update")
            claims = asyncio.ensure_future(claim(s, lane, 1, session))
            while not await s.sql.fetchval("select count(*) from pg_locks where not granted"):
                await asyncio.sleep(0.01)
            turn = await s.sql.fetchval("select clock_timestamp()")
        _, [row] = await asyncio.wait_for(claims, 10)
        assert row["changed_at"] > turn
        assert row["changed_at"] + HOUR / 4 == await s.sql.fetchval("select tat from queue_rate")
    finally:
        await other.close()


# ---- every window


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    "rate",
    [
        Rate(3, SECOND, 1),
        Rate(7, SECOND, 2),
        Rate(1000, SECOND),
        Rate(999_983, SECOND, 1),
        Rate(1, timedelta(days=1), 1),
        Rate(100_000, timedelta(days=1), 100_000),
        Rate(7, timedelta(milliseconds=1), 1),
    ],
    ids=lambda rate: f"{rate.count} in {rate.period}, {rate.at_once} at once",
)
async def test_no_window_has_more_starts_than_the_rate_says_however_they_come(s, rate):
    """At times of our own: at once, when the next one may start, a microsecond before, and after a pause."""
    chance = random.Random(7)
    lane = await s.lane()
    await limit(s, rate)
    ahead = "select starts_of_rate(r.tat, $2, q.rate_count, q.rate_period_ms, q.rate_burst) from queue q"
    ahead += " left join queue_rate r on r.queue_id = q.id where q.id = $1"
    at: datetime = await s.sql.fetchval("select now()")
    starts: list[datetime] = []
    for _ in range(150):
        room = await s.sql.fetchval(ahead, lane.queue_id, at)
        took = chance.choice([room, min(room, 1)])
        starts += [at] * took
        then = await s.sql.fetchval("select started_of_queue($1, $2, $3)", lane.queue_id, at, took)
        then += timedelta(microseconds=chance.choice([-1, 0, 0, 0, 1]))
        at = max(at, then + chance.choice([timedelta(), timedelta(), rate.period / 3]))
    assert len(starts) > 30
    assert most_in(rate.period, starts) <= rate.most_started_in_a_period


@pytest.mark.slow
async def test_no_window_has_more_starts_than_the_rate_says_with_claims_from_all_sides(s):
    """Claims at once, as of several servers."""
    rate = Rate(400, SECOND, 8)
    lane = await s.lane()
    await limit(s, rate)
    await enqueue(s, lane, 900)
    session = await s.session()
    starts: list[datetime] = []

    async def server() -> None:
        while len(starts) < 900:
            allowed, rows = await claim(s, lane, random.randint(1, 20), session)
            starts.extend(row["changed_at"] for row in rows)
            await asyncio.sleep(0 if rows else allowed.wait)

    await asyncio.wait_for(asyncio.gather(*(server() for _ in range(4))), 60)
    assert len(starts) == 900
    assert most_in(SECOND, starts) <= 407
