"""The reads behind `explain` and `demand` are bounded, whatever waits, and however old their plans are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from jobqueue_server.store.database import COLD_SETTINGS
from jobqueue_server.store.statements import statement

MOST = 1000
WAITING = 60_000
# Each of these would be read by a plan that is not bounded: due at the job's priority and above, due later above, held
# back; and jobs that run alone.
_FILL = """
insert into queue (namespace_id, name) values (1, 'q');
insert into kind (namespace_id, name) select 1, 'k' || i from generate_series(1, 2) i;
insert into lane (namespace_id, queue_id, kind_id) select 1, 1, i from generate_series(1, 2) i;
with fresh as (
    select i, (left(uuid_at(now())::text, 15) || '000-8000-' || lpad(to_hex(i), 12, '0'))::uuid as id
    from generate_series(1, {jobs}) i
),
body as (
    insert into job (id, run_at, lane_id, priority, max_attempts, payload)
    select id, now(), 1 + i % 2, 0, 3, '{{}}' from fresh
)
insert into live_job (id, run_at, lane_id, priority, max_attempts, state, hold, losses)
select id,
    now() - interval '1 hour' + i * interval '1 millisecond' + case when i % 5 = 1 then interval '1 day' else '0' end,
    1 + i % 2, case when i % 5 in (0, 1) then 5 else 0 end, 3,
    case when i % 5 = 2 then 3 when i % 50 = 3 then 4 else 1 end, case when i % 5 = 2 then 4 end,
    case when i % 50 = 3 then 2 else 0 end
from fresh
"""
_LAST = (
    "(select id from live_job where state = {state} and priority = 0 order by run_at desc, id desc limit 1)"
)


async def prepared_when_empty(dsn: str) -> asyncpg.Connection:
    """A connection that made its plans before there was a job."""
    settings = {**COLD_SETTINGS, "plan_cache_mode": "force_generic_plan", "jit": "off"}
    connection = await asyncpg.connect(dsn, server_settings=settings)
    await connection.execute(f"prepare e (uuid, int4, int4[], int4) as {statement('explain_job')}")
    await connection.execute(f"prepare d (int4[], int4, int4) as {statement('queue_demand')}")
    await connection.execute(f"execute e ('{'0' * 32}', 1, '{{1, 2}}', {MOST})")
    await connection.execute(f"execute d ('{{1, 2}}', {MOST}, {MOST})")
    await connection.execute(_FILL.format(jobs=WAITING))
    return connection


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


async def pages_read(connection: asyncpg.Connection, call: str) -> int:
    text = await connection.fetchval(f"explain (analyze, buffers, format json) execute {call}")
    (answer,) = json.loads(text)
    for node in nodes(answer["Plan"]):
        if node["Node Type"] == "Seq Scan":
            assert node["Relation Name"] in (
                "lane",
                "queue",
                "queue_rate",
                "kind_rate",
                "kind",
                "worker_session",
            )
    pages: int = answer["Plan"]["Shared Hit Blocks"] + answer["Plan"]["Shared Read Blocks"]
    return pages


async def test_a_job_behind_many_is_explained_by_reading_few(dsn: str) -> None:
    connection = await prepared_when_empty(dsn)
    try:
        for state, ahead in ((1, MOST), (4, MOST)):
            job_id = await connection.fetchval(f"select {_LAST.format(state=state)}")
            row = await connection.fetchrow(statement("explain_job"), job_id, 1, [1, 2], MOST)
            assert (row["state"], row["ahead"], row["queue"]) == (state, ahead, "q")
            assert await pages_read(connection, f"e ('{job_id}', 1, '{{1, 2}}', {MOST})") < 6 * MOST
    finally:
        await connection.close()


@pytest.mark.slow
async def test_what_waits_for_a_key_reads_few_wherever_the_job_stands(dsn: str) -> None:
    connection = await prepared_when_empty(dsn)
    try:
        await connection.execute(f"prepare k (uuid, int4, int4) as {statement('explain_key')}")
        await connection.execute(
            "insert into semaphore (id, queue_id, taken, waiting, granted) values (7, 1, 1, 1, 1);"
            " update live_job set hold = 1, semaphore_id = 7, priority = case when lane_id = 1 then 0 else 5 end"
            " where state = 3; update live_job set semaphore_id = 7"
            " where id = (select id from live_job where state = 1 limit 1)"
        )
        waiting = await connection.fetch(
            "select id from live_job where hold = 1 order by priority desc, run_at, id"
        )
        assert len(waiting) > 5 * MOST
        for place in (0, 100, MOST, len(waiting) // 2 + 100, len(waiting) - 1):
            job_id = waiting[place]["id"]
            row = await connection.fetchrow(statement("explain_key"), job_id, 20, MOST)
            assert (row["ahead"], len(row["holders"])) == (min(place, MOST), 1)
            assert await pages_read(connection, f"k ('{job_id}', 20, {MOST})") < 3 * MOST
    finally:
        await connection.close()


@pytest.mark.slow
async def test_the_jobs_before_one_are_those_that_a_claim_would_take_first(dsn: str) -> None:
    connection = await prepared_when_empty(dsn)
    try:
        for state in (1, 4):
            for lanes in ([1, 2], []):
                job_id = await connection.fetchval(
                    "select id from live_job where state = $1 and priority = 0 and run_at <= now()"
                    " order by run_at offset 400 limit 1",
                    state,
                )
                wanted = await connection.fetchval(
                    "select count(*) from live_job l, live_job own where own.id = $1 and l.state = own.state"
                    " and (l.lane_id = own.lane_id or l.lane_id = any($2)) and l.run_at <= now()"
                    " and (-l.priority, l.run_at, l.id) < (-own.priority, own.run_at, own.id)",
                    job_id,
                    lanes,
                )
                row = await connection.fetchrow(statement("explain_job"), job_id, 1, lanes, WAITING)
                assert row["ahead"] == wanted > 100
    finally:
        await connection.close()


async def test_demand_counts_each_sort_by_reading_few(dsn: str) -> None:
    connection = await prepared_when_empty(dsn)
    try:
        rows = await connection.fetch(statement("queue_demand"), [1, 2], WAITING, WAITING)
        exact = await connection.fetch(
            "select lane_id, count(*) filter (where state in (1, 4) and run_at <= now()),"
            " count(*) filter (where state in (1, 4) and run_at > now()), count(*) filter (where state = 3),"
            " min(run_at) filter (where state in (1, 4) and run_at <= now())"
            " from live_job group by lane_id order by lane_id"
        )
        names = ("lane_id", "due", "later", "held", "due_since")
        assert [tuple(row[name] for name in names) for row in rows] == [tuple(row) for row in exact]
        bounded = await connection.fetch(statement("queue_demand"), [1, 2], 100, 10)
        assert [(row["due"], row["later"], row["held"]) for row in bounded] == [(100, 10, 10), (200, 10, 10)]
        assert [row["due_since"] for row in bounded] == [row["due_since"] for row in rows]
        assert await pages_read(connection, f"d ('{{1, 2}}', {MOST}, {MOST})") < 12 * MOST
    finally:
        await connection.close()


@pytest.mark.cases(2)
@pytest.mark.parametrize("state", [1, 3, 4])
@pytest.mark.parametrize("jobs", [0, 1, 100, 101])
async def test_the_short_read_says_what_the_long_one_does_or_nothing(dsn: str, jobs: int, state: int) -> None:
    connection = await prepared_when_empty(dsn)
    try:
        await connection.execute(f"prepare f (int4[]) as {statement('queue_demand_few')}")
        lane = await connection.fetchval(
            "with k as (insert into kind (namespace_id, name) values (1, 'few') returning id)"
            " insert into lane (namespace_id, queue_id, kind_id) select 1, 1, id from k returning id"
        )
        # Some of them are due later.
        await connection.execute(
            "insert into live_job (id, run_at, lane_id, priority, max_attempts, state, hold, losses)"
            " select gen_random_uuid(), now() + (i % 20 - 15) * interval '1 minute', $1, 4 + i % 2, 3, $2::int2,"
            " case when $2 = 3 then 4 end, case when $2 = 4 then 2 else 0 end from generate_series(1, $3::int4) i",
            lane,
            state,
            jobs,
        )
        (long,) = await connection.fetch(statement("queue_demand"), [lane], MOST, MOST)
        short = await connection.fetch(statement("queue_demand_few"), [lane])
        names = ("lane_id", "due", "due_since", "later", "held", "held_by_key")
        told = [tuple(row[name] for name in names) for row in short]
        few = jobs == 0 or (state == 1 and jobs <= 100)
        assert told == ([tuple(long[name] for name in names)] if few else [])
        # Beside it and in it are many that it may not read.
        assert await pages_read(connection, f"f ('{{{lane}}}')") < 130
        assert await connection.fetch(statement("queue_demand_few"), [1, 2]) == []
        assert await pages_read(connection, "f ('{1, 2}')") < 260
    finally:
        await connection.close()


async def test_reads_are_planned_once_and_not_each_time(dsn: str) -> None:
    # To plan one takes up to ten times as long as to run it.
    reads: dict[str, tuple[object, ...]] = {
        "explain_job": (uuid4(), 1, [1, 2], MOST),
        "explain_key": (uuid4(), 20, MOST),
        "queue_demand": ([1, 2], MOST, MOST),
        "queue_demand_few": ([1, 2],),
    }
    connection = await asyncpg.connect(dsn, server_settings={**COLD_SETTINGS, "jit": "off"})
    try:
        await connection.execute(_FILL.format(jobs=WAITING))
        await connection.execute("analyze")
        kept = {name: await connection.prepare(statement(name), name=name) for name in reads}
        for name, arguments in reads.items():
            for _ in range(12):
                await kept[name].fetch(*arguments)
        rows = await connection.fetch("select name, generic_plans from pg_prepared_statements")
        planned = {row["name"]: row["generic_plans"] for row in rows}
        assert {name: planned[name] for name in reads} == dict.fromkeys(reads, 7)
    finally:
        await connection.close()


@pytest.mark.slow
async def test_demand_of_lanes_without_jobs_costs_a_few_looks_each(dsn: str) -> None:
    lanes = 500
    connection = await prepared_when_empty(dsn)
    try:
        await connection.execute(
            f"insert into kind (namespace_id, name) select 1, 'idle' || i from generate_series(1, {lanes}) i;"
            " insert into lane (namespace_id, queue_id, kind_id) select 1, 1, id from kind where name like 'idle%'"
        )
        idle = await connection.fetchval("select array_agg(id) from lane where id > 2")
        assert len(idle) == lanes
        numbers = ", ".join(map(str, idle))
        assert await pages_read(connection, f"d ('{{{numbers}}}', {MOST}, {MOST})") < 25 * lanes
    finally:
        await connection.close()


async def test_demand_finds_the_jobs_of_each_priority(dsn: str) -> None:
    connection = await prepared_when_empty(dsn)
    try:
        await connection.execute(
            "delete from live_job; insert into kind (namespace_id, name) values (1, 'k3')"
        )
        await connection.execute(
            "insert into lane (namespace_id, queue_id, kind_id) select 1, 1, id from kind where name = 'k3'"
        )
        for state in (1, 4):
            await connection.execute(
                "insert into live_job (id, run_at, lane_id, priority, max_attempts, state, losses)"
                " select gen_random_uuid(), now() - (p + 20) * interval '1 minute', 3, p, 3, $1::int2, $1::int2 / 2"
                " from generate_series(-10, 10) p",
                state,
            )
        row = await connection.fetchrow(statement("queue_demand"), [3], MOST, MOST)
        oldest = await connection.fetchval("select min(run_at) from live_job")
        assert (row["due"], row["due_since"], row["later"], row["held"]) == (42, oldest, 0, 0)
    finally:
        await connection.close()
