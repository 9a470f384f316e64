"""Keys that take turns: one with many jobs delays others by a round at most, also on two servers and under kills."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from jobqueue import Client, KeyPolicy, NewJob, Status

from .conftest import Bench, ends

pytestmark = pytest.mark.slow

TTL = 5.0
FAIR = KeyPolicy(fair=True)
#: Jobs that started between the moment when a job's id was made and its start.
BEFORE = """
select count(*)::int4 from (
    select started_at from finished_job
    union all select changed_at from live_job where state = 2
) s
where s.started_at > uuid_time($1::uuid) and s.started_at < (select started_at from finished_job where id = $1)
"""
#: The keys of the jobs that have ended, in the order of their starts.
STARTED = """
select j.key
from finished_job f
join job j on j.id = f.id
join lane n on n.id = j.lane_id
join queue q on q.id = n.queue_id
where q.name = $1 order by f.started_at, f.id
"""


@asynccontextmanager
async def sql(dsn: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def enqueue(client: Client, kind: str, payload: Any, queue: str, keys: list[str]) -> list[str]:
    ids: list[str] = []
    for first in range(0, len(keys), 1000):
        new = [NewJob(kind, payload, queue=queue, key=key) for key in keys[first : first + 1000]]
        ids += [job.id for job in await client.enqueue_many(new)]
    return ids


async def test_a_job_of_another_key_starts_within_a_round_behind_5_000_of_one(bench: Bench, dsn: str):
    server = await bench.server(dsn)
    async with sql(dsn) as connection, Client(server.address) as client:
        await client.update_queue("fair", FAIR, allow_missing=True)
        await enqueue(client, "nap", 0.1, "fair", ["large"] * 5_000)
        await bench.workers(server.address, "w", queue="fair", slots=10)
        await bench.journals.until(50, within=60)
        ids = [(await enqueue(client, "nap", 0.1, "fair", [f"small-{number}"]))[0] for number in range(5)]
        done = await ends(client, *ids, within=60)
        assert {job.status for job in done} == {Status.SUCCEEDED}
        # Ten that stand in line for ten slots, and what starts while the job is being stored, on a busy machine.
        assert max([await connection.fetchval(BEFORE, job_id) for job_id in ids]) < 300


async def test_keys_that_have_enough_jobs_start_equally_many_in_any_order_of_enqueues(bench: Bench, dsn: str):
    server = await bench.server(dsn)
    async with sql(dsn) as connection, Client(server.address) as client:
        await client.update_queue("fair", FAIR, allow_missing=True)
        for key in ("first", "second", "third"):
            await enqueue(client, "nap", 0.01, "fair", [key] * 400)
        await bench.workers(server.address, "w", queue="fair", slots=10)
        await bench.journals.until(1200, within=90)
        ids = [row["key"] for row in await connection.fetch(STARTED, "fair")]
        shares = Counter(ids[:900])
        assert min(shares.values()) > 250, shares


async def test_one_key_alone_fills_the_slots_of_all_workers(bench: Bench, dsn: str, tmp_path: Path):
    servers = [await bench.server(dsn), await bench.server(dsn)]
    async with Client(servers[0].address) as client:
        await client.update_queue("fair", FAIR, allow_missing=True)
        for server, name in zip(servers, "ab", strict=True):
            await bench.workers(server.address, name, queue="fair", slots=20)
        gate = tmp_path / "gate"
        ids = await enqueue(client, "hold", {"gate": str(gate)}, "fair", ["one"] * 100)
        await bench.journals.until(40, "started", within=60)
        gate.touch()
        assert {job.status for job in await ends(client, *ids, within=60)} == {Status.SUCCEEDED}


async def test_every_job_of_a_fair_queue_ends_while_workers_and_a_server_are_killed(bench: Bench, dsn: str):
    servers = [await bench.server(dsn), await bench.server(dsn)]
    addresses = ",".join(server.address for server in servers)
    async with sql(dsn) as connection, Client(servers[0].address) as client:
        await client.update_queue("fair", FAIR, allow_missing=True)
        workers = [bench.worker(addresses, f"w{n}", queue="fair", slots=10, ttl=TTL) for n in range(4)]
        keys = ["large"] * 400 + [f"tenant-{number}" for number in range(100)] * 4
        random.shuffle(keys)
        ids = await enqueue(client, "step", 0.02, "fair", keys)
        await bench.journals.until(100, "ended", within=60)
        workers[0].kill()
        await bench.journals.until(250, "ended", within=60)
        workers[1].kill()
        servers[1].kill()
        bench.worker(addresses, "w4", queue="fair", slots=10, ttl=TTL)
        done = await ends(client, *ids, within=90)
        assert {job.status for job in done} == {Status.SUCCEEDED}
        left = "select count(*) from semaphore where taken <> 0 or waiting <> 0"
        assert await connection.fetchval(left) == 0
