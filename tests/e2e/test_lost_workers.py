"""Workers that die or are busy beyond measure."""

from __future__ import annotations

import asyncio

import pytest

from jobqueue import Client, NewJob, Status

from .conftest import Bench, ends

pytestmark = pytest.mark.slow

TTL = 5.0


@pytest.mark.alone
async def test_the_jobs_of_a_killed_worker_start_elsewhere_within_its_ttl_and_two_seconds(
    bench: Bench, client: Client, address: str, queue: str
):
    [victim] = await bench.workers(address, "victim", queue=queue, ttl=TTL)
    jobs = await client.enqueue_many(NewJob("hold_first", queue=queue) for _ in range(8))
    await bench.journals.until(8, "started")
    await bench.workers(address, "heir", queue=queue)
    killed_at = victim.kill()

    done = await ends(client, *(job.id for job in jobs))
    for job in done:
        assert (job.status, job.attempts, job.failures, job.losses) == (Status.SUCCEEDED, 2, 0, 1)
        assert [each.reason for each in job.failed_attempts] == ["SESSION_LOST"]
    again = [entry for entry in bench.journals.read("started") if entry.attempt == 2]
    assert {entry.worker for entry in again} == {"heir"}
    # The last frame was sent before the kill, by a heartbeat's interval (a quarter of the ttl) at most.
    waits = [entry.at - killed_at for entry in again]
    assert max(waits) <= TTL + 2, waits
    assert min(waits) >= TTL * 3 / 4 - 0.5, waits


@pytest.mark.long
async def test_a_job_that_kills_its_workers_ends_alone_and_its_neighbours_succeed(
    bench: Bench, client: Client, address: str, queue: str
):
    names = ["w0", "w1", "w2"]
    workers = dict.fromkeys(names)
    deaths = 0

    async def supervise() -> None:
        nonlocal deaths
        while True:
            for name, worker in workers.items():
                if worker is None or not worker.runs:
                    deaths += worker is not None
                    workers[name] = bench.worker(address, name, queue=queue, slots=4, ttl=TTL)
            await asyncio.sleep(0.05)

    supervisor = asyncio.create_task(supervise())
    neighbours: list[str] = []

    async def keep_busy() -> None:
        """At every death there is somebody beside the poison."""
        while True:
            batch = [NewJob("nap", 0.3, queue=queue) for _ in range(6)]
            neighbours.extend(each.id for each in await client.enqueue_many(batch))
            await asyncio.sleep(0.3)

    company = asyncio.create_task(keep_busy())
    try:
        await bench.journals.until(12, "ran")
        poison = await client.enqueue("poison", queue=queue)
        [done] = await ends(client, poison.id, within=90)
        company.cancel()
        others = await ends(client, *neighbours)
    finally:
        company.cancel()
        supervisor.cancel()
    assert (done.status, done.reason) == (Status.FAILED_PERMANENT, "LOST_TOO_OFTEN")
    assert (done.attempts, done.failures, done.losses) == (5, 0, 5)
    assert deaths == 5
    assert {(job.status, job.failures) for job in others} == {(Status.SUCCEEDED, 0)}
    # Twice in the same worker as the poison isolates a job, and two isolated ones are never in one worker.
    losses = [job.losses for job in others]
    assert 1 in losses
    assert max(losses) <= 2


async def test_a_handler_that_keeps_the_interpreter_busy_beyond_the_ttl_keeps_its_session(
    bench: Bench, client: Client, address: str, queue: str
):
    await bench.workers(address, "w", queue=queue, ttl=TTL)
    job = await client.enqueue("hog", TTL + 3, queue=queue)
    await bench.journals.until(1, "started")
    # Somebody else would take it at once if it were given up.
    await bench.workers(address, "idle", queue=queue)
    [done] = await ends(client, job.id)
    assert (done.status, done.attempts, done.losses) == (Status.SUCCEEDED, 1, 0)
    assert [(entry.worker, entry.event) for entry in bench.journals.read()] == [
        ("w", "started"),
        ("w", "ended"),
    ]
