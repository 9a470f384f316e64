"""Migration 0012, the one break: what it asks for, what it forgets, and what a server of before can't do any more."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from jobqueue_server.store import migrate
from jobqueue_server.store.migrate import MigrationError

BREAK = "0012_break_hash_levels_cells"


@pytest.fixture
async def before(empty_dsn: str, tmp_path: Path) -> AsyncIterator[Any]:
    """A connection to a database of the version before, where one server was heard just now."""
    for file in sorted(migrate.default_folder().glob("*.sql"))[:11]:
        shutil.copy2(file, tmp_path)
    await migrate.up(empty_dsn, folder=tmp_path)
    connection = await asyncpg.connect(empty_dsn)
    await connection.execute("insert into server (name) values ('old:1')")
    yield connection
    await connection.close()


async def leave(before: Any) -> None:
    await before.execute("update server set heartbeat_at = now() - interval '10 seconds'")


def test_it_is_the_only_break():
    assert [each.name for each in migrate.load() if "break" in each.name] == [BREAK.partition("_")[2]]


async def test_it_refuses_while_a_server_runs_and_names_it(before: Any, empty_dsn: str):
    await before.execute(
        "insert into idempotency_key values (1, $1, gen_random_uuid(), '', now())", b"0123456789abcdef"
    )
    with pytest.raises(MigrationError) as refused:
        await migrate.up(empty_dsn)

    assert "nothing of it was kept: these servers were heard in the last 10 s" in str(refused.value)
    assert "old:1. Stop all servers, wait 10 s where one was killed, and run" in str(refused.value)
    assert await before.fetchval("select count(*) from idempotency_key") == 1
    assert [row.state for row in await migrate.status(empty_dsn)][11] == "pending"


async def test_a_server_that_died_before_the_clock_was_set_back_does_not_hold_it_up(
    before: Any, empty_dsn: str
):
    await before.execute("update server set heartbeat_at = now() + interval '1 hour'")
    assert BREAK.partition("_")[2] in [each.name for each in await migrate.up(empty_dsn)]


async def test_it_forgets_the_keys_and_requires_servers_that_have_a_level(before: Any, empty_dsn: str):
    await before.execute(
        "insert into idempotency_key values (1, $1, gen_random_uuid(), '', now())", b"0123456789abcdef"
    )
    await leave(before)
    await migrate.up(empty_dsn)

    assert await before.fetchval("select count(*) from idempotency_key") == 0
    assert await before.fetchval("select min_level from requirement") == 1
    assert await before.fetchval("select level from server") == 0


@pytest.mark.parametrize("ahead", [timedelta(), timedelta(hours=1)], ids=["no job", "the clock was set back"])
async def test_each_id_of_before_is_before_the_cut_over(before: Any, empty_dsn: str, ahead: timedelta):
    low = datetime.now(UTC) - timedelta(seconds=5)
    newest = datetime.now(UTC).replace(microsecond=123_000) + ahead
    if ahead:
        await before.execute(
            "insert into job (id, run_at, lane_id, priority, max_attempts, payload)"
            " values (uuid_at($1), now(), 1, 0, 1, '')",
            newest,
        )
    await leave(before)
    await migrate.up(empty_dsn)

    since = await before.fetchval("select since from cell_bits")
    assert since == newest + timedelta(milliseconds=1) if ahead else since > low


async def test_a_server_of_before_that_comes_back_can_store_nothing(before: Any, empty_dsn: str):
    # What its enqueue begins with. It was prepared when the server still ran.
    old = await before.prepare(
        "insert into idempotency_key (namespace_id, digest, job_id, request_digest, expires_at)"
        " select 1, $1, gen_random_uuid(), '', now() where $1::bytea is not null"
    )
    await old.fetch(None)
    await leave(before)
    await migrate.up(empty_dsn)

    with pytest.raises(asyncpg.UndefinedColumnError, match='column "digest"'):
        await old.fetch(None)
