"""What handlers say of the compression of their answers, over each engine, as it stands on the wire."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import grpc
import pytest

from tests.grpc_http2.wire import Caller, message

from .conftest import Served

TEXT = b"x" * 1000


async def answers(served: Served, method: str) -> list[tuple[bool, bytes]]:
    """Of each message of an answer, whether it came compressed, and what it says."""
    async with await Caller.greet(served.port) as caller:
        stream = await caller.begin(f"/t.T/{method}", ("grpc-accept-encoding", "gzip"))
        await caller.say(stream, message(TEXT), end=True)
        answer = await caller.answer(stream)
    assert answer.status == 0
    found, at = [], 0
    while at < len(answer.data):
        flag, size = struct.unpack_from(">BI", answer.data, at)
        body = bytes(answer.data[at + 5 : at + 5 + size])
        found.append((bool(flag), zlib.decompress(body, zlib.MAX_WBITS | 16) if flag else body))
        at += 5 + size
    return found


async def test_a_unary_answer_is_compressed_as_its_handler_says(served: Served) -> None:
    assert await answers(served, "Compressing") == [(True, TEXT)]
    assert await answers(served, "Echo") == [(False, TEXT)]


@pytest.mark.parametrize("waits", [True, False])
async def test_of_a_stream_the_message_that_is_to_be_sent_as_it_is_is_so_and_no_other(
    served: Served, waits: bool
) -> None:
    async def drive(stream: Any) -> None:
        stream.set_compression(grpc.Compression.Gzip)
        for plain in (False, True, False):
            if plain:
                stream.disable_next_message_compression()
            if waits:
                await stream.write(TEXT)
            else:
                stream.send(TEXT)

    served.handlers.drive = drive
    assert await answers(served, "Drive") == [(False, TEXT) if at == 1 else (True, TEXT) for at in range(3)]


async def test_compression_is_not_set_once_the_answer_has_begun(served: Served) -> None:
    async def drive(stream: Any) -> None:
        await stream.send_initial_metadata(())
        with pytest.raises(RuntimeError, match="before"):
            stream.set_compression(grpc.Compression.Gzip)
        await stream.write(TEXT)

    served.handlers.drive = drive
    assert await answers(served, "Drive") == [(False, TEXT)]
