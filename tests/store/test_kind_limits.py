"""Kinds that limit how many of their jobs run and start: over all queues of their namespace, exact at every claim."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from jobqueue_server.model import Kind, Rate
from jobqueue_server.scope import Scope
from jobqueue_server.store.claim.claims import Allowed

from .factories import enqueue, look, new_row
from .stored import SCOPE
from .test_rate import HOUR, SECOND, most_in

OTHER = Scope(2, "second")


async def limit(s: Any, most: int | None = None, rate: Rate | None = None, kind: str = "hello") -> None:
    await s.catalog_store.put_kind(SCOPE, Kind(kind, max_running=most, rate=rate))
    await s.catalog.refresh()


async def limit_queue(s: Any, most: int | None, queue: str = "default") -> None:
    assert await s.catalog_store.set_key_policy(SCOPE, queue, {}, own={"max_running": most}, make=True)
    await s.catalog.refresh()


async def claim(s: Any, lane: Any, slots: int, session: tuple[int, int]) -> tuple[Allowed, list[Any]]:
    """As a server does that knows the limits."""
    kind = lane.kind_id if lane.kind_limited else None
    answer: tuple[Allowed, list[Any]] = await s.claims.claim_counted(
        lane.queue_id, [look(lane)], [session[0]] * slots, dict([session]), kind
    )
    return answer


@pytest.fixture
async def lane(s: Any) -> Any:
    """Of a kind that lets three jobs run."""
    lane = await s.lane()
    await limit(s, 3)
    return lane


@pytest.fixture
async def elsewhere(s: Any, lane: Any) -> Any:
    """The same kind in another queue."""
    return await s.lane("elsewhere")


# ---- what is leased


async def test_a_kind_counts_over_all_its_queues(s, lane, elsewhere):
    session = await s.session()
    await enqueue(s, lane, 5)
    await enqueue(s, elsewhere, 5)
    allowed, rows = await claim(s, lane, 2, session)
    assert (allowed, len(rows)) == (Allowed(3, 0.0, True), 2)
    allowed, rows = await claim(s, elsewhere, 9, session)
    assert (allowed, len(rows)) == (Allowed(1, 0.0, True), 1)
    assert [(await claim(s, each, 9, session))[1] for each in (lane, elsewhere)] == [[], []]
    await limit(s, 5)
    assert [len((await claim(s, each, 1, session))[1]) for each in (lane, elsewhere)] == [1, 1]


async def test_other_kinds_of_its_queue_do_not_count(s, lane):
    session, other = await s.session(), await s.lane(kind="other")
    assert (other.closed, other.counted) == (False, False)
    await enqueue(s, other, 9)
    assert len(await s.claims.claim([look(other)], [session[0]] * 9, dict([session]))) == 9
    assert (await claim(s, lane, 9, session))[0].room == 3


async def test_a_kind_of_the_same_name_in_another_namespace_does_not_count(s, lane):
    await s.sql.execute("insert into namespace (id, name) values (2, 'second') on conflict do nothing")
    session = await s.session()
    await s.catalog.put_kind(OTHER, Kind("hello"))
    other = await s.catalog.lane(OTHER, "default", "hello")
    assert not other.closed
    await enqueue(s, lane, 3)
    await claim(s, lane, 3, session)
    await s.catalog_store.put_kind(OTHER, Kind("hello", max_running=3))
    await s.catalog.refresh()
    assert (await claim(s, other, 1, session))[0].room == 3


@pytest.mark.parametrize(("of_queue", "allowed"), [(2, Allowed(2)), (9, Allowed(3, 0.0, True))])
async def test_the_closer_limit_holds_and_is_told(s, lane, of_queue, allowed):
    session = await s.session()
    await limit_queue(s, of_queue)
    await enqueue(s, lane, 9)
    found, rows = await claim(s, lane, 9, session)
    assert (found, len(rows)) == (allowed, allowed.room)


async def test_statements_that_do_not_ask_lease_nothing_of_such_a_kind(s, lane):
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


async def test_a_claim_that_asks_the_queue_alone_leases_nothing_of_such_a_kind(s, lane):
    """A server that has not read of the kind's limits yet."""
    session, other = await s.session(), await s.lane(kind="other")
    await limit_queue(s, 9)
    await enqueue(s, lane, 2)
    await enqueue(s, other, 1)
    targets = [look(lane), look(other)]
    _, rows = await s.claims.claim_counted(lane.queue_id, targets, [session[0]] * 9, dict([session]))
    assert [row["lane_id"] for row in rows] == [other.id]
    await s.sql.execute("update live_job set state = 4, losses = 2 where state = 1")
    _, rows = await s.claims.claim_isolated_counted(lane.queue_id, [lane.id], dict([session]))
    assert rows == []
    _, rows = await s.claims.claim_isolated_counted(lane.queue_id, [lane.id], dict([session]), lane.kind_id)
    assert len(rows) == 1


# ---- gates


async def test_gates_follow_both_the_queue_and_the_kind(s, lane, elsewhere):
    born = await s.lane("born")
    assert all(
        (each.closed, each.paused, each.counted) == (True, False, True) for each in (lane, elsewhere, born)
    )
    await s.queues.pause_queue(SCOPE, "default")
    assert (lane.closed, lane.paused, lane.counted) == (True, True, False)
    await s.queues.resume_queue(SCOPE, "default")
    assert (lane.closed, lane.counted) == (True, True)
    await limit_queue(s, 9)
    await limit_queue(s, None)
    assert lane.closed, "the kind has its limit still"
    await limit_queue(s, 9, "elsewhere")
    await limit(s)
    assert [each.closed for each in (lane, elsewhere, born)] == [False, True, False]
    await limit_queue(s, None, "elsewhere")
    assert not elsewhere.closed


async def test_a_pause_and_limits_that_come_at_once_leave_no_gate_open(s, module_dsn):
    """The queue's limit is taken back while the kind gets one: whichever is first, the lane stays closed."""
    lane = await s.lane()
    other = await asyncpg.connect(module_dsn)
    try:
        for _ in range(10):
            await limit(s)
            await limit_queue(s, 5)
            async with other.transaction():
                await other.execute("select from kind where id = $1 for share", lane.kind_id)
                both = [asyncio.ensure_future(limit(s, 3)), asyncio.ensure_future(limit_queue(s, None))]
                random.shuffle(both)
                async with asyncio.timeout(20):
                    while not await s.sql.fetchval("select count(*) from pg_locks where not granted"):
                        await asyncio.sleep(0.01)
            await asyncio.wait_for(asyncio.gather(*both), 20)
            assert await s.sql.fetchval("select closed from lane where id = $1", lane.id)
    finally:
        await other.close()


# ---- rates


async def test_the_rate_of_a_kind_counts_starts_of_all_its_queues(s, lane, elsewhere):
    session = await s.session()
    await limit(s, rate=Rate(4, HOUR, 3))
    await enqueue(s, lane, 9)
    await enqueue(s, elsewhere, 9)
    allowed, rows = await claim(s, lane, 2, session)
    assert (allowed, len(rows)) == (Allowed(3, 0.0, True), 2)
    allowed, rows = await claim(s, elsewhere, 9, session)
    assert (allowed.room, allowed.by_kind, len(rows)) == (1, True, 1)
    assert allowed.wait == pytest.approx(HOUR.total_seconds() / 4, abs=60)
    allowed, rows = await claim(s, lane, 9, session)
    assert (allowed.room, rows) == (0, [])
    await s.sql.execute("update kind_rate set tat = tat - interval '15 minutes'")
    assert len((await claim(s, elsewhere, 9, session))[1]) == 1


async def test_a_start_uses_up_the_rates_of_both_the_queue_and_the_kind(s, lane):
    session = await s.session()
    await limit(s, rate=Rate(4, HOUR, 3))
    own = {"rate": Rate(4, HOUR, 2)}
    assert await s.catalog_store.set_key_policy(SCOPE, "default", {}, own=own)
    await enqueue(s, lane, 9)
    allowed, rows = await claim(s, lane, 9, session)
    assert (allowed.room, allowed.by_kind, len(rows)) == (2, False, 2)
    assert allowed.wait > 60
    await s.catalog_store.set_key_policy(SCOPE, "default", {}, own={"rate": None})
    allowed, rows = await claim(s, lane, 9, session)
    assert (allowed.room, allowed.by_kind, len(rows)) == (1, True, 1)


async def test_a_clock_that_was_set_back_makes_a_kind_wait_for_one(s, lane):
    session = await s.session()
    await limit(s, rate=Rate(4, HOUR, 3))
    await enqueue(s, lane, 9)
    await claim(s, lane, 1, session)
    await s.sql.execute("update kind_rate set tat = now() + interval '30 days'")
    allowed, rows = await claim(s, lane, 9, session)
    assert (allowed.room, rows) == (0, [])
    assert allowed.wait == pytest.approx(HOUR.total_seconds() / 4, abs=60)
    await s.sql.execute("update kind_rate set tat = tat - interval '15 minutes'")
    assert len((await claim(s, lane, 9, session))[1]) == 1


# ---- many at once


async def test_with_claims_in_all_queues_and_ends_there_are_never_more_than_the_kind_lets_run(
    s, lane, module_dsn
):
    """Claims at once, as of several servers; one of the queues has a limit too."""
    most, each_has = 5, 120
    await limit(s, most)
    await limit_queue(s, 3, "q1")
    lanes = [await s.lane(f"q{n}") for n in range(3)]
    for each in lanes:
        await enqueue(s, each, each_has)
    session = await s.session()
    left, seen = asyncio.Event(), []

    async def server() -> None:
        while not left.is_set():
            _, rows = await claim(s, random.choice(lanes), random.randint(1, 9), session)
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
                seen.append(
                    await connection.fetchrow(
                        "select count(*), count(*) filter (where lane_id = $1) as one from live_job where state = 2",
                        lanes[1].id,
                    )
                )
        finally:
            left.set()
            await connection.close()

    await asyncio.wait_for(asyncio.gather(look_at(), *(server() for _ in range(4))), 120)
    assert max(row["count"] for row in seen) == most
    assert max(row["one"] for row in seen) <= 3
    assert await s.sql.fetchval("select count(*) from finished_job") == 3 * each_has


@pytest.mark.slow
async def test_no_window_has_more_starts_than_the_rate_of_a_kind_says(s, lane):
    rate = Rate(400, SECOND, 8)
    await limit(s, rate=rate)
    lanes = [lane, await s.lane("elsewhere")]
    for each in lanes:
        await enqueue(s, each, 300)
    session = await s.session()
    starts: list[Any] = []

    async def server(each: Any) -> None:
        mine = 0
        while mine < 300:
            allowed, rows = await claim(s, each, random.randint(1, 20), session)
            starts.extend(row["changed_at"] for row in rows)
            mine += len(rows)
            await asyncio.sleep(0 if rows else min(allowed.wait, 0.1))

    await asyncio.wait_for(asyncio.gather(*map(server, lanes)), 120)
    assert most_in(timedelta(seconds=1), starts) <= 407
