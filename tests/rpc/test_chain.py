"""What every call gets from the chain: a deadline, an id, its admission, its place in the metrics, a clean error."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration

from grpc_http2 import PeerGone
from jobqueue.v1 import job_pb2, jobqueue_pb2
from jobqueue_server import logs
from jobqueue_server.chain import ANONYMOUS, Anybody, Call, Chain
from jobqueue_server.errors import (
    DeadlineExceeded,
    Draining,
    Internal,
    JobNotFound,
    QueueFull,
    RateLimited,
    registry,
)
from jobqueue_server.metrics import Metrics
from jobqueue_server.rpc.trailers import refusal
from jobqueue_server.scope import Scope
from tests.lease.place import leaving_nothing_to_the_collector

from .conftest import Decides, Served, refused, serving

GET = "/jobqueue.v1.JobQueue/GetJob"
OTHERS = Scope(2, "others")


def get_job() -> jobqueue_pb2.GetJobRequest:
    return jobqueue_pb2.GetJobRequest(id=str(uuid4()))


async def answer_of(call: Any) -> tuple[Any, dict[str, Any]]:
    response = await call
    return response, dict(tuple(await call.trailing_metadata()))


@pytest.fixture
def log_lines() -> Iterator[io.StringIO]:
    """What is logged, as JSON lines."""
    root = logging.getLogger()
    before, level = root.handlers[:], logging.getLogger("jobqueue_server").level
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    yield stream
    root.handlers[:] = before
    logging.getLogger("jobqueue_server").setLevel(level)


def faults_of(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the chain logs from now on, as JSON lines. pytest hears nothing of it: it would keep the errors.

    The test itself calls this. What is taken from pytest before a test begins, pytest takes back.
    """
    stream = io.StringIO()
    chain = logging.getLogger("jobqueue_server.chain")
    monkeypatch.setattr(chain, "propagate", False)
    monkeypatch.setattr(chain, "handlers", [logs.writer("json", stream)])
    return stream


async def test_the_callers_request_id_comes_back_and_is_in_the_jobs_headers(served: Served) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    request = jobqueue_pb2.EnqueueJobRequest(job=job_pb2.NewJob(kind="send_email", headers={"a": "b"}))
    _, trailing = await answer_of(
        served.jobs.EnqueueJob(request, metadata=(("x-request-id", "req 7"), ("traceparent", trace)))
    )
    assert trailing["x-request-id"] == "req 7"
    assert "x-http-code" not in trailing
    (new,) = served.core.enqueued
    assert new.headers == {"x-request-id": "req 7", "traceparent": trace, "a": "b"}


async def test_headers_that_the_producer_gave_stay_as_they_are(served: Served) -> None:
    job = job_pb2.NewJob(kind="send_email", headers={"x-request-id": "mine"})
    await served.jobs.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=job), metadata=(("x-request-id", "7"),))
    assert served.core.enqueued[0].headers == {"x-request-id": "mine"}


@pytest.mark.parametrize("given", [None, "", "x" * 129])
async def test_a_call_without_a_usable_request_id_is_given_one(served: Served, given: str | None) -> None:
    metadata = () if given is None else (("x-request-id", given),)
    _, first = await answer_of(served.jobs.GetJob(get_job(), metadata=metadata))
    _, second = await answer_of(served.jobs.GetJob(get_job(), metadata=metadata))
    assert first["x-request-id"] != second["x-request-id"]
    assert 1 <= len(first["x-request-id"]) <= 128
    assert first["x-request-id"] != given


async def test_an_error_carries_the_request_id_too(served: Served) -> None:
    served.core.error = JobNotFound("id: there is no such job")
    answer = await refused(served.jobs.GetJob(get_job(), metadata=(("x-request-id", "r1"),)))
    assert answer.trailing["x-request-id"] == "r1"


async def test_an_unexpected_exception_tells_an_id_and_nothing_else(
    served: Served, log_lines: io.StringIO
) -> None:
    served.core.error = RuntimeError("password=hunter2 at 10.0.0.7")
    answer = await refused(served.jobs.GetJob(get_job(), metadata=(("x-request-id", "r2"),)))
    assert (answer.code, answer.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "hunter2" not in str(answer)
    assert "RuntimeError" not in str(answer)
    error_id = answer.metadata["error_id"]
    assert error_id in answer.message
    (line,) = [line for line in map(json.loads, log_lines.getvalue().splitlines()) if "exception" in line]
    assert line["error_id"] == error_id
    assert line["request_id"] == "r2"
    assert "hunter2" in line["exception"]


@pytest.mark.parametrize("kind", [QueueFull, RuntimeError, TimeoutError])
async def test_an_error_that_is_held_by_what_its_frames_name_does_not_wait_for_the_collector(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is each that a caller gets by a future: of a batch, of a read that is shared."""

    async def handler(request: Any, call: Call) -> None:
        stored = asyncio.get_running_loop().create_future()
        stored.set_exception(kind("no"))
        await stored

    chain = Chain(Metrics())
    run = chain.unary(GET, handler)
    faults_of(monkeypatch)
    with leaving_nothing_to_the_collector():
        for _ in range(3):
            with pytest.raises(QueueFull if kind is QueueFull else Internal):
                await run(None, Call(GET, "grpc", {}))


async def test_an_error_of_the_access_step_alone_does_not_wait_for_the_collector() -> None:
    async def decide(call: Call) -> Scope:
        error = RateLimited("too often")
        raise error

    chain = Chain(Metrics(), access=Decides(decide))
    with leaving_nothing_to_the_collector():
        for _ in range(3):
            with pytest.raises(RateLimited):
                await chain.authorize(Call(GET, "http", {}))


@pytest.mark.parametrize("kind", [QueueFull, RuntimeError, asyncio.CancelledError, PeerGone])
async def test_a_call_without_a_task_leaves_nothing_to_the_collector_at_its_end(
    kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, faults = Chain(Metrics()), faults_of(monkeypatch)
    codes = {QueueFull: QueueFull.code, RuntimeError: Internal.code}

    def fails() -> None:
        raise kind("hunter2")

    with leaving_nothing_to_the_collector():
        for _ in range(3):
            begun = chain.begin(Call(GET, "grpc", {}))
            assert begun is not None
            try:
                fails()
            except BaseException as error:
                told = begun.end(error)
            assert (told and told.code) == codes.get(kind)
            del begun, told
    assert chain.in_flight == 0
    # A fault is logged with where it was.
    logged = [json.loads(line)["exception"] for line in faults.getvalue().splitlines()]
    assert len(logged) == (3 if kind is RuntimeError else 0)
    assert all("RuntimeError: hunter2" in text and "in fails" in text for text in logged)


async def test_a_timeout_error_of_our_own_is_a_fault_and_not_the_callers_deadline(served: Served) -> None:
    served.core.error = TimeoutError()
    answer = await refused(served.jobs.GetJob(get_job(), timeout=20))
    assert answer.code is grpc.StatusCode.INTERNAL


async def test_a_call_without_a_deadline_is_given_one(served: Served) -> None:
    seen: list[float | None] = []

    async def handler(request: Any, call: Call) -> None:
        seen.append(call.remaining())

    chain = Chain(Metrics())
    await chain.unary(GET, handler)(None, Call(GET, "grpc", {}))
    wait = chain.unary("/jobqueue.v1.JobQueue/WaitJob", handler)
    for request in (
        jobqueue_pb2.WaitJobRequest(),
        jobqueue_pb2.WaitJobRequest(timeout=Duration(seconds=60)),
        jobqueue_pb2.WaitJobRequest(timeout=Duration(seconds=10**9)),
        jobqueue_pb2.WaitJobRequest(timeout=Duration(seconds=-5)),
    ):
        await wait(request, Call("/jobqueue.v1.JobQueue/WaitJob", "grpc", {}))
    assert [round(seconds or 0) for seconds in seen] == [30, 35, 65, 65, 5]


async def test_the_deadline_ends_the_work_and_says_so() -> None:
    cancelled = asyncio.Event()

    async def handler(request: Any, call: Call) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    call = Call(GET, "http", {})
    call.deadline = asyncio.get_running_loop().time() + 0.01
    with pytest.raises(DeadlineExceeded):
        await Chain(Metrics()).unary(GET, handler)(None, call)
    assert cancelled.is_set()


async def test_a_wait_ends_before_the_callers_deadline(served: Served) -> None:
    await served.jobs.WaitJob(jobqueue_pb2.WaitJobRequest(id=str(uuid4())), timeout=10)
    await served.jobs.WaitJob(jobqueue_pb2.WaitJobRequest(id=str(uuid4()), timeout=Duration(seconds=2)))
    await served.jobs.WaitJob(jobqueue_pb2.WaitJobRequest(id=str(uuid4()), timeout=Duration()))
    first, second, third = served.core.calls
    assert timedelta(seconds=8) < first[2] < timedelta(seconds=10)
    assert second[2] == timedelta(seconds=2)
    assert third[0] == "get"


async def test_a_caller_that_leaves_ends_the_work(served: Served) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    served.core.before = work
    call = served.jobs.GetJob(get_job())
    await asyncio.wait_for(started.wait(), 10)
    assert served.chain.in_flight == 1
    call.cancel()
    await asyncio.wait_for(ended.wait(), 10)
    async with asyncio.timeout(10):
        while served.chain.in_flight:
            await asyncio.sleep(0.01)
    assert counted(served.metrics, "GetJob", "CANCELLED") == 1


def counted(metrics: Metrics, method: str, code: str) -> float | None:
    labels = {
        "grpc_service": "jobqueue.v1.JobQueue",
        "grpc_method": method,
        "transport": "grpc",
        "grpc_code": code,
    }
    return metrics.registry.get_sample_value("grpc_server_handled_total", labels)


async def test_every_call_is_counted_by_method_and_code(served: Served) -> None:
    await served.jobs.GetJob(get_job())
    served.core.error = JobNotFound("id: there is no such job")
    await refused(served.jobs.GetJob(get_job()))
    await refused(served.jobs.GetJob(jobqueue_pb2.GetJobRequest(id="x")))
    assert counted(served.metrics, "GetJob", "OK") == 1
    assert counted(served.metrics, "GetJob", "NOT_FOUND") == 1
    assert counted(served.metrics, "GetJob", "INVALID_ARGUMENT") == 1


async def test_a_draining_server_refuses_new_work_and_takes_what_finishes_work(served: Served) -> None:
    served.chain.draining = True
    answer = await refused(
        served.jobs.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=job_pb2.NewJob(kind="a")))
    )
    assert (answer.code, answer.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert answer.retry_seconds == 1
    assert served.core.calls == []

    async def settle(request: Any, call: Call) -> str:
        return "settled"

    for method in ("SettleJobs", "HeartbeatSession", "CloseSession"):
        name = f"/jobqueue.v1.JobQueue/{method}"
        assert await served.chain.unary(name, settle)(None, Call(name, "http", {})) == "settled"


async def test_an_overloaded_server_refuses_at_once_and_says_when_to_call_again() -> None:
    async with serving(max_in_flight=1) as served:
        started, release = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            started.set()
            await release.wait()

        served.core.before = work
        held = served.jobs.GetJob(get_job())
        await asyncio.wait_for(started.wait(), 10)
        answer = await refused(served.jobs.GetJob(get_job()))
        assert (answer.code, answer.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
        assert answer.retry_seconds == 1
        release.set()
        await held
        await served.jobs.GetJob(get_job())


async def test_who_is_not_let_in_is_told_before_the_request_is_read() -> None:
    async def nobody(call: Call) -> Scope:
        raise Draining("not today")

    async with serving(access=Decides(nobody)) as served:
        call: Any = served.channel.unary_unary("/jobqueue.v1.JobQueue/GetJob")
        answer = await refused(call(b"\xff"))
        assert answer.message == "not today"


async def test_all_calls_of_a_server_without_credentials_share_one_scope() -> None:
    seen: list[Scope] = []

    async def handler(request: object, call: Call) -> None:
        seen.append(call.scope)

    chain = Chain(Metrics())
    for _ in range(2):
        await chain.unary(GET, handler)(None, Call(GET, "grpc", {}))
    call = Call(GET, "http", {})
    begun = chain.begin(call)
    assert begun is not None
    begun.cancel()
    assert {id(scope) for scope in (*seen, call.scope)} == {id(seen[0])}
    assert (call.scope.namespace, call.scope.principal) == (1, "anonymous")


async def test_access_names_the_caller_and_sees_what_is_called() -> None:
    seen: list[str] = []

    async def who(call: Call) -> Scope:
        seen.append(call.method)
        return Scope(2, f"key of {call.text('authorization')}")

    async def handler(request: object, call: Call) -> None:
        seen.append(call.scope.principal)

    chain = Chain(Metrics(), access=Decides(who))
    await chain.unary(GET, handler)(None, Call(GET, "grpc", {"authorization": "ann"}))
    assert seen == [GET, "key of ann"]
    assert chain.begin(Call(GET, "grpc", {"authorization": "ann"})) is None, "to decide takes a task"


async def test_a_caller_that_calls_too_often_is_counted() -> None:
    async def who(call: Call) -> Scope:
        raise RateLimited("too often", retry_after=timedelta(seconds=1))

    async def handler(request: object, call: Call) -> None:
        raise AssertionError("it was let in")

    metrics = Metrics()
    with pytest.raises(RateLimited):
        await Chain(metrics, access=Decides(who)).unary(GET, handler)(None, Call(GET, "grpc", {}))
    assert metrics.registry.get_sample_value("jobqueue_rate_limited_total") == 1


async def test_who_is_known_is_not_decided_about() -> None:
    class Known(Anybody):
        def verdict(self, call: Call) -> Scope | None:
            return OTHERS if call.text("authorization") == "known" else None

        async def decide(self, call: Call) -> Scope:
            decided.append(call.text("authorization"))
            return ANONYMOUS

    decided: list[str] = []
    seen: list[Scope] = []

    async def handler(request: object, call: Call) -> None:
        seen.append(call.scope)

    chain = Chain(Metrics(), access=Known())
    for who in ("known", "new"):
        await chain.unary(GET, handler)(None, Call(GET, "grpc", {"authorization": who}))
    call = Call(GET, "grpc", {"authorization": "known"})
    begun = chain.begin(call)
    assert begun is not None
    begun.cancel()
    assert chain.begin(Call(GET, "grpc", {"authorization": "new"})) is None
    assert [*seen, call.scope] == [OTHERS, ANONYMOUS, OTHERS]
    assert decided == ["new"]


async def test_every_reason_of_the_registry_reaches_a_caller_as_itself(served: Served) -> None:
    for reason, error in registry().items():
        served.core.error = error(f"about {reason}", metadata={"a": "b"})
        answer = await refused(served.jobs.GetJob(get_job()))
        assert (answer.reason, answer.code.name, answer.message) == (reason, error.code, f"about {reason}")
        assert answer.metadata == {"a": "b"}


async def test_when_to_call_again_reaches_the_caller(served: Served) -> None:
    served.core.error = QueueFull("full", retry_after=timedelta(milliseconds=250))
    assert (await refused(served.jobs.GetJob(get_job()))).retry_seconds == 0.25


@pytest.mark.parametrize(
    "text", ["x" * 100_000, "é" * 100_000, "\ud800" * 100_000, "%" * 100_000, "\n\0" * 50_000]
)
async def test_a_status_always_fits_into_metadata(served: Served, text: str) -> None:
    served.core.error = Internal(text, metadata={f"m{n}": text for n in range(100)})
    answer = await refused(served.jobs.GetJob(get_job()))
    assert (answer.code, answer.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert answer.metadata
    assert len(answer.message) > 100
    # Above 8 KiB a client refuses them, at random up to twice that.
    _, message, trailing = refusal(Call(GET, "grpc", {}), served.core.error)
    values = [value if isinstance(value, bytes) else value.encode() for _, value in trailing]
    size = len(quote(message)) + sum(len(b64encode(value)) for value in values)
    assert size < 7 << 10


async def test_a_streams_generator_is_closed_when_its_reader_has_gone() -> None:
    closed = asyncio.Event()

    async def numbers(request: Any, call: Call) -> Any:
        try:
            for number in range(10):
                yield number
        finally:
            closed.set()

    sent: list[int] = []

    async def send(number: int) -> None:
        sent.append(number)
        if number == 2:
            raise PeerGone

    metrics = Metrics()
    method = "/jobqueue.v1.JobQueue/WatchJobs"
    with pytest.raises(PeerGone):
        await Chain(metrics).stream(method, numbers)(None, Call(method, "grpc", {}), send)
    assert sent == [0, 1, 2]
    assert closed.is_set()
    assert counted(metrics, "WatchJobs", "CANCELLED") == 1
