"""Who runs first, and when."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from jobqueue import Client, NewJob, Status
from jobqueue.v1.jobqueue_pb2_grpc import JobQueueStub
from tests.lease.hand_worker import HandWorker

from .conftest import Bench, ends

# Each of the 21, in an order that is no order. Where a lower one is found by a sweep alone, once a second, all of them
# take 20 s; where it is found at once they take one or two, and on a machine that stands still some more.
PRIORITIES = [n * 8 % 21 - 10 for n in range(21)]
BY_NO_SWEEP = 8.0


@pytest.mark.slow
async def test_a_higher_priority_runs_first_and_equals_in_the_order_of_their_enqueue(
    bench: Bench, client: Client, address: str, queue: str
):
    priorities = [*PRIORITIES, 0, 5, -3, 10]
    jobs = [
        # Of two kinds: priority is strict within a queue, over all of them.
        await client.enqueue(("count", "nap")[n % 2], 0, queue=queue, priority=priority)
        for n, priority in enumerate(priorities)
    ]
    await bench.workers(address, "w", queue=queue, slots=1)
    await ends(client, *(job.id for job in jobs))
    order = sorted(range(len(jobs)), key=lambda n: (-priorities[n], n))
    runs = bench.journals.read()
    assert [entry.id for entry in runs] == [jobs[n].id for n in order]
    # What waits at a lower priority is found as soon as the one above is used up, and not by a sweep.
    assert runs[-1].at - runs[0].at < BY_NO_SWEEP


async def test_a_worker_that_bounds_its_bytes_gets_the_lower_priorities_as_soon(
    client: Client, address: str, queue: str
):
    wanted = [*PRIORITIES, 0, 5, -5]
    for priority in wanted:
        await client.enqueue("work", queue=queue, priority=priority)
    async with grpc.aio.insecure_channel(address) as channel:
        worker = HandWorker(JobQueueStub(channel), queues={queue: ["work"]}, slots=1, bytes=1 << 20)
        await worker.connect()
        started = time.monotonic()
        priorities = []
        for _ in wanted:
            job = await worker.job()
            priorities.append(job.priority)
            await worker.succeed(job)
        assert priorities == sorted(wanted, reverse=True)
        assert time.monotonic() - started < BY_NO_SWEEP
        await worker.close()


async def test_a_kind_that_has_all_its_slots_keeps_none_from_lower_priorities(
    client: Client, address: str, queue: str
):
    for _ in range(10):
        await client.enqueue("tight", queue=queue, priority=5)
    for _ in range(10):
        await client.enqueue("loose", queue=queue)
    async with grpc.aio.insecure_channel(address) as channel:
        worker = HandWorker(
            JobQueueStub(channel), queues={queue: ["tight", "loose"]}, slots=5, slots_by_kind={"tight": 2}
        )
        await worker.connect()
        jobs = await worker.jobs(5)
        for _ in range(7):
            loose = next(job for job in jobs if job.kind == "loose")
            await worker.succeed(loose)
            jobs.remove(loose)
            jobs.append(await worker.job())
            assert [job.kind for job in jobs].count("tight") == 2
        await worker.close()


@pytest.mark.alone
async def test_a_scheduled_job_is_never_early_and_not_late(
    bench: Bench, client: Client, address: str, queue: str
):
    await bench.workers(address, "w", queue=queue)
    now = datetime.now(UTC)
    later = [now + timedelta(milliseconds=ms) for ms in range(300, 2300, 50)]
    results = await client.enqueue_many(
        [
            *(NewJob("count", queue=queue, run_at=at) for at in later),
            *(NewJob("count", queue=queue, delay=timedelta(seconds=1)) for _ in range(10)),
        ]
    )
    delayed_from = [(await client.get(result.id)).created_at for result in results[len(later) :]]
    due = [*later, *(at + timedelta(seconds=1) for at in delayed_from if at is not None)]
    done = await ends(client, *(result.id for result in results))
    assert {(job.status, job.attempts) for job in done} == {(Status.SUCCEEDED, 1)}
    ran = {entry.id: entry.at for entry in bench.journals.read()}
    waits = [ran[result.id] - at.timestamp() for result, at in zip(results, due, strict=True)]
    assert min(waits) >= 0, waits
    assert max(waits) < 2, waits
