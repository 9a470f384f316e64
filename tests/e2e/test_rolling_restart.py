"""Two servers are restarted in turn under load, as a deploy does it: no job is interrupted, and none runs twice."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from jobqueue import Client, NewJob, Status, Unavailable
from tests.ports import free_address

from .conftest import Bench, ends, select

pytestmark = pytest.mark.slow


async def test_two_servers_restarted_in_turn_under_load_interrupt_no_job(bench: Bench, dsn: str):
    servers = [await bench.server(dsn, grpc_addr=free_address()) for _ in range(2)]
    addresses = [server.address for server in servers]
    # Each worker knows both, and begins with another one.
    await bench.workers(",".join(addresses), "w0")
    await bench.workers(",".join(reversed(addresses)), "w1")
    gate = bench.folder / "gate"
    producing = True

    async def produce(client: Client) -> None:
        while producing:
            try:
                await client.enqueue("nap", 0.05)
            except Unavailable:
                await asyncio.sleep(0.02)

    async with Client(addresses[0]) as first, Client(addresses[1]) as second:
        # They run from before the first server goes until after the second one is back.
        long = await first.enqueue_many(NewJob("hold", {"gate": str(gate)}) for _ in range(4))
        await bench.journals.until(4, "started")
        producers = [asyncio.create_task(produce(client)) for client in (first, second) for _ in range(4)]
        for number, address in enumerate(addresses):
            await bench.journals.until(len(bench.journals.read("ran")) + 50)
            servers[number].terminate()
            assert await servers[number].ended() == 0
            # Every worker is with the other server by now.
            await bench.journals.until(len(bench.journals.read("ran")) + 50)
            servers[number] = await bench.server(dsn, grpc_addr=address)
        await bench.journals.until(len(bench.journals.read("ran")) + 50)
        gate.touch()
        done = await ends(first, *(job.id for job in long))
        producing = False
        await asyncio.gather(*producers)
    assert {(job.status, job.attempts, job.losses) for job in done} == {(Status.SUCCEEDED, 1, 0)}

    async with asyncio.timeout(60):
        while await select(dsn, "select from jobs where status <> 'succeeded' limit 1"):
            await asyncio.sleep(0.1)
    # Not even what was under way went back: a deploy costs no job an attempt.
    assert await select(dsn, "select id from jobs where attempts > 1") == []
    runs = Counter(entry.id for entry in bench.journals.read() if entry.event in ("ran", "ended"))
    assert {id: times for id, times in runs.items() if times > 1} == {}
    assert set(runs) == {str(id) for (id,) in await select(dsn, "select id from jobs")}
    # Nobody was told to stop, either.
    assert {entry.event for entry in bench.journals.read()} == {"started", "ran", "ended"}
