"""A call that was refused, or that gave up, leaves nothing behind that others wait for or that fills the line."""

from __future__ import annotations

import asyncio

import asyncpg
import grpc
import pytest

from jobqueue.v1 import job_pb2, jobqueue_pb2
from jobqueue_server.core.tuning import Tuning
from tests.lease.hand_worker import PATIENCE
from tests.lease.place import Place, eventually

from .test_overload import WAITING, details


async def test_a_key_that_was_refused_for_overload_is_stored_at_the_next_try(dsn):
    async with Place(dsn, enqueue_queue_limit="5") as place:
        await place.enqueue()
        connection = await asyncpg.connect(dsn)
        try:
            async with connection.transaction():
                await connection.execute("lock table job in exclusive mode")
                stuck = asyncio.create_task(place.batch(5))
                await eventually(lambda: place.value(WAITING))
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await place.enqueue(idempotency_key="k")
                assert details(refused.value)[0] == "QUEUE_FULL"
            await stuck
        finally:
            await connection.close()
        async with asyncio.timeout(PATIENCE):
            job = await place.enqueue(idempotency_key="k")
        assert (await place.get(job.id)).idempotency_key == "k"


async def test_what_its_caller_gave_up_before_its_turn_is_not_stored(dsn, fast_path):
    async with Place(dsn) as place:
        await place.enqueue()
        connection = await asyncpg.connect(dsn)
        try:
            async with connection.transaction():
                await connection.execute("lock table job in exclusive mode")
                inserting = asyncio.create_task(place.enqueue())
                await eventually(lambda: place.value(WAITING))
                waiting = [asyncio.create_task(place.enqueue()) for _ in range(20)]
                await eventually(lambda: _waiting(place, 21))
                for call in waiting:
                    call.cancel()
                await eventually(lambda: _waiting(place, 1))
                last = asyncio.create_task(place.enqueue())
                await eventually(lambda: _waiting(place, 2))
            await inserting
            await last
        finally:
            await connection.close()
        assert await place.value("select count(*) from job") == 3


async def test_who_waits_for_a_key_takes_over_from_a_caller_that_gave_up(dsn):
    async with Place(dsn) as place:
        await place.enqueue()
        connection = await asyncpg.connect(dsn)
        try:
            async with connection.transaction():
                await connection.execute("lock table job in exclusive mode")
                inserting = asyncio.create_task(place.enqueue(idempotency_key="other"))
                await eventually(lambda: place.value(WAITING))
                first = asyncio.create_task(place.enqueue(idempotency_key="k"))
                await eventually(lambda: _waiting(place, 2))
                second = asyncio.create_task(place.enqueue(idempotency_key="k"))
                await asyncio.sleep(0.1)
                first.cancel()
            await inserting
            job = await second
        finally:
            await connection.close()
        assert (await place.get(job.id)).idempotency_key == "k"


async def _waiting(place: Place, jobs: int) -> bool:
    return place.app.intake.waiting.jobs == jobs


async def test_batches_with_keys_leave_connections_to_those_who_settle(dsn):
    async with Place(dsn) as place:
        worker = await place.worker()
        await place.enqueue()
        leased = await worker.job()
        connection = await asyncpg.connect(dsn)
        try:
            async with connection.transaction():
                await connection.execute("lock table idempotency_key in exclusive mode")
                batches = [asyncio.create_task(_batch_with_keys(place, f"{number}")) for number in range(8)]
                await eventually(lambda: place.value(WAITING))
                await asyncio.sleep(0.2)
                assert await worker.succeed(leased) == []
                assert await place.value(WAITING) == Tuning().keyed_batches
            for batch in batches:
                await batch
        finally:
            await connection.close()
        assert await place.value("select count(*) from idempotency_key") == 16


async def _batch_with_keys(place: Place, prefix: str) -> None:
    jobs = [
        job_pb2.NewJob(kind="work", payload_json=b"{}", idempotency_key=f"{prefix} {number}")
        for number in range(2)
    ]
    await place.stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs))
