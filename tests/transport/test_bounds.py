"""What each engine bounds, and where it listens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobqueue_server.rpc.engines import Engine
from jobqueue_server.rpc.transport import Limits

from .conftest import PATIENCE, Serve, channel


async def test_a_connection_that_is_one_too_many_is_closed(serve: Serve) -> None:
    served = await serve(limits=Limits(connections=2))
    assert await served.unary("Echo")(b"1") == b"1"
    async with channel(f"127.0.0.1:{served.port}") as second:
        echo: Any = second.unary_unary("/t.T/Echo")
        assert await echo(b"2") == b"2"
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        try:
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        except ConnectionResetError:
            pass
        writer.close()


@pytest.mark.slow
@pytest.mark.parametrize("start", [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
async def test_a_caller_that_does_not_greet_is_closed(serve: Serve, start: bytes) -> None:
    served = await serve(limits=Limits(greeting=1))
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(start)
    try:
        await asyncio.wait_for(reader.read(), PATIENCE)
    except ConnectionResetError:
        pass
    writer.close()


async def test_calls_of_one_connection_are_bounded(serve: Serve, engine: Engine) -> None:
    served = await serve(most_streams=3)
    # What there may be is known from here on.
    await served.unary("Echo")(b"")
    await served.begun()
    calls = [asyncio.ensure_future(served.unary("Wait")(b"%d" % number)) for number in range(5)]
    for _ in range(3):
        await served.begun()
    await asyncio.sleep(0.2)
    assert served.handlers.began.empty()
    served.handlers.go.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    # The others wait; over grpcio one may be refused where its client thinks that there is room again.
    sure = 5 if engine == "http2" else 3
    assert answers[:sure] == [b"%d" % number for number in range(sure)]


async def test_a_port_that_is_taken_is_refused_and_its_server_serves_on(serve: Serve) -> None:
    served = await serve()
    with pytest.raises(OSError, match="."):
        await serve("127.0.0.1", served.port)
    assert await served.unary("Echo")(b"x") == b"x"


async def test_an_address_of_another_machine_is_refused(serve: Serve) -> None:
    with pytest.raises(OSError, match="."):
        await serve("192.0.2.1")


async def test_servers_may_share_a_port(serve: Serve) -> None:
    first = await serve(reuse_port=True)
    second = await serve("127.0.0.1", first.port, reuse_port=True)
    for _ in range(200):
        async with channel(f"127.0.0.1:{first.port}") as another:
            echo: Any = another.unary_unary("/t.T/Echo")
            await echo(b"")
        if first.handlers.began.qsize() and second.handlers.began.qsize():
            return
    raise AssertionError("one server got all 200 connections")
