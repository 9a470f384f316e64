from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise

import asyncpg
import pytest

from jobqueue_server.core.upkeep.retention import Retention, partition_width
from jobqueue_server.store.upkeep.retention import Fate, LocksBusy, RetentionStore

from .past import RETENTION, WIDTH, ago, connected, finished, id_at, live, opened, partition_of, rows
from .stored import right

pytestmark = pytest.mark.slow

ROOM = {"max_rows": 20_000, "max_bytes": 64 << 20}


def test_a_week_is_kept_in_28_partitions_of_six_hours():
    assert partition_width(timedelta(days=7)) == timedelta(hours=6)
    assert partition_width(timedelta(hours=1)) == timedelta(minutes=10)
    assert partition_width(timedelta(days=10)) == timedelta(minutes=515)


async def test_there_is_a_partition_for_now_and_two_ahead_and_none_twice(dsn):
    async with opened(dsn) as database:
        store = RetentionStore(database, retention=RETENTION, expected=right)
        retention = Retention(store, retention=RETENTION)
        await asyncio.gather(*(retention.ensure() for _ in range(3)))
        partitions = await store.list_partitions()
        now = partitions[0].read_at
        assert sum(p.ended_at > now for p in partitions) == 3
        assert all(elder.to_id == younger.from_id for elder, younger in pairwise(partitions))


async def test_another_width_fills_the_gaps_and_overlaps_nothing(dsn):
    async with opened(dsn) as database:
        store = RetentionStore(database, retention=RETENTION, expected=right)
        await store.ensure_partitions(timedelta(minutes=50), behind=20, ahead=20)
        await store.ensure_partitions(WIDTH, behind=8, ahead=8)
        partitions = await store.list_partitions()
        assert all(elder.to_id == younger.from_id for elder, younger in pairwise(partitions))
        assert partitions[-1].ended_at >= partitions[-1].read_at + 8 * WIDTH


async def test_a_width_that_is_no_whole_minutes_is_refused(dsn):
    async with connected(dsn) as connection:
        for width in (timedelta(seconds=90), timedelta(0), -WIDTH):
            with pytest.raises(asyncpg.InvalidParameterValueError, match="whole minutes"):
                await connection.fetch("select ensure_partitions($1, 1, 2)", width)


async def test_servers_that_make_partitions_at_once_make_each_of_them_once(dsn):
    async with opened(dsn) as database:
        store = RetentionStore(database, retention=RETENTION, expected=right)
        answers = await asyncio.gather(
            *(store.ensure_partitions(timedelta(hours=1), behind=0, ahead=30) for _ in range(4)),
            return_exceptions=True,
        )
        assert all(isinstance(answer, int | LocksBusy) for answer in answers)
        made = sum(answer for answer in answers if isinstance(answer, int))
        # Those of 6 hours that the migration made are in the way.
        assert made == len(await store.list_partitions()) - 4


async def test_a_partition_without_a_job_worth_keeping_is_dropped_with_all_that_belongs_to_it(dsn):
    async with opened(dsn) as database, connected(dsn) as connection:
        store = RetentionStore(database, retention=RETENTION, expected=right)
        await store.ensure_partitions(WIDTH, behind=33, ahead=0)
        id = id_at(ago(days=8))
        await finished(connection, [id], ago(days=7, minutes=1))
        partition = await partition_of(store, id)
        assert partition is not None
        assert await store.drop_partition(partition.name) is Fate.PROGRESS
        assert [swept async for swept in store.sweep_progress(partition)] == [1]
        assert await store.drop_partition(partition.name) is Fate.DROPPED
        assert not any((await rows(connection, [id])).values())
        assert await partition_of(store, id) is None
        assert await store.drop_partition(partition.name) is Fate.UNKNOWN


async def test_a_partition_refuses_to_be_dropped_while_a_job_lives_or_ended_lately_or_may_still_come(dsn):
    async with opened(dsn) as database, connected(dsn) as connection:
        store = RetentionStore(database, retention=RETENTION, expected=right)
        await store.ensure_partitions(WIDTH, behind=40, ahead=0)
        waiting, recent, present = id_at(ago(days=8)), id_at(ago(days=9)), id_at(ago(hours=1))
        held = id_at(ago(days=8, hours=12))
        await live(connection, [waiting, held])
        await connection.execute("update live_job set state = 3, hold = 4 where id = $1", held)
        await finished(connection, [recent], ago(days=6, hours=23))
        fates = (
            (waiting, Fate.LIVE),
            (held, Fate.LIVE),
            (recent, Fate.RECENT),
            (present, Fate.YOUNG),
        )
        for id, fate in fates:
            partition = await partition_of(store, id)
            assert partition is not None
            assert await store.drop_partition(partition.name) is fate
        assert (await rows(connection, [waiting, held, recent]))["job"] == 3


async def test_a_retry_and_a_late_enqueue_win_against_a_drop(dsn):
    async with opened(dsn) as database, connected(dsn) as connection, connected(dsn) as other:
        store = RetentionStore(database, retention=RETENTION, expected=right)
        await store.ensure_partitions(WIDTH, behind=33, ahead=0)
        id = id_at(ago(days=8))
        await finished(connection, [id], ago(days=7, hours=1))
        await connection.execute("delete from job_progress")
        partition = await partition_of(store, id)
        assert partition is not None
        retry = other.transaction()
        await retry.start()
        await other.execute("select from finished_job where id = $1 for update", id)
        await other.execute(
            "insert into live_job (id, run_at, lane_id, priority, max_attempts, state, attempts) "
            "select id, now(), lane_id, priority, max_attempts, 1, 2 from job where id = $1",
            id,
        )
        with pytest.raises(LocksBusy):
            await store.drop_partition(partition.name)
        await other.execute("delete from finished_job where id = $1", id)
        with pytest.raises(LocksBusy):
            await store.drop_partition(partition.name)
        await retry.commit()
        assert await store.drop_partition(partition.name) is Fate.LIVE

        await connection.execute("delete from live_job")
        late = other.transaction()
        await late.start()
        await live(other, [id_at(ago(days=8))])
        with pytest.raises(LocksBusy):
            await store.drop_partition(partition.name)
        await late.commit()
        assert await store.drop_partition(partition.name) is Fate.LIVE


async def test_a_reader_that_holds_its_lock_for_seconds_stops_no_enqueue(dsn):
    async with opened(dsn) as database, connected(dsn) as reader, connected(dsn) as producer:
        store = RetentionStore(database, retention=RETENTION, expected=right)
        await store.ensure_partitions(WIDTH, behind=33, ahead=2)
        partition = await partition_of(store, id_at(ago(days=8)))
        assert partition is not None
        await live(producer, [id_at(ago())])
        reading = reader.transaction()
        await reading.start()
        await reader.fetch("select count(*) from job")
        assert await store.ensure_partitions(WIDTH, behind=0, ahead=4) == 2

        refused = enqueued = 0

        async def drop_again_and_again() -> None:
            nonlocal refused
            while refused < 10 or enqueued < 10:
                for step in (
                    store.drop_partition(partition.name),
                    store.merge_partitions(partition.name, partition.name, **ROOM),
                ):
                    try:
                        await step
                    except LocksBusy:
                        refused += 1

        dropping = asyncio.create_task(drop_again_and_again())
        # One that stood behind a drop for longer than that waits would stand there until the reader ends.
        async with asyncio.timeout(60):
            while not dropping.done():
                await live(producer, [id_at(ago())])
                enqueued += 1
                await asyncio.sleep(0)
        await dropping
        await reading.rollback()
        assert await store.drop_partition(partition.name) is Fate.DROPPED


async def test_neighbours_merge_into_one_with_what_is_worth_keeping(dsn):
    async with opened(dsn) as database, connected(dsn) as connection:
        store = RetentionStore(database, retention=RETENTION, expected=right)
        await store.ensure_partitions(WIDTH, behind=40, ahead=0)
        old = [p for p in await store.list_partitions() if p.ended_at < ago(days=8)]
        a, b, c = old[-3:]
        waiting = [id_at(p.ended_at - timedelta(minutes=1)) for p in (a, c)]
        recent = [id_at(p.ended_at - timedelta(minutes=2)) for p in (a, b)]
        expired = [id_at(p.ended_at - timedelta(minutes=m)) for p in (a, b, c) for m in range(3, 50)]
        await live(connection, waiting, b'{"n": 12345678901234567890}')
        await finished(connection, recent, ago(days=1))
        await finished(connection, expired, ago(days=7, minutes=1))
        before = await connection.fetch("select * from jobs where id = any($1) order by id", waiting + recent)

        assert await store.merge_partitions(a.name, b.name, **ROOM) is Fate.MERGED
        assert await store.merge_partitions(a.name, c.name, **ROOM) is Fate.MERGED
        merged = await partition_of(store, waiting[0])
        assert merged is not None
        assert (merged.name, merged.from_id, merged.to_id, merged.leftover) == (
            a.name,
            a.from_id,
            c.to_id,
            True,
        )
        after = await connection.fetch("select * from jobs where id = any($1) order by id", waiting + recent)
        assert after == before
        counts = await rows(connection, waiting + recent)
        assert counts == {"job": 4, "live_job": 2, "finished_job": 2, "attempt": 2, "job_progress": 2}
        assert not any((await rows(connection, expired)).values())
        # The merged one is a partition like others: it takes rows, and its indexes are those of its parent.
        await live(connection, [id_at(b.ended_at - timedelta(minutes=5))])
        indexes = "select count(*) from pg_index where indrelid = to_regclass($1) and indisvalid"
        names = [
            await connection.fetchval(indexes, f"{table}_{a.name}")
            for table in ("job", "finished_job", "attempt")
        ]
        assert names == [
            await connection.fetchval(indexes, table) for table in ("job", "finished_job", "attempt")
        ]


async def test_a_merge_refuses_what_would_take_long_and_what_is_no_neighbour(dsn):
    async with opened(dsn) as database, connected(dsn) as connection:
        store = RetentionStore(database, retention=RETENTION, expected=right)
        await store.ensure_partitions(WIDTH, behind=40, ahead=0)
        old = [p for p in await store.list_partitions() if p.ended_at < ago(days=8)]
        a, b, c = old[-3:]
        await live(
            connection, [id_at(p.ended_at - timedelta(minutes=1)) for p in (a, b)], b'"' + b"x" * 4000 + b'"'
        )
        assert await store.merge_partitions(a.name, b.name, max_rows=1, max_bytes=1 << 20) is Fate.TOO_MANY
        assert await store.merge_partitions(a.name, b.name, max_rows=2, max_bytes=50) is Fate.TOO_MANY
        assert await store.merge_partitions(a.name, "x; drop table job", **ROOM) is Fate.UNKNOWN
        newest = (await store.list_partitions())[-1]
        assert await store.merge_partitions(newest.name, newest.name, **ROOM) is Fate.YOUNG
        for elder, younger in ((a, c), (b, a)):
            with pytest.raises(asyncpg.InvalidParameterValueError, match="not the elder neighbour"):
                await store.merge_partitions(elder.name, younger.name, **ROOM)
        assert {a.name, b.name, c.name} <= {p.name for p in await store.list_partitions()}


async def test_the_functions_are_for_the_service_alone_and_look_names_up_in_their_own_schema(dsn):
    async with connected(dsn) as connection:
        definers = await connection.fetch(
            "select proname, proconfig, proacl::text as acl from pg_proc "
            "where prosecdef and pronamespace = 'public'::regnamespace order by 1"
        )
        assert [row["proname"] for row in definers] == [
            "drop_audit_partition",
            "drop_partition",
            "ensure_audit_partitions",
            "ensure_partitions",
            "merge_partitions",
        ]
        for row in definers:
            assert "search_path=public, pg_temp" in row["proconfig"]
            assert not row["acl"].startswith("{=")
            assert ",=" not in row["acl"]
