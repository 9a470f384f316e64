"""Old and new run side by side while servers are replaced, and no migration stands in the way of jobs."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import asyncpg
import pytest

from jobqueue import Client, Status
from jobqueue_server.store import migrate

from .processes import ServerProcess, WorkerProcess

pytestmark = pytest.mark.slow

#: What a next version may do to the tables that jobs go through.
_GROWS = """
alter table job add column colour text;
alter table live_job add column colour text;
alter table finished_job add column colour text;
alter table attempt add column colour text;
alter table worker_session add column colour text;
create table colour (name text primary key);
"""
#: DESIGN: no migration holds a lock for more than a second. What a call takes beside is that of a busy machine.
LONGEST = 1.0 + 1.5


@pytest.mark.alone
async def test_a_schema_grows_under_load_and_old_servers_go_on_and_start_on_it(
    dsn: str, tmp_path: Path
) -> None:
    folder = tmp_path / "migrations"
    shutil.copytree(migrate.default_folder(), folder)
    number = len(list(folder.glob("*.sql"))) + 1
    (folder / f"{number:04}_colour.sql").write_text(_GROWS)
    first = ServerProcess(dsn, tmp_path / "first.log")
    await first.ready()
    worker = WorkerProcess(first.address, tmp_path, name="w")
    await worker.ready()
    reader = await asyncpg.connect(dsn)
    enough = asyncio.Event()
    slowest = 0.0
    ids: list[str] = []

    async def load(client: Client) -> None:
        nonlocal slowest
        while not enough.is_set():
            started = time.monotonic()
            ids.append((await client.enqueue("count")).id)
            slowest = max(slowest, time.monotonic() - started)
            await asyncio.sleep(0.05)

    async with Client(first.address) as client:
        loads = [asyncio.create_task(load(client)) for _ in range(4)]
        # A report that somebody runs: the migration has to wait for its end, and nobody behind the migration.
        async with reader.transaction():
            await reader.fetch("select * from jobs limit 1")
            migrating = asyncio.create_task(migrate.up(dsn, folder=folder))
            await _asked_for_a_lock(dsn)
            before = len(ids)
            while len(ids) < before + 20:
                await asyncio.sleep(0.02)
        assert [one.name for one in await migrating] == ["colour"]
        # The version before starts on the new schema, beside the one that never ended.
        second = ServerProcess(dsn, tmp_path / "second.log")
        await second.ready()
        async with Client(second.address) as other:
            before = len(ids)
            while len(ids) < before + 20:
                ids.append((await other.enqueue("count")).id)
            enough.set()
            await asyncio.gather(*loads)
            for job_id in ids:
                done = await other.wait(job_id)
                assert (done.status, done.attempts) == (Status.SUCCEEDED, 1)
    await reader.close()
    for process in (worker, first, second):
        process.terminate()
        assert await process.ended() == 0
    assert slowest < LONGEST


async def _asked_for_a_lock(dsn: str) -> None:
    """Waits until the migration stands in line for a lock."""
    looking = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(20):
            while not await looking.fetchval(
                "select exists (select from pg_locks l join pg_stat_activity a using (pid)"
                " where not l.granted and a.application_name = 'jobqueue-migrate')"
            ):
                await asyncio.sleep(0.01)
    finally:
        await looking.close()
