"""The runbook after a disaster, from the first backup to the last job: what it says is done, and is so."""

from __future__ import annotations

import asyncio
import json
import subprocess

import pytest

from jobqueue_server.store import migrate
from tests.lease.place import Place
from tests.pgbackrest import BackedUp

from .test_cli import run

pytestmark = [pytest.mark.pitr, pytest.mark.any_engine, pytest.mark.timeout(300)]

BEFORE, AFTER, DONE = 500, 500, 100


async def succeed(place: Place, jobs: int) -> None:
    """A worker runs so many, and no more."""
    worker = await place.worker(slots=jobs)
    got = await worker.jobs(jobs)
    await worker.drain()
    assert await worker.succeed(*got) == []
    await worker.close()


async def command(cluster: BackedUp, *words: str, code: int = 0) -> str:
    def ran() -> subprocess.CompletedProcess[str]:
        return run(*words, DATABASE_URL=cluster.dsn)

    done = await asyncio.to_thread(ran)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


async def test_a_restore_to_a_time_has_exactly_what_was_there_and_runs_it_once_an_operator_has_looked() -> (
    None
):
    with BackedUp() as cluster:
        await migrate.up(cluster.dsn)
        async with Place(cluster.dsn) as place:
            await place.enqueue()
            await succeed(place, 1)
            await asyncio.to_thread(cluster.back_up)
            before = set(await place.batch(BEFORE))
            await succeed(place, DONE)
            time = (await place.value("select now()")).isoformat()
            await asyncio.sleep(0.1)
            # The world goes on: what runs now runs again after the restore, and what comes now is gone.
            await succeed(place, DONE)
            await place.batch(AFTER)
            await place.sql("select pg_switch_wal()")
        await asyncio.to_thread(cluster.stop)
        await asyncio.to_thread(cluster.restore, time)
        await asyncio.to_thread(cluster.start)

        # The role is a superuser here, which it warns of; nothing is broken.
        found = json.loads(await command(cluster, "doctor", "--json", code=1))["findings"]
        assert {each["about"] for each in found if each["grade"] == "warning"} <= {"role", "servers"}
        async with Place(cluster.dsn, start="paused") as place:
            worker = await place.worker(slots=20)
            assert await place.value("select count(*) from job") == 1 + BEFORE
            said = json.loads(await command(cluster, "report", "--since", time, "--json"))
            [waiting] = said["waiting"]
            assert waiting["running"] + waiting["due"] == BEFORE - DONE
            assert said["ended"] == []
            assert said["standing_since"] is not None
            await worker.no_job(1.5)
            await command(cluster, "resume")
            for _ in range(BEFORE - DONE):
                assert await worker.succeed(await worker.job()) == []
            rows = await place.sql("select id::text from finished_job where status = 3")
            assert {row["id"] for row in rows} >= before
            assert len(rows) == 1 + BEFORE
