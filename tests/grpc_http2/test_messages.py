"""Messages in a stream's bytes: cut anywhere, of any size, compressed or wrongly so."""

from __future__ import annotations

import asyncio
import tracemalloc
import zlib
from typing import Any

import grpc
import pytest

from grpc_http2.limits import Limits
from tests.conftest import of_server

from .conftest import MOST_BYTES, Serve, Served
from .wire import DATA, END_STREAM, SECONDS, Caller, Wire, call_fields, frame, message, packed

OK, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 8, 12, 13


async def test_messages_are_the_same_wherever_their_bytes_are_cut(served: Served) -> None:
    said = [b"", b"a", b"", b"hello", bytes(300)]
    body = b"".join(message(content) for content in said)
    async with await Caller.greet(served.port) as caller:
        for cut in range(len(body) + 1):
            stream = await caller.begin("/t.T/Chat")
            await caller.say(stream, body[:cut])
            await caller.say(stream, body[cut:], end=True)
            answer = await caller.answer(stream)
            assert (answer.messages, answer.status) == (said, OK), cut


async def test_messages_come_byte_by_byte(served: Served) -> None:
    said = [b"", b"hello", bytes(20)]
    async with await Caller.greet(served.port) as caller:
        for path, contents in (("/t.T/Chat", said), ("/t.T/Echo", said[1:2])):
            stream = await caller.begin(path)
            await caller.say(stream, b"".join(map(message, contents)), end=True, most=1)
            answer = await caller.answer(stream)
            assert (answer.messages, answer.status) == (contents, OK)


async def test_many_messages_come_in_one_frame(served: Served) -> None:
    said = [b"%d" % number for number in range(2000)]
    body = b"".join(map(message, said))
    async with await Wire.open(served.port) as wire:
        stream = wire.next()
        await wire.send(
            wire.headers(stream, call_fields("/t.T/Chat")) + frame(DATA, END_STREAM, stream, body)
        )
        answer = await wire.answer(stream)
        assert (answer.messages, answer.status) == (said, OK)


@pytest.mark.parametrize("path", ["/t.T/Echo", "/t.T/Chat"])
async def test_messages_of_several_mib_go_both_ways(served: Served, path: str) -> None:
    async with await Caller.greet(served.port) as caller:
        for content in (bytes(range(256)) * (3 << 12), b"x" * MOST_BYTES):
            answer = await caller.ask(path, content)
            assert answer.messages == [content]
            assert answer.status == OK


@pytest.mark.parametrize("path", ["/t.T/Echo", "/t.T/Chat", "/t.T/Repeat"])
async def test_a_message_that_is_too_large_is_refused_by_its_first_bytes(served: Served, path: str) -> None:
    async with await Caller.greet(served.port) as caller:
        stream = await caller.begin(path)
        await caller.say(stream, b"\0" + (MOST_BYTES + 1).to_bytes(4, "big"))
        answer = await caller.answer(stream)
        assert answer.status == RESOURCE_EXHAUSTED
        assert answer.text == f"the message has {MOST_BYTES + 1} bytes; the most is {MOST_BYTES}"
        assert (await caller.ask("/t.T/Echo", b"next")).messages == [b"next"]


async def test_a_refused_message_ends_the_handler_that_reads_it(served: Served) -> None:
    async with await Caller.greet(served.port) as caller:
        stream = await caller.begin("/t.T/Hold")
        await served.handlers.began.get()
        await caller.say(stream, message(b"first") + b"\0\xff\xff\xff\xff" + bytes(1000))
        served.handlers.go.set()
        answer = await caller.answer(stream)
        assert answer.status == RESOURCE_EXHAUSTED
        assert served.handlers.cancelled.empty()


async def test_a_message_that_can_t_be_read_ends_the_handler_that_would_read_it(served: Served) -> None:
    async with await Caller.greet(served.port) as caller:
        stream = await caller.begin("/t.T/Hold")
        await served.handlers.began.get()
        await caller.say(stream, message(packed=b""))
        assert (await caller.answer(stream)).status == INTERNAL
        assert await asyncio.wait_for(served.handlers.cancelled.get(), SECONDS) == "Hold"


async def test_nothing_is_held_of_a_message_that_is_too_large(served: Served) -> None:
    async with await Caller.greet(served.port) as caller:
        stream = await caller.begin("/t.T/Hold")
        context = await served.handlers.began.get()
        await caller.say(stream, b"\0" + (100 << 20).to_bytes(4, "big"))
        for _ in range(100):
            await caller.say(stream, bytes(1 << 20))
        assert not context._messages.held
        assert context._connection.held.bytes < 1 << 10
        served.handlers.go.set()
        assert (await caller.answer(stream)).status == RESOURCE_EXHAUSTED


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_messages_may_be_compressed_each_by_itself(served: Served, encoding: str) -> None:
    said = [b"", b"plain", b"squeezed " * 1000, b"x" * MOST_BYTES]
    body = (
        packed(encoding, said[0]) + message(said[1]) + packed(encoding, said[2]) + packed(encoding, said[3])
    )
    async with await Caller.greet(served.port) as caller:
        stream = await caller.begin("/t.T/Chat", ("grpc-encoding", encoding))
        await caller.say(stream, body, end=True)
        answer = await caller.answer(stream)
        assert (answer.messages, answer.status) == (said, OK)
        assert answer.fields["grpc-accept-encoding"] == "identity,deflate,gzip"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_message_that_is_too_large_once_decompressed_is_refused(
    served: Served, encoding: str
) -> None:
    async with await Caller.greet(served.port) as caller:
        for size in (MOST_BYTES + 1, 200 << 20):
            stream = await caller.begin("/t.T/Size", ("grpc-encoding", encoding))
            bomb = packed(encoding, bytes(size))
            tracemalloc.start()
            await caller.say(stream, bomb, end=True)
            answer = await caller.answer(stream)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert answer.status == RESOURCE_EXHAUSTED
            assert (
                answer.text == f"the message has over {MOST_BYTES} bytes once decompressed; that is the most"
            )
            assert peak < 100 << 20, "it was not decompressed to its end"


@pytest.mark.slow
async def test_what_waits_decompressed_is_bounded_for_a_connection(served: Served) -> None:
    """64 messages of 4 MiB are 256 MiB, which a handler that does not read must not make the server hold."""
    one = packed("gzip", bytes(MOST_BYTES))
    async with await Caller.greet(served.port) as caller:
        streams = [await caller.begin("/t.T/Hold", ("grpc-encoding", "gzip")) for _ in range(2)]
        for stream in streams:
            await caller.say(stream, one * 31)
        await caller.say(streams[0], one * 3)
        answer = await caller.answer(streams[0])
        assert answer.status == RESOURCE_EXHAUSTED
        assert "bytes of this connection's requests are held" in answer.text
        served.handlers.go.set()
        await caller.say(streams[1], b"", end=True)
        other = await caller.answer(streams[1])
        assert (other.messages, other.status) == ([b"%d" % (31 * MOST_BYTES)], OK)
        # What was held is let go: there is room again.
        third = await caller.begin("/t.T/Total", ("grpc-encoding", "gzip"))
        await caller.say(third, one * 40, end=True)
        assert (await caller.answer(third)).messages == [b"%d" % (40 * MOST_BYTES)]


async def test_a_request_is_held_until_its_call_ends(serve: Serve) -> None:
    """A handler that waits has it. A kilobyte on the wire may be a megabyte of it."""
    served = await serve(limits=Limits(connection_held=4 << 20))
    async with await Caller.greet(served.port) as caller:
        one = packed("gzip", bytes(1 << 20))
        streams = []
        # Each counts with its kilobyte too.
        for _ in range(4):
            streams.append(await caller.begin("/t.T/Wait", ("grpc-encoding", "gzip")))
            await caller.say(streams[-1], one, end=True)
        answer = await caller.answer(streams.pop())
        assert (answer.status, answer.text) == (
            RESOURCE_EXHAUSTED,
            f"over {4 << 20} bytes of this connection's requests are held",
        )
        served.handlers.go.set()
        for stream in streams:
            assert (await caller.answer(stream)).status == OK
        # There is room again.
        stream = await caller.begin("/t.T/Wait", ("grpc-encoding", "gzip"))
        await caller.say(stream, one, end=True)
        assert (await caller.answer(stream)).status == OK


async def test_an_encoding_that_nobody_knows_is_unimplemented_and_those_known_are_named(
    served: Served,
) -> None:
    async with await Caller.greet(served.port) as caller:
        answer = await caller.ask("/t.T/Echo", b"x", ("grpc-encoding", "snappy"))
        assert (answer.status, answer.text) == (
            UNIMPLEMENTED,
            "messages may be compressed by gzip or deflate, not by snappy",
        )
        assert answer.fields["grpc-accept-encoding"] == "identity,deflate,gzip"


@pytest.mark.parametrize(
    ("encoding", "body", "why"),
    [
        ("identity", message(packed=b"x"), "a message's flag says compressed"),
        (None, message(packed=b"x"), "a message's flag says compressed"),
        ("gzip", b"\2" + message(b"x")[1:], "a message's flag says compressed"),
        ("gzip", message(packed=b"no gzip"), "a message can't be decompressed"),
        ("gzip", message(packed=zlib.compress(b"x")), "a message can't be decompressed"),
        ("deflate", message(packed=zlib.compress(bytes(1000))[:-3]), "its end is missing"),
        ("gzip", message(packed=b""), "its end is missing"),
    ],
)
async def test_what_is_compressed_wrongly_is_internal(
    served: Served, encoding: str | None, body: bytes, why: str
) -> None:
    async with await Caller.greet(served.port) as caller:
        for path in ("/t.T/Echo", "/t.T/Chat"):
            stream = await caller.begin(path, *((("grpc-encoding", encoding),) if encoding else ()))
            await caller.say(stream, body, end=True)
            answer = await caller.answer(stream)
            assert answer.status == INTERNAL
            assert why in answer.text


@pytest.mark.parametrize("method", ["Unary", "Stream", "Both"])
async def test_a_message_that_its_handler_can_t_read_is_the_caller_s_fault_and_nothing_to_log(
    served: Served, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    def read(raw: bytes) -> bytes:
        if raw == b"bad":
            raise ValueError("it is bad")
        return raw

    make: Any = grpc
    handlers = {
        "Unary": make.unary_unary_rpc_method_handler(served.handlers.echo, request_deserializer=read),
        "Stream": make.unary_stream_rpc_method_handler(served.handlers.dressed, request_deserializer=read),
        "Both": make.stream_stream_rpc_method_handler(served.handlers.chat, request_deserializer=read),
    }
    served.server.add_registered_method_handlers("d.D", handlers)
    async with await Caller.greet(served.port) as caller:
        answer = await caller.ask(f"/d.D/{method}", b"bad")
        assert (answer.status, answer.text) == (INTERNAL, "the message can't be read: it is bad")
        assert (await caller.ask(f"/d.D/{method}", b"good")).messages == [b"good"]
    assert not [one for one in of_server(caplog) if one.levelname == "ERROR"]
