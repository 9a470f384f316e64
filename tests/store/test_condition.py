"""What operators are told of PostgreSQL: who keeps dead rows, how many there are, whether partitions come and go."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from jobqueue_server.core.upkeep.condition import ConditionReader
from jobqueue_server.core.upkeep.retention import Retention
from jobqueue_server.store import migrate
from jobqueue_server.store.upkeep.condition import ConditionStore
from jobqueue_server.store.upkeep.retention import RetentionStore

from .past import RETENTION, WIDTH, ago, connected, finished, id_at, live, opened, partition_of
from .stored import right

pytestmark = pytest.mark.slow


async def test_the_oldest_snapshot_is_found_whoever_has_it(dsn):
    async with opened(dsn) as database, connected(dsn) as reader, connected(dsn) as writer:
        store = ConditionStore(database, retention=RETENTION)
        holds = reader.transaction(isolation="repeatable_read")
        await holds.start()
        await reader.fetchval("select 1")
        for _ in range(3):
            await writer.fetchval("select txid_current()")
        held = await store.oldest_holder()
        assert held.oldest_xid is not None
        assert held.next_xid - held.oldest_xid >= 3
        assert held.seconds is not None
        assert 0 < held.seconds < 60
        await holds.rollback()


async def test_a_prepared_transaction_and_one_that_only_has_a_number_are_found(dsn):
    async with opened(dsn) as database, connected(dsn) as idle:
        store = ConditionStore(database, retention=RETENTION)
        await idle.execute("begin")
        number = await idle.fetchval("select txid_current()")
        # A fetch of one row leaves its portal open, and with it a snapshot.
        await idle.execute("select")
        held = await store.oldest_holder()
        assert held.oldest_xid is not None
        assert held.oldest_xid <= number
        assert held.who is not None
        assert held.who.startswith(f"the session {idle.get_server_pid()} of ")
        await idle.execute("rollback")


async def test_a_role_without_rights_hears_of_the_snapshots_of_others(dsn):
    async with connected(dsn) as admin, connected(dsn) as reader, connected(dsn) as writer:
        holds = reader.transaction(isolation="repeatable_read")
        await holds.start()
        await reader.fetchval("select 1")
        for _ in range(3):
            await writer.fetchval("select txid_current()")
        await admin.execute("create role nobody_special login")
        try:
            await admin.execute("grant select on all tables in schema public to nobody_special")
            async with opened(dsn.replace("postgres@", "nobody_special@")) as database:
                held = await ConditionStore(database, retention=RETENTION).oldest_holder()
            assert held.oldest_xid is not None
            assert held.next_xid - held.oldest_xid >= 3
        finally:
            await holds.rollback()
            await admin.execute("drop owned by nobody_special")
            await admin.execute("drop role nobody_special")


async def test_dead_rows_are_told_of_the_tables_that_change_often(dsn):
    async with opened(dsn) as database, connected(dsn) as connection:
        store = ConditionStore(database, retention=RETENTION)
        async with connection.transaction():
            await connection.execute("alter table live_job set (autovacuum_enabled = false)")
        await Retention(
            RetentionStore(database, retention=RETENTION, expected=right), retention=RETENTION
        ).ensure()
        await live(connection, [id_at(ago(seconds=1)) for _ in range(20)])
        await connection.execute("delete from live_job")
        await connection.execute("select pg_stat_force_next_flush()")
        await connection.fetchval("select 1")
        for _ in range(100):
            if (await store.dead_rows())["live_job"] >= 20:
                break
            await asyncio.sleep(0.1)
        dead = await store.dead_rows()
        assert dead["live_job"] >= 20
        assert {"semaphore", "idempotency_key", "unique_hold", "worker_session", "lane_stat"} <= dead.keys()


async def test_partitions_are_counted_by_their_time(dsn):
    async with opened(dsn) as database:
        partitions = RetentionStore(database, retention=RETENTION, expected=right)
        await partitions.ensure_partitions(WIDTH, behind=3, ahead=2)
        counts = await ConditionStore(database, retention=RETENTION).partition_counts()
        assert (counts.past, counts.present, counts.ahead, counts.leftover) == (3, 1, 2, 0)


async def test_retention_lags_as_long_as_something_over_age_is_there_and_not_for_what_is_kept(dsn):
    async with opened(dsn) as database, connected(dsn) as connection:
        store = ConditionStore(database, retention=RETENTION)
        partitions = RetentionStore(database, retention=RETENTION, expected=right)
        await partitions.ensure_partitions(WIDTH, behind=33, ahead=0)
        assert await store.retention_lag() == 0
        # In a partition that ended long ago one job lives and one ended lately: both are kept.
        old = ago(days=8)
        await live(connection, [id_at(old)])
        await finished(connection, [id_at(old)], ago(days=1))
        # One ended just now more than the retention ago: the next sweep takes it.
        await finished(connection, [id_at(old)], ago(days=7, minutes=5))
        assert await store.retention_lag() == 0
        await finished(connection, [id_at(old)], ago(days=7, minutes=30))
        partition = await partition_of(partitions, id_at(old))
        assert partition is not None
        due = (partition.read_at - RETENTION - partition.ended_at).total_seconds()
        assert await store.retention_lag() == pytest.approx(due, abs=5)


async def test_slots_and_migrations_are_told(dsn):
    async with opened(dsn) as database:
        store = ConditionStore(database, retention=RETENTION)
        assert await store.slot_bytes() == 0
        assert await store.newest_migration() == len(migrate.load())


async def test_it_is_read_only_while_somebody_asks(dsn):
    async with opened(dsn) as database:
        await Retention(
            RetentionStore(database, retention=RETENTION, expected=right), retention=RETENTION
        ).ensure()
        reader = ConditionReader(
            ConditionStore(database, retention=RETENTION), width=WIDTH, known_migration=7, every=0.02
        )
        running = asyncio.create_task(reader.run())
        try:
            await asyncio.sleep(0.2)
            assert reader._latest is None
            assert reader.asked() is None
            while (condition := reader.asked()) is None:
                await asyncio.sleep(0.01)
            assert condition.partitions["present"] == 1
            assert condition.partition_seconds == timedelta(hours=6).total_seconds()
            assert condition.known_migration == 7
        finally:
            running.cancel()
