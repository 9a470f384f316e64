"""The server goes, by a deploy or by kill -9, with workers attached; another comes on the same port."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from jobqueue import Client, NewJob, Status, Unavailable
from tests.ports import free_address

from .conftest import Bench, ends, select

pytestmark = pytest.mark.slow


async def test_a_killed_server_loses_nothing_that_it_acknowledged_and_nothing_runs_twice(
    bench: Bench, dsn: str
):
    first = await bench.server(dsn, grpc_addr=free_address())
    await bench.workers(first.address, "w0", "w1")
    acknowledged: list[str] = []
    refused = 0
    producing = True

    async def produce(client: Client) -> None:
        nonlocal refused
        while producing:
            try:
                # Without a key, and so never sent twice: what was not acknowledged may or may not be there.
                acknowledged.append((await client.enqueue("nap", 0.02)).id)
            except Unavailable:
                refused += 1
                await asyncio.sleep(0.05)

    async with Client(first.address) as client:
        producers = [asyncio.create_task(produce(client)) for _ in range(16)]
        # At any moment some are being stored, some handed over, some run and some are being settled.
        await bench.journals.until(500)
        first.kill()
        before = len(acknowledged)
        await bench.server(dsn, grpc_addr=first.address)
        await bench.journals.until(lambda _: len(acknowledged) >= before + 200)
        producing = False
        await asyncio.gather(*producers)

    async def all_over() -> bool:
        return not await select(dsn, "select from jobs where status <> 'succeeded' limit 1")

    async with asyncio.timeout(60):
        while not await all_over():
            await asyncio.sleep(0.1)
    assert refused > 0
    stored = {str(id) for (id,) in await select(dsn, "select id from jobs")}
    assert set(acknowledged) <= stored
    runs = Counter(entry.id for entry in bench.journals.read())
    assert set(runs) == stored
    # No session was lost: the workers resumed with what they held, and settled it.
    assert {id: times for id, times in runs.items() if times > 1} == {}


async def test_long_jobs_of_a_killed_server_run_on_and_are_settled_with_the_next(bench: Bench, dsn: str):
    first = await bench.server(dsn, grpc_addr=free_address())
    await bench.workers(first.address, "w0", "w1", slots=4)
    gate = bench.folder / "gate"
    async with Client(first.address) as client:
        jobs = await client.enqueue_many(NewJob("hold", {"gate": str(gate)}) for _ in range(8))
        await bench.journals.until(8, "started")
        first.kill()
        # They end while nobody is there to be told.
        gate.touch()
        await bench.journals.until(8, "ended")
        await bench.server(dsn, grpc_addr=first.address)
        done = await ends(client, *(job.id for job in jobs))
    assert {(job.status, job.attempts, job.losses) for job in done} == {(Status.SUCCEEDED, 1, 0)}
    assert len(bench.journals.read("started")) == 8


async def test_a_server_that_is_told_to_end_interrupts_no_job(bench: Bench, dsn: str):
    # Four jobs have to end and to be settled within it, also where a process stands still for a while.
    first = await bench.server(dsn, grpc_addr=free_address(), shutdown_grace="5s")
    await bench.workers(first.address, "w0", "w1", slots=4)
    gates = [bench.folder / "gate-0", bench.folder / "gate-1"]
    async with Client(first.address) as client:
        held = await client.enqueue_many(
            NewJob("hold", {"gate": str(gates[number % 2])}) for number in range(8)
        )
        waiting = await client.enqueue_many(NewJob("count") for _ in range(50))
        await bench.journals.until(8, "started")
        first.terminate()
        await first.line("draining")
        # What ends while the server drains is settled with it; the rest outlives it.
        gates[0].touch()
        assert await first.ended() == 0
        await bench.journals.until(4, "ended")
        assert (await select(dsn, "select count(*) from jobs where status = 'succeeded'"))[0][0] == 4
        await bench.server(dsn, grpc_addr=first.address)
        gates[1].touch()
        done = await ends(client, *(job.id for job in (*held, *waiting)))
    assert {(job.status, job.attempts, job.failures, job.losses) for job in done} == {
        (Status.SUCCEEDED, 1, 0, 0)
    }
    assert {entry.event for entry in bench.journals.read()} == {"started", "ended", "ran"}
    assert len(bench.journals.read("started")) == 8
