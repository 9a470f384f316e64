"""The fast path of POST /v1/jobs: byte for byte what the general path answers, and nothing that it has no word for."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import secrets
import socket
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from jobqueue.v1 import queue_admin_pb2
from jobqueue_server.http.fast.call import HttpFastCall
from jobqueue_server.http.fast.heads import Heads, Layout
from jobqueue_server.http.fast.path import HttpFastPath
from jobqueue_server.store.intake.intake import IntakeStore
from tests.lease.place import Held, Place, leaving_nothing_to_the_collector

from .conftest import PATIENCE

# A header that nobody reads, and that the fast path does not know.
GENERAL = b"x-nobody-reads: this\r\n"
HEADERS = b"host: localhost\r\ncontent-type: application/json\r\n"


@pytest.fixture
async def place(dsn: str) -> AsyncIterator[Place]:
    async with Place(dsn, http_addr="127.0.0.1:0") as place:
        yield place


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The calls that took the fast path."""
    calls: list[object] = []
    start = HttpFastPath.start

    def noted(self: HttpFastPath, *args: object) -> object:
        started = start(self, *args)  # type: ignore[arg-type]
        if started is not None:
            calls.append(started)
        return started

    monkeypatch.setattr(HttpFastPath, "start", noted)
    return calls


class Wire:
    """One connection, spoken by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> tuple[bytes, bytes]:
        """The next answer: its head and its body."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            found = re.search(rb"content-length: ([0-9]+)", head)
            assert found is not None, head
            return head, await self.reader.readexactly(int(found[1]))

    async def post(
        self, body: bytes, headers: bytes = HEADERS, path: bytes = b"/v1/jobs"
    ) -> tuple[bytes, bytes]:
        self.writer.write(request(body, headers, path))
        return await self.answer()


def request(body: bytes, headers: bytes = HEADERS, path: bytes = b"/v1/jobs") -> bytes:
    return b"POST %s HTTP/1.1\r\n%scontent-length: %d\r\n\r\n%s" % (path, headers, len(body), body)


@pytest.fixture
async def wire(place: Place) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", place.app.http_port)
    yield Wire(reader, writer)
    writer.close()


def alike(answer: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """Without what differs from job to job."""
    head, body = answer
    changes = (
        (rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", b"ID"),
        (rb"[0-9a-f]{20}", b"REQUEST"),
        (rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]*Z", b"TIME"),
        (rb"date: [^\r]*", b"date"),
        (rb"content-length: [0-9]+", b"length"),
        # Of an insert that took long.
        (rb"jobqueue-pressure: [0-9.]+\r\n", b""),
    )
    for pattern, by in changes:
        head, body = re.sub(pattern, by, head), re.sub(pattern, by, body)
    return head, body


USUAL = [
    b'{"kind":"work","payload":{"n":12345678901234567}}',
    b'{ "kind" : "work" ,\r\n\t"payload" : { "a" : [1, 2.50, "x:y"], "a b": null } }\n',
    b'{"kind":"work","queue":"other","payload":"text, with } and { inside"}',
    b'{"kind":"work","payload":7}',
    b'{"kind":"work","key":"customer 42","payload":1}',
    b'{"kind":"work", "queue":"other" , "key" : "' + b"[k] /'" * 42 + b'" , "payload":2}',
    b'{"kind":"work","payload":' + b'"' + b"x" * 2000 + b'"}',
    b'{"kind":"work","payload":{"a":1},"queue":"other"}',
    b'{"payload":{"labels":{"a":"b"}, "kind":1},"kind":"work"}',
    b'{"kind":"work"}',
    b'{"kind":"work","payload":null}',
    b'{"kind":"work","payload":{"a":"\\u0041\\""}}',
    b'{"kind":"work","payload":{},"key":"k"}',
    b'{"kind":"work","key":"a\\u0062","payload":{}}',
    b'{"kind":"work","key":"\xc3\xbc","payload":{}}',
    b'{"kind":"work","key":"","payload":{}}',
    b'{"kind":"work","key":"k","queue":"other","payload":{}}',
    b'{"kind":"work","payload":{},"priority":-3,"maxAttempts":7}',
    b'{"kind":"work","payload":{},"labels":{"b":"x \\"y\\"","a":"\xc3\xbc","A/c":""}}',
    b'{"kind":"work","payload":{},"labels":{},"headers":{"id":"1","payload":"2","a-b":"\xc3\xbc"}}',
    b'{"kind":"work","payload":{},"delay":"1.5s","timeout":"9s"}',
    b'{"kind":"work","payload":{},"run_at":"2001-01-01T00:00:00Z","retry_policy":{"minBackoff":"2s"}}',
    b'{"kind":"work","payload":{},"hold":true,"priority":10,"key":"k","labels":{"a":"b"}}',
    b'{"kind":"work","payload":{},"hold":false}',
]


async def test_it_answers_byte_for_byte_what_the_general_path_answers(wire: Wire, fast: list[object]) -> None:
    for body in USUAL:
        await wire.post(body)  # makes the lane
        for more in (b"", b"accept-encoding: gzip\r\n", b"accept: */*\r\nuser-agent: a\r\n"):
            fast.clear()
            answer = await wire.post(body, HEADERS + more)
            assert len(fast) == 1, body
            general = await wire.post(body, HEADERS + more + GENERAL)
            assert len(fast) == 1
            if b"gzip" in more and len(body) > 1000:
                assert b"content-encoding: gzip" in answer[0]
                answer, general = (answer[0], b""), (general[0], b"")
            assert alike(answer) == alike(general)
            assert answer[0].startswith(b"HTTP/1.1 201")


TRACE = b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-%016x-01\r\n"
SAID_BY_CALLERS = [
    b"authorization: Bearer abc\r\n",
    TRACE % 7,
    b"Authorization: Bearer abc\r\nTraceparent: %s\r\ntracestate: a=b\r\n" % (TRACE % 8)[13:-2],
    b"x-request-id: r-1\r\n" + TRACE % 9,
    b'x-request-id: a "b" \\c\r\n',
    b"traceparent: nonsense\r\n",
    b"traceparent:  00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 \r\n",
]


async def test_callers_with_credentials_a_trace_or_a_request_id_take_it_too(
    wire: Wire, fast: list[object]
) -> None:
    body = b'{"kind":"work","payload":{"n":1}}'
    await wire.post(body)  # makes the lane
    for more in SAID_BY_CALLERS:
        for _ in range(2):  # as a head that is new, and as one that is known
            fast.clear()
            answer = await wire.post(body, HEADERS + more)
            assert len(fast) == 1, more
            assert alike(answer) == alike(await wire.post(body, HEADERS + more + GENERAL))
            assert (b"7651916cd" in answer[1]) == (b"7651916cd" in more)


async def test_each_call_has_its_own_trace_and_request_id(wire: Wire, fast: list[object]) -> None:
    body = b'{"kind":"work","payload":{"n":1}}'
    await wire.post(body)
    fast.clear()
    for number in range(5):
        head, text = await wire.post(body, HEADERS + b"X-Request-ID: r%d\r\n" % number + TRACE % number)
        assert b"x-request-id: r%d\r\n" % number in head
        assert json.loads(text)["headers"] == {
            "x-request-id": f"r{number}",
            "traceparent": (TRACE % number).decode()[13:-2],
        }
    assert len(fast) == 5


HEAD = b"POST /v1/jobs HTTP/1.1\r\nhost: a\r\n%scontent-length: 1\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "then", "known"),
    [
        (b"", b"", {}),
        (b"", b"x-request-id: a\r\n", None),
        (b"x-request-id: a\r\n", b"", None),
        (b"x-request-id: a\r\n", b"x-request-id: b\r\n", {"x-request-id": "b"}),
        (b"idempotency-key: a\r\n", b"idempotency-key: b\r\n", {"idempotency-key": "b"}),
        (b"idempotency-key: a\r\n", b"", None),
        (b"", b"idempotency-key: a\r\n", None),
        (b"idempotency-key: a\r\n", b"idempotency-key: b\r\nidempotency-key: c\r\n", None),
        (b"x-request-id: a\r\n", b"X-Request-ID: b\r\n", None),
        (b"x-request-id: a\r\n", b"x-request-id: b\r\nx-request-id: c\r\n", None),
        (b"x-request-id: a\r\n", b"x-request-id: \r\n", None),
        (b"x-request-id: a\r\n", b"x-request-id: a\x01\r\n", None),
        (b"x-request-id: a\r\ntraceparent: a\r\n", b"x-request-id: \r\ntraceparent: b\r\n", None),
        (b"x-request-id: a\r\n", b"x-request-id: a\r\n b\r\n", None),
        (b"x-request-id: a\r\n", b"x-request-id: %s\r\n" % (b"a" * 129), None),
        (b"x-request-id: a b\r\n", b"x-request-id: a b\r\n", None),
        (
            b"Traceparent: a\r\nx-request-id: a\r\n",
            b"Traceparent: b\r\nx-request-id: c\r\n",
            {"traceparent": "b", "x-request-id": "c"},
        ),
        (b"authorization: a\r\n", b"authorization: a\r\n", {"authorization": "a"}),
        (b"authorization: a\r\n", b"authorization: b\r\n", None),
        (
            b"x-request-id: a\r\nauthorization: a\r\n",
            b"x-request-id: b\r\nauthorization: b\r\n",
            None,
        ),
    ],
)
def test_a_head_is_known_again_whatever_its_trace_and_request_id_are(
    first: bytes, then: bytes, known: dict[str, str] | None
) -> None:
    heads = Heads(lambda host: True)
    lines = [
        (name.lower(), value)
        for name, _, value in (line.partition(b": ") for line in (HEAD % first).split(b"\r\n")[1:-2])
    ]
    assert heads.usual(lines)
    _, layout = heads.metadata(lines, HEAD % first + b"1", b"1")
    if known is None:
        assert layout is None or layout.read(HEAD % then + b"2") is None
        return
    assert layout is not None
    longer = (HEAD % then).replace(b"length: 1", b"length: 3")
    for _ in range(2):
        assert layout.read(HEAD % then + b"2") == ({"host": "a", "content-length": "1", **known}, b"2")
        assert layout.read(longer + b"333") == ({"host": "a", "content-length": "3", **known}, b"333")
        for wrong in (HEAD % then + b"22", longer + b"2", longer.replace(b": 3", b": 03a") + b"333"):
            assert layout.read(wrong) is None, "another length"


def test_a_head_with_another_end_is_not_known() -> None:
    heads = Heads(lambda host: True)
    head = b"POST /v1/jobs HTTP/1.1\r\nhost: a\r\nx-request-id: %s\r\ncontent-length: 1\r\naccept: %s\r\n\r\n"
    lines = [
        (b"host", b"a"), (b"x-request-id", b"a"), (b"content-length", b"1"), (b"accept", b"*/*"),
    ]  # fmt: skip
    _, layout = heads.metadata(lines, head % (b"a", b"*/*") + b"1", b"1")
    assert layout is not None
    assert layout.read(head % (b"b", b"*/*") + b"2") is not None
    assert layout.read(head % (b"b", b"*/a") + b"2") is None


def layouts_with(token: bytes) -> int:
    """How many layouts hold it, wherever they are kept."""
    # By its type: an object may be of a library that makes up its class when it is asked for it, as Django does.
    return sum(type(each) is Layout and token in each._head for each in gc.get_objects())


async def test_a_credential_is_forgotten_with_its_connection(place: Place) -> None:
    token = secrets.token_hex(16).encode()
    wire = Wire(*await asyncio.open_connection("127.0.0.1", place.app.http_port))
    for number in range(3):
        sent = b"authorization: Bearer %b\r\nx-request-id: %d\r\n" % (token, number)
        head, _ = await wire.post(b'{"kind":"work","payload":1}', HEADERS + sent)
        assert head.startswith(b"HTTP/1.1 201")
    assert layouts_with(token) == 1
    wire.writer.close()
    await wire.writer.wait_closed()
    async with asyncio.timeout(PATIENCE):
        while layouts_with(token):
            await asyncio.sleep(0.05)
            gc.collect()


async def test_times_and_ids_are_those_of_the_job(wire: Wire, place: Place) -> None:
    body = b'{"kind":"work","payload":{"n":  1}}'
    for _ in range(2):
        head, text = await wire.post(body, HEADERS + b'x-request-id: a "b" \\c\r\n')
    assert b'x-request-id: a "b" \\c\r\n' in head
    found = re.search(rb'"id":"([^"]+)"', text)
    assert found is not None
    _, read = await get(wire, found[1])
    assert read == text


async def get(wire: Wire, job_id: bytes) -> tuple[bytes, bytes]:
    wire.writer.write(b"GET /v1/jobs/%s HTTP/1.1\r\nhost: localhost\r\n\r\n" % job_id)
    return await wire.answer()


UNUSUAL = [
    b'{"kind":"work","payload":{},"labels":{"a":1}}',
    b'{"kind":"work","payload":{},"labels":{"a":"1","a":"2"}}',
    b'{"kind":"work","payload":{},"labels":null,"priority":"3"}',
    b'{"kind":"work","payload":{},"priority":1.0}',
    b'{"kind":"work","payload":{},"priority":11}',
    b'{"kind":"work","payload":{},"delay":"1s","run_at":"2030-01-01T00:00:00Z"}',
    b'{"kind":"work","payload":{},"delay":"-1s"}',
    b'{"kind":"work","payload":{},"unique":{"key":"n","on_conflict":"DEBOUNCE"}}',
    b'{"kind":"work","payload":{},"unique":{"key":"n","until":"nope"}}',
    b'{"kind":"work","payload":{},"retry_policy":{"min_backoff":"2s","minBackoff":"3s"}}',
    b'{"kind":"work","payload_json":"e30="}',
    b'{"kind":"work","payload":{},"nope":1}',
    b"{}",
    b'{"kind":"work","payload":{"a":1,"a":2}}',
    b'{"kind":"work","payload":{},"payload":{}}',
    b'{"kind":"work","key":7,"payload":{}}',
    b'{"kind":"work","key":"\\u0000","payload":{}}',
    b'{"kind":"work","key":"' + b"k" * 256 + b'","payload":{}}',
    b'{"kind":"work","key":"k","key":"l","payload":{}}',
    b'{"kind":"work","payload":{},}',
    b'{"kind":"work","payload":{}}}',
    b'{"kind":"work","payload":{}} x',
    b'{"kind":"work","payload":}',
    b'{"kind":"work","payload":NaN}',
    b'{"kind":"work","payload":"\xff"}',
    b'{"kind":"work","payload":"\\ud800"}',
    b'{"kind":".work","payload":{}}',
    b'{"kind":"work","payload":\x0b{}}',
    b'{"payload":{}}',
    b"",
    b"[]",
]


async def test_what_it_is_not_sure_of_takes_the_general_path(wire: Wire, fast: list[object]) -> None:
    await wire.post(USUAL[0])
    for body in UNUSUAL:
        fast.clear()
        answer = await wire.post(body)
        general = await wire.post(body, HEADERS + GENERAL)
        assert fast == [], body
        assert alike(answer) == alike(general)


REFUSED = {
    b'{"kind":"send_email","payload":{"to":"x"}}': b"422",
    b'{"kind":"work","queue":"by-key","payload":{}}': b"400",
}


async def test_what_is_refused_is_told_byte_for_byte_as_the_general_path_tells_it(
    wire: Wire, fast: list[object], place: Place
) -> None:
    await wire.post(b'{"kind":"work","queue":"by-key","payload":{}}')
    policy = queue_admin_pb2.Queue(name="by-key", key_policy=queue_admin_pb2.KeyPolicy(require_key=True))
    mask = FieldMask(paths=["key_policy"])
    await place.admin.UpdateQueue(queue_admin_pb2.UpdateQueueRequest(queue=policy, update_mask=mask))
    for body, status in REFUSED.items():
        fast.clear()
        answer = await wire.post(body)
        assert len(fast) == 1, body
        assert answer[0].startswith(b"HTTP/1.1 " + status), answer
        general = await wire.post(body, HEADERS + GENERAL)
        assert len(fast) == 1, body
        assert alike(answer) == alike(general)


async def test_the_first_job_of_a_lane_is_answered_as_the_next_ones_are(
    wire: Wire, fast: list[object], place: Place
) -> None:
    for more in (b"", GENERAL):
        body = b'{"kind":"work","queue":"new%d","payload":7}' % len(more)
        fast.clear()
        first, second = [await wire.post(body, HEADERS + more) for _ in range(2)]
        assert len(fast) == (0 if more else 2)
        assert first[0].startswith(b"HTTP/1.1 201")
        assert alike(first) == alike(second)


async def test_a_header_that_means_something_takes_the_general_path(place: Place, fast: list[object]) -> None:
    for more in (
        b"",
        b"idempotency-key: k\r\nidempotency-key: k\r\n",
        b"grpc-timeout: 1S\r\n",
        b"origin: http://elsewhere.example\r\n",
        b"connection: close\r\n",
        b"x-request-id: a\r\nx-request-id: b\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", place.app.http_port)
        wire = Wire(reader, writer)
        await wire.post(USUAL[0])
        fast.clear()
        await wire.post(USUAL[0], HEADERS + more)
        assert len(fast) == (0 if more else 1), more
        writer.close()


async def test_requests_in_a_row_are_answered_in_their_order(wire: Wire, place: Place) -> None:
    await wire.post(USUAL[0])
    both = request(USUAL[0]) + request(USUAL[0], HEADERS + GENERAL) + request(USUAL[1])
    wire.writer.write(both + b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
    answers = [await wire.answer() for _ in range(4)]
    assert [head[9:12] for head, _ in answers] == [b"201", b"201", b"201", b"200"]
    assert b"x:y" in answers[2][1]


async def test_a_fault_is_told_by_an_id_alone(
    wire: Wire, fast: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    await wire.post(USUAL[0])
    held = Held(monkeypatch, IntakeStore, "enqueue")
    held.error = RuntimeError("a secret")
    held.go_on.set()
    fast.clear()
    head, body = await wire.post(USUAL[0])
    assert len(fast) == 1
    assert head.startswith(b"HTTP/1.1 500")
    assert b"error_id" in body
    assert b"secret" not in body


async def test_a_call_out_of_time_is_told_so(
    wire: Wire, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wire.post(USUAL[0])
    held = Held(monkeypatch, IntakeStore, "enqueue")
    monkeypatch.setattr("jobqueue_server.chain.UNARY_SECONDS", 0.2)
    head, body = await wire.post(USUAL[0])
    assert head.startswith(b"HTTP/1.1 504")
    assert b"DEADLINE_EXCEEDED" in body
    held.go_on.set()
    await none_under_way(place)


async def test_a_caller_who_hangs_up_is_counted_and_forgotten(
    wire: Wire, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wire.post(USUAL[0])
    held = Held(monkeypatch, IntakeStore, "enqueue")
    wire.writer.write(request(USUAL[0]))
    await held.one_waits()
    assert place.app.chain.in_flight == 1
    sock: socket.socket = wire.writer.get_extra_info("socket")
    sock.shutdown(socket.SHUT_RDWR)
    await none_under_way(place)
    held.go_on.set()


async def none_under_way(place: Place) -> None:
    async with asyncio.timeout(PATIENCE):
        while place.app.chain.in_flight:
            await asyncio.sleep(0.01)


async def test_a_server_that_leaves_answers_it_first(
    wire: Wire, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wire.post(USUAL[0])
    held = Held(monkeypatch, IntakeStore, "enqueue")
    wire.writer.write(request(USUAL[0]))
    await held.one_waits()
    stopping = asyncio.create_task(place.app.stop())
    while not place.app.chain.draining:
        await asyncio.sleep(0.01)
    held.go_on.set()
    head, _ = await wire.answer()
    assert head.startswith(b"HTTP/1.1 201")
    await stopping


async def test_what_is_answered_is_stored(wire: Wire, place: Place, dsn: str) -> None:
    for _ in range(3):
        _, text = await wire.post(USUAL[1])
    found = re.search(rb'"id":"([^"]+)"', text)
    assert found is not None
    connection = await asyncpg.connect(dsn)
    try:
        payload = await connection.fetchval("select payload from job where id = $1", UUID(found[1].decode()))
    finally:
        await connection.close()
    assert payload == b'{ "a" : [1, 2.50, "x:y"], "a b": null }'


async def test_calls_leave_nothing_to_the_collector(wire: Wire, fast: list[object]) -> None:
    await wire.post(USUAL[0])
    fast.clear()
    with leaving_nothing_to_the_collector():
        for _ in range(3):
            await wire.post(USUAL[0])
    assert len(fast) == 3


def test_uvicorn_has_what_the_fast_path_leans_on() -> None:
    """It stands in for a request of uvicorn's: each name that this asks of one is there."""
    source = HttpToolsProtocol
    assert {"cycle", "pipeline", "flow"} <= set(source.__init__.__code__.co_names)
    asked = {"response_complete", "disconnected", "keep_alive", "message_event"}
    assert asked <= {*vars(HttpFastCall), *HttpFastCall.__init__.__code__.co_names}


async def test_a_server_without_the_fast_path_answers_the_same(
    wire: Wire, dsn: str, fast: list[object]
) -> None:
    async with Place(dsn, http_addr="127.0.0.1:0", fast_path="off") as other:
        reader, writer = await asyncio.open_connection("127.0.0.1", other.app.http_port)
        without = Wire(reader, writer)
        for body in [*USUAL, *UNUSUAL]:
            await wire.post(body)  # makes the lane
            fast.clear()
            answer = await wire.post(body)
            taken = len(fast)
            assert taken or body in UNUSUAL, body
            assert alike(answer) == alike(await without.post(body))
            assert len(fast) == taken
        writer.close()
