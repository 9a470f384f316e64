"""Messages of any size, over each engine, and those that are too large."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
import pytest

from jobqueue_server.rpc.engines import Engine

from .conftest import MOST_BYTES, Served
from .test_calls import refused


async def answer(served: Served, method: str, content: bytes, **more: Any) -> bytes:
    """What one message is answered by, in a call of its own."""
    if method == "Echo":
        echoed: bytes = await served.unary(method)(content, **more)
        return echoed
    stream = served.both(method)(**more)
    await stream.write(content)
    await stream.done_writing()
    read: bytes = await stream.read()
    assert await stream.read() is grpc.aio.EOF
    return read


@pytest.mark.parametrize("method", ["Echo", "Chat"])
async def test_messages_up_to_the_limit_go_both_ways(served: Served, method: str) -> None:
    for content in (bytes(range(256)) * (3 << 12), b"x" * MOST_BYTES):
        assert await answer(served, method, content) == content


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
@pytest.mark.parametrize("method", ["Echo", "Chat"])
async def test_requests_may_be_compressed(served: Served, method: str, compression: grpc.Compression) -> None:
    for content in (b"", b"squeezed " * 1000, b"x" * MOST_BYTES):
        assert await answer(served, method, content, compression=compression) == content


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
@pytest.mark.parametrize("method", ["Echo", "Chat"])
async def test_a_message_over_the_limit_is_refused_in_our_words(
    served: Served, method: str, compression: grpc.Compression
) -> None:
    error = await refused(answer(served, method, b"x" * (MOST_BYTES + 1), compression=compression))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.details() in (
        f"the message has {MOST_BYTES + 1} bytes; the most is {MOST_BYTES}",
        f"the message has over {MOST_BYTES} bytes once decompressed; that is the most",
    )
    assert await answer(served, "Echo", b"next") == b"next"


@pytest.mark.parametrize("method", ["Echo", "Chat"])
async def test_one_that_is_far_over_it_is_refused_too_over_grpcio_in_words_of_its_own(
    served: Served, method: str, engine: Engine
) -> None:
    error = await refused(answer(served, method, b"x" * (3 * MOST_BYTES)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    ours = f"the message has {3 * MOST_BYTES} bytes; the most is {MOST_BYTES}"
    assert (error.details() == ours) is (engine == "http2")
    assert await answer(served, "Echo", b"next") == b"next"


@pytest.mark.parametrize("method", ["Echo", "Chat"])
async def test_a_compressed_one_that_is_far_over_it_once_it_is_not_is_refused(
    served: Served, method: str
) -> None:
    error = await refused(answer(served, method, bytes(50 * MOST_BYTES), compression=grpc.Compression.Gzip))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await answer(served, "Echo", b"next") == b"next"


async def test_50_mib_of_messages_go_one_way_and_the_other(served: Served) -> None:
    assert await served.requests("Total")(iter([bytes(1 << 20)] * 50)) == b"%d" % (50 << 20)
    came = 0
    async for each in served.answers("Repeat")(b"50 " + bytes(1 << 20)):
        came += len(each)
    assert came == 50 << 20
