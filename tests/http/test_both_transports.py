"""Every policy of the chain, over gRPC and over HTTP by the same test: nothing is checked in one of them only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol
from uuid import uuid4

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass
from google.rpc.code_pb2 import Code

from jobqueue.v1 import jobqueue_pb2
from jobqueue_server.chain import ANONYMOUS, Call, Chain
from jobqueue_server.errors import DatabaseAway, Draining, JobNotFound, MethodNotImplemented, QueueFull
from jobqueue_server.http.app import HttpApp
from jobqueue_server.http.ops import Operations
from jobqueue_server.http.server import HttpServer
from jobqueue_server.metrics import Metrics
from jobqueue_server.rpc.job_queue import JobQueueServicer
from jobqueue_server.rpc.server import GrpcServer
from jobqueue_server.scope import Scope
from jobqueue_server.settings import Settings
from tests.rpc.conftest import Core, Decides, FixedClock, refusal

from .conftest import PATIENCE, Caller

SERVICE = jobqueue_pb2.DESCRIPTOR.services_by_name["JobQueue"]
JOB = {"kind": "send_email", "payload": {"to": "a@example.com"}}
PATHS = {
    "EnqueueJob": ("POST", "/v1/jobs"),
    "GetJob": ("GET", "/v1/jobs/{id}"),
    "WaitJob": ("GET", "/v1/jobs/{id}:wait"),
    "SettleJobs": ("POST", "/v1/jobs:settle"),
    "WatchJobs": ("GET", "/v1/jobs:watch"),
}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Answered:
    """What a caller is told, whatever the transport."""

    code: str
    request_id: str
    reason: str = ""
    message: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    violations: dict[str, str] = field(default_factory=dict)
    retry_seconds: float | None = None
    text: str = ""


class Transport(Protocol):
    """Calls methods of JobQueue. `timeout` is in seconds; requests are in ProtoJSON, or bytes that are none."""

    name: str

    async def call(
        self, method: str, request: dict[str, Any] | bytes, timeout: float | None = None, **metadata: str
    ) -> Answered:
        """One call to its end; of a stream, what it ends with."""


class Grpc:
    name = "grpc"

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel

    async def call(
        self, method: str, request: dict[str, Any] | bytes, timeout: float | None = None, **metadata: str
    ) -> Answered:
        known = SERVICE.methods_by_name[method]
        make: Any = self.channel.unary_stream if known.server_streaming else self.channel.unary_unary
        raw = request
        if isinstance(request, dict):
            message = GetMessageClass(known.input_type)()
            raw = json_format.ParseDict(request, message).SerializeToString()
        pairs = tuple((name.replace("_", "-"), value) for name, value in metadata.items())
        call = make(f"/{SERVICE.full_name}/{method}")(raw, timeout=timeout, metadata=pairs)
        try:
            if known.server_streaming:
                text = repr([each async for each in call])
            else:
                text = repr(await call)
        except grpc.aio.AioRpcError as error:
            told = refusal(error)
            return Answered(
                told.code.name,
                told.trailing.get("x-request-id", ""),
                told.reason,
                told.message,
                told.metadata,
                told.violations,
                told.retry_seconds,
                str(error),
            )
        return Answered("OK", dict(tuple(await call.trailing_metadata()))["x-request-id"], text=text)


class Http:
    name = "http"

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    async def call(
        self, method: str, request: dict[str, Any] | bytes, timeout: float | None = None, **metadata: str
    ) -> Answered:
        verb, path = PATHS[method]
        body: Any = request
        if isinstance(request, dict):
            path = path.format(**request)
            body = request.get("job", {}) if verb == "POST" else None
        if timeout is not None:
            metadata["grpc_timeout"] = f"{round(timeout * 1000)}m"
        answer = await self.caller(verb, path, body, **metadata)
        request_id = answer.headers["X-Request-Id"]
        error = answer.json if answer.status >= 400 else {}
        if method == "WatchJobs" and answer.status == 200 and answer.text:
            error = json.loads(answer.text.splitlines()[-1]).get("error", {})
        if not error:
            return Answered("OK", request_id, text=answer.text)
        details = {one["@type"].rpartition(".")[2]: one for one in error["details"]}
        retry = details.get("RetryInfo", {}).get("retry_delay")
        if retry and answer.status >= 400:
            assert float(answer.headers["Retry-After"]) >= float(retry[:-1])
        return Answered(
            Code.Name(error["code"]),
            request_id,
            details["ErrorInfo"]["reason"],
            error["message"],
            details["ErrorInfo"]["metadata"],
            {
                one["field"]: one["description"]
                for one in details.get("BadRequest", {}).get("field_violations", [])
            },
            float(retry[:-1]) if retry else None,
            answer.text,
        )


class Servicer(JobQueueServicer):
    """The real one, and a watch that tells one job and then does what the core does."""

    def __init__(self, core: Any, clock: Any) -> None:
        super().__init__(core, core, core, clock)
        self.core = core

    async def WatchJobs(self, request: Any, call: Call) -> AsyncIterator[Any]:
        yield jobqueue_pb2.WatchJobsResponse(resume_token="1")
        await self.core.get(call.scope, uuid4())


@dataclass
class Both:
    """One core and one chain behind both transports."""

    core: Any
    chain: Chain
    metrics: Metrics
    transports: dict[str, Transport]

    def counted(self, transport: str, method: str, code: str) -> float | None:
        labels = {"grpc_service": SERVICE.full_name, "grpc_method": method, "grpc_code": code}
        return self.metrics.registry.get_sample_value(
            "grpc_server_handled_total", {**labels, "transport": transport}
        )


@asynccontextmanager
async def serving(**chain_options: Any) -> AsyncIterator[Both]:
    core: Any = Core()
    clock: Any = FixedClock()
    metrics = Metrics()
    chain = Chain(metrics, **chain_options)
    services: list[tuple[Any, object]] = [(SERVICE, Servicer(core, clock))]
    over_grpc = GrpcServer(chain, services, engine=Settings.load().grpc_engine)
    over_http = HttpServer(HttpApp(chain, services, Operations(metrics, lambda: "")))
    port = await over_grpc.start("127.0.0.1:0")
    caller = Caller(await over_http.start("127.0.0.1:0"))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(PATIENCE):
        yield Both(core, chain, metrics, {"grpc": Grpc(channel), "http": Http(caller)})
    await caller.session.close()
    await over_http.stop(timedelta(0))
    await over_grpc.stop(timedelta(0))


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    async with serving() as running:
        yield running


@pytest.fixture(params=["grpc", "http"])
def over(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def a_job() -> dict[str, Any]:
    return {"id": str(uuid4())}


def hanging(core: Any) -> tuple[asyncio.Event, asyncio.Event]:
    """Lets every call of the core hang until it is cancelled: events of its start and its end."""
    started, ended = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    core.before = hang
    return started, ended


# ---- deadline


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GetJob", "WatchJobs"])
async def test_the_callers_deadline_ends_the_work(both: Both, over: str, method: str) -> None:
    _, ended = hanging(both.core)
    answer = await both.transports[over].call(method, a_job() if method == "GetJob" else {}, timeout=3)
    await ended.wait()
    assert answer.code == "DEADLINE_EXCEEDED"
    # gRPC's client ends a call by its own clock, and may be quicker than the server's answer.
    assert answer.reason == "DEADLINE_EXCEEDED" or over == "grpc"
    while not both.counted(over, method, "DEADLINE_EXCEEDED") and not both.counted(over, method, "CANCELLED"):
        await asyncio.sleep(0.01)


async def test_who_gives_no_deadline_is_given_one(over: str) -> None:
    calls: list[Call] = []
    left: list[float | None] = []

    async def keep(call: Call) -> Scope:
        calls.append(call)
        return ANONYMOUS

    async def look() -> None:
        left.append(calls[-1].remaining())

    async with serving(access=Decides(keep)) as both:
        both.core.before = look
        await both.transports[over].call("GetJob", a_job())
        await both.transports[over].call("WaitJob", a_job())
        await both.transports[over].call("WatchJobs", {})
    assert [seconds and round(seconds) for seconds in left] == [30, 35, None]


# ---- request id and trace


async def test_the_request_id_is_taken_or_made_and_comes_back_also_with_an_error(
    both: Both, over: str
) -> None:
    call = both.transports[over].call
    assert (await call("GetJob", a_job(), x_request_id="r 1")).request_id == "r 1"
    both.core.error = JobNotFound("no")
    assert (await call("GetJob", a_job(), x_request_id="r2")).request_id == "r2"
    made = {(await call("GetJob", a_job())).request_id for _ in range(2)}
    made.add((await call("GetJob", a_job(), x_request_id="x" * 129)).request_id)
    assert len(made) == 3
    assert all(1 <= len(each) <= 128 for each in made)


async def test_one_id_and_the_trace_go_on_to_the_job(both: Both, over: str) -> None:
    await both.transports[over].call("EnqueueJob", {"job": JOB}, x_request_id="r1", traceparent=TRACE)
    await both.transports[over].call("EnqueueJob", {"job": JOB}, x_request_id="r2", traceparent="nonsense")
    assert [new.headers for new in both.core.enqueued] == [
        {"x-request-id": "r1", "traceparent": TRACE},
        {"x-request-id": "r2"},
    ]


# ---- who may call


@pytest.mark.parametrize("method", ["EnqueueJob", "WatchJobs"])
async def test_who_is_not_known_is_refused_before_anything_is_read(over: str, method: str) -> None:
    async def nobody(call: Call) -> Scope:
        raise MethodNotImplemented("who are you?")

    async with serving(access=Decides(nobody)) as both:
        answer = await both.transports[over].call(method, b"\xff{" if method == "EnqueueJob" else {})
        assert (answer.code, answer.message) == ("UNIMPLEMENTED", "who are you?")
        assert both.counted(over, method, "UNIMPLEMENTED") == 1
        assert not both.core.calls


async def test_access_sees_who_calls_what_from_where(over: str) -> None:
    seen: list[Call] = []

    async def may(call: Call) -> Scope:
        seen.append(call)
        raise MethodNotImplemented(f"{call.text('authorization')} may not")

    async with serving(access=Decides(may)) as both:
        answer = await both.transports[over].call("GetJob", a_job(), authorization="ann")
        assert answer.message == "ann may not"
        assert not both.core.calls
    (call,) = seen
    assert call.method == "/jobqueue.v1.JobQueue/GetJob"
    assert call.transport == over
    assert call.peer.startswith("ipv4:127.0.0.1:")


# ---- limits


@pytest.mark.parametrize("held", ["grpc", "http"])
async def test_more_calls_than_are_allowed_are_refused_whatever_the_others_came_by(
    over: str, held: str
) -> None:
    async with serving(max_in_flight=1) as both:
        started, _ = hanging(both.core)
        holding = asyncio.create_task(both.transports[held].call("GetJob", a_job()))
        await started.wait()
        answer = await both.transports[over].call("GetJob", a_job())
        assert (answer.code, answer.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS")
        assert answer.retry_seconds == 1
        holding.cancel()


async def test_a_server_that_drains_refuses_new_work_and_takes_what_finishes_work(
    both: Both, over: str
) -> None:
    both.chain.draining = True
    call = both.transports[over].call
    for method, request in (("EnqueueJob", {"job": JOB}), ("GetJob", a_job()), ("WatchJobs", {})):
        answer = await call(method, request)
        assert (answer.code, answer.reason, answer.retry_seconds) == ("UNAVAILABLE", "DRAINING", 1)
        assert both.counted(over, method, "UNAVAILABLE") == 1
    assert not both.core.calls
    assert (await call("SettleJobs", {})).reason == "NOT_IMPLEMENTED", (
        "it got through, to a servicer without it"
    )


async def test_a_message_that_is_too_large_is_refused(both: Both, over: str) -> None:
    large = b" " * ((4 << 20) + 1)
    answer = await both.transports[over].call("EnqueueJob", large)
    assert (answer.code, answer.reason) == ("INVALID_ARGUMENT", "BODY_TOO_LARGE")
    assert both.counted(over, "EnqueueJob", "INVALID_ARGUMENT") == 1


# ---- metrics


async def test_every_call_is_counted_once_by_method_code_and_transport(both: Both, over: str) -> None:
    call = both.transports[over].call
    await call("GetJob", a_job())
    await call("GetJob", {"id": "x"})
    await call("EnqueueJob", b"\xff{")
    await call("WatchJobs", {})
    both.core.error = JobNotFound("no")
    await call("GetJob", a_job())
    await call("WatchJobs", {})
    counted = {
        (sample.labels["grpc_method"], sample.labels["grpc_code"], sample.labels["transport"]): sample.value
        for family in both.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "grpc_server_handled_total"
    }
    assert counted == {
        ("GetJob", "OK", over): 1,
        ("GetJob", "INVALID_ARGUMENT", over): 1,
        ("EnqueueJob", "INVALID_ARGUMENT", over): 1,
        ("WatchJobs", "OK", over): 1,
        ("GetJob", "NOT_FOUND", over): 1,
        ("WatchJobs", "NOT_FOUND", over): 1,
    }


@pytest.mark.parametrize("method", ["GetJob", "WatchJobs"])
async def test_a_caller_that_leaves_ends_the_work_and_is_counted_as_cancelled(
    both: Both, over: str, method: str
) -> None:
    started, ended = hanging(both.core)
    calling = asyncio.create_task(both.transports[over].call(method, a_job() if method == "GetJob" else {}))
    await started.wait()
    calling.cancel()
    await ended.wait()
    while both.chain.in_flight or both.chain.open_streams:
        await asyncio.sleep(0.01)
    assert both.counted(over, method, "CANCELLED") == 1


# ---- errors


@pytest.mark.parametrize("method", ["GetJob", "WatchJobs"])
async def test_an_unexpected_exception_tells_an_id_and_nothing_else(
    both: Both, over: str, method: str
) -> None:
    both.core.error = RuntimeError("password=hunter2 at 10.0.0.7")
    answer = await both.transports[over].call(method, a_job() if method == "GetJob" else {})
    assert (answer.code, answer.reason) == ("INTERNAL", "INTERNAL")
    assert answer.metadata["error_id"] in answer.message
    for secret in ("hunter2", "RuntimeError", "Traceback"):
        assert secret not in answer.text
    assert both.counted(over, method, "INTERNAL") == 1


async def test_a_timeout_of_the_servers_own_is_no_deadline_of_the_caller(both: Both, over: str) -> None:
    both.core.error = TimeoutError()
    answer = await both.transports[over].call("GetJob", a_job(), timeout=15)
    assert answer.code == "INTERNAL"


@pytest.mark.parametrize(
    "error",
    [
        QueueFull("full", retry_after=timedelta(milliseconds=1500)),
        Draining("leaving", retry_after=timedelta(seconds=1)),
        DatabaseAway("away"),
        JobNotFound("id: there is no such job", metadata={"id": "x"}),
    ],
    ids=lambda error: error.reason,
)
@pytest.mark.parametrize("method", ["GetJob", "WatchJobs"])
async def test_an_error_is_the_same_error(both: Both, over: str, method: str, error: Any) -> None:
    both.core.error = error
    answer = await both.transports[over].call(method, a_job() if method == "GetJob" else {})
    assert (answer.code, answer.reason, answer.message) == (error.code, error.reason, error.message)
    assert answer.metadata == error.metadata
    wanted = error.retry_after.total_seconds() if error.retry_after else None
    assert answer.retry_seconds == wanted


@pytest.mark.parametrize(
    ("job", "fields"),
    [
        ({}, {"job.kind"}),
        ({**JOB, "priority": 1000, "max_attempts": -1}, {"job.priority", "job.max_attempts"}),
        ({**JOB, "labels": {"a b": "c"}, "delay": "-1s"}, {"job.labels['a b']", "job.delay"}),
        ({**JOB, "kind": "No Kind"}, {"job.kind"}),
    ],
)
async def test_bad_input_is_named_by_the_same_paths_and_words(
    both: Both, job: dict[str, Any], fields: set[str]
) -> None:
    first, second = [
        await transport.call("EnqueueJob", {"job": job}) for transport in both.transports.values()
    ]
    assert (first.code, first.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert fields <= set(first.violations)
    assert (first.violations, first.message, first.reason) == (
        second.violations,
        second.message,
        second.reason,
    )


async def test_the_key_in_the_metadata_wins(both: Both, over: str) -> None:
    job = {**JOB, "idempotency_key": "field"}
    await both.transports[over].call("EnqueueJob", {"job": job}, idempotency_key="metadata")
    assert both.core.enqueued[0].idempotency_key == "metadata"
