"""Deadlines and retries, against a server that fails as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from jobqueue import AUTO, Client, DeadlineExceeded, NewJob, Overloaded, Unavailable, Worker
from jobqueue.calls import of_stream
from jobqueue.errors import ServerFault
from jobqueue.v1 import job_pb2
from jobqueue.v1 import jobqueue_pb2 as pb


class Failing:
    """Answers with the next failure of a list, and well when there is none left."""

    def __init__(self) -> None:
        self.failures: list[tuple[grpc.StatusCode, float | None]] = []
        self.requests: list[object] = []
        self.metadata: list[dict[str, object]] = []
        self.hangs = False
        self.address = ""

    async def _answer(self, request, context, answer):
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if self.hangs:
            await asyncio.sleep(60)
        if self.failures:
            code, retry_after = self.failures.pop(0)
            status = Status(code=code.value[0], message="told to")
            status.details.add().Pack(ErrorInfo(reason="TOLD_TO", domain="jobqueue", metadata={"a": "b"}))
            if retry_after is not None:
                delay = Duration()
                delay.FromTimedelta(timedelta(seconds=retry_after))
                status.details.add().Pack(RetryInfo(retry_delay=delay))
            details = ("grpc-status-details-bin", status.SerializeToString())
            await context.abort(code, "told to", (details, ("x-request-id", "r-7")))
        return answer

    async def enqueue(self, request, context):
        return await self._answer(
            request, context, pb.EnqueueJobResponse(job=job_pb2.Job(id="1", status=job_pb2.Job.QUEUED))
        )

    async def batch(self, request, context):
        results = [pb.EnqueueResult(id=str(n)) for n in range(len(request.jobs))]
        return await self._answer(request, context, pb.BatchEnqueueJobsResponse(results=results))

    async def get(self, request, context):
        return await self._answer(
            request, context, pb.GetJobResponse(job=job_pb2.Job.FromString(b"\x0a\x011\x28\x63"))
        )


@pytest.fixture
async def failing() -> AsyncIterator[Failing]:
    failing = Failing()
    server = grpc.aio.server()
    methods: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(
            method,
            request_deserializer=getattr(pb, f"{name}Request").FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        for name, method in {
            "EnqueueJob": failing.enqueue,
            "BatchEnqueueJobs": failing.batch,
            "GetJob": failing.get,
        }.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("jobqueue.v1.JobQueue", methods),))
    failing.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield failing
    await server.stop(0)


@pytest.fixture
async def client(failing: Failing) -> AsyncIterator[Client]:
    async with Client(failing.address) as client:
        yield client


UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, None)


async def test_a_read_is_tried_again_while_no_server_answers(failing, client):
    failing.failures = [UNAVAILABLE] * 3
    job = await client.get("1")
    assert len(failing.requests) == 4
    assert job.status == "STATUS_UNSPECIFIED"  # a status of a later version


async def test_an_enqueue_without_a_key_is_never_sent_twice(failing, client):
    failing.failures = [UNAVAILABLE]
    with pytest.raises(Unavailable):
        await client.enqueue("hello")
    assert len(failing.requests) == 1


async def test_an_enqueue_with_auto_is_sent_again_under_the_same_key(failing, client):
    failing.failures = [UNAVAILABLE] * 2
    await client.enqueue("hello", idempotency_key=AUTO)
    keys = {request.job.idempotency_key for request in failing.requests}
    assert len(failing.requests) == 3
    assert len(keys) == 1
    assert keys != {""}


async def test_a_batch_is_sent_again_only_if_each_job_has_a_key(failing, client):
    failing.failures = [UNAVAILABLE]
    with pytest.raises(Unavailable):
        await client.enqueue_many([NewJob("a", idempotency_key=AUTO), NewJob("a")])
    failing.failures = [UNAVAILABLE]
    await client.enqueue_many([NewJob("a", idempotency_key=AUTO), NewJob("a", idempotency_key="k")])
    assert len(failing.requests) == 3


async def test_shedding_is_waited_out_as_the_server_says(failing, client):
    failing.failures = [(grpc.StatusCode.RESOURCE_EXHAUSTED, 0.3)]
    started = asyncio.get_running_loop().time()
    await client.enqueue("hello", idempotency_key="k")
    assert asyncio.get_running_loop().time() - started >= 0.3


async def test_shedding_is_not_waited_out_beyond_the_deadline(failing, client):
    failing.failures = [(grpc.StatusCode.RESOURCE_EXHAUSTED, 60)]
    with pytest.raises(Overloaded) as caught:
        await client.enqueue("hello", idempotency_key="k", deadline=timedelta(seconds=5))
    error = caught.value
    assert (error.reason, error.metadata, error.request_id) == ("TOLD_TO", {"a": "b"}, "r-7")
    assert error.retry_after == timedelta(seconds=60)


async def test_every_call_has_a_deadline(failing, client):
    failing.hangs = True
    with pytest.raises(DeadlineExceeded):
        await client.get("1", deadline=timedelta(seconds=0.2))


@pytest.mark.slow
async def test_a_server_that_is_not_there_is_unavailable_when_the_deadline_ends():
    async with Client("127.0.0.1:1") as client:
        with pytest.raises(Unavailable):
            await client.get("1", deadline=timedelta(seconds=2))


async def test_other_errors_are_not_tried_again(failing, client):
    failing.failures = [(grpc.StatusCode.INTERNAL, None)]
    with pytest.raises(ServerFault, match="TOLD_TO: told to"):
        await client.get("1")
    assert len(failing.requests) == 1


async def test_the_token_goes_with_every_call(failing):
    tokens = iter(["one", "two"])
    async with Client(failing.address, token=lambda: next(tokens)) as client:
        await client.get("1")
        await client.get("1")
    assert [each["authorization"] for each in failing.metadata] == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize(
    ("code", "reason", "cut"),
    [("INTERNAL", "", True), ("UNKNOWN", "", True), ("CANCELLED", "", True), ("INTERNAL", "DATABASE", False),
     ("NOT_FOUND", "", False)],
)  # fmt: skip
def test_a_stream_that_was_cut_is_opened_again_and_one_that_a_server_ended_is_not(
    code: str, reason: str, cut: bool
):
    error = of_stream(ServerFault("it ended", code=code, reason=reason))
    assert isinstance(error, Unavailable) is cut


@pytest.mark.parametrize(
    "called",
    [
        lambda client: client.wait("1", timeout=5),
        lambda client: client.wait_operation("operations/1", timeout=5),
        lambda client: client.get("1", deadline=5),
        lambda client: client.enqueue("work", deadline=5),
    ],
    ids=["wait", "wait_operation", "get", "enqueue"],
)
async def test_a_number_in_the_place_of_a_duration_is_refused_with_what_would_be_right(client, called):
    words = r"(timeout|deadline) is 5; it must be a timedelta, for example timedelta\(seconds=30\)"
    with pytest.raises(TypeError, match=words):
        await called(client)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Client("127.0.0.1:1", deadline=5), "deadline"),  # type: ignore[arg-type]
        (lambda: Worker("127.0.0.1:1", session_ttl=5), "session_ttl"),  # type: ignore[arg-type]
        (lambda: Worker("127.0.0.1:1", shutdown_grace=5), "shutdown_grace"),  # type: ignore[arg-type]
    ],
    ids=["deadline", "session_ttl", "shutdown_grace"],
)
def test_a_number_in_the_place_of_a_duration_of_a_setting_is_refused(make, name):
    with pytest.raises(TypeError, match=f"{name} is 5; it must be a timedelta"):
        make()


async def test_what_is_no_json_gets_a_hint_at_kinds_with_types(failing, client):
    words = "payload is no JSON: Object of type object is not JSON serializable; a kind that define_kind makes takes"
    with pytest.raises(TypeError, match=words):
        await client.enqueue("work", object())


async def test_a_client_that_reaches_the_http_port_is_told_of_the_other_one():
    async def answer(reader, writer):
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as http:
        async with Client(f"127.0.0.1:{http.sockets[0].getsockname()[1]}") as client:
            with pytest.raises(Unavailable) as refused:
                await client.enqueue("work")
    hint = "this may be the HTTP port; gRPC has another one, 50051 unless told otherwise"
    assert str(refused.value).endswith(f"; {hint}")
