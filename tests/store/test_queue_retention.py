"""A queue keeps jobs that ended longer or shorter than others, by how they ended."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from jobqueue_server.core.upkeep import retention as core
from jobqueue_server.core.upkeep.retention import Retention
from jobqueue_server.store.upkeep.condition import ConditionStore
from jobqueue_server.store.upkeep.retention import Fate, Partition, RetentionStore

from .past import RETENTION, WIDTH, ago, connected, finished, id_at, lane, opened, partition_of, rows
from .stored import right

pytestmark = pytest.mark.slow

SUCCEEDED, FAILED, CANCELLED = 3, 5, 6
ENDS = {"succeeded": SUCCEEDED, "failed_permanent": FAILED, "cancelled": CANCELLED}


def sweeper(database: Any, batch: int = 500) -> tuple[RetentionStore, Retention]:
    store = RetentionStore(database, retention=RETENTION, expected=right, batch=batch)
    return store, Retention(store, retention=RETENTION)


async def three(connection: Any, lane_id: int, at: datetime) -> dict[str, UUID]:
    """One job of each end, at the end of a partition's range."""
    ids = {end: id_at(at) for end in ENDS}
    for end, id in ids.items():
        await finished(connection, [id], at, lane_id=lane_id, status=ENDS[end])
    return ids


async def there(connection: Any, ids: dict[str, UUID]) -> set[str]:
    """Those of them of which all that belongs to them is there. Of the others nothing is."""
    found = {end: await rows(connection, [id]) for end, id in ids.items()}
    whole = {"job": 1, "live_job": 0, "finished_job": 1, "attempt": 1, "job_progress": 1}
    assert all(each == whole or not any(each.values()) for each in found.values())
    return {end for end, each in found.items() if each == whole}


@pytest.mark.parametrize("end", ENDS)
async def test_what_a_queue_keeps_shorter_goes_by_its_end_and_nothing_else_does(dsn, end):
    async with opened(dsn) as database, connected(dsn) as connection:
        store, retention = sweeper(database)
        await store.ensure_partitions(WIDTH, behind=33, ahead=2)
        shorter = await lane(connection, **{end: timedelta(days=1)})
        of_it = await three(connection, shorter, ago(days=2))
        of_others = await three(connection, await lane(connection), ago(days=2))
        # Enqueued long ago, and ended within the day.
        late = id_at(ago(days=2))
        await finished(connection, [late], ago(hours=23), lane_id=shorter, status=ENDS[end])
        await retention.sweep()
        assert await there(connection, of_it) == ENDS.keys() - {end}
        assert await there(connection, of_others) == ENDS.keys()
        assert (await rows(connection, [late]))["finished_job"] == 1


@pytest.mark.parametrize("end", ENDS)
async def test_what_a_queue_keeps_longer_survives_the_drop_of_its_partition_until_its_own_time(dsn, end):
    async with opened(dsn) as database, connected(dsn) as connection:
        store, retention = sweeper(database)
        await store.ensure_partitions(WIDTH, behind=60, ahead=2)
        longer = await lane(connection, **{end: timedelta(days=10)})
        kept = await three(connection, longer, ago(days=9))
        others = await three(connection, await lane(connection), ago(days=9))
        over = await three(connection, longer, ago(days=11))
        await retention.sweep()
        # What is not of the queue goes with the partition, at once or with what a merge leaves.
        assert await there(connection, kept) == {end}
        assert await there(connection, others) == set()
        assert await there(connection, over) == set()
        partition = await partition_of(store, kept[end])
        assert partition is not None
        assert partition.leftover
        # Its partition goes when it does.
        await connection.execute(
            "update finished_job set finished_at = now() - interval '10 days 1 minute' where id = $1",
            kept[end],
        )
        await connection.execute("update job_partition set swept_at = null")
        await retention.sweep()
        await retention.sweep()
        assert await there(connection, kept) == set()
        assert await partition_of(store, kept[end]) is None


@pytest.mark.parametrize("end", ENDS)
async def test_a_drop_refuses_what_any_queue_keeps_longer_by_its_end_and_goes_after_that_time(dsn, end):
    async with opened(dsn) as database, connected(dsn) as connection:
        store, _ = sweeper(database)
        await store.ensure_partitions(WIDTH, behind=60, ahead=2)
        longer = await lane(connection, **{end: timedelta(days=10)})
        at = ago(days=9)
        await finished(connection, [id_at(at)], at, lane_id=longer, status=ENDS[end])
        # It said nothing of how far it was, which would be a reason of its own.
        await connection.execute("delete from job_progress")
        partition = await partition_of(store, id_at(at))
        assert partition is not None
        assert await store.drop_partition(partition.name) is Fate.RECENT
        await connection.execute("update finished_job set finished_at = now() - interval '10 days 1 minute'")
        assert await store.drop_partition(partition.name) is Fate.DROPPED


async def test_many_that_are_kept_longer_stay_in_their_partition_and_the_others_are_swept_out_of_it(
    dsn, monkeypatch
):
    monkeypatch.setattr(core, "MERGE_ROWS", 4)
    async with opened(dsn) as database, connected(dsn) as connection:
        store, retention = sweeper(database, batch=10)
        await store.ensure_partitions(WIDTH, behind=60, ahead=2)
        longer = await lane(connection, failed_permanent=timedelta(days=30))
        at = ago(days=9)
        kept, gone = [id_at(at) for _ in range(9)], [id_at(at) for _ in range(25)]
        await finished(connection, kept, at, lane_id=longer, status=FAILED)
        await finished(connection, gone, at, lane_id=longer)
        await retention.sweep()
        partition = await partition_of(store, kept[0])
        assert partition is not None
        assert not partition.leftover
        assert (await rows(connection, kept))["finished_job"] == 9
        assert not any((await rows(connection, gone)).values())
        assert await store.drop_partition(partition.name) is Fate.RECENT


async def test_a_merge_looks_at_few_and_refuses_where_it_would_have_to_look_at_many(dsn):
    async with opened(dsn) as database, connected(dsn) as connection:
        store, _ = sweeper(database)
        await store.ensure_partitions(WIDTH, behind=60, ahead=2)
        # None of these is kept longer. To know that, their jobs are read.
        at = ago(days=9)
        await finished(connection, [id_at(at) for _ in range(21)], at)
        await lane(connection, succeeded=timedelta(days=30))
        partition = await partition_of(store, id_at(at))
        assert partition is not None
        both = (partition.name, partition.name)
        assert await store.merge_partitions(*both, max_rows=10, max_bytes=1 << 20) is Fate.TOO_MANY
        assert await store.merge_partitions(*both, max_rows=11, max_bytes=1 << 20) is Fate.MERGED


async def test_a_partition_that_takes_jobs_or_whose_jobs_are_younger_is_not_looked_through(dsn, monkeypatch):
    looked: list[Partition] = []
    async with opened(dsn) as database, connected(dsn) as connection:
        store, retention = sweeper(database)
        await store.ensure_partitions(WIDTH, behind=40, ahead=2)
        sweep = store.sweep_finished

        def noted(partition: Partition) -> Any:
            looked.append(partition)
            return sweep(partition)

        monkeypatch.setattr(store, "sweep_finished", noted)
        await retention.sweep()
        assert looked == [], "no queue says anything"
        await lane(connection, cancelled=timedelta(days=1))
        await retention.sweep()
        first = looked.copy()
        assert len(first) in (23, 24, 25)
        assert all(timedelta(days=1) <= p.read_at - p.ended_at < RETENTION for p in first)
        # A tenth of the shortest time passes before each is looked through again.
        looked.clear()
        await retention.sweep()
        assert looked == []
        await connection.execute("update job_partition set swept_at = swept_at - interval '2.4 hours'")
        await retention.sweep()
        assert len(looked) >= len(first)


async def test_a_sweep_that_is_stopped_goes_on_where_it_was_on_another_server(dsn):
    async with opened(dsn) as database, opened(dsn) as another, connected(dsn) as connection:
        store, _ = sweeper(database, batch=10)
        await store.ensure_partitions(WIDTH, behind=33, ahead=2)
        shorter = await lane(connection, succeeded=timedelta(days=1))
        base = id_at(ago(days=2)).int
        ids = [UUID(int=base + n) for n in range(35)]
        await finished(connection, ids, ago(days=2), lane_id=shorter)
        partition = await partition_of(store, ids[0])
        assert partition is not None
        batches = store.sweep_finished(partition)
        assert [await anext(batches), await anext(batches)] == [10, 10]
        await batches.aclose()
        elsewhere, retention = sweeper(another, batch=10)
        partition = await partition_of(elsewhere, ids[0])
        assert partition is not None
        assert (partition.swept_to, partition.swept_at) == (ids[19], None)
        # What lies before is not looked at again.
        await finished(connection, [ids[0]], ago(days=2), lane_id=shorter)
        await retention.sweep()
        assert (await rows(connection, ids))["finished_job"] == 1
        partition = await partition_of(elsewhere, ids[0])
        assert partition is not None
        assert partition.swept_to is None
        assert partition.swept_at is not None


async def test_each_batch_reads_so_many_rows_however_few_go(dsn):
    async with opened(dsn) as database, connected(dsn) as connection:
        store, _ = sweeper(database, batch=10)
        await store.ensure_partitions(WIDTH, behind=33, ahead=2)
        base = id_at(ago(days=2)).int
        shorter = await lane(connection, succeeded=timedelta(days=1))
        await finished(connection, [UUID(int=base + n) for n in range(30)], ago(days=2))
        await finished(connection, [UUID(int=base + 30)], ago(days=2), lane_id=shorter)
        partition = await partition_of(store, UUID(int=base))
        assert partition is not None
        assert [swept async for swept in store.sweep_finished(partition)] == [0, 0, 0, 1]


async def test_two_sweeps_at_once_and_a_retry_do_each_other_no_harm(dsn):
    async with opened(dsn) as database, connected(dsn) as connection, connected(dsn) as other:
        store, _ = sweeper(database, batch=7)
        await store.ensure_partitions(WIDTH, behind=33, ahead=2)
        shorter = await lane(connection, succeeded=timedelta(days=1))
        base = id_at(ago(days=2)).int
        ids = [UUID(int=base + n) for n in range(50)]
        await finished(connection, ids, ago(days=2), lane_id=shorter)
        partition = await partition_of(store, ids[0])
        assert partition is not None

        async def sweep() -> int:
            return sum([swept async for swept in store.sweep_finished(partition)])

        async with other.transaction():
            # An operator's retry holds this one: it is skipped, not waited for.
            await other.execute("select from finished_job where id = $1 for update", ids[3])
            assert sum(await asyncio.gather(sweep(), sweep(), sweep())) == 49
        assert (await rows(connection, ids))["finished_job"] == 1
        assert await sweep() == 1


async def test_nothing_is_swept_and_nothing_is_noted_while_the_clock_was_set(dsn):
    async with opened(dsn) as database, connected(dsn) as connection:
        wrong = RetentionStore(database, retention=RETENTION, expected=lambda: ago(hours=5), batch=10)
        await wrong.ensure_partitions(WIDTH, behind=33, ahead=2)
        id = id_at(ago(days=2))
        await finished(
            connection, [id], ago(days=2), lane_id=await lane(connection, succeeded=timedelta(days=1))
        )
        partition = await partition_of(wrong, id)
        assert partition is not None
        assert [swept async for swept in wrong.sweep_finished(partition)] == []
        assert (await rows(connection, [id]))["finished_job"] == 1
        partition = await partition_of(wrong, id)
        assert partition is not None
        assert partition.swept_at is None


async def test_retention_lags_until_what_queues_keep_shorter_is_swept_and_not_for_what_they_keep_longer(dsn):
    async with opened(dsn) as database, connected(dsn) as connection:
        condition = ConditionStore(database, retention=RETENTION)
        store, retention = sweeper(database)
        await store.ensure_partitions(WIDTH, behind=40, ahead=2)
        old = ago(days=9)
        longer = await lane(connection, failed_permanent=timedelta(days=30))
        await finished(connection, [id_at(old)], old, lane_id=longer, status=FAILED)
        await retention.sweep()
        assert await condition.retention_lag() == 0
        await connection.execute("update job_partition set swept_at = null")
        assert await condition.retention_lag() > 86_400
        await retention.sweep()
        assert await condition.retention_lag() == 0
        await lane(connection, succeeded=timedelta(days=1))
        late = max(p.read_at - p.ended_at for p in await store.list_partitions() if p.ended_at > ago(days=7))
        due = late - timedelta(days=1) - timedelta(days=1) / 10
        assert await condition.retention_lag() == pytest.approx(due.total_seconds(), abs=5)
        await retention.sweep()
        assert await condition.retention_lag() == 0


async def test_a_time_that_no_queue_may_have_is_refused_by_the_table_too(dsn):
    async with connected(dsn) as connection:
        for kept in (timedelta(minutes=59), timedelta(days=3651)):
            for end in ENDS:
                with pytest.raises(asyncpg.CheckViolationError, match="1 h to 3650 days"):
                    await lane(connection, **{end: kept})
