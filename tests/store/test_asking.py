"""Jobs leased as they are stored in a queue that limits how many run or start: exact, and counted by claims."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from jobqueue_server.model import Rate
from jobqueue_server.store.intake.intake import NewRows, Stored

from . import test_counted, test_kind_limits, test_rate
from .factories import enqueue, keyed_row, new_row
from .stored import SCOPE

HOUR = timedelta(hours=1)


@pytest.fixture
async def lane(s: Any) -> Any:
    """Of a queue that lets three jobs run."""
    lane = await s.lane()
    await test_counted.limit(s, 3)
    return lane


async def hand_off(s: Any, rows: Sequence[NewRows], *lanes: Any) -> Stored:
    """Stores jobs with slots, of these lanes."""
    done: Stored = await s.intake.enqueue_counted(rows, sorted({lane.queue_id for lane in lanes}))
    return done


def jobs(s: Any, lane: Any, session: tuple[int, int], count: int, **fields: Any) -> NewRows:
    return new_row(s, lane, slot=session, payloads=[b"{}"] * count, **fields)


async def leased(s: Any) -> set[Any]:
    return {row["id"] for row in await s.sql.fetch("select id from live_job where state = 2")}


async def test_of_jobs_that_have_slots_as_many_are_leased_as_the_queue_lets_run_and_the_others_wait(s, lane):
    session = await s.session()
    row = jobs(s, lane, session, 5)
    stored = await hand_off(s, [row], lane)
    assert stored.refused == frozenset(row.ids[3:])
    assert await leased(s) == set(row.ids[:3])
    assert await s.sql.fetchval("select count(*) from live_job where state = 1") == 2
    again = jobs(s, lane, session, 1)
    assert (await hand_off(s, [again], lane)).refused == frozenset(again.ids)


async def test_what_was_leased_so_counts_for_claims_and_an_end_lets_the_next_one_start(s, lane):
    session = await s.session()
    row = jobs(s, lane, session, 2)
    assert not (await hand_off(s, [row], lane)).refused
    await enqueue(s, lane, 5)
    room, claimed = await test_counted.claim(s, lane, 9, session)
    assert (room, len(claimed)) == (1, 1)
    await s.attempts.end_plain([([row.ids[0]], 1, session[0])])
    other = jobs(s, lane, session, 2)
    assert (await hand_off(s, [other], lane)).refused == frozenset(other.ids[1:])


async def test_jobs_without_a_slot_take_nothing_of_what_the_queue_allows(s, lane):
    session = await s.session()
    row, waits = jobs(s, lane, session, 3), new_row(s, lane, payloads=[b"{}"] * 4)
    stored = await hand_off(s, [waits, row], lane)
    assert not stored.refused
    assert await leased(s) == set(row.ids)


async def test_a_slot_that_is_gone_takes_nothing_either(s, lane):
    session = await s.session()
    row, gone = jobs(s, lane, session, 3), jobs(s, lane, (session[0], session[1] + 1), 4)
    stored = await hand_off(s, [gone, row], lane)
    assert stored.refused == frozenset(gone.ids)
    assert await leased(s) == set(row.ids)


async def test_each_queue_of_an_insert_lets_its_own_number_start(s, lane):
    session = await s.session()
    other, free = await s.lane("other"), await s.lane("free")
    await test_counted.limit(s, 1, "other")
    rows = [jobs(s, each, session, 4) for each in (other, lane, free)]
    stored = await hand_off(s, rows, other, lane)
    assert stored.refused == frozenset([*rows[0].ids[1:], *rows[1].ids[3:]])


async def test_a_queue_that_is_not_asked_hands_off_nothing(s, lane):
    session = await s.session()
    other = await s.lane("other")
    await test_counted.limit(s, 9, "other")
    row, unasked = jobs(s, lane, session, 2), jobs(s, other, session, 2)
    assert (await hand_off(s, [unasked, row], lane)).refused == frozenset(unasked.ids)


async def test_a_queue_that_is_paused_hands_off_nothing(s, lane):
    session = await s.session()
    await s.catalog_store.set_queue_paused(SCOPE, "default", paused=True)
    row = jobs(s, lane, session, 2)
    assert (await hand_off(s, [row], lane)).refused == frozenset(row.ids)


async def test_a_kind_with_limits_of_its_own_is_left_to_the_claims(s, lane):
    session = await s.session()
    await test_kind_limits.limit(s, 9)
    other = await s.lane(kind="other")
    row, free = jobs(s, lane, session, 2), jobs(s, other, session, 2)
    assert (await hand_off(s, [row, free], lane)).refused == frozenset(row.ids)


async def test_what_starts_so_is_held_against_the_rate(s, lane):
    session = await s.session()
    await test_counted.limit(s, None)
    await test_rate.limit(s, Rate(4, HOUR, 3))
    row = jobs(s, lane, session, 2)
    assert not (await hand_off(s, [row], lane)).refused
    row = jobs(s, lane, session, 2)
    assert (await hand_off(s, [row], lane)).refused == frozenset(row.ids[1:])
    allowed, _ = await test_rate.claim(s, lane, 9, session)
    assert allowed.room == 0
    assert allowed.wait == pytest.approx(HOUR.total_seconds() / 4, abs=60)


async def test_a_rate_counts_no_job_that_waits(s, lane):
    session = await s.session()
    await test_counted.limit(s, None)
    await test_rate.limit(s, Rate(4, HOUR, 3))
    await hand_off(s, [new_row(s, lane, payloads=[b"{}"] * 9), jobs(s, lane, session, 1)], lane)
    allowed, rows = await test_rate.claim(s, lane, 9, session)
    assert (allowed.room, len(rows)) == (2, 2)


async def test_a_job_whose_idempotency_key_is_taken_takes_nothing(s, lane):
    session = await s.session()
    await hand_off(s, [keyed_row(s, lane, "one")], lane)
    rows = [keyed_row(s, lane, key, slot=session) for key in ("one", "two", "three", "four", "five")]
    stored = await hand_off(s, rows, lane)
    assert stored.lost_keys == frozenset([rows[0].id])
    assert stored.refused == frozenset([rows[4].id])


async def test_a_lease_and_its_timeout_begin_once_the_queue_has_answered(s, lane, module_dsn):
    session = await s.session()
    other = await asyncpg.connect(module_dsn)
    try:
        await other.execute("begin")
        await other.execute("select from queue where id = $1 for no key update", lane.queue_id)
        row = jobs(s, lane, session, 1, timeout=timedelta(seconds=60))
        storing = asyncio.ensure_future(hand_off(s, [row], lane))
        waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '-- enqueue:%'"
        while not await s.sql.fetchval(waits):
            await asyncio.sleep(0.01)
        unlocked: datetime = await other.fetchval("select clock_timestamp()")
        await other.execute("commit")
    finally:
        await other.close()
    stored = await storing
    assert stored.at >= unlocked
    lease = await s.sql.fetchrow("select changed_at as began, deadline from live_job")
    assert (lease["began"], lease["deadline"]) == (stored.at, stored.at + timedelta(seconds=60))


async def test_with_inserts_claims_and_ends_from_all_sides_there_are_never_more_than_the_limit(
    s, lane, module_dsn
):
    """Inserts and claims at once, as of several servers, and looks between them."""
    most, total = 5, 600
    await test_counted.limit(s, most)
    session = await s.session()
    made = 0
    seen: list[int] = []
    started: list[Any] = []
    left = asyncio.Event()

    async def run(ids: Sequence[Any], attempts: int) -> None:
        started.extend(ids)
        for job_id in random.sample(list(ids), len(ids)):
            await asyncio.sleep(random.random() / 1000)
            await s.attempts.end_plain([([job_id], attempts, session[0])])

    async def producer() -> None:
        nonlocal made
        while made < total:
            row = jobs(s, lane, session, random.randint(1, 4))
            made += len(row.ids)
            stored = await hand_off(s, [row], lane)
            await run([job_id for job_id in row.ids if job_id not in stored.refused], 1)

    async def server() -> None:
        while not left.is_set():
            _, rows = await test_counted.claim(s, lane, random.randint(1, 9), session)
            await run([row["id"] for row in rows], 1)
            if not rows:
                await asyncio.sleep(0.001)

    async def look_at() -> None:
        connection = await asyncpg.connect(module_dsn)
        try:
            while made < total or await connection.fetchval("select count(*) from live_job"):
                seen.append(await connection.fetchval("select count(*) from live_job where state = 2"))
        finally:
            left.set()
            await connection.close()

    await asyncio.wait_for(
        asyncio.gather(look_at(), *(producer() for _ in range(4)), *(server() for _ in range(2))), 60
    )
    assert max(seen) == most
    assert len(started) == len(set(started)) == made
