"""Overload refuses new work before it harms finished work, and a flood waits behind itself only."""

from __future__ import annotations

import asyncio

import asyncpg
import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from jobqueue.v1 import job_pb2
from jobqueue_server.core.callers import CALLER, FairLine
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


async def test_a_full_server_refuses_new_work_at_once_and_still_settles_what_is_done(dsn):
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
    while line:
        last = line.pop()
    assert last == "flood 99"
