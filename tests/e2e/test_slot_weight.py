"""Jobs that take several slots: over several servers, with workers that know nothing of it, and some that die."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from jobqueue import Client, Kind, NewJob, Status

from .conftest import Bench, ends

pytestmark = pytest.mark.slow

# Long enough that no worker which lives is taken for dead where the machine stands still.
TTL = 10.0
WEIGHTS = {"step": 4, "hold": 1}


@pytest.mark.long
async def test_no_worker_is_given_more_than_its_slots_hold_while_workers_and_a_server_are_killed(
    bench: Bench, dsn: str
):
    servers = [await bench.server(dsn), await bench.server(dsn)]
    addresses = ",".join(server.address for server in servers)
    gate = bench.folder / "open"
    gate.touch()
    async with Client(servers[0].address) as client:
        for kind, weight in WEIGHTS.items():
            await client.put_kind(Kind(name=kind, slot_weight=weight))
        slots = {"w0": 10, "w1": 6, "w2": 4, "w3": 9}
        workers = [
            bench.worker(addresses, name, queue="mixed", slots=count, ttl=TTL)
            for name, count in slots.items()
        ]
        # Or one that starts late finds nothing heavy left.
        for worker in workers:
            await worker.ready()
        jobs = []
        for _ in range(4):
            jobs += await client.enqueue_many([NewJob("step", 0.05, queue="mixed") for _ in range(40)])
            light = NewJob("hold", {"gate": str(gate)}, queue="mixed")
            jobs += await client.enqueue_many([light for _ in range(80)])
        await bench.journals.until(60, "ended")
        workers[0].kill()
        await bench.journals.until(120, "ended")
        servers[1].kill()
        done = await ends(client, *(job.id for job in jobs), within=90)
        assert {job.status for job in done} == {Status.SUCCEEDED}
    runs: defaultdict[str, Counter[str]] = defaultdict(Counter)
    most: Counter[str] = Counter()
    for entry in bench.journals.read():
        runs[entry.worker][entry.kind] += 1 if entry.event == "started" else -1
        taken = sum(count * WEIGHTS[kind] for kind, count in runs[entry.worker].items())
        most[entry.worker] = max(most[entry.worker], taken)
        assert taken <= slots[entry.worker]
    assert all(most[name] >= 4 for name in slots), "each of them has room for a heavy one"
