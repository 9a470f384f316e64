"""Methods that stream, through the adapter: what a servicer is given, and what its peer gets."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from jobqueue.v1 import jobqueue_pb2, lease_pb2
from jobqueue_server.chain import Call
from jobqueue_server.errors import ProtocolViolated
from jobqueue_server.model import MAX_MESSAGE_BYTES

from .conftest import refused, serving


def hello() -> lease_pb2.LeaseRequest:
    return lease_pb2.LeaseRequest(hello=lease_pb2.Hello(worker="w1"))


class Echo:
    """Answers each heartbeat by a Pong."""

    async def Lease(self, context: Any, call: Call) -> None:
        while (frame := await context.read()) is not grpc.aio.EOF:
            if frame.WhichOneof("frame") == "hello":
                raise ProtocolViolated("a second Hello")
            await context.write(lease_pb2.LeaseResponse(pong=lease_pb2.Pong(seq=frame.heartbeat.seq)))

    async def WatchJobs(self, request: Any, call: Call) -> Any:
        for number in range(3):
            yield jobqueue_pb2.WatchJobsResponse(resume_token=f"{number}")


async def test_a_method_that_streams_both_ways_reads_and_writes_by_itself() -> None:
    async with serving(Echo()) as served:
        stream = served.jobs.Lease(metadata=(("x-request-id", "s1"),))
        for seq in range(3):
            await stream.write(lease_pb2.LeaseRequest(heartbeat=lease_pb2.Heartbeat(seq=seq)))
            assert (await stream.read()).pong.seq == seq
        # At once, and not when the stream has ended.
        assert ("x-request-id", "s1") in tuple(await stream.initial_metadata())
        assert served.chain.open_streams == 1
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        assert await stream.code() is grpc.StatusCode.OK
    assert served.chain.open_streams == 0


async def test_an_error_ends_a_stream_with_its_reason() -> None:
    async with serving(Echo()) as served:
        stream = served.jobs.Lease()
        await stream.write(hello())
        answer = await refused(stream.read())
        assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PROTOCOL_VIOLATED")


async def test_a_frame_that_is_no_message_is_the_peers_fault() -> None:
    async with serving(Echo()) as served:
        stream: Any = served.channel.stream_stream("/jobqueue.v1.JobQueue/Lease")()
        await stream.write(b"\xff\xff")
        answer = await refused(stream.read())
        assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
        assert "LeaseRequest" in answer.message


async def test_a_frame_over_4_mib_is_refused_with_its_size() -> None:
    async with serving(Echo()) as served:
        stream: Any = served.channel.stream_stream("/jobqueue.v1.JobQueue/Lease")()
        await stream.write(b"\0" * (MAX_MESSAGE_BYTES + 1))
        answer = await refused(stream.read())
        assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BODY_TOO_LARGE")
        assert str(MAX_MESSAGE_BYTES + 1) in answer.message


async def test_a_fault_in_a_stream_tells_nothing_of_itself() -> None:
    class Faulty:
        async def Lease(self, context: Any, call: Call) -> None:
            raise KeyError("secret")

    async with serving(Faulty()) as served:
        stream = served.jobs.Lease()
        answer = await refused(stream.read())
        assert (answer.code, answer.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
        assert "secret" not in str(answer)


@pytest.mark.slow
async def test_a_peer_that_goes_ends_the_stream_as_cancelled_and_not_as_a_fault() -> None:
    ended = asyncio.Event()

    class Flood:
        async def Lease(self, context: Any, call: Call) -> None:
            try:
                while True:
                    await context.write(lease_pb2.LeaseResponse(pong=lease_pb2.Pong(seq=1)))
            finally:
                ended.set()

    async with serving(Flood()) as served:
        stream = served.jobs.Lease()
        await stream.read()
        stream.cancel()
        await asyncio.wait_for(ended.wait(), 10)
        async with asyncio.timeout(10):
            while served.chain.open_streams:
                await asyncio.sleep(0.01)
        handled = {
            sample.labels["grpc_code"]: sample.value
            for family in served.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "grpc_server_handled_total"
        }
        assert handled == {"CANCELLED": 1}


async def test_a_server_stream_sends_what_its_generator_yields() -> None:
    async with serving(Echo()) as served:
        stream = served.jobs.WatchJobs(jobqueue_pb2.WatchJobsRequest(), metadata=(("x-request-id", "w"),))
        assert [one.resume_token async for one in stream] == ["0", "1", "2"]
        assert ("x-request-id", "w") in tuple(await stream.initial_metadata())


async def test_a_method_that_is_not_implemented_says_so() -> None:
    async with serving() as served:
        for call in (
            served.jobs.OpenSession(lease_pb2.OpenSessionRequest()),
            served.jobs.Lease().read(),
            served.jobs.WatchJobs(jobqueue_pb2.WatchJobsRequest()).read(),
        ):
            answer = await refused(call)
            assert (answer.code, answer.reason) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_IMPLEMENTED")
            assert "does not have the method" in answer.message
