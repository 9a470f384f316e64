from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import timedelta

import asyncpg
import pytest

from jobqueue_server.lifecycle import Status
from jobqueue_server.model import MAX_PAGE_BYTES, Job, JobFilter
from jobqueue_server.store.database import Database, Session
from jobqueue_server.store.query.reads import ReadStore, id_range
from jobqueue_server.store.statements import statement

from .past import ago, id_at
from .stored import SCOPE, stored

ANY = JobFilter()
_LIVE_READ = "select idx_tup_fetch + seq_tup_read from pg_stat_xact_user_tables where relname = 'live_job'"
_READ = "select sum(seq_tup_read + idx_tup_fetch)::int8 from pg_stat_xact_user_tables where relname like 'job\\_%'"


async def _ids(reads, wanted=ANY, *, size=50, before=None, full=False):
    return [job.id for job in (await reads.list(SCOPE, wanted, size=size, before=before, full=full)).jobs]


async def _all(reads, wanted=ANY, *, size, full=False):
    """Every id over all pages, with the number of pages."""
    ids, before, pages = [], None, 0
    while True:
        scan = await reads.list(SCOPE, wanted, size=size, before=before, full=full)
        ids += [job.id for job in scan.jobs]
        pages += 1
        if scan.resume_before is None:
            return ids, pages
        assert before is None or scan.resume_before < before
        before = scan.resume_before


async def test_the_newest_come_first_and_pages_join_without_a_gap(dsn):
    async with stored(dsn) as s:
        ids = [await s.queued() for _ in range(7)][::-1]
        assert await _ids(s.reads) == ids
        for size in (1, 2, 3, 7, 8):
            assert await _all(s.reads, size=size) == (ids, -(-7 // size))
        await s.queued()
        assert await _ids(s.reads, before=ids[1]) == ids[2:]


async def test_every_filter_finds_its_own_and_all_hold_together(dsn):
    async with stored(dsn) as s:
        by_status = {
            Status.QUEUED: await s.queued(queue="q1", labels={"team": "a", "n": "1"}),
            Status.RUNNING: (await s.running(queue="q2", labels={"team": "a"}))[0],
            Status.RETRYING: await s.retrying(queue="q3"),
            Status.SUCCEEDED: await s.succeeded(queue="q4", labels={"team": "b"}),
            Status.FAILED_PERMANENT: await s.failed(queue="q5", labels={"team": "a"}),
            Status.CANCELLED: await s.cancelled(queue="q6"),
        }
        await s.lane("q1", "other")
        other = await s.queued(queue="q1", kind="other")
        for status, job_id in by_status.items():
            wanted = JobFilter(statuses=frozenset({status}), kind="hello")
            assert await _ids(s.reads, wanted) == [job_id]
            assert await _ids(s.reads, replace(wanted, kind="other")) == (
                [other] if status == Status.QUEUED else []
            )
        for statuses in [
            {Status.QUEUED, Status.RETRYING, Status.RUNNING},
            {Status.FAILED_PERMANENT, Status.CANCELLED},
            {Status.QUEUED, Status.CANCELLED},
            {Status.SUCCEEDED, Status.FAILED_PERMANENT},
            set(by_status),
        ]:
            wanted = JobFilter(statuses=frozenset(statuses), kind="hello")
            assert set(await _ids(s.reads, wanted)) == {by_status[status] for status in statuses}
        assert await _ids(s.reads, JobFilter(queue="q1")) == [other, by_status[Status.QUEUED]]
        assert await _ids(s.reads, JobFilter(queue="q1", kind="hello")) == [by_status[Status.QUEUED]]
        assert await _ids(s.reads, JobFilter(queue="nowhere")) == []
        assert len(await _ids(s.reads, JobFilter(labels={"team": "a"}))) == 3
        assert await _ids(s.reads, JobFilter(labels={"team": "a", "n": "1"})) == [by_status[Status.QUEUED]]
        failed_a = JobFilter(labels={"team": "a"}, statuses=frozenset({Status.FAILED_PERMANENT}))
        assert await _ids(s.reads, failed_a) == [by_status[Status.FAILED_PERMANENT]]
        running_a = JobFilter(labels={"team": "a"}, statuses=frozenset({Status.RUNNING}))
        assert await _ids(s.reads, running_a) == [by_status[Status.RUNNING]]


async def test_created_after_is_inclusive_and_created_before_exclusive(dsn):
    async with stored(dsn) as s:
        base = s.mint.mint().int >> 80
        ids = [s.mint.mint().int & ((1 << 80) - 1) | (base + n) << 80 for n in range(3)]
        job_id = await s.queued()
        for table in ("job", "live_job"):
            await s.sql.execute(f"update {table} set id = $1 where id = $2", type(job_id)(int=ids[1]), job_id)
        (job,) = (await s.reads.list(SCOPE, ANY, size=9, before=None, full=False)).jobs
        tick = timedelta(milliseconds=1)

        async def found(after, before):
            return bool(await _ids(s.reads, JobFilter(created_after=after, created_before=before)))

        at = job.created_at
        assert await found(at, None)
        assert await found(at, at + tick)
        assert not await found(at + timedelta(microseconds=1), None)
        assert not await found(None, at)
        assert await found(None, at + timedelta(microseconds=1))
        assert not await found(at + tick, at)


async def test_a_job_in_a_list_is_the_job_that_get_answers(dsn):
    async with stored(dsn) as s:
        ids = [
            await s.queued(labels={"a": "b"}, headers={"h": "i"}),
            (await s.running(queue="q2"))[0],
            await s.retrying("once", queue="q3"),
            await s.succeeded(b"[1]", queue="q4"),
            await s.failed(queue="q5"),
            await s.cancelled(queue="q6"),
        ]
        await s.sql.execute(
            "insert into job_progress (job_id, attempt, fraction, message) values ($1, 1, 0.5, 'half')",
            ids[1],
        )
        for full in (True, False):
            listed = {
                job.id: job for job in (await s.reads.list(SCOPE, ANY, size=9, before=None, full=full)).jobs
            }
            assert len(listed) == len(ids)
            for job_id in ids:
                job = await s.reads.get(SCOPE, job_id, full=full)
                for field in fields(Job):
                    assert getattr(listed[job_id], field.name) == getattr(job, field.name), field.name


async def test_a_scan_that_gives_up_is_short_and_goes_on_from_there(dsn):
    async with stored(dsn) as s:
        rare = [await s.failed(), await s.failed(queue="other")]
        for _ in range(25):
            await s.queued()
        rare.append(await s.cancelled())
        reads = ReadStore(s.database, max_scanned=10)
        wanted = JobFilter(statuses=frozenset({Status.FAILED_PERMANENT, Status.CANCELLED, Status.SUCCEEDED}))
        first = await reads.list(SCOPE, wanted, size=5, before=None, full=False)
        assert [job.id for job in first.jobs] == [rare[2]]
        assert first.resume_before is not None
        second = await reads.list(SCOPE, wanted, size=5, before=first.resume_before, full=False)
        assert second.jobs == ()
        assert second.resume_before is not None
        assert await _all(reads, wanted, size=5) == (rare[::-1], 3)
        # Along the index of what did not succeed, nothing is passed over.
        assert await _all(reads, replace(wanted, statuses=wanted.statuses - {Status.SUCCEEDED}), size=5) == (
            rare[::-1],
            1,
        )


@pytest.mark.parametrize("full", [True, False])
async def test_a_page_ends_before_three_mebibytes(dsn, full):
    async with stored(dsn) as s:
        big = b'"' + b"x" * ((1 << 20) - 2) + b'"'
        ids = [await s.queued(payload=big) for _ in range(7)][::-1]
        scan = await s.reads.list(SCOPE, ANY, size=100, before=None, full=full)
        if not full:
            assert [job.id for job in scan.jobs] == ids
            return
        assert [job.id for job in scan.jobs] == ids[:2]
        assert sum(len(job.payload or b"") for job in scan.jobs) <= MAX_PAGE_BYTES
        assert await _all(s.reads, size=100, full=True) == (ids, 4)


async def test_errors_and_labels_count_in_the_basic_view_too(dsn):
    async with stored(dsn) as s:
        ids = [await s.queued() for _ in range(8)][::-1]
        await s.sql.execute(
            """insert into attempt (job_id, attempt, started_at, outcome, message)
               select id, 1, now(), 1, repeat('x', 1000000) from job"""
        )
        assert await _all(s.reads, size=100) == (ids, 3)


async def test_a_single_job_over_the_limit_is_a_page_of_its_own(dsn):
    async with stored(dsn) as s:
        ids = [await s.queued(), await s.queued()][::-1]
        await s.sql.execute("update job set payload = convert_to(repeat('x', 4000000), 'UTF8')")
        assert await _all(s.reads, size=100, full=True) == (ids, 2)


@pytest.mark.slow
async def test_a_page_costs_what_it_holds_and_not_what_the_tables_hold(dsn):
    async with stored(dsn) as s:
        lane = await s.lane()
        await s.queued(labels={"rare": "1"})
        # The plans of the reads are made and kept while the tables are small.
        for _ in range(8):
            await s.reads.list(SCOPE, ANY, size=50, before=None, full=False)
            await s.reads.get(SCOPE, s.mint.mint())
        ids = s.mint.mint_many(60_000)
        await s.sql.execute(
            """insert into job (id, run_at, lane_id, priority, max_attempts, payload)
               select id, now(), $2, 0, 3, '{}' from unnest($1::uuid[]) id""",
            ids,
            lane.id,
        )
        await s.sql.execute(
            """insert into finished_job (id, attempts, status, failures, losses)
               select id, 1, 3, 0, 0 from unnest($1::uuid[]) id""",
            ids,
        )
        text = statement("list_jobs")
        async with s.database.session() as session:
            # On a connection of the pool, with its settings.
            arguments = (
                4,
                *id_range(None, None),
                None,
                None,
                None,
                None,
                51,
                10_000,
                MAX_PAGE_BYTES,
                False,
                1,
                None,
                None,
                None,
            )
            explained = await session._connection.fetchval(
                "explain (analyze, buffers, format json) " + text, *arguments
            )
        plan = json.loads(explained)[0]["Plan"]
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 5_000
        labelled = await s.reads.list(
            SCOPE, JobFilter(labels={"rare": "1"}), size=50, before=None, full=False
        )
        assert len(labelled.jobs) == 1


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [{"tenant": "none"}, {"tenant": "7"}])
async def test_a_label_that_few_jobs_have_is_found_by_its_index_whatever_plan_is_kept(
    dsn, monkeypatch, wanted
):
    connection = await asyncpg.connect(dsn)
    # A plan that PostgreSQL makes for any label and keeps, which it may do from the sixth list of a connection on.
    name = await connection.fetchval("select current_database()")
    await connection.execute(f"alter database \"{name}\" set plan_cache_mode = 'force_generic_plan'")
    await connection.close()
    read = []
    fetch = Session.fetch

    async def noted(session, name, *args):
        rows = await fetch(session, name, *args)
        # EXPLAIN would not show the plan that is kept. This is of the transaction alone.
        read.append(await session._connection.fetchval(_READ))
        return rows

    async with stored(dsn) as s:
        lane = await s.lane()
        rare = [await s.queued(labels={"tenant": "7"}) for _ in range(3)][::-1]
        await s.sql.execute(
            """with made as (
                   insert into job (id, run_at, lane_id, priority, max_attempts, payload, labels)
                   select id, now(), $2, 0, 3, '{}', case when n % 50 = 0 then '{"tenant": "8"}'::jsonb end
                   from unnest($1::uuid[]) with ordinality as t (id, n)
                   returning id
               )
               insert into finished_job (id, attempts, status, failures, losses) select id, 1, 3, 0, 0 from made""",
            s.mint.mint_many(60_000),
            lane.id,
        )
        await s.sql.execute("vacuum (analyze) job, finished_job")
        monkeypatch.setattr(Session, "fetch", noted)
        found = await _ids(s.reads, JobFilter(labels=wanted))
    assert found == (rare if wanted["tenant"] == "7" else [])
    # Of 60,000 jobs.
    assert max(read) < 1_000


@pytest.mark.slow
async def test_a_label_that_many_had_long_ago_is_found_without_passing_over_what_came_since(dsn, monkeypatch):
    """Nor are those passed over that lie between the few of today and the many of then."""
    read = []
    fetch = Session.fetch

    async def noted(session, name, *args):
        rows = await fetch(session, name, *args)
        if name == "labelled_ids":
            read.append(await session._connection.fetchval(_READ))
        return rows

    async with stored(dsn) as s:
        lane = await s.lane()
        await s.sql.execute("select ensure_partitions('6 hours', 8, 1)")
        old = [id_at(ago(hours=40) + timedelta(milliseconds=n)) for n in range(20_000)]
        since = [id_at(ago(hours=30) + timedelta(seconds=n)) for n in range(80_000)]
        await s.sql.execute(
            """with made as (
                   insert into job (id, run_at, lane_id, priority, max_attempts, payload, labels)
                   select id, now(), $2, 0, 3, '{}',
                          jsonb_build_object('tenant', case when n <= 20000 then '7' else '8' end)
                   from unnest($1::uuid[]) with ordinality as t (id, n)
                   returning id
               )
               insert into finished_job (id, attempts, status, failures, losses) select id, 1, 3, 0, 0 from made""",
            old + since,
            lane.id,
        )
        await s.sql.execute("vacuum (analyze) job, finished_job")
        new = [await s.queued(labels={"tenant": "7"}) for _ in range(3)][::-1]
        monkeypatch.setattr(Session, "fetch", noted)
        found = await s.reads.list(SCOPE, JobFilter(labels={"tenant": "7"}), size=50, before=None, full=False)
        wanted = new + sorted(old, reverse=True)
        assert [job.id for job in found.jobs] == wanted[:50]
        assert max(read) < 1_000
        again = await s.reads.list(
            SCOPE, JobFilter(labels={"tenant": "7"}), size=50, before=found.resume_before, full=False
        )
        assert [job.id for job in again.jobs] == wanted[50:100]


async def test_a_label_beside_a_filter_that_few_fit_is_looked_through_to_the_bound(dsn):
    async with stored(dsn) as s:
        labels = {"tenant": "7"}
        rare = [await s.queued(queue="other", labels=labels) for _ in range(2)]
        for _ in range(12):
            await s.queued(labels=labels)
        wanted = JobFilter(queue="other", labels=labels)
        assert await _all(s.reads, wanted, size=1) == (rare[::-1], 2)
        # Of ten jobs a page: none fits, and the two of the second, of which one is left for a third.
        assert await _all(ReadStore(s.database, max_scanned=10), wanted, size=1) == (rare[::-1], 3)


@pytest.mark.parametrize("state", [1, 2, 3, 4])
async def test_live_jobs_of_a_queue_are_found_by_its_lines_however_many_are_newer(dsn, monkeypatch, state):
    read = []
    run = Database._run

    async def noted(database, how, name, args, hot, vital):
        if name != "live_ids":
            return await run(database, how, name, args, hot, vital)
        async with database.session() as session:
            before = await session._connection.fetchval(_LIVE_READ)
            row = await session.fetchrow(name, *args)
            read.append(await session._connection.fetchval(_LIVE_READ) - before)
        return row

    statuses = frozenset({Status.RUNNING} if state == 2 else {Status.QUEUED, Status.RETRYING})
    async with stored(dsn) as s:
        await s.session()
        few = (await s.many(50, "few", state=state))[::-1]
        # The plan of the read is made and kept while the table is small.
        for _ in range(8):
            await _ids(
                ReadStore(s.database, max_scanned=10), JobFilter(queue="few", statuses=statuses), size=1
            )
        await s.many(60_000, "many", state=1 if state == 2 else state)
        monkeypatch.setattr(Database, "_run", noted)
        for wanted in (JobFilter(queue="few", statuses=statuses), JobFilter(queue="none", statuses=statuses)):
            scan = await s.reads.list(SCOPE, wanted, size=50, before=None, full=False)
            assert [job.id for job in scan.jobs] == (few if wanted.queue == "few" else [])
            assert scan.resume_before is None
    # Of 60,000 jobs: those of the queue, or those that run.
    assert max(read) <= 50


async def test_more_live_jobs_of_a_queue_than_may_be_read_are_found_along_the_ids(dsn):
    async with stored(dsn) as s:
        few = await s.many(12, "few")
        await s.many(50, "many")
        reads = ReadStore(s.database, max_scanned=10)
        wanted = JobFilter(queue="few", statuses=frozenset({Status.QUEUED}))
        assert await _all(reads, wanted, size=50) == (few[::-1], 7)
        # With a page of the newest of them, only those below it are left.
        assert await _ids(s.reads, wanted, before=few[3]) == few[2::-1]
