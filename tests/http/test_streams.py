"""Server streams over HTTP, on real sockets: each message at once, errors before and after the first, ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from jobqueue_server.errors import Draining, FieldInvalid, QueueFull
from jobqueue_server.http import streams
from jobqueue_server.http.errors import ErrorForm
from tests.conftest import of_server

from .conftest import PATIENCE, Caller
from .feed import FOLLOW, Served, event, serving_feed

LINES, EVENTS, ARRAY = "application/x-ndjson", "text/event-stream", "application/json"


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving_feed() as (served, caller):
        served.call = caller
        async with asyncio.timeout(PATIENCE):
            yield served


@asynccontextmanager
async def following(call: Caller, query: str = "", **headers: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """An open stream; its first message must be there, or its headers come after a second."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with call.session.get(f"http://127.0.0.1:{call.port}{FOLLOW}{query}", headers=sent) as answer:
        yield answer


async def test_each_message_is_there_before_the_next_one_is_made(served: Served) -> None:
    served.feed.line.put_nowait(event("1", "a"))
    async with following(served.call) as stream:
        assert (stream.status, stream.headers["Content-Type"]) == (200, LINES)
        assert stream.headers["Cache-Control"] == "no-store"
        assert stream.headers["X-Accel-Buffering"] == "no"
        assert stream.headers["X-Request-Id"]
        for number in range(1, 4):
            assert json.loads(await stream.content.readline()) == {"token": str(number), "text": "a"}
            served.feed.line.put_nowait(event(str(number + 1), "a"))


async def test_an_event_has_its_token_as_id_and_last_event_id_goes_on_behind_it(served: Served) -> None:
    served.feed.line.put_nowait(event("t1", "a"))
    async with following(served.call, "?after=t0", Accept=EVENTS) as stream:
        assert stream.headers["Content-Type"] == EVENTS
        assert await stream.content.readuntil(b"\n\n") == b'id: t1\ndata: {"token":"t1","text":"a"}\n\n'
    await served.feed.closed.wait()
    served.feed.line.put_nowait(event("t2", "b"))
    async with following(served.call, "?after=t0", Accept=EVENTS, Last_Event_ID="t1") as stream:
        assert (await stream.content.readline()) == b"id: t2\n"
    assert [request.after for request in served.feed.requests] == ["t0", "t1"]


async def test_a_stream_that_ends_can_be_had_as_one_array(served: Served) -> None:
    for item in (event("1"), event("2"), None):
        served.feed.line.put_nowait(item)
    answer = await served.call("GET", FOLLOW, Accept=ARRAY)
    assert answer.headers["Content-Type"] == ARRAY
    assert [one["token"] for one in answer.json] == ["1", "2"]


async def test_json_of_callers_is_one_line_and_otherwise_as_it_was_written(served: Served) -> None:
    text = b'{"n":12345678901234567890,\n "s":"a\\nb"}'
    served.feed.line.put_nowait(event("1", document={"content_json": text}))
    async with following(served.call) as stream:
        line = await stream.content.readline()
    assert text.replace(b"\n", b" ") in line
    assert json.loads(line)["document"]["content_value"]["n"] == 12345678901234567890


async def test_an_error_before_the_first_message_is_an_answer_of_its_own(served: Served) -> None:
    served.feed.line.put_nowait(QueueFull("too many", retry_after=timedelta(seconds=3)))
    answer = await served.call("GET", FOLLOW, Accept=EVENTS)
    assert (answer.status, answer.reason, answer.headers["Retry-After"]) == (429, "QUEUE_FULL", "3")
    assert answer.headers["Content-Type"] == ARRAY
    assert served.counted("Follow", "RESOURCE_EXHAUSTED") == 1


@pytest.mark.parametrize("accept", [LINES, EVENTS, ARRAY])
@pytest.mark.parametrize("aip193", [False, True])
async def test_an_error_after_the_first_message_is_the_last_one(accept: str, aip193: bool) -> None:
    async with serving_feed(ErrorForm(aip193=aip193)) as (served, call):
        served.feed.line.put_nowait(event("1"))
        served.feed.line.put_nowait(Draining("leaving", retry_after=timedelta(seconds=1)))
        answer = await call("GET", FOLLOW, Accept=accept)
    assert answer.status == 200
    if accept == ARRAY:
        error = answer.json[-1]["error"]
    elif accept == LINES:
        error = json.loads(answer.text.splitlines()[-1])["error"]
    else:
        told = answer.text.split("\n\n")[-2].splitlines()
        assert told[:2] == ["event: error", "retry: 1000"]
        error = json.loads(told[2].removeprefix("data: "))
    assert (error["code"], error["message"]) == (503 if aip193 else 14, "leaving")
    assert error["details"][0]["reason"] == "DRAINING"


async def test_a_fault_in_the_midst_tells_an_id_and_nothing_else(served: Served) -> None:
    served.feed.line.put_nowait(event("1"))
    served.feed.line.put_nowait(RuntimeError("password=hunter2"))
    answer = await served.call("GET", FOLLOW)
    error = json.loads(answer.text.splitlines()[-1])["error"]
    assert "hunter2" not in answer.text
    assert error["details"][0]["metadata"]["error_id"] in error["message"]
    assert served.counted("Follow", "INTERNAL") == 1


async def test_a_message_that_can_not_be_written_is_a_fault_of_the_server(served: Served) -> None:
    served.feed.line.put_nowait(object())
    answer = await served.call("GET", FOLLOW)
    assert (answer.status, answer.reason) == (500, "INTERNAL")
    assert served.feed.closed.is_set()


async def test_a_stream_that_nothing_fits_is_406_and_lists_what_there_is(served: Served) -> None:
    answer = await served.call("GET", FOLLOW, Accept="text/html")
    assert (answer.status, answer.reason) == (406, "ACCEPT_UNSUPPORTED")
    for content_type in (LINES, EVENTS, ARRAY):
        assert content_type in answer.json["message"]
    assert not served.feed.requests
    assert served.counted("Follow", "INVALID_ARGUMENT") == 1


async def test_a_wrong_parameter_of_a_stream_is_400(served: Served) -> None:
    answer = await served.call("GET", f"{FOLLOW}?limit=x&nope=1", Accept=EVENTS)
    assert (answer.status, set(answer.violations)) == (400, {"limit", "nope"})


async def test_a_caller_that_leaves_ends_the_stream_at_once_and_is_no_fault(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", served.call.port)
    writer.write(f"GET {FOLLOW} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await served.feed.opened.wait()
    assert served.chain.open_streams == 1
    writer.close()
    async with asyncio.timeout(streams.HEARTBEAT_SECONDS / 2):  # the next one would find it too
        await served.feed.closed.wait()
        while served.chain.open_streams:
            await asyncio.sleep(0)
    assert served.counted("Follow", "CANCELLED") == 1
    assert not of_server(caplog)


async def test_a_caller_that_does_not_read_holds_the_stream_back_and_may_leave(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.call.port, limit=1024)
    writer.write(f"GET {FOLLOW} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    many = 2000
    for number in range(many):
        served.feed.line.put_nowait(event(str(number), "x" * 50_000))
    await served.feed.opened.wait()
    # What the sockets and the server hold is a few MB; nothing is taken from the stream beyond it.
    left = many
    while not await settled(served.feed.line):
        left = served.feed.line.qsize()
    assert left > many // 2
    writer.transport.abort()
    async with asyncio.timeout(streams.HEARTBEAT_SECONDS / 2):  # the next one would find it too
        await served.feed.closed.wait()
    assert reader is not None


async def settled(line: asyncio.Queue[Any]) -> bool:
    """Whether nothing was taken for a while."""
    before = line.qsize()
    await asyncio.sleep(0.3)
    return line.qsize() == before


@pytest.mark.parametrize(("accept", "beat"), [(LINES, b" "), (EVENTS, b": \n\n"), (ARRAY, b" ")])
async def test_a_long_silence_is_broken_by_heartbeats_that_mean_nothing(
    served: Served, accept: str, beat: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "HEADERS_AFTER_SECONDS", 0.01)
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.05)
    async with following(served.call, Accept=accept) as stream:
        assert stream.headers["Content-Type"] == accept
        assert await stream.content.readexactly(3 * len(beat)) == 3 * beat
        served.feed.line.put_nowait(event("1"))
        served.feed.line.put_nowait(None)
        rest = await stream.content.read()
    assert b'{"token":"1","text":""}' in rest
    if accept == LINES:
        (line,) = [line for line in rest.splitlines() if line.strip()]
        assert json.loads(line)["token"] == "1"


async def test_the_headers_of_a_silent_stream_come_after_a_second_and_an_error_then_is_the_last_line(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "HEADERS_AFTER_SECONDS", 0.01)
    async with asyncio.timeout(PATIENCE), following(served.call) as stream:
        assert stream.status == 200
        served.feed.line.put_nowait(FieldInvalid("no"))
        assert json.loads(await stream.content.read())["error"]["message"] == "no"


@pytest.mark.slow
@pytest.mark.parametrize("timeout", [{"Grpc_Timeout": "2S"}, {"X_Server_Timeout": "2"}])
async def test_the_callers_deadline_ends_a_stream_with_a_last_line(
    served: Served, timeout: dict[str, str]
) -> None:
    served.feed.line.put_nowait(event("1"))
    answer = await served.call("GET", FOLLOW, **timeout)
    error = json.loads(answer.text.splitlines()[-1])["error"]
    assert error["details"][0]["reason"] == "DEADLINE_EXCEEDED"
    assert served.feed.closed.is_set()


@pytest.mark.slow
async def test_a_caller_that_does_not_read_has_no_more_than_its_deadline(served: Served) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", served.call.port, limit=1024)
    writer.write(f"GET {FOLLOW} HTTP/1.1\r\nHost: x\r\nX-Server-Timeout: 2\r\n\r\n".encode())
    for number in range(400):
        served.feed.line.put_nowait(event(str(number), "x" * 50_000))
    await served.feed.closed.wait()
    tasks = served.server._server.server_state.tasks
    async with asyncio.timeout(PATIENCE):
        while tasks:
            await asyncio.wait(tasks)
    assert served.counted("Follow", "DEADLINE_EXCEEDED") == 1
    writer.transport.abort()


async def test_a_server_that_leaves_ends_its_streams_with_a_last_line_and_does_not_wait_for_them(
    served: Served,
) -> None:
    served.feed.line.put_nowait(event("1"))
    async with following(served.call) as stream:
        await stream.content.readline()
        async with asyncio.timeout(PATIENCE):
            await served.server.stop(timedelta(seconds=60))
        error = json.loads(await stream.content.read())["error"]
    assert error["details"][0]["reason"] == "DRAINING"
    assert served.feed.closed.is_set()


@pytest.mark.slow
async def test_a_server_that_leaves_does_not_wait_for_a_caller_that_does_not_read(served: Served) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", served.call.port, limit=1024)
    writer.write(f"GET {FOLLOW} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for number in range(400):
        served.feed.line.put_nowait(event(str(number), "x" * 50_000))
    await served.feed.opened.wait()
    while not await settled(served.feed.line):
        pass
    async with asyncio.timeout(10):
        await served.server.stop(timedelta(seconds=1))
    assert served.feed.closed.is_set()
    writer.transport.abort()


async def test_a_draining_server_opens_no_stream(served: Served) -> None:
    served.chain.draining = True
    answer = await served.call("GET", FOLLOW, Accept=EVENTS)
    assert (answer.status, answer.reason, answer.headers["Retry-After"]) == (503, "DRAINING", "1")


async def test_head_tells_what_get_would_be_and_does_not_run_it(served: Served) -> None:
    answer = await served.call("HEAD", FOLLOW, Accept=EVENTS)
    assert (answer.status, answer.text, answer.headers["Content-Type"]) == (200, "", EVENTS)
    assert "Content-Length" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    assert (await served.call("HEAD", FOLLOW, Accept="text/html")).status == 406
    assert (await served.call("HEAD", f"{FOLLOW}?limit=x")).status == 400
    assert not served.feed.requests


async def test_options_and_other_methods_of_a_stream(served: Served) -> None:
    answer = await served.call("OPTIONS", FOLLOW)
    assert (answer.status, answer.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
    assert (await served.call("POST", FOLLOW, {})).status == 405


async def test_a_connection_is_good_for_more_after_a_stream_has_ended(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.call.port)
    for _ in range(2):
        served.feed.line.put_nowait(event("1"))
        served.feed.line.put_nowait(None)
        writer.write(f"GET {FOLLOW} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b'"text":""}\n\r\n0\r\n\r\n')
    writer.close()
