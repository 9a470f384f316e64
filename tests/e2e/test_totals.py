"""Limits of a queue: over several servers, with workers and servers that die, and at no cost in throughput."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import accumulate

import asyncpg
import pytest

from jobqueue import Client, KeyPolicy, Kind, Limits, NewJob, Rate, Status

from .conftest import Bench, ends
from .journals import Entry

pytestmark = pytest.mark.slow

# Long enough that no worker which lives is taken for dead where the machine stands still.
TTL = 10.0


async def limit(client: Client, queue: str, most: int) -> None:
    """All servers know it then."""
    await client.update_queue(queue, limits=Limits(max_running=most), allow_missing=True)


def most_at_once(entries: Sequence[Entry], killed: Mapping[str, float]) -> int:
    """How many attempts ran at once. What a killed worker ran ended with it."""
    changes: list[tuple[float, int]] = []
    open_in: dict[tuple[str, int], Entry] = {}
    for entry in entries:
        changes.append((entry.at, 1 if entry.event == "started" else -1))
        if entry.event == "started":
            open_in[entry.id, entry.attempt] = entry
        else:
            del open_in[entry.id, entry.attempt]
    changes += [(killed[entry.worker], -1) for entry in open_in.values()]
    return max(accumulate(change for _, change in sorted(changes)))


@pytest.mark.long
async def test_no_more_jobs_of_a_queue_run_than_it_lets_while_workers_and_a_server_are_killed(
    bench: Bench, dsn: str
):
    queue = "few"
    servers = [await bench.server(dsn), await bench.server(dsn)]
    addresses = ",".join(server.address for server in servers)
    async with Client(servers[0].address) as client:
        await limit(client, queue, 7)
        workers = [bench.worker(addresses, f"w{n}", queue=queue, slots=10, ttl=TTL) for n in range(4)]
        jobs = await client.enqueue_many([NewJob("step", 0.05, queue=queue) for _ in range(600)])
        await bench.journals.until(100, "ended")
        killed = {"w0": workers[0].kill()}
        await bench.journals.until(200, "ended")
        killed["w1"] = workers[1].kill()
        servers[1].kill()
        bench.worker(addresses, "w4", queue=queue, slots=10, ttl=TTL)
        done = await ends(client, *(job.id for job in jobs), within=60)
        assert {job.status for job in done} == {Status.SUCCEEDED}
        assert most_at_once(bench.journals.read(), killed) == 7


@pytest.mark.long
async def test_no_second_has_more_starts_than_the_rate_says_while_workers_and_a_server_are_killed(
    bench: Bench, dsn: str
):
    queue, second = "steady", timedelta(seconds=1)
    servers = [await bench.server(dsn), await bench.server(dsn)]
    addresses = ",".join(server.address for server in servers)
    async with Client(servers[0].address) as client:
        await client.update_queue(queue, limits=Limits(rate=Rate(60, second, burst=4)), allow_missing=True)
        workers = [bench.worker(addresses, f"w{n}", queue=queue, slots=10, ttl=TTL) for n in range(3)]
        jobs = await client.enqueue_many([NewJob("step", 0.1, queue=queue) for _ in range(300)])
        await bench.journals.until(60, "ended")
        workers[0].kill()
        await bench.journals.until(120, "ended")
        servers[1].kill()
        done = await ends(client, *(job.id for job in jobs), within=60)
        assert {job.status for job in done} == {Status.SUCCEEDED}
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "select started_at from finished_job union all select started_at from attempt order by started_at"
        )
    finally:
        await connection.close()
    starts = [row["started_at"] for row in rows]
    assert len(starts) >= 300
    assert max(bisect_left(starts, at + second) - n for n, at in enumerate(starts)) <= 63


async def limit_kind(client: Client, kind: str, most: int = 0, rate: Rate | None = None) -> None:
    limits = Limits(max_running=most, rate=rate)
    await client.put_kind(Kind(name=kind, limits=limits if most or rate else None))


async def test_no_more_jobs_of_a_kind_run_over_its_queues_than_it_lets_while_workers_and_a_server_are_killed(
    bench: Bench, dsn: str
):
    """Two queues on two servers; one of them lets fewer run than the kind."""
    queues = ["one", "two"]
    servers = [await bench.server(dsn), await bench.server(dsn)]
    addresses = ",".join(server.address for server in servers)
    async with Client(servers[0].address) as client:
        await limit(client, "one", 4)
        await limit_kind(client, "step", 6)
        workers = [bench.worker(addresses, f"w{n}", queue=queues[n % 2], slots=10, ttl=TTL) for n in range(4)]
        jobs = await client.enqueue_many([NewJob("step", 0.05, queue=queues[n % 2]) for n in range(500)])
        await bench.journals.until(100, "ended")
        killed = {"w0": workers[0].kill()}
        await bench.journals.until(200, "ended")
        killed["w1"] = workers[1].kill()
        servers[1].kill()
        done = await ends(client, *(job.id for job in jobs), within=90)
        assert {job.status for job in done} == {Status.SUCCEEDED}
        entries = bench.journals.read()
        assert most_at_once(entries, killed) == 6
        ones = [entry for entry in entries if entry.worker in ("w0", "w2")]
        assert most_at_once(ones, killed) <= 4


async def test_a_kind_that_is_full_holds_up_no_other_kind_of_its_queue(
    bench: Bench, client: Client, address: str, queue: str
):
    await limit_kind(client, "hold", 1)
    await bench.workers(address, "w", queue=queue, slots=10)
    gate = str(bench.folder / "open")
    held = [await client.enqueue("hold", {"gate": gate}, queue=queue) for _ in range(2)]
    await bench.journals.until(1, "started")
    others = await client.enqueue_many([NewJob("count", queue=queue) for _ in range(50)])
    await ends(client, *(job.id for job in others))
    assert [(await client.get(job.id)).status for job in held] == [Status.RUNNING, Status.QUEUED]
    await limit_kind(client, "hold", 2)
    await bench.journals.until(2, "started")
    (bench.folder / "open").touch()
    await ends(client, *(job.id for job in held))
    await limit_kind(client, "hold")


@pytest.mark.alone
async def test_a_limit_as_wide_as_the_workers_costs_no_throughput(
    bench: Bench, client: Client, address: str, queue: str
):
    """Forty slots, and forty that may run: what an end frees is taken at once."""
    await bench.workers(address, "a", "b", "c", "d", queue=queue, slots=10)
    took: dict[int, list[float]] = {0: [], 40: []}
    # In turns, and the quicker of each: what the machine does beside it can only add.
    for most in (0, 40, 0, 40):
        await limit(client, queue, most)
        began = time.monotonic()
        made = await client.enqueue_many([NewJob("step", 0.5, queue=queue) for _ in range(160)])
        await ends(client, *(job.id for job in made), within=60)
        took[most].append(time.monotonic() - began)
    assert min(took[40]) < min(took[0]) * 1.2
    assert most_at_once(bench.journals.read(), {}) == 40


async def test_other_queues_go_on_beside_one_that_is_full(
    bench: Bench, client: Client, address: str, queue: str
):
    await limit(client, queue, 1)
    other = f"{queue}-other"
    await bench.workers(address, "w", queue=queue, slots=10)
    await bench.workers(address, "v", queue=other, slots=10)
    held = await client.enqueue("hold", {"gate": str(bench.folder / "open")}, queue=queue)
    await bench.journals.until(1, "started")
    waits = await client.enqueue("count", queue=queue, priority=10)
    others = await client.enqueue_many([NewJob("count", queue=other) for _ in range(50)])
    await ends(client, *(job.id for job in others))
    assert (await client.get(waits.id)).status is Status.QUEUED
    (bench.folder / "open").touch()
    await ends(client, held.id, waits.id)


async def test_jobs_that_their_keys_let_in_keep_to_the_limit_of_their_queue(
    bench: Bench, client: Client, address: str, queue: str
):
    """Who is let in by its key takes a free slot at once, but not in such a queue."""
    await client.update_queue(
        queue, KeyPolicy(max_running=1), limits=Limits(max_running=3), allow_missing=True
    )
    await bench.workers(address, "w", "v", queue=queue, slots=10)
    jobs = await client.enqueue_many(
        [NewJob("step", 0.05, queue=queue, key=f"k{n % 10}") for n in range(100)]
    )
    await ends(client, *(job.id for job in jobs), within=60)
    assert most_at_once(bench.journals.read(), {}) == 3


async def test_a_limit_that_is_raised_lets_more_start_and_one_that_is_taken_back_all(
    bench: Bench, client: Client, address: str, queue: str
):
    await limit(client, queue, 1)
    await bench.workers(address, "w", queue=queue, slots=10)
    gate = str(bench.folder / "open")
    jobs = await client.enqueue_many([NewJob("hold", {"gate": gate}, queue=queue) for _ in range(8)])
    await bench.journals.until(1, "started")
    for most, run in ((3, 3), (0, 8)):
        await limit(client, queue, most)
        await bench.journals.until(run, "started")
    (bench.folder / "open").touch()
    await ends(client, *(job.id for job in jobs))
