"""What a call over HTTP is answered: status, headers and body, and that the chain handled it."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from jobqueue_server.errors import (
    DatabaseAway,
    FieldInvalid,
    JobQueueError,
    JobTerminal,
    PayloadInvalid,
    PayloadTooLarge,
    QueueFull,
    registry,
)
from jobqueue_server.http.errors import STATUS_OF
from jobqueue_server.http.transcoding.transcoder import Transcoder
from jobqueue_server.model import Kind
from tests.lease.place import leaving_nothing_to_the_collector
from tests.rpc.conftest import a_job

from .conftest import PATIENCE, Served, serving
from .pipe import Pipe

JOB = {"kind": "send_email", "payload": {"to": "a@example.com"}}


async def test_an_enqueue_is_201_with_the_place_of_its_job(served: Served) -> None:
    answer = await served.call("POST", "/v1/jobs", JOB)
    assert answer.status == 201
    assert answer.headers["Location"] == f"/v1/jobs/{served.core.job.id}"
    assert answer.json["id"] == str(served.core.job.id)
    assert answer.json["status"] == "QUEUED"
    assert "X-Http-Code" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/jobs", JOB),
        ("GET", "/v1/jobs", None),
        ("GET", "/v1/jobs:watch", None),
        ("GET", "/v1/jobs/none", None),
        ("GET", "/nowhere", None),
        ("POST", "/v1/jobs", {"kind": 7}),
        ("GET", "/version", None),
    ],
)
async def test_no_cache_keeps_an_answer_and_no_browser_takes_it_for_another_type(
    served: Served, method: str, path: str, body: object
) -> None:
    for _ in range(2):  # the second enqueue goes by the fast path
        answer = await served.call(method, path, body)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_replay_is_200_and_says_so(served: Served) -> None:
    served.core.replayed = True
    answer = await served.call("POST", "/v1/jobs", JOB, Idempotency_Key="k1")
    assert answer.status == 200
    assert answer.headers["Idempotency-Replayed"] == "true"
    assert "Location" not in answer.headers


async def test_the_key_in_the_header_wins_over_the_one_in_the_job(served: Served) -> None:
    await served.call("POST", "/v1/jobs", {**JOB, "idempotency_key": "field"}, Idempotency_Key="header")
    assert served.core.enqueued[0].idempotency_key == "header"


async def test_a_cancel_that_waits_for_a_worker_is_202(served: Served) -> None:
    path = f"/v1/jobs/{uuid4()}:cancel"
    assert (await served.call("POST", path, {})).status == 200
    served.core.pending = True
    answer = await served.call("POST", path)
    assert answer.status == 202
    assert answer.json["pending"] is True


@pytest.mark.parametrize(
    "text", ['{"n":12345678901234567890,"f":7,"g":1.50,"s":"\\u00e9"}', "7", "null", "[1, 2]"]
)
async def test_a_payload_goes_in_and_out_as_it_was_written(served: Served, text: str) -> None:
    served.core.job = a_job(payload=text.encode(), output=text.encode())
    answer = await served.call("POST", "/v1/jobs", f'{{"kind": "send_email", "payload": {text}}}'.encode())
    assert served.core.enqueued[0].payload == text.encode()
    assert f'"payload":{text},' in answer.text
    assert f'"output":{text},' in answer.text
    assert "payload_json" not in answer.json


async def test_a_schema_goes_in_as_it_was_written(served: Served) -> None:
    answer = await served.call("PUT", "/v1/kinds/mail", b'{"schema": {"maximum": 100000000000000000000}}')
    assert answer.status == 200, answer.text
    (kind,) = [call[1] for call in served.core.calls if call[0] == "put_kind"]
    assert isinstance(kind, Kind)
    assert '"schema":{"maximum": 100000000000000000000}' in answer.text
    path = "/v1/kinds/mail?update_mask=outputSchema,limits.maxRunning&only_newer=true"
    answer = await served.call("PUT", path, b'{"version": 3, "output_schema": {"maximum": 10.50}}')
    assert answer.status == 200, answer.text
    _, kind, fields, only_newer = served.core.calls[-1]
    assert (kind.version, kind.output_schema) == (3, '{"maximum": 10.50}')
    assert (fields, only_newer) == ({"output_schema", "max_running"}, True)
    assert '"output_schema":{"maximum": 10.50}' in answer.text


@pytest.mark.parametrize("reason", sorted(registry()))
async def test_each_reason_has_its_status_and_a_body_that_names_it(served: Served, reason: str) -> None:
    error = registry()[reason]
    served.core.error = error("what was wrong", metadata={"a": "b"})
    answer = await served.call("GET", f"/v1/jobs/{uuid4()}")
    assert answer.status == (error.http_status or STATUS_OF[error.code])
    assert answer.json["message"] == "what was wrong"
    assert answer.detail("ErrorInfo") == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "jobqueue",
        "metadata": {"a": "b"},
    }


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PayloadInvalid("x"), 422),
        (PayloadTooLarge("x"), 413),
        (JobTerminal("x"), 409),
        (DatabaseAway("x"), 503),
        (FieldInvalid("x"), 400),
    ],
)
async def test_the_statuses_of_the_contract(served: Served, error: JobQueueError, status: int) -> None:
    served.core.error = error
    assert (await served.call("POST", "/v1/jobs", JOB)).status == status


async def test_shed_load_says_when_to_come_again(served: Served) -> None:
    served.core.error = QueueFull("too many", retry_after=timedelta(milliseconds=1500))
    answer = await served.call("POST", "/v1/jobs", JOB)
    assert answer.status == 429
    assert answer.headers["Retry-After"] == "2"
    assert answer.detail("RetryInfo")["retry_delay"] == "1.5s"


async def test_a_fault_tells_an_id_and_nothing_else(served: Served) -> None:
    served.core.error = RuntimeError("password=hunter2")
    answer = await served.call("GET", f"/v1/jobs/{uuid4()}")
    assert (answer.status, answer.reason) == (500, "INTERNAL")
    assert "hunter2" not in answer.text
    assert answer.detail("ErrorInfo")["metadata"]["error_id"] in answer.json["message"]


async def test_bad_input_names_its_field(served: Served) -> None:
    answer = await served.call("POST", "/v1/jobs", {"kind": "send_email", "payload": {}, "priorty": 1})
    assert (answer.status, answer.reason) == (400, "FIELD_INVALID")
    assert 'did you mean "priority"' in answer.violations["job.priorty"]
    answer = await served.call("GET", "/v1/jobs/nothing")
    assert (answer.status, set(answer.violations)) == (400, {"id"})


@pytest.mark.parametrize("name", ["limit", "offset"])
async def test_who_pages_by_limit_and_offset_is_told_of_page_size_and_page_token(
    served: Served, name: str
) -> None:
    answer = await served.call("GET", f"/v1/jobs?{name}=10")
    assert answer.status == 400
    assert "page_size" in answer.violations[name]
    assert "page_token" in answer.violations[name]


async def test_a_request_that_reaches_no_method_is_told_why(served: Served) -> None:
    answer = await served.call("GET", "/v1/job")
    assert (answer.status, answer.reason) == (404, "ROUTE_NOT_FOUND")
    assert "/v1/jobs" in answer.json["message"]
    answer = await served.call("PUT", "/v1/jobs", JOB)
    assert (answer.status, answer.reason) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    answer = await served.call("POST", "/v1/jobs", b"a=b", Content_Type="application/x-www-form-urlencoded")
    assert (answer.status, answer.reason) == (415, "CONTENT_TYPE_UNSUPPORTED")
    assert "application/json" in answer.json["message"]
    answer = await served.call("POST", "/v1/jobs", b"{}", Content_Encoding="br")
    assert (answer.status, answer.reason) == (415, "CONTENT_TYPE_UNSUPPORTED")
    answer = await served.call("POST", "/v1/jobs", b"{nothing")
    assert (answer.status, answer.reason) == (400, "FIELD_INVALID")
    assert not served.core.calls
    assert answer.headers["X-Request-Id"]


async def test_a_body_over_the_limit_is_413_whether_its_length_was_told_or_not(served: Served) -> None:
    async def parts() -> Any:
        for _ in range(5):
            yield b" " * (1 << 20)

    answer = await served.call("POST", "/v1/jobs", b" " * ((4 << 20) + 1))
    assert (answer.status, answer.reason) == (413, "BODY_TOO_LARGE")
    url = f"http://127.0.0.1:{served.call.port}/v1/jobs"
    async with served.call.session.post(url, data=parts()) as chunked:
        assert chunked.status == 413
    # The connection is good for more.
    assert (await served.call("POST", "/v1/jobs", JOB)).status == 201


async def test_head_is_get_without_the_body(served: Served) -> None:
    path = f"/v1/jobs/{uuid4()}"
    got, headed = await served.call("GET", path), await served.call("HEAD", path)
    assert headed.status == 200
    assert headed.text == ""
    assert headed.headers["Content-Length"] == str(len(got.text))
    assert (await served.call("HEAD", f"{path}:cancel")).status == 405


async def test_options_tells_what_a_path_takes(served: Served) -> None:
    answer = await served.call("OPTIONS", f"/v1/jobs/{uuid4()}")
    assert (answer.status, answer.headers["Allow"]) == (204, "DELETE, GET, HEAD, OPTIONS")
    assert (await served.call("OPTIONS", "/nothing")).status == 404


async def test_a_method_that_is_not_implemented_is_501(served: Served) -> None:
    answer = await served.call("GET", "/v1/jobs:watch")
    assert (answer.status, answer.reason) == (501, "NOT_IMPLEMENTED")


async def test_the_request_id_comes_back_and_goes_on_to_the_job_with_the_trace(served: Served) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await served.call("POST", "/v1/jobs", JOB, X_Request_Id="req 7", traceparent=trace)
    assert answer.headers["X-Request-Id"] == "req 7"
    assert served.core.enqueued[0].headers == {"x-request-id": "req 7", "traceparent": trace}
    served.core.error = JobTerminal("x")
    answer = await served.call("GET", f"/v1/jobs/{uuid4()}", X_Request_Id="r2")
    assert answer.headers["X-Request-Id"] == "r2"
    first = await served.call("GET", "/nothing", X_Request_Id="x" * 129)
    assert 1 <= len(first.headers["X-Request-Id"]) <= 128


@pytest.mark.slow
@pytest.mark.parametrize("header", [{"Grpc_Timeout": "1S"}, {"X_Server_Timeout": "1"}])
async def test_the_callers_deadline_ends_the_call(served: Served, header: dict[str, str]) -> None:
    ended = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    served.core.before = hang
    answer = await served.call("GET", f"/v1/jobs/{uuid4()}", **header)
    assert (answer.status, answer.reason) == (504, "DEADLINE_EXCEEDED")
    assert ended.is_set()


@pytest.mark.parametrize("header", ["Grpc-Timeout", "X-Server-Timeout"])
@pytest.mark.parametrize("value", ["", "soon", "-1", "1e9", "123456789012H", "٣S"])
async def test_a_deadline_that_can_not_be_read_is_refused(served: Served, header: str, value: str) -> None:
    answer = await served.call("GET", f"/v1/jobs/{uuid4()}", **{header: value})
    assert (answer.status, set(answer.violations)) == (400, {header.lower()})


async def test_a_caller_that_hangs_up_ends_the_call(served: Served) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    served.core.before = hang
    _, writer = await asyncio.open_connection("127.0.0.1", served.call.port)
    writer.write(f"GET /v1/jobs/{uuid4()} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE):
        await started.wait()
        writer.close()
        await ended.wait()
        while served.chain.in_flight:
            await asyncio.sleep(0)


async def test_a_server_that_leaves_refuses_new_calls(served: Served) -> None:
    served.chain.draining = True
    answer = await served.call("POST", "/v1/jobs", JOB)
    assert (answer.status, answer.reason) == (503, "DRAINING")
    assert answer.headers["Retry-After"] == "1"


async def test_a_call_that_is_not_done_when_the_server_has_left_is_told(served: Served) -> None:
    started = asyncio.Event()

    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    served.core.before = hang
    waiting = asyncio.create_task(served.call("GET", f"/v1/jobs/{uuid4()}:wait"))
    async with asyncio.timeout(PATIENCE):
        await started.wait()
        await served.server.stop(timedelta(0))
        answer = await waiting
    assert (answer.status, answer.reason) == (503, "DRAINING")


async def test_too_many_calls_are_refused() -> None:
    async with serving(max_in_flight=0) as served:
        answer = await served.call("GET", f"/v1/jobs/{uuid4()}")
        assert (answer.status, answer.reason) == (429, "TOO_MANY_CALLS")


async def test_calls_are_counted_with_their_transport(served: Served) -> None:
    await served.call("POST", "/v1/jobs", JOB)
    labels = {"grpc_service": "jobqueue.v1.JobQueue", "grpc_method": "EnqueueJob", "transport": "http"}
    name = "grpc_server_handled_total"
    assert served.metrics.registry.get_sample_value(name, {**labels, "grpc_code": "OK"}) == 1


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/v1/nothing", "NOT_FOUND"),
        ("PUT", "/v1/jobs", "UNIMPLEMENTED"),
        ("POST", "/health", "UNIMPLEMENTED"),
        ("GET", "/v1/jobs/%zz", "INVALID_ARGUMENT"),
    ],
)
async def test_calls_that_reach_no_method_are_counted_under_none(
    served: Served, method: str, path: str, code: str
) -> None:
    await served.call(method, path)
    labels = {"grpc_service": "-", "grpc_method": "-", "transport": "http", "grpc_code": code}
    assert served.metrics.registry.get_sample_value("grpc_server_handled_total", labels) == 1


async def test_a_body_that_does_not_come_is_waited_for_no_longer_than_the_call_has(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.call.port)
    writer.write(
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nX-Server-Timeout: 0.1\r\n\r\n{"
    )
    async with asyncio.timeout(PATIENCE):
        assert (await reader.readline()).startswith(b"HTTP/1.1 504 ")
    writer.close()
    labels = {"grpc_service": "jobqueue.v1.JobQueue", "grpc_method": "EnqueueJob", "transport": "http"}
    code = {"grpc_code": "DEADLINE_EXCEEDED"}
    assert served.metrics.registry.get_sample_value("grpc_server_handled_total", {**labels, **code}) == 1


async def test_a_caller_that_hangs_up_within_its_body_is_counted_as_cancelled(served: Served) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", served.call.port)
    writer.write(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
    async with asyncio.timeout(PATIENCE):
        while not served.chain.in_flight:
            await asyncio.sleep(0.01)
        writer.close()
        while served.chain.in_flight:
            await asyncio.sleep(0.01)
    labels = {"grpc_service": "jobqueue.v1.JobQueue", "grpc_method": "EnqueueJob", "transport": "http"}
    code = {"grpc_code": "CANCELLED"}
    assert served.metrics.registry.get_sample_value("grpc_server_handled_total", {**labels, **code}) == 1


async def test_who_is_refused_unread_may_go_on_by_the_same_connection(served: Served) -> None:
    served.chain.draining = True
    reader, writer = await asyncio.open_connection("127.0.0.1", served.call.port)
    body = json.dumps({**JOB, "payload": {"x": "x" * 500_000}}).encode()
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    async with asyncio.timeout(PATIENCE):
        for status in (b"503", b"201"):
            writer.write(head % len(body) + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 " + status)
            length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            served.chain.draining = False
    writer.close()


async def test_all_that_is_wrong_with_a_request_is_said_at_once(served: Served) -> None:
    answer = await served.call("GET", "/v1/jobs?limit=10&page_sze=5&status=nope")
    assert (answer.status, set(answer.violations)) == (400, {"limit", "page_sze", "status"})
    assert "page_size" in answer.violations["limit"]
    answer = await served.call("POST", "/v1/jobs", {"knd": "a", "payload": {}, "priority": "x"})
    assert set(answer.violations) == {"job.knd", "job.priority"}


@pytest.mark.parametrize(
    ("method", "path", "body", "called"),
    [
        ("GET", "/v1/jobs?status=queued&status=RUNNING&page_size=5", None, "list"),
        ("POST", "/v1/jobs:batchEnqueue", {"jobs": [JOB, JOB]}, "put"),
        ("POST", "/v1/jobs/01a20e75-6a11-7f3e-9d52-2f6c1b7a4e02:retry", None, "retry"),
        ("DELETE", "/v1/jobs/01a20e75-6a11-7f3e-9d52-2f6c1b7a4e02", None, "delete"),
        ("GET", "/v1/jobs/01a20e75-6a11-7f3e-9d52-2f6c1b7a4e02:wait?timeout=1s", None, "wait"),
        ("GET", "/v1/queues", None, "list_queues"),
        ("GET", "/v1/queues/mail", None, "get_queue"),
        ("POST", "/v1/queues/mail:pause", None, "pause_queue"),
        ("POST", "/v1/queues/mail:resume", {}, "resume_queue"),
        ("GET", "/v1/kinds", None, "list_kinds"),
    ],
)
async def test_every_method_that_is_built_answers(
    served: Served, method: str, path: str, body: object, called: str
) -> None:
    answer = await served.call(method, path, body)
    assert answer.status == 200, answer.text
    assert isinstance(json.loads(answer.text), dict)
    assert served.core.calls[0][0] == called


async def test_large_bodies_are_read_one_in_a_turn_of_the_loop(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes tens of milliseconds, in which no other caller is served."""
    turn = 0
    turns: list[int] = []
    fill = Transcoder.fill

    def noted(self: Transcoder, *arguments: Any) -> Any:
        turns.append(turn)
        return fill(self, *arguments)

    async def count() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(Transcoder, "fill", noted)
    counting = asyncio.create_task(count())
    body = json.dumps({"kind": "work", "payload": "x" * 300_000}).encode()
    pipes = [Pipe(served.server) for _ in range(4)]
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = head + b"Content-Length: %d\r\n\r\n%b"
    for pipe in pipes:
        await pipe.say([request % (len(body), body)])
    for pipe in pipes:
        assert (await pipe.answers(1))[0][0].startswith(b"HTTP/1.1 201 ")
        pipe.hang_up()
    counting.cancel()
    assert len(set(turns)) == 4


@pytest.mark.cases(3)
@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/jobs", JOB, 201),
        ("POST", "/v1/jobs", {"nope": 1, "labels": {"a": 1}, "kind": 1}, 400),
        ("POST", "/v1/jobs", b'{"nope": 1, "kind": "a', 400),
        ("POST", "/v1/jobs", b'{"nope": 1, "kind": {"a": 1, "a": 2}}', 400),
        ("POST", "/v1/jobs", b"{" + b",".join(b'"n%d": 1' % each for each in range(30)) + b"}", 400),
        ("POST", "/v1/jobs:batchEnqueue", {"jobs": [{"nope": 1}, {"labels": 1}]}, 400),
        ("GET", "/v1/queues?nope=1&page_size=a", None, 400),
        ("GET", "/v1/queues?page_size=%2", None, 400),
        ("GET", "/v1/jobs/none", None, 400),
        ("GET", "/v1/queues", None, 200),
    ],
)
async def test_a_call_leaves_nothing_to_the_collector(
    served: Served, method: str, path: str, body: object, status: int
) -> None:
    await served.call(method, path, body)
    with leaving_nothing_to_the_collector():
        for _ in range(3):
            assert (await served.call(method, path, body)).status == status
        # What watches for a caller that hangs up ends after the answer.
        await asyncio.sleep(0.05)
