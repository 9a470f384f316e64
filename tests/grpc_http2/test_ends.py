"""How calls end before they are done: by their caller, by their time, and by a refusal."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import time
from typing import Any

import grpc
import pytest

from grpc_http2 import answer_side
from grpc_http2.answer_side import FIRST_WORD

from .conftest import Served
from .wire import (
    ACK,
    CANCEL,
    DATA,
    END_STREAM,
    INTERNAL_ERROR,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    SETTINGS,
    STREAM_CLOSED,
    Caller,
    Wire,
    call_fields,
    frame,
    message,
    reset,
    setting,
    update,
)

OK, DEADLINE_EXCEEDED, UNAUTHENTICATED = 0, 4, 16


@pytest.mark.parametrize("path", ["/t.T/Wait", "/t.T/Hold"])
async def test_a_reset_cancels_the_handler_and_nothing_else(served: Served, path: str) -> None:
    async with await Wire.open(served.port) as wire:
        first, other = await wire.call(path), await wire.call("/t.T/Wait", b"other")
        await served.handlers.began.get()
        await served.handlers.began.get()
        await wire.send(reset(first, CANCEL))
        assert await served.handlers.cancelled.get() == path.removeprefix("/t.T/")
        assert [context.cancelled() for context in served.handlers.contexts] == [True, False]
        served.handlers.go.set()
        assert (await wire.answer(other)).messages == [b"other"]
        assert first not in wire.answers


@pytest.mark.parametrize("how", ["close", "reset", "goaway"])
async def test_a_lost_connection_cancels_its_handlers(served: Served, how: str) -> None:
    wire = await Wire.open(served.port)
    for path in ("/t.T/Wait", "/t.T/Hold"):
        await wire.call(path)
        await served.handlers.began.get()
    if how == "reset":
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if how == "goaway":
        await wire.send(frame(7, 0, 0, bytes(8)))
        await wire.echo()
        assert served.handlers.cancelled.empty()
    wire.socket.close()
    assert {await served.handlers.cancelled.get() for _ in range(2)} == {"Wait", "Hold"}


async def test_a_write_that_waits_ends_with_its_caller(served: Served) -> None:
    async with await Wire.open(served.port) as wire:
        wire.reads = False
        stream = await wire.call("/t.T/Repeat", b"1000000 " + bytes(1000))
        context = await served.handlers.began.get()
        await wire.echo()
        assert isinstance(context.task, asyncio.Task)
        assert not context.task.done()
        await wire.send(reset(stream))
        await asyncio.wait_for(asyncio.wait([context.task]), 10)
        written = served.handlers.written
        await wire.send(update(0, 1 << 20))
        await wire.echo()
        assert served.handlers.written == written


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("1H", 3600),
        ("2M", 120),
        ("30S", 30),
        ("40000m", 40),
        ("50000000u", 50),
        ("60000000n", 0.06),
        ("99999999H", 366 * 86400),
    ],
)
async def test_the_handler_knows_what_time_it_has(served: Served, said: str, seconds: float) -> None:
    async with await Wire.open(served.port) as wire:
        await wire.call("/t.T/Hold", None, grpc_timeout=said)
        context = await served.handlers.began.get()
        remaining = context.time_remaining()
        assert remaining is not None
        assert remaining <= seconds
        assert remaining > seconds - 20 or seconds < 20
        await wire.call("/t.T/Hold", None)
        assert (await served.handlers.began.get()).time_remaining() is None


@pytest.mark.parametrize("content", [b"", None])
@pytest.mark.parametrize("timeout", ["0S", "300m", "300000u"])
async def test_a_streaming_call_ends_with_its_time(
    served: Served, content: bytes | None, timeout: str
) -> None:
    async with await Wire.open(served.port) as wire:
        stream = wire.next()
        said = b"" if content is None else frame(DATA, 0, stream, message(content))
        await wire.send(wire.headers(stream, call_fields("/t.T/Hold", grpc_timeout=timeout)) + said)
        answer = await wire.answer(stream)
        assert (answer.status, answer.text) == (DEADLINE_EXCEEDED, "Deadline Exceeded")
        if timeout != "0S":
            assert await served.handlers.cancelled.get() == "Hold"


@pytest.mark.slow
async def test_a_call_that_ends_in_time_is_not_ended_again(served: Served) -> None:
    async with await Wire.open(served.port) as wire:
        stream = await wire.call("/t.T/Chat", b"x", grpc_timeout="4S")
        assert (await wire.answer(stream)).status == OK
        late = await wire.call("/t.T/Hold", None, grpc_timeout="4050m")
        assert (await wire.answer(late)).status == DEADLINE_EXCEEDED
        assert (
            len([one for one in wire.frames if one[2] == stream and one[1] & END_STREAM and one[0] == 1]) == 1
        )


async def test_a_refused_call_is_told_once_its_caller_has_said_something(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client of `grpc.aio` that could not write yet tells INTERNAL of whatever status it gets."""
    async with await Caller.greet(served.port) as caller:
        # So long that it is told by what its caller says alone.
        monkeypatch.setattr(answer_side, "FIRST_WORD", 3600.0)
        stream = await caller.begin("/t.T/RefuseChat")
        while not served.server._terms.tasks and not caller.answers.get(stream):
            await asyncio.sleep(0)
        await caller.say(stream, message(b"x"))
        answer = await caller.answer(stream)
        assert (answer.status, answer.text, answer.reset) == (UNAUTHENTICATED, "who are you?", 0)
        # Whoever says nothing is told all the same.
        monkeypatch.setattr(answer_side, "FIRST_WORD", FIRST_WORD)
        began = time.monotonic()
        silent = await caller.begin("/t.T/RefuseChat")
        answer = await caller.answer(silent)
        assert time.monotonic() - began > FIRST_WORD - 0.01
        assert (answer.status, answer.reset) == (UNAUTHENTICATED, 0)


async def test_what_still_comes_on_a_call_that_the_server_has_ended_is_passed_over(served: Served) -> None:
    async with await Wire.open(served.port) as wire:
        stream = wire.next()
        await wire.send(
            wire.headers(stream, call_fields("/t.T/RefuseChat")) + frame(DATA, 0, stream, message(b"x"))
        )
        assert (await wire.answer(stream)).status == UNAUTHENTICATED
        await wire.send(frame(DATA, 0, stream, message(b"more")) + update(stream, 5) + reset(stream))
        await wire.echo()
        other = wire.next()
        await wire.send(
            wire.headers(other, call_fields("/t.T/RefuseChat")) + frame(DATA, 0, other, message(b"x"))
        )
        assert (await wire.answer(other)).status == UNAUTHENTICATED
        await wire.send(wire.headers(other, [(b"trailer", b"1")], True))
        assert (await wire.answer(await wire.call())).status == OK


async def test_what_comes_behind_the_end_of_a_request_is_wrong(served: Served) -> None:
    async with await Wire.open(served.port) as wire:
        stream = await wire.call("/t.T/Wait")
        await wire.send(frame(DATA, 0, stream, b"x"))
        assert (await wire.answer(stream)).reset == STREAM_CLOSED
        assert await served.handlers.cancelled.get() == "Wait"
        stream = await wire.call("/t.T/Wait")
        await wire.send(wire.headers(stream, [(b"trailer", b"1")], True))
        assert (await wire.answer(stream)).reset == STREAM_CLOSED
        stream = await wire.call("/t.T/Hold", None)
        await wire.send(wire.headers(stream, call_fields(), True))
        assert (await wire.answer(stream)).reset == PROTOCOL_ERROR


async def test_trailers_end_a_request(served: Served) -> None:
    async with await Wire.open(served.port) as wire:
        stream = wire.next()
        sent = wire.headers(stream, call_fields()) + frame(DATA, 0, stream, message(b"x"))
        await wire.send(sent + wire.headers(stream, [(b"trailer", b"1")], True))
        assert (await wire.answer(stream)).messages == [b"x"]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"method": "GET"}, "405"),
        ({"method": "OPTIONS"}, "405"),
        ({"content_type": "application/json"}, "415"),
        ({"content_type": None}, "415"),
        ({"path": "/", "content_type": "text/html"}, "415"),
        ({"content_type": "application/grpcfoo"}, "415"),
        ({"content_type": "application/grpc-web"}, "415"),
    ],
)
async def test_a_request_that_is_no_call_is_answered_by_http(
    served: Served, changed: dict[str, Any], status: str
) -> None:
    async with await Wire.open(served.port) as wire:
        for body in (b"", b'{"job": {}}'):
            stream = wire.next()
            sent = wire.headers(stream, call_fields(**{"path": "/t.T/Echo", **changed}), not body)
            await wire.send(sent + (frame(DATA, END_STREAM, stream, body) if body else b""))
            answer = await wire.answer(stream)
            assert answer.fields == {":status": status, "content-type": "text/plain"}
            assert b"This port speaks gRPC" in answer.data
            assert answer.reset is None
        assert (await wire.answer(await wire.call())).status == OK


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("first", [1, 2, 3, 100])
async def test_http_1_gets_a_400_and_a_hint(served: Served, method: str, first: int) -> None:
    asked = f"{method} /v1/jobs HTTP/1.1\r\nhost: a\r\n\r\n".encode()
    wire = await Wire.open(served.port, start=asked[:first])
    if asked[first:]:
        await asyncio.sleep(0.01)
        await wire.send(asked[first:])
    text = b""
    while piece := await asyncio.get_running_loop().sock_recv(wire.socket, 10_000):
        text += piece
    wire.socket.close()
    # It could not read what HTTP/2 is greeted with.
    before, _, answer = text.partition(b"HTTP/1.1 400 Bad Request\r\n")
    assert before == b""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert b"This port speaks gRPC" in body


async def test_an_unknown_beginning_ends_the_connection(served: Served) -> None:
    no_preface = "the connection must begin with the preface of HTTP/2"
    for start, said in (
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", no_preface),
        (b"\0" * 100, no_preface),
        (b"\x16\x03\x01\x02\x00", "it begins TLS, which this port does not speak"),
        (b"\x16", "it begins TLS, which this port does not speak"),
    ):
        async with await Wire.open(served.port, start=start) as wire:
            assert await wire.end() == (PROTOCOL_ERROR, said)


async def test_an_answer_that_waits_for_room_is_sent_to_its_end(served: Served) -> None:
    """The handler is long done; neither a settings frame nor what comes on other streams loses the rest."""
    async with await Wire.open(served.port) as wire:
        wire.reads = False
        await wire.send(setting(INITIAL_WINDOW_SIZE=3))
        stream = await wire.call("/t.T/Echo", b"abcdefghij")
        assert (await wire.answer(await wire.call("/t.T/Repeat", b"0 "))).status == OK
        for _ in range(12):
            await wire.send(update(stream, 1))
        answer = await wire.answer(stream)
        assert (answer.messages, answer.status) == ([b"abcdefghij"], OK)


@pytest.mark.parametrize(
    "kind", ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"]
)
async def test_what_is_grpc_is_a_call(served: Served, kind: str) -> None:
    async with await Wire.open(served.port) as wire:
        assert (await wire.answer(await wire.call("/t.T/Echo", b"x", content_type=kind))).messages == [b"x"]


async def test_the_preface_is_answered_before_it_is_whole_and_followed_by_settings(served: Served) -> None:
    async with await Wire.open(served.port, start=PREFACE[:3]) as wire:
        await wire.until(lambda: wire.of(SETTINGS))
        await wire.send(PREFACE[3:] + frame(PING, 0, 0, bytes(8)))
        assert await wire.end() == (PROTOCOL_ERROR, "the preface must be followed by SETTINGS")
    async with await Wire.open(served.port, start=PREFACE + frame(SETTINGS, ACK, 0)) as wire:
        assert await wire.end() == (PROTOCOL_ERROR, "the preface must be followed by SETTINGS")


async def test_a_failure_of_the_server_s_own_ends_the_connection_and_says_so(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> None:
            raise RuntimeError("the password is hunter2")

    served.server.add_generic_rpc_handlers((Broken(),))
    async with await Wire.open(served.port) as wire:
        await wire.call("/t.T/Hold")
        await wire.call("/t.T/Nothing")
        with caplog.at_level(logging.ERROR):
            assert await wire.end() == (INTERNAL_ERROR, "the server failed to handle what came")
        assert "hunter2" in caplog.text
        assert await served.handlers.cancelled.get() == "Hold"
