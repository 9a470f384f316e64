"""The first key of an administrator, written straight into a database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from jobqueue_server.bootstrap import BootstrapRefused, first_key
from jobqueue_server.core.upkeep import retention

pytestmark = pytest.mark.slow


async def without_room(dsn: str) -> Any:
    """A connection to the database, whose audit log is as if it was migrated long ago and served by no server."""
    connection = await asyncpg.connect(dsn)
    for row in await connection.fetch("delete from audit_partition returning name"):
        await connection.execute(f"drop table audit_{row['name']}")
    return connection


async def test_it_is_made_in_a_database_that_was_migrated_long_ago(dsn: str):
    connection = await without_room(dsn)
    try:
        key = await first_key(dsn, "ops", force=False)
        told = await connection.fetch("select action, object from audit")
        assert [tuple(row) for row in told] == [("BootstrapKey", f"key:{key.id}")]
        # It lasts no longer than the audit log of any server is kept.
        (narrow,) = await connection.fetchrow(
            "select max(uuid_time(to_id) - uuid_time(from_id)) from audit_partition"
        )
        assert narrow < timedelta(days=2)
    finally:
        await connection.close()


async def test_while_the_audit_log_is_locked_it_is_refused_and_not_made(
    dsn: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retention, "RETRY_SOON", timedelta(milliseconds=1))
    connection = await without_room(dsn)
    try:
        async with connection.transaction():
            await connection.execute("select lock_audit_partitions()")
            with pytest.raises(BootstrapRefused, match="try again later"):
                await first_key(dsn, "ops", force=False)
        assert (await first_key(dsn, "ops", force=False)).text
    finally:
        await connection.close()
