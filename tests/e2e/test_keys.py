"""The same key and the same request is the same job."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from jobqueue import Client, IdempotencyKeyReused
from jobqueue.v1 import jobqueue_pb2 as pb
from jobqueue.v1.jobqueue_pb2_grpc import JobQueueStub

from .conftest import Bench, ends, select


@pytest.mark.parametrize("callers", [2, 10, 100])
async def test_concurrent_enqueues_under_one_key_make_one_job_that_runs_once(
    bench: Bench, client: Client, shared: tuple[str, str], queue: str, callers: int
):
    address, dsn = shared
    await bench.workers(address, "w", queue=queue)
    key = f"key of {queue}"
    calls = [client.enqueue("count", 7, queue=queue, idempotency_key=key) for _ in range(callers)]
    jobs = await asyncio.gather(*calls)
    assert len({job.id for job in jobs}) == 1
    assert [job.replayed for job in jobs].count(False) == 1
    await ends(client, jobs[0].id)
    counted = await select(dsn, "select status, attempts from jobs where idempotency_key = $1", key)
    assert counted == [("succeeded", 1)]
    assert len(bench.journals.read()) == 1
    again = await client.enqueue("count", 7, queue=queue, idempotency_key=key)
    assert (again.id, again.replayed) == (jobs[0].id, True)


async def test_different_keys_make_different_jobs(client: Client, queue: str):
    jobs = await asyncio.gather(
        *(client.enqueue("count", 7, queue=queue, idempotency_key=f"{queue} {n}") for n in range(10))
    )
    assert len({job.id for job in jobs}) == 10
    assert not any(job.replayed for job in jobs)


async def test_another_request_under_a_key_is_refused_and_names_the_job(client: Client, queue: str):
    job = await client.enqueue("count", 7, queue=queue, idempotency_key=queue)
    with pytest.raises(IdempotencyKeyReused) as refused:
        await client.enqueue("count", 8, queue=queue, idempotency_key=queue)
    assert refused.value.metadata["job_id"] == job.id


async def test_the_key_in_the_metadata_wins_over_the_one_in_the_field(address: str, queue: str):
    async with grpc.aio.insecure_channel(address) as channel:
        stub = JobQueueStub(channel)

        async def enqueue(metadata_key: str, field_key: str) -> pb.EnqueueJobResponse:
            request = pb.EnqueueJobRequest()
            request.job.kind, request.job.queue, request.job.idempotency_key = "count", queue, field_key
            return await stub.EnqueueJob(
                request, timeout=30, metadata=[("idempotency-key", metadata_key)] if metadata_key else None
            )

        first = await enqueue(f"{queue} a", f"{queue} b")
        assert (first.replayed, first.job.idempotency_key) == (False, f"{queue} a")
        second = await enqueue(f"{queue} a", f"{queue} c")
        assert (second.replayed, second.job.id) == (True, first.job.id)
        # The fields' keys were not taken by anybody.
        assert not (await enqueue("", f"{queue} b")).replayed
