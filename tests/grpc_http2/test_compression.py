"""Compression, as handlers see and set it: of each message that came, and of each answer."""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from grpc_http2 import Call

from .conftest import Served
from .wire import Answer, Caller, message, packed

CONTENT = b"abc" * 1000
BITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
WAYS = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}


async def seen(requests: AsyncIterator[bytes], context: Call) -> AsyncIterator[bytes]:
    """Answers each message with whether it came compressed."""
    async for _ in requests:
        yield b"yes" if context.compressed else b"no"


async def seen_once(request: bytes, context: Call) -> bytes:
    return b"yes" if context.compressed else b"no"


async def squeeze(request: bytes, context: Call) -> bytes:
    """Answers compressed as the request names it."""
    context.set_compression(WAYS[request.decode()])
    return CONTENT


async def in_turns(request: bytes, context: Call) -> AsyncIterator[bytes]:
    """Three messages, of which the second is not compressed."""
    context.set_compression(WAYS[request.decode()])
    yield CONTENT
    context.disable_next_message_compression()
    yield CONTENT
    yield CONTENT


async def too_late(request: bytes, context: Call) -> bytes:
    await context.send_initial_metadata(())
    with pytest.raises(RuntimeError, match="before"):
        context.set_compression(grpc.Compression.Gzip)
    return b"refused"


@pytest.fixture
async def caller(served: Served) -> AsyncIterator[Caller]:
    make: Any = grpc
    unary, streamed = make.unary_unary_rpc_method_handler, make.unary_stream_rpc_method_handler
    methods = {
        "Seen": make.stream_stream_rpc_method_handler(seen),
        "SeenOnce": unary(seen_once),
        "Squeeze": unary(squeeze),
        "InTurns": streamed(in_turns),
        "TooLate": unary(too_late),
    }
    served.server.add_registered_method_handlers("z.Z", methods)
    async with await Caller.greet(served.port) as one:
        yield one


def taken_apart(answer: Answer) -> list[tuple[int, bytes]]:
    """The messages of an answer, each with its flag, as they were before they were compressed."""
    encoding, found, at = answer.fields.get("grpc-encoding", "identity"), [], 0
    while at < len(answer.data):
        flag, size = struct.unpack_from(">BI", answer.data, at)
        body = bytes(answer.data[at + 5 : at + 5 + size])
        found.append((flag, zlib.decompress(body, BITS[encoding]) if flag else body))
        at += 5 + size
    return found


async def ask(caller: Caller, path: str, body: bytes, *more: tuple[str, str]) -> Answer:
    stream = await caller.begin(path, *more)
    await caller.say(stream, body, end=True)
    answer = await caller.answer(stream)
    assert answer.status == 0
    return answer


@pytest.mark.parametrize("encoding", WAYS)
async def test_a_handler_sees_of_each_message_whether_it_came_compressed(
    caller: Caller, encoding: str
) -> None:
    body = packed(encoding, CONTENT) + message(CONTENT) + packed(encoding, b"")
    answer = await ask(caller, "/z.Z/Seen", body, ("grpc-encoding", encoding))
    assert answer.messages == [b"yes", b"no", b"yes"]

    for body, said in ((packed(encoding, CONTENT), b"yes"), (message(CONTENT), b"no")):
        answer = await ask(caller, "/z.Z/SeenOnce", body, ("grpc-encoding", encoding))
        assert answer.messages == [said]


@pytest.mark.parametrize("encoding", WAYS)
async def test_an_answer_is_compressed_where_its_handler_says_so(caller: Caller, encoding: str) -> None:
    accept = ("grpc-accept-encoding", f"identity, {encoding}")
    answer = await ask(caller, "/z.Z/Squeeze", message(encoding.encode()), accept)

    assert answer.fields["grpc-encoding"] == encoding
    assert taken_apart(answer) == [(1, CONTENT)]
    assert len(answer.data) < 100


async def test_one_message_of_a_stream_can_be_left_as_it_is(caller: Caller) -> None:
    answer = await ask(caller, "/z.Z/InTurns", message(b"gzip"), ("grpc-accept-encoding", "gzip"))

    assert taken_apart(answer) == [(1, CONTENT), (0, CONTENT), (1, CONTENT)]


@pytest.mark.parametrize("accept", [(), (("grpc-accept-encoding", "identity,deflate"),)])
async def test_a_caller_gets_nothing_compressed_that_it_does_not_read(caller: Caller, accept: Any) -> None:
    for path, count in (("/z.Z/Squeeze", 1), ("/z.Z/InTurns", 3)):
        answer = await ask(caller, path, message(b"gzip"), *accept)

        assert "grpc-encoding" not in answer.fields
        assert taken_apart(answer) == [(0, CONTENT)] * count


async def test_a_handler_that_says_so_too_late_is_told(caller: Caller) -> None:
    answer = await ask(caller, "/z.Z/TooLate", message(b""), ("grpc-accept-encoding", "gzip"))

    assert answer.messages == [b"refused"]
