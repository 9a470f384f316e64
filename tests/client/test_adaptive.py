"""A client that is asked to slows down by the server's hints and speeds up again, and refuses nothing by itself."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from jobqueue import AUTO, Client, DeadlineExceeded, NewJob, Overloaded
from jobqueue.v1 import job_pb2
from jobqueue.v1 import jobqueue_pb2 as pb
from jobqueue.window import Window
from tests.lease.place import eventually

PRESSURE, REFUSAL, ROOM = "pressure", "refusal", "room"


class Gate:
    """A server whose calls wait until the test answers them.

    Attributes:
        inside: The calls that wait.
        most: How many waited at once since a test looked.
    """

    def __init__(self) -> None:
        self.inside: deque[asyncio.Future[str]] = deque()
        self.most = 0
        self.address = ""

    async def enqueue(self, request: pb.EnqueueJobRequest, context: Any) -> pb.EnqueueJobResponse:
        await self._answer(context)
        return pb.EnqueueJobResponse(job=job_pb2.Job(id="1", status=job_pb2.Job.QUEUED))

    async def batch(self, request: pb.BatchEnqueueJobsRequest, context: Any) -> pb.BatchEnqueueJobsResponse:
        await self._answer(context)
        return pb.BatchEnqueueJobsResponse(results=[pb.EnqueueResult(id="1") for _ in request.jobs])

    async def _answer(self, context: Any) -> None:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.inside.append(answer)
        self.most = max(self.most, len(self.inside))
        said = await answer
        if said == PRESSURE:
            context.set_trailing_metadata((("jobqueue-pressure", "0.83"),))
        elif said == REFUSAL:
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            status = Status(code=code.value[0], message="full")
            status.details.add().Pack(ErrorInfo(reason="QUEUE_FULL", domain="jobqueue"))
            await context.abort(code, "full", (("grpc-status-details-bin", status.SerializeToString()),))

    async def has(self, calls: int) -> None:
        """Returns once so many calls wait here."""

        async def look() -> bool:
            return len(self.inside) == calls

        await eventually(look)

    def answers(self, calls: int, said: str) -> None:
        """Answers the calls that have waited longest."""
        self.most = 0
        for _ in range(calls):
            self.inside.popleft().set_result(said)


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    gate = Gate()
    server = grpc.aio.server()
    served: dict[str, Any] = {"EnqueueJob": gate.enqueue, "BatchEnqueueJobs": gate.batch}
    methods: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(
            method,
            request_deserializer=getattr(pb, f"{name}Request").FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        for name, method in served.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("jobqueue.v1.JobQueue", methods),))
    gate.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield gate
    await server.stop(0)


async def test_a_producer_slows_down_by_hints_and_refusals_and_speeds_up_again(gate):
    async with Client(gate.address, adaptive=True) as client:
        calls = [asyncio.create_task(client.enqueue("work")) for _ in range(400)]
        await gate.has(64)
        # A hint, however many answers bring it: a fifth less.
        gate.answers(64, PRESSURE)
        await gate.has(51)
        # A refusal: half.
        gate.answers(51, REFUSAL)
        await gate.has(25)
        # A round of answers without a hint: one more. Two: another one.
        gate.answers(25, ROOM)
        await gate.has(26)
        gate.answers(26, ROOM)
        await gate.has(27)
        while any(not call.done() for call in calls):
            gate.answers(len(gate.inside), ROOM)
            await asyncio.sleep(0)
        answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [each for each in answers if isinstance(each, BaseException)]
    assert len(refused) == 51
    assert all(isinstance(each, Overloaded) for each in refused)


async def test_without_the_option_nothing_waits_within_the_client(gate):
    async with Client(gate.address) as client:
        calls = [asyncio.create_task(client.enqueue("work")) for _ in range(300)]
        await gate.has(300)
        gate.answers(300, PRESSURE)
        await asyncio.gather(*calls)
        calls = [asyncio.create_task(client.enqueue("work")) for _ in range(300)]
        await gate.has(300)
        gate.answers(300, ROOM)
        await asyncio.gather(*calls)


async def test_batches_take_turns_too(gate):
    async with Client(gate.address, adaptive=True) as client:
        calls = [asyncio.create_task(client.enqueue_many([NewJob("work")])) for _ in range(100)]
        await gate.has(64)
        gate.answers(64, PRESSURE)
        await gate.has(36)
        gate.answers(36, ROOM)
        await asyncio.gather(*calls)
        assert gate.most <= 51


async def test_a_call_that_did_not_get_its_turn_ends_by_its_own_deadline_and_was_not_sent(gate):
    async with Client(gate.address, adaptive=True) as client:
        first = [asyncio.create_task(client.enqueue("work")) for _ in range(64)]
        await gate.has(64)
        with pytest.raises(DeadlineExceeded, match=r"was not sent.* 64 enqueues in flight"):
            await client.enqueue("work", idempotency_key=AUTO, deadline=timedelta(seconds=0.2))
        given_up = asyncio.create_task(client.enqueue("work"))
        last = asyncio.create_task(client.enqueue("work"))
        await asyncio.sleep(0)
        given_up.cancel()
        gate.answers(64, ROOM)
        await asyncio.gather(*first)
        await gate.has(1)
        gate.answers(1, ROOM)
        await last


async def test_who_is_let_in_as_it_gives_up_leaves_its_turn_to_the_next():
    window = Window()
    turns = [await window.turn() for _ in range(64)]
    one, two = asyncio.create_task(window.turn()), asyncio.create_task(window.turn())
    await asyncio.sleep(0)
    turns[0].__exit__(None, None, None)
    one.cancel()
    await asyncio.wait([one])
    await asyncio.wait_for(two, 5)
    assert window.in_flight == 64


async def test_the_bound_grows_only_while_it_is_what_calls_wait_for():
    window = Window()
    for _ in range(1000):
        with await window.turn() as turn:
            turn.answered(())
    assert window.bound == 64


async def test_the_bound_stays_within_1_and_1000():
    window = Window()
    for _ in range(100):
        with await window.turn() as turn:
            turn.answered((("jobqueue-pressure", "1.00"),))
    assert window.bound == 1
    window.bound = 1000.0
    turns = [await window.turn() for _ in range(1000)]
    turns[0].answered(())
    assert window.bound == 1000
