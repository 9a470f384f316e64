"""Where a request ends: its body stays its own, whatever its head says and however its bytes are cut."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import re
import tracemalloc
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobqueue_server.http.errors import ErrorForm
from jobqueue_server.http.server import HttpServer
from tests.lease.place import Place

from .conftest import PATIENCE, Served, serving
from .feed import FOLLOW, serving_feed
from .pipe import Answer, Pipe, cut
from .test_fast_path import alike

HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = b'{"kind":"work","payload":{"n":1}}'
NEXT = b"GET /v1/jobs/none HTTP/1.1\r\nHost: localhost\r\n\r\n"
# What the fast path does not know.
GENERAL = b"X-Nobody-Reads: this\r\n"

UPGRADES = {
    "Java": b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\nUpgrade: h2c\r\n",
    "a browser": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "in capitals, twice": b"UPGRADE: a/1, b\r\nCONNECTION: UPGRADE\r\nupgrade:c\r\nconnection:close-not,upgrade\r\n",
    "without a value": b"Upgrade:\r\nConnection: upgrade\r\nX-Empty:\r\n",
}


def whole(body: bytes = BODY, more: bytes = b"") -> bytes:
    return HEAD + more + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def chunked(parts: Sequence[bytes], more: bytes = b"") -> bytes:
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part)
    return HEAD + more + b"Transfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"


@pytest.fixture
async def place(dsn: str) -> AsyncIterator[Place]:
    """A whole server, whose fast path is open."""
    async with Place(dsn, http_addr="127.0.0.1:0") as place:
        await answered(place.app.transports.http, [whole()], 1)
        yield place


async def answered(server: HttpServer | None, pieces: Sequence[bytes], count: int) -> list[Answer]:
    """The answers to what comes in these pieces, without what differs from job to job."""
    assert server is not None
    pipe = Pipe(server)
    await pipe.say(pieces)
    answers = [alike(answer) for answer in await pipe.answers(count)]
    assert not pipe.closed
    pipe.hang_up()
    return answers


def in_a_row(more: bytes, *, in_chunks: bool) -> bytes:
    """Three requests, of which the first has more fields."""
    first = chunked([BODY[:9], BODY[9:]], more) if in_chunks else whole(more=more)
    return first + NEXT + whole()


@pytest.mark.cases(3)
@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("in_chunks", [False, True])
async def test_a_request_that_asks_for_an_upgrade_keeps_its_body_in_any_two_pieces(
    served: Served, upgrade: str, in_chunks: bool
) -> None:
    plain = await answered(served.server, [in_a_row(b"", in_chunks=in_chunks)], 3)
    assert [head[9:12] for head, _ in plain] == [b"201", b"400", b"201"]
    sent = in_a_row(UPGRADES[upgrade], in_chunks=in_chunks)
    for places in [*([at] for at in range(len(sent))), range(len(sent))]:
        served.core.enqueued.clear()
        assert await answered(served.server, cut(sent, places), 3) == plain, places
        assert [job.payload for job in served.core.enqueued] == [b'{"n":1}'] * 2


@pytest.mark.slow
async def test_so_it_does_between_requests_of_the_short_way(place: Place) -> None:
    plain = await answered(place.app.transports.http, [in_a_row(b"", in_chunks=False)], 3)
    assert [head[9:12] for head, _ in plain] == [b"201", b"400", b"201"]
    sent = in_a_row(UPGRADES["Java"], in_chunks=False)
    for at in range(len(sent)):
        assert await answered(place.app.transports.http, cut(sent, [at]), 3) == plain, at


# Texts that look like what a parser, or a filter before one, could look for.
LOOKALIKES = [
    "x",
    "\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    "Upgrade: h2c",
    "GET / HTTP/1.1\r\n\r\n",
    "0\r\n\r\n",
    "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
]
FIELDS = [
    b"",
    b"X-A: Upgrade: h2c\r\n",
    b"X-Upgrade: h2c\r\nConnection: keep-alive\r\n",
    b"User-Agent: Upgrade/1.0\r\n",
    b"Connection: upgrade\r\n",
    b"Upgrade: h2c\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    *UPGRADES.values(),
]


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A request with any of these fields, and the same without them."""
    body = json.dumps({"kind": "work", "payload": draw(st.sampled_from(LOOKALIKES))}).encode()
    more = draw(st.sampled_from(FIELDS)) + draw(st.sampled_from([b"", GENERAL]))
    if draw(st.booleans()):
        return whole(body, more), whole(body)
    at = sorted(draw(st.lists(st.integers(0, len(body)), max_size=3)))
    parts = cut(body, at)
    return chunked(parts, more), whole(body)


async def test_requests_in_a_row_are_answered_alike_with_and_without_upgrades_in_any_pieces(
    place: Place,
) -> None:
    loop = asyncio.get_running_loop()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(requests(), min_size=1, max_size=4), st.data())
    def story(drawn: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
        sent = b"".join(first for first, _ in drawn)
        cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=12))
        pieces = cut(sent, cuts)
        came = asyncio.run_coroutine_threadsafe(
            answered(place.app.transports.http, pieces, len(drawn)), loop
        ).result()
        others = [second for _, second in drawn]
        plain = asyncio.run_coroutine_threadsafe(
            answered(place.app.transports.http, others, len(drawn)), loop
        ).result()
        assert came == plain

    await asyncio.to_thread(story)


@pytest.mark.parametrize("upgrade", UPGRADES)
async def test_a_body_is_never_served_as_a_request(served: Served, upgrade: str) -> None:
    inner = b"DELETE /v1/jobs/0199aaaa-0000-7000-8000-000000000000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    pipe = Pipe(served.server)
    request = whole(inner, UPGRADES[upgrade])
    await pipe.say([*cut(request, [len(request) - len(inner)]), NEXT])
    answers = await pipe.answers(2)
    assert [head[9:12] for head, _ in answers] == [b"400", b"400"]
    assert b"id: must be a UUID" in answers[1][1]
    assert served.core.calls == []
    pipe.hang_up()


async def test_an_upgrade_is_nothing_to_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    pipe = Pipe(served.server)
    await pipe.say([whole(more=UPGRADES["a browser"])])
    assert (await pipe.answers(1))[0][0].startswith(b"HTTP/1.1 201 ")
    assert not re.search("upgrade|websocket", caplog.text, re.IGNORECASE)
    pipe.hang_up()


async def test_the_body_of_a_connect_is_not_served(served: Served) -> None:
    pipe = Pipe(served.server)
    await pipe.say([b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n" + whole()])
    ((head, body),) = await pipe.ended()
    assert head.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nallow: \r\n" in head
    assert json.loads(body)["message"] == "CONNECT is not allowed; this server is not a proxy"
    assert served.core.calls == []


IN_CHUNKS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LINE = b"GET /health HTTP/1.1\r\n"
MALFORMED = {
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", "no Host"),
    "no host, with a body": (b"POST /v1/jobs HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", "no Host"),
    "two hosts": (LINE + b"Host: a\r\nHost: b\r\n\r\n", "2 Host"),
    "two hosts of 1.0": (b"GET /health HTTP/1.0\r\nHost: a\r\nhost: a\r\n\r\n", "2 Host"),
    "HTTP/2.0": (b"GET /health HTTP/2.0\r\nHost: a\r\n\r\n", "HTTP/2.0"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "this is HTTP/2"),
    "HTTP/0.9": (b"GET /health\r\n\r\n", "HTTP/0.9"),
    "HTTP/1.2": (b"GET /health HTTP/1.2\r\nHost: a\r\n\r\n", "version"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "this is "),
    "no path": (b"GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n", "target"),
    "two lengths": (HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", "Content-Length"),
    "a list of lengths": (HEAD + b"Content-Length: 2, 2\r\n\r\n{}", "Content-Length"),
    "a signed length": (HEAD + b"Content-Length: +2\r\n\r\n{}", "Content-Length"),
    "a huge length": (HEAD + b"Content-Length: 18446744073709551616\r\n\r\n{}", "Content-Length"),
    "length and chunks": (
        HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding",
    ),
    "chunks and length": (
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "Content-Length",
    ),
    "length and chunks, with an upgrade": (
        HEAD + UPGRADES["Java"] + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding",
    ),
    "another coding": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding"),
    "another coding, in a field of its own": (
        HEAD + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding",
    ),
    "another coding, with an upgrade": (
        HEAD + UPGRADES["Java"] + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding",
    ),
    "chunks twice": (HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding"),
    "a coding in disguise": (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding"),
    "LF alone": (LINE + b"Host: a\nX: b\r\n\r\n", "CR"),
    "LF alone in the line": (b"GET /health HTTP/1.1\nHost: a\r\n\r\n", "CRLF"),
    "CR alone": (LINE + b"Host: a\r\nX: b\rY: c\r\n\r\n", "LF"),
    "a space before the colon": (HEAD + b"Content-Length : 2\r\n\r\n{}", "header"),
    "a space before the name": (LINE + b" Host: a\r\n\r\n", "space"),
    "a folded line": (LINE + b"Host: a\r\nX: b\r\n c\r\n\r\n", "whitespace"),
    "no colon": (LINE + b"Host: a\r\nX\r\n\r\n", "header"),
    "NUL": (LINE + b"Host: a\r\nX: a\0b\r\n\r\n", "header"),
    "a huge chunk": (IN_CHUNKS + b"ffffffffffffffff1\r\n", "Chunk size"),
    "a negative chunk": (IN_CHUNKS + b"-2\r\n{}\r\n", "chunk size"),
    "a chunk in C": (IN_CHUNKS + b"0x2\r\n{}\r\n", "chunk size"),
    "a chunk that is longer than it says": (IN_CHUNKS + b"2\r\n{} \r\n0\r\n\r\n", "chunk"),
    "a chunk with LF alone": (IN_CHUNKS + b"2\n{}\r\n0\r\n\r\n", "chunk"),
    "a chunk extension with LF alone": (IN_CHUNKS + b"2;a\n{}\r\n0\r\n\r\n", "chunk"),
}


def is_refusal(answer: Answer, said: str) -> None:
    head, body = answer
    assert head.startswith(b"HTTP/1.1 400 "), head
    assert b"\r\nconnection: close\r\n" in head
    error = json.loads(body)
    assert said in error["message"]
    assert error["details"][0]["reason"] == "REQUEST_MALFORMED"


@pytest.mark.parametrize("fault", MALFORMED)
async def test_what_can_be_read_in_two_ways_or_none_is_refused_in_words_and_ends_the_connection(
    served: Served, fault: str
) -> None:
    request, said = MALFORMED[fault]
    # What comes behind it could be anything.
    sent = request + whole()
    for places in [*([at] for at in range(len(request) + 1)), range(len(sent))]:
        pipe = Pipe(served.server)
        await pipe.say(cut(sent, places))
        (answer,) = await pipe.ended()
        is_refusal(answer, said)
    assert served.core.calls == []


@pytest.mark.parametrize("fault", MALFORMED)
async def test_it_is_refused_behind_an_upgrade_too(served: Served, fault: str) -> None:
    request, said = MALFORMED[fault]
    pipe = Pipe(served.server)
    await pipe.say([whole(more=UPGRADES["Java"]) + request])
    first, second = await pipe.ended()
    assert first[0].startswith(b"HTTP/1.1 201 ")
    is_refusal(second, said)


async def test_what_came_before_it_is_answered_first(served: Served) -> None:
    going, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        going.set()
        await go_on.wait()

    served.core.before = hold
    pipe = Pipe(served.server)
    saying = asyncio.create_task(pipe.say([whole() + IN_CHUNKS, b"x"]))
    async with asyncio.timeout(PATIENCE):
        await going.wait()
    assert not pipe.closed
    go_on.set()
    await saying
    first, second = await pipe.ended()
    assert first[0].startswith(b"HTTP/1.1 201 ")
    is_refusal(second, "chunk size")
    assert len(served.core.enqueued) == 1


async def test_a_fault_behind_a_request_of_the_short_way_waits_for_its_answer(place: Place) -> None:
    assert place.app.transports.http is not None
    pipe = Pipe(place.app.transports.http)
    await pipe.say([whole(), b"x y z"])
    first, second = await pipe.ended()
    assert first[0].startswith(b"HTTP/1.1 201 ")
    is_refusal(second, "method")


async def test_a_fault_behind_an_answer_ends_the_connection_without_another(served: Served) -> None:
    served.chain.draining = True
    pipe = Pipe(served.server)
    await pipe.say([HEAD + b"Expect: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"])
    await pipe.answers(1)
    await pipe.say([b"x"])
    ((head, _),) = await pipe.ended()
    assert head.startswith(b"HTTP/1.1 503 ")


async def test_a_trailer_is_no_header(served: Served) -> None:
    sent = chunked([BODY], GENERAL)[:-2] + b"X-Request-Id: a trailer\r\nHost: other.example\r\n\r\n"
    for places in [(), range(len(sent))]:
        pipe = Pipe(served.server)
        await pipe.say(cut(sent, places))
        ((head, _),) = await pipe.answers(1)
        assert head.startswith(b"HTTP/1.1 201 ")
        assert b"a trailer" not in head
        pipe.hang_up()


def pieces(data: bytes, size: int) -> list[bytes]:
    return cut(data, range(size, len(data), size))


@pytest.mark.parametrize("size", [1 << 10, 60 << 10, 256 << 10])
@pytest.mark.parametrize("fields", [1, 500])
async def test_a_head_is_bounded_whatever_its_pieces(served: Served, size: int, fields: int) -> None:
    def head(total: int) -> bytes:
        each = total // fields
        lines = b"".join(b"X-%04d: %b\r\n" % (n, b"x" * (each - 10)) for n in range(fields))
        return b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + lines + b"\r\n"

    before = whole(b" " * (100 << 10))
    for total, status in ((63 << 10, b"200"), (65 << 10, b"400")):
        for first in (b"", before):
            pipe = Pipe(served.server)
            await pipe.say(pieces(first + head(total), size))
            answers = await pipe.answers(2 if first else 1)
            assert answers[-1][0][9:12] == status
            if status == b"400":
                is_refusal((await pipe.ended())[-1], "the path and headers are over 65536 bytes")
            pipe.hang_up()


async def test_a_path_without_an_end_is_cut_off(served: Served) -> None:
    pipe = Pipe(served.server)
    await pipe.say([b"GET /", *[b"x" * 4096] * 17])
    (answer,) = await pipe.ended()
    is_refusal(answer, "the path and headers are over 65536 bytes")


@pytest.mark.parametrize("begin", [b"1;x=", b"1\r\n{\r\n0\r\nX: "])
async def test_chunk_extensions_and_trailers_without_an_end_are_cut_off(served: Served, begin: bytes) -> None:
    pipe = Pipe(served.server)
    await pipe.say([IN_CHUNKS + begin, *[b"x" * 4096] * 18])
    (answer,) = await pipe.ended()
    is_refusal(answer, "chunk extensions or trailers")


async def test_a_large_body_in_small_pieces_is_no_fault(served: Served) -> None:
    body = b'{"kind":"work","payload":"' + b"x" * 300_000 + b'"}'
    for sent in (whole(body), chunked(pieces(body, 1000))):
        pipe = Pipe(served.server)
        await pipe.say(pieces(sent, 700))
        ((head, _),) = await pipe.answers(1)
        assert head.startswith(b"HTTP/1.1 201 ")
        pipe.hang_up()


@pytest.mark.parametrize("size", [1_000_000, 100])
async def test_requests_behind_one_that_is_not_answered_wait_unread(size: int) -> None:
    count = 2000
    async with serving_feed() as (served, _):
        pipe = Pipe(served.server)
        await pipe.say([b"GET " + FOLLOW.encode() + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"])
        await served.feed.opened.wait()
        health = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * count
        saying = asyncio.create_task(pipe.say(pieces(health, size)))
        most = 0
        async with asyncio.timeout(PATIENCE):
            while pipe.reads:
                await asyncio.sleep(0)
            served.feed.line.put_nowait(None)
            while pipe.sent.count(b"HTTP/1.1 200 ") < 1 + count:
                most = max(most, len(pipe.waiting))
                assert pipe.unread <= (len(health) if size > len(health) else 0)
                await asyncio.sleep(0)
        await saying
        # As many as a piece of 4 KiB has.
        assert most <= 4096 // (len(health) // count)
        pipe.hang_up()


@pytest.mark.parametrize("turn", [0.0, 60.0])
async def test_a_caller_that_sends_much_at_once_does_not_keep_others_waiting(
    served: Served, monkeypatch: pytest.MonkeyPatch, turn: float
) -> None:
    """It has its turn for so long, or for so many bytes: a long read is not the last that the loop would do."""
    monkeypatch.setattr("jobqueue_server.http.pieces._TURN", turn)
    pipe = Pipe(served.server)
    body = b'{"kind":"work","payload":"' + b"x" * 300_000 + b'"}'
    sent = chunked(pieces(body, 1)) + NEXT
    saying = asyncio.create_task(pipe.say([sent]))
    turns = 0
    async with asyncio.timeout(PATIENCE):
        while pipe.sent.count(b"HTTP/1.1 ") < 2:
            await asyncio.sleep(0)
            turns += 1
    # Without time each piece is a turn.
    assert turns >= len(sent) // ((128 if turn else 64) << 10)
    await saying
    ((created, _), (other, _)) = await pipe.answers(2)
    assert (created[9:12], other[9:12]) == (b"201", b"400")
    pipe.hang_up()


LONG = b"x" * 300_000


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(whole(b'{"kind": "' + bytes(300_000)), id="no JSON"),
        pytest.param(whole(b"[" * 300_000), id="too deep"),
        pytest.param(whole(b" " * 300_000), id="blanks"),
        pytest.param(whole(b'{"nope": "%b"}' % LONG), id="no field"),
        pytest.param(whole(b'{"kind": 1, "x": "%b"}' % LONG), id="a wrong value, and no field"),
        pytest.param(whole(b'{"labels": {"a": 1}, "x": "%b"}' % LONG), id="a wrong value in a map"),
        pytest.param(whole(b'{"nope": 1, "y": "%b' % LONG), id="no field, and then no JSON"),
        pytest.param(whole().replace(b" HTTP", b"?nope=%b HTTP" % LONG[:60_000], 1), id="no parameter"),
    ],
)
async def test_what_is_refused_does_not_wait_for_the_collector(served: Served, sent: bytes) -> None:
    """A body may have 4 MiB, and the collector comes by after hundreds of them."""
    pipe = Pipe(served.server)
    await pipe.say([whole(b"{}")])
    await pipe.answers(1)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for count in range(2, 5):
            await pipe.say([sent])
            assert (await pipe.answers(count))[-1][0].startswith(b"HTTP/1.1 400 ")
        # The connection has the head of its last request.
        await pipe.say([NEXT])
        await pipe.answers(5)
        assert tracemalloc.get_traced_memory()[0] < len(sent)
    finally:
        tracemalloc.stop()
        gc.enable()
    pipe.hang_up()


async def test_who_still_sends_when_refused_reads_why(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.call.port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * (8 << 20))
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    is_refusal((head + b"\r\n\r\n", body), "the path and headers are over 65536 bytes")
    writer.close()


async def test_errors_in_googles_form_have_it_here_too() -> None:
    async with serving(errors=ErrorForm(aip193=True)) as served:
        pipe = Pipe(served.server)
        await pipe.say([b"GET /health HTTP/1.1\r\n\r\n"])
        ((_, body),) = await pipe.ended()
        assert json.loads(body)["error"]["status"] == "INVALID_ARGUMENT"
