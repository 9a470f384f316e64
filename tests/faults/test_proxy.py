"""The proxy: each of its ways, between a caller and an echo."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from .proxy import Proxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Before a server that answers each line with itself, and `end` to the end of what it is told."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line)
            writer.write(b"end\n")
        except OSError:
            pass
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Proxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        yield proxy


async def connect(proxy: Proxy) -> Streams:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def said(streams: Streams, text: str) -> str:
    streams[1].write(text.encode() + b"\n")
    return (await asyncio.wait_for(streams[0].readline(), 5)).decode().strip()


async def hears_nothing(streams: Streams) -> None:
    """Nothing arrives in the time in which an answer usually has come fifty times."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(streams[0].read(1), 0.1)


async def test_what_a_black_hole_swallowed_comes_when_it_passes_again(proxy):
    streams = await connect(proxy)
    assert await said(streams, "one") == "one"
    proxy.black_hole()
    streams[1].write(b"two\n")
    await hears_nothing(streams)
    # A new caller is taken, and hears nothing.
    other = await connect(proxy)
    other[1].write(b"three\n")
    await hears_nothing(other)
    proxy.passing()
    assert (await asyncio.wait_for(streams[0].readline(), 5)) == b"two\n"
    assert (await asyncio.wait_for(other[0].readline(), 5)) == b"three\n"


@pytest.mark.parametrize("way", ["up", "down"])
async def test_one_way_alone_can_be_dead(proxy, way):
    streams = await connect(proxy)
    assert await said(streams, "one") == "one"
    proxy.one_way(getattr(proxy, way))
    streams[1].write(b"two\n")
    await hears_nothing(streams)
    proxy.passing()
    assert (await asyncio.wait_for(streams[0].readline(), 5)) == b"two\n"


async def test_a_reset_ends_what_there_is_and_takes_the_next(proxy):
    streams = await connect(proxy)
    assert await said(streams, "one") == "one"
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(streams[0].readline(), 5)
    assert await said(await connect(proxy), "two") == "two"
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        await said(await connect(proxy), "three")


async def test_a_half_close_tells_the_server_that_the_caller_has_said_all(proxy):
    streams = await connect(proxy)
    assert await said(streams, "one") == "one"
    proxy.half_close()
    assert (await asyncio.wait_for(streams[0].readline(), 5)) == b"end\n"
    assert (await asyncio.wait_for(streams[0].readline(), 5)) == b""


@pytest.mark.slow
async def test_latency_is_each_way_and_bounds_no_throughput(proxy):
    streams = await connect(proxy)
    proxy.slow(0.5)
    started = time.monotonic()
    for number in range(20):
        streams[1].write(f"{number}\n".encode())
        await asyncio.sleep(0)
    for number in range(20):
        assert (await asyncio.wait_for(streams[0].readline(), 5)) == f"{number}\n".encode()
    # One after the other they would take 20 s.
    assert 1 <= time.monotonic() - started < 8
