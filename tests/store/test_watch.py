"""The look of a watch, on a week of ended jobs and a backlog: what it reads, whatever the size and the statistics."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from jobqueue_server.lifecycle import Event, Hold, Status
from jobqueue_server.model import NewJob, WatchFilter
from jobqueue_server.store.database import COLD_SETTINGS
from jobqueue_server.store.query.watch import (
    FAR_AHEAD,
    FIRST_ID,
    LONG_AGO,
    NOTHING,
    Change,
    Snapshot,
    WatchStore,
)
from jobqueue_server.store.statements import statement

from .past import opened
from .stored import SCOPE
from .test_plans import Plan, Prepared, connected, looked_at

pytestmark = pytest.mark.slow

EVERYTHING = WatchFilter()
NEVER = Change(FAR_AHEAD, FIRST_ID)
ENDED = 200_000
WAITING = 100_000
RUNNING = 300
LATELY = 200
# A range of BRIN has 128 pages of about 80 rows; where none of its pages is summarized yet, all are read.
BRIN_RANGE = 128 * 90

_FILL = """
alter table live_job set (autovacuum_enabled = off);
select ensure_partitions('6 hours', 28, 2);
insert into queue (namespace_id, name) select 1, 'queue-' || i from generate_series(1, 5) i;
insert into kind (namespace_id, name) values (1, 'work');
insert into lane (namespace_id, queue_id, kind_id) select 1, q.id, k.id from queue q, kind k where k.name = 'work';
create function an_id(moment timestamptz, i int8) returns uuid language sql immutable as $$
    select (left(uuid_at(moment)::text, 15) || '000-8000-' || lpad(to_hex(i), 12, '0'))::uuid
$$;
create temp table made as
select an_id(at, i) as id, at, (select min(id) from lane) + i % 5 as lane_id
from (select i, now() - interval '6 days 20 hours' + i * interval '6 days 19 hours' / {ended} as at
      from generate_series(1, {ended}) i) t;
insert into job (id, run_at, lane_id, priority, max_attempts, payload) select id, at, lane_id, 0, 3, '{{}}' from made;
insert into finished_job (id, finished_at, started_at, session_id, attempts, status, failures, losses)
select id, at, at, 1, 1, 3, 0, 0 from made order by at;
create temp table backlog as
select an_id(at, 1000000 + i) as id, at, (select min(id) from lane) + i % 5 as lane_id, i
from (select i, now() - interval '2 hours' + i * interval '1 hour' / {waiting} as at
      from generate_series(1, {waiting}) i) t;
insert into job (id, run_at, lane_id, priority, max_attempts, payload)
select id, at, lane_id, 0, 3, '{{}}' from backlog;
insert into live_job (id, run_at, changed_at, lane_id, priority, max_attempts, state, attempts, session_id)
select id, at, at, lane_id, 0, 3, case when i <= {running} then 2 else 1 end, 1, case when i <= {running} then 1 end
from backlog;
select brin_summarize_new_values(i.indexrelid) from pg_index i join pg_class c on c.oid = i.indexrelid
join pg_am a on a.oid = c.relam where a.amname = 'brin' and c.relkind = 'i';
"""
# As many ends and as many new jobs as the last seconds bring, which no statistics know of.
_LATELY = """
insert into job (id, run_at, lane_id, priority, max_attempts, payload)
select an_id(now(), 2000000 + i), now(), (select min(id) from lane) + i % 5, 0, 3, '{{}}'
from generate_series(1, {n}) i;
insert into finished_job (id, started_at, session_id, attempts, status, failures, losses)
select an_id(now(), 2000000 + i), now(), 1, 1, 3, 0, 0 from generate_series(1, {n}) i where i % 2 = 0;
insert into live_job (id, run_at, lane_id, priority, max_attempts, state)
select an_id(now(), 2000000 + i), now(), (select min(id) from lane) + i % 5, 0, 3, 1
from generate_series(1, {n}) i where i % 2 = 1;
"""


@pytest.fixture(scope="module")
def databases(cluster: Any, template: str) -> Iterator[dict[str, str]]:
    """A week of jobs, with statistics of before and of now."""
    made = {"stale": cluster.create(template)}
    cluster.execute("analyze; " + _FILL.format(ended=ENDED, waiting=WAITING, running=RUNNING), made["stale"])
    made["fresh"] = cluster.create(made["stale"])
    cluster.execute("analyze", made["fresh"])
    for name in made.values():
        cluster.execute(_LATELY.format(n=LATELY), name)
    yield {statistics: cluster.dsn_of(name) for statistics, name in made.items()}
    for name in made.values():
        cluster.drop(name)


async def look(connection: Any, ids: list[UUID] | None = None, queue: str | None = None) -> list[Any]:
    """The arguments of a look at what changed in the last ten seconds."""
    since = await connection.fetchval("select max(finished_at) - interval '10 s' from finished_job")
    far = 1 << 62
    return [
        0, 0, [], far, far, [], since, FIRST_ID, FAR_AHEAD, ids, queue, None, None, 1000, SCOPE.namespace, None, None
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("statistics", ["stale", "fresh"])
async def test_a_look_at_a_queue_reads_what_changed_lately_and_not_the_week_or_the_backlog(
    databases, statistics, mode
):
    async with connected(databases[statistics], COLD_SETTINGS | {"plan_cache_mode": mode}) as connection:
        prepared = Prepared(connection, "watch_changes", await look(connection, queue="queue-2"))
        await prepared.prepare()
        plan = await prepared.explain()
        found = await connection.fetchrow(
            statement("watch_changes"), *await look(connection, queue="queue-2")
        )
    assert len(found["ids"]) == LATELY // 5
    assert not [
        node for node in plan.on("job", "live_job", "finished_job") if node["Node Type"] == "Seq Scan"
    ]
    ends = [node for node in plan.on("finished_job") if node.get("Actual Loops")]
    assert sum(map(looked_at, ends)) <= 2 * BRIN_RANGE + 28 * 90 + LATELY, str(plan)
    live = [node for node in plan.on("live_job") if node["Actual Loops"]]
    assert sum(map(looked_at, live)) <= RUNNING + LATELY, str(plan)
    assert plan.pages <= 128 * 4 + 28 * 20 + 8 * LATELY + 2000, f"{plan.pages} pages\n{plan}"


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("statistics", ["stale", "fresh"])
async def test_a_look_at_jobs_by_their_ids_goes_by_the_primary_keys(databases, statistics, mode):
    async with connected(databases[statistics], COLD_SETTINGS | {"plan_cache_mode": mode}) as connection:
        ids = [row[0] for row in await connection.fetch("select id from finished_job order by id limit 300")]
        ids += [row[0] for row in await connection.fetch("select id from live_job order by id limit 300")]
        arguments = await look(connection, ids)
        arguments[6] = LONG_AGO
        prepared = Prepared(connection, "watch_changes", arguments)
        await prepared.prepare()
        plan = await prepared.explain()
        found = await connection.fetchrow(statement("watch_changes"), *arguments)
    assert len(found["ids"]) == 600
    assert found["live"]
    assert_by_keys(plan, 600, targets=4)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("statistics", ["stale", "fresh"])
async def test_the_jobs_of_a_page_are_read_by_the_primary_keys(databases, statistics, mode):
    async with connected(databases[statistics], COLD_SETTINGS | {"plan_cache_mode": mode}) as connection:
        ids = [row[0] for row in await connection.fetch("select id from finished_job order by id limit 50")]
        ids += [row[0] for row in await connection.fetch("select id from live_job order by id limit 50")]
        far = 1 << 62
        arguments = [ids, 0, 0, [], far, far, [], 3 << 20, True]
        prepared = Prepared(connection, "watch_jobs", arguments)
        await prepared.prepare()
        plan = await prepared.explain()
        rows = await connection.fetch(statement("watch_jobs"), *arguments)
    assert [row["id"] for row in rows] == ids
    assert_by_keys(plan, 100, targets=4)


def assert_by_keys(plan: Plan, jobs: int, *, targets: int) -> None:
    for node in plan.on("job", "live_job", "finished_job", "attempt"):
        assert node["Node Type"] != "Seq Scan", str(plan)
    for node in plan.nodes():
        if node["Actual Loops"] and any(name in node.get("Index Name", "") for name in ("job_", "attempt_")):
            assert "pkey" in node["Index Name"], f"by {node['Index Name']}\n{plan}"
    for table in ("job", "live_job", "finished_job"):
        assert sum(map(looked_at, plan.on(table))) <= targets * jobs, f"{table}\n{plan}"
    assert plan.pages <= jobs * targets * 12 + 2000, f"{plan.pages} pages\n{plan}"


async def test_new_partitions_have_their_ends_summarized_as_they_grow(databases):
    async with connected(databases["fresh"], {}) as connection:
        options = await connection.fetch(
            "select c.relname, c.reloptions from pg_class c join pg_am a on a.oid = c.relam "
            "where a.amname = 'brin' and c.relkind = 'i'"
        )
        partitions = await connection.fetchval("select count(*) from job_partition")
    assert len(options) == partitions > 28
    assert all(row["reloptions"] == ["autosummarize=on"] for row in options), options


async def test_what_a_look_finds_is_what_pg_visible_in_snapshot_says(s, module_dsn):
    """Our arithmetic with numbers of transactions against PostgreSQL's own, with some under way at both snapshots."""
    lane = await s.lane()
    store = WatchStore(s.database)
    hands: list[Any] = []

    async def begin():
        hands.append(await asyncpg.connect(module_dsn))
        await hands[-1].execute("begin")
        await hands[-1].execute(
            "with one as (insert into job (id, run_at, lane_id, priority, max_attempts, payload) "
            f"values (an_id_of_now(), now(), {lane.id}, 0, 3, '{{}}') returning id) "
            "insert into live_job (id, run_at, lane_id, priority, max_attempts, state) "
            f"select id, now(), {lane.id}, 0, 3, 1 from one"
        )

    async def look():
        found = await store.watch_changes(SCOPE, EVERYTHING, NOTHING, None, after=NEVER, most=0)
        return found.snapshot

    await s.sql.execute(
        "create or replace function an_id_of_now() returns uuid language sql volatile as "
        "$$ select (left(uuid_at(now())::text, 15) || substr(gen_random_uuid()::text, 16))::uuid $$"
    )
    try:
        for _ in range(9):
            await begin()
        for hand in hands[1::3]:
            await hand.execute("commit")
        told = await look()
        for hand in hands[2::3]:
            await hand.execute("commit")
        await begin()
        await hands[-1].execute("commit")
        target = await look()
        for hand in hands[0::3]:
            await hand.execute("commit")
        assert told.under_way
        assert target.under_way
        rows = await s.sql.fetch("select id, xmin::text as xid from live_job")
        seen = {
            snapshot: {
                row["id"]
                for row in rows
                if await s.sql.fetchval(
                    "select pg_visible_in_snapshot($1::text::xid8, $2::text::pg_snapshot)",
                    row["xid"],
                    f"{snapshot.xmin}:{snapshot.xmax}:{','.join(map(str, snapshot.under_way))}",
                )
            }
            for snapshot in (told, target)
        }
        start = Change(LONG_AGO, FIRST_ID)
        bounded = await store.watch_changes(SCOPE, EVERYTHING, told, target, after=start, most=100)
        assert {change.job_id for change in bounded.changes} == seen[target] - seen[told]
        unbounded = await store.watch_changes(SCOPE, EVERYTHING, told, None, after=start, most=100)
        assert {change.job_id for change in unbounded.changes} == {row["id"] for row in rows} - seen[told]
        assert (len(rows), len(seen[told]), len(seen[target])) == (10, 3, 7)
    finally:
        for hand in hands:
            await hand.close()


async def test_every_change_of_a_job_is_found_whatever_it_is(s):
    """One job in each status, by each way into it; the look starts at the change, not a moment before."""
    store = WatchStore(s.database)

    async def found_after(change):
        before = await store.watch_changes(SCOPE, EVERYTHING, NOTHING, None, after=NEVER, most=0)
        since = Change(await s.sql.fetchval("select clock_timestamp()"), FIRST_ID)
        changed = await change()
        after = await store.watch_changes(SCOPE, EVERYTHING, before.snapshot, None, after=since, most=100)
        named = await store.watch_changes(
            SCOPE, WatchFilter(ids=(changed,)), before.snapshot, None, after=since, most=100
        )
        assert [one.job_id for one in after.changes] == [one.job_id for one in named.changes] == [changed]
        (job,) = await store.watch_jobs([changed], before.snapshot, after.snapshot, full=True)
        assert job is not None
        assert job == await s.reads.get(SCOPE, changed)
        assert named.live is not job.status.terminal
        return job.status

    async def lost(before=0):
        job_id, attempt, session_id = await s.running()
        await s.sql.execute("update live_job set losses = $2 where id = $1", job_id, before)
        await s.end_attempt(job_id, attempt, session_id, Event.LOST)
        return job_id

    async def asked_to_stop():
        await s.changes.cancel(SCOPE, running[0])
        return running[0]

    async def retried():
        await s.changes.retry(SCOPE, ended)
        return ended

    async def released():
        await s.changes.release(SCOPE, held)
        return held

    held = await s.queued(hold=Hold.HAND)
    assert await found_after(s.queued) is Status.QUEUED
    ended = await s.cancelled()
    assert await found_after(retried) is Status.QUEUED
    for change, status in (
        (lambda: s.queued(delay=timedelta(hours=1)), Status.QUEUED),
        (lambda: s.queued(hold=Hold.HAND), Status.QUEUED),
        (released, Status.QUEUED),
        (s.retrying, Status.RETRYING),
        (lost, Status.RETRYING),
        # It waits isolated.
        (lambda: lost(before=1), Status.RETRYING),
        (s.succeeded, Status.SUCCEEDED),
        (s.failed, Status.FAILED_PERMANENT),
        (s.cancelled, Status.CANCELLED),
    ):
        # A job is claimed by its place in line, so nothing else may wait.
        await s.sql.execute("update live_job set state = 3, hold = 4 where state in (1, 4)")
        assert await found_after(change) is status
    await s.sql.execute("update live_job set state = 3, hold = 4 where state in (1, 4)")
    running = await s.running()
    assert await found_after(asked_to_stop) is Status.RUNNING


async def test_a_page_ends_at_three_mebibytes_and_has_at_least_one_job(s):
    store = WatchStore(s.database)
    ids = [await s.queued(NewJob("hello", b'"%s"' % (b"x" * 1_000_000))) for _ in range(5)]
    seen = (NOTHING, Snapshot(1 << 62, 1 << 62))
    page = await store.watch_jobs(ids, *seen, full=True)
    assert [job.id for job in page if job] == ids[:3]
    assert len(await store.watch_jobs(ids, *seen, full=False)) == 5
    assert len(await WatchStore(s.database, page_bytes=1).watch_jobs(ids, *seen, full=True)) == 1


async def test_a_job_that_changed_since_it_was_found_is_left_to_the_next_look(s):
    store = WatchStore(s.database)
    ids = [await s.queued() for _ in range(3)]
    found = await store.watch_changes(
        SCOPE, EVERYTHING, NOTHING, None, after=Change(LONG_AGO, FIRST_ID), most=10
    )
    await s.changes.cancel(SCOPE, ids[1])
    page = await store.watch_jobs(ids, NOTHING, found.snapshot, full=False)
    assert [job.id if job else None for job in page] == [ids[0], None, ids[2]]


async def test_the_next_transaction_has_the_number_that_a_look_says(s):
    store = WatchStore(s.database)

    async def numbers() -> tuple[int, int]:
        found = await store.watch_changes(SCOPE, EVERYTHING, NOTHING, None, after=NEVER, most=0)
        return found.snapshot.next, int(await s.sql.fetchval("select pg_current_xact_id()::text"))

    # All databases of a cluster share them: PostgreSQL's own work may take one in between.
    looks = [await numbers() for _ in range(5)]
    assert any(said == had for said, had in looks), looks
    assert all(said <= had for said, had in looks), looks


async def test_a_service_whose_role_owns_nothing_may_watch(cluster, template):
    name, role = cluster.create(template), "watching_service"
    cluster.execute(f"create role {role} login")
    try:
        cluster.execute(
            f"grant select on all tables in schema public to {role}; grant usage on schema public to {role}",
            name,
        )
        async with opened(cluster.dsn_of(name, user=role)) as database:
            found = await WatchStore(database).watch_changes(
                SCOPE, EVERYTHING, NOTHING, None, after=Change(LONG_AGO, FIRST_ID), most=10
            )
            assert found.history
            assert found.at > datetime.now(UTC) - timedelta(minutes=1)
    finally:
        cluster.drop(name)
        cluster.execute(f"drop role {role}")
