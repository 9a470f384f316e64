"""The audit log comes and goes in partitions, and the service can't change what is in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from jobqueue_server.core.upkeep.audit_partitions import AHEAD, AuditPartitions
from jobqueue_server.core.upkeep.retention import partition_width
from jobqueue_server.settings import Settings
from jobqueue_server.store import migrate
from jobqueue_server.store.access.audit import AuditFilter, AuditStore, Entry
from jobqueue_server.store.query.reads import id_range
from jobqueue_server.store.upkeep.audit_partitions import AuditPartitionStore

from .past import connected, opened
from .stored import right

pytestmark = pytest.mark.slow

RETENTION = timedelta(days=30)
LEAST = timedelta(days=30)


def entry(action: str = "RevokeKey", age: timedelta = timedelta()) -> Entry:
    return Entry(action, 1, "key:0123456789", object="key:0123456789", age=age)


async def names(connection: Any) -> list[str]:
    return [row["name"] for row in await connection.fetch("select name from audit_partition order by name")]


async def actions(store: AuditStore) -> list[str]:
    rows, edge = await store.list(AuditFilter(), *id_range(None, None), 100)
    assert edge is None
    return [row.action for row in rows]


async def test_a_migrated_database_has_room_for_the_default_retention(dsn):
    width = partition_width(Settings.load().audit_retention)
    async with opened(dsn) as database, connected(dsn) as connection:
        store = AuditPartitionStore(database, retention=RETENTION, expected=right)
        assert await store.ensure(width, behind=1, ahead=AHEAD) == 0
        until = await connection.fetchval("select max(uuid_time(to_id)) from audit_partition")
        assert until > datetime.now(UTC) + 2 * width - timedelta(minutes=1)
        assert len(await names(connection)) == 4


async def test_partitions_are_made_ahead_and_dropped_when_all_of_them_is_old(dsn):
    async with opened(dsn) as database, connected(dsn) as connection:
        store, log = AuditPartitionStore(database, retention=RETENTION, expected=right), AuditStore(database)
        parts = AuditPartitions(store)
        assert await store.ensure(timedelta(days=1), behind=40, ahead=2) > 10
        await log.write([entry("old", timedelta(days=33)), entry("kept", timedelta(days=29)), entry("new")])
        await parts.drop()
        assert await actions(log) == ["new", "kept"]
        oldest = await connection.fetchval("select min(uuid_time(to_id)) from audit_partition")
        assert datetime.now(UTC) - RETENTION < oldest
        left = await connection.fetchval(
            "select count(*) from pg_inherits where inhparent = 'audit'::regclass"
        )
        assert left == len(await names(connection))
        await parts.ensure()
        assert await store.drop() is None


async def test_nothing_is_dropped_by_a_clock_that_was_set(dsn):
    async with opened(dsn) as database, connected(dsn) as connection:

        def expected() -> datetime:
            return datetime.now(UTC) - timedelta(days=1)

        store = AuditPartitionStore(database, retention=RETENTION, expected=expected)
        await store.ensure(timedelta(days=1), behind=40, ahead=2)
        before = await names(connection)
        assert await store.drop() is None
        unknown = AuditPartitionStore(database, retention=RETENTION, expected=lambda: None)
        assert await unknown.drop() is None
        assert await names(connection) == before


async def test_the_service_adds_to_the_audit_log_and_can_neither_change_nor_hide_what_is_in_it(
    cluster, empty_dsn
):
    role = f"service_{uuid4().hex[:12]}"
    name = urlsplit(empty_dsn).path.lstrip("/")
    cluster.execute(f"create role {role} login password 'secret'")
    service = cluster.dsn_of(name, user=role, password="secret")
    try:
        await migrate.up(empty_dsn, role)
        async with opened(service) as database, connected(service) as connection:
            log = AuditStore(database)
            store = AuditPartitionStore(database, retention=RETENTION, expected=right)
            await log.write([entry()])
            await store.ensure(timedelta(days=1), behind=40, ahead=2)
            assert await store.drop() is not None
            for statement in (
                "update audit set principal = 'nobody'",
                "delete from audit",
                "truncate audit",
                "drop table audit",
                "update audit_partition set to_id = from_id",
                "delete from audit_partition",
                "insert into audit_partition select '209901010000', from_id, to_id from audit_partition limit 1",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
            for retention in (LEAST - timedelta(seconds=1), timedelta(0), -LEAST):
                with pytest.raises(asyncpg.InvalidParameterValueError, match="30 days at least"):
                    await connection.fetchval("select drop_audit_partition($1::interval)", retention)
            assert await actions(log) == ["RevokeKey"]
    finally:
        cluster.execute(f"drop owned by {role}", database=name)
        cluster.execute(f"drop role {role}")
