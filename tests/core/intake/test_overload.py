"""Overload refuses new work before it harms finished work, and a flood waits behind itself only."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from uuid import uuid4

import asyncpg
import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from jobqueue.v1 import job_pb2, jobqueue_pb2
from jobqueue_server.fair.line import FairLine
from jobqueue_server.fair.owner import CALLER
from tests.lease.place import Place, eventually

WAITING = (
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
)


def details(error: grpc.aio.AioRpcError) -> tuple[str, float]:
    """The reason, and in how many seconds it is worth trying again."""
    raw = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status_pb2.Status.FromString(raw).details:
        detail.Unpack(info)
        detail.Unpack(retry)
    return info.reason, retry.retry_delay.ToTimedelta().total_seconds()


async def test_a_full_server_refuses_new_work_at_once_and_still_settles_what_is_done(dsn, fast_path):
    async with Place(dsn, enqueue_queue_limit="50") as place:
        worker = await place.worker(slots=1)
        await place.enqueue()
        leased = await worker.job()
        connection = await asyncpg.connect(dsn)
        try:
            async with connection.transaction():
                # No insert gets through, as with a disk that is too slow.
                await connection.execute("lock table job in exclusive mode")
                stuck = asyncio.create_task(place.batch(50))
                await eventually(lambda: place.value(WAITING))
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await place.enqueue()
                assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                reason, again = details(refused.value)
                assert reason == "QUEUE_FULL"
                assert 0 < again < 5
                await worker.succeed(leased)
                done = await place.get(leased.id)
                assert done.status == job_pb2.Job.SUCCEEDED
            assert len(await stuck) == 50
        finally:
            await connection.close()
        await place.enqueue()


def test_a_caller_that_floods_the_line_waits_behind_itself_only():
    line: FairLine[str] = FairLine()
    for caller, count in (("flood", 100), ("one", 1), ("two", 2)):
        CALLER.set(caller)
        for number in range(count):
            line.append(f"{caller} {number}")
    CALLER.set("")
    first = [line.pop() for _ in range(6)]
    assert first == ["flood 0", "one 0", "two 0", "flood 1", "two 1", "flood 2"]
    assert line.peek() == "flood 3"
    while line.peek() is not None:
        last = line.pop()
    assert last == "flood 99"


async def test_thousands_of_calls_at_once_are_answered_and_none_is_dropped(dsn):
    """By itself gRPC ends calls that nobody came to yet as CANCELLED, some from 1,000 on and all from 3,000 on."""
    # The database answers a few hundred of them a second on a busy machine.
    async with Place(dsn, db_acquire_timeout="1m") as place:
        request = jobqueue_pb2.GetJobRequest(id=str(uuid4()))
        calls = [place.stub.GetJob(request, timeout=60) for _ in range(3500)]
        await asyncio.sleep(0)
        # On their way, while the loop comes to none of them.
        time.sleep(1)  # noqa: ASYNC251
        answers = await asyncio.gather(*calls, return_exceptions=True)
        codes = Counter(answer.code() for answer in answers if isinstance(answer, grpc.aio.AioRpcError))
        assert codes == {grpc.StatusCode.NOT_FOUND: 3500}
