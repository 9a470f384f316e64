"""How calls end before they are done, over each engine: by their caller, by their time, with their server."""

from __future__ import annotations

import asyncio
import contextlib
import time

import grpc
import grpc.aio
import pytest

from tests.faults.proxy import Proxy

from .conftest import PATIENCE, Serve, Served, channel
from .test_calls import refused


def begin(served: Served, method: str) -> grpc.aio.Call:
    """A call that waits; of a stream nothing is said."""
    if method == "Wait":
        unary: grpc.aio.Call = served.unary(method)(b"x")
        return unary
    stream: grpc.aio.Call = served.both(method)()
    return stream


@pytest.mark.parametrize("method", ["Wait", "Hold"])
async def test_a_caller_that_cancels_cancels_its_handler_and_no_other(served: Served, method: str) -> None:
    call, other = begin(served, method), asyncio.ensure_future(served.unary("Wait")(b"other"))
    await served.begun()
    await served.begun()
    call.cancel()
    assert await served.how_it_ended() == "cancelled"
    served.handlers.go.set()
    assert await other == b"other"
    assert await served.how_it_ended() == "answered"


async def test_a_lost_connection_cancels_its_handlers(served: Served) -> None:
    async with Proxy("127.0.0.1", served.port) as proxy, channel(proxy.address) as far:
        there = Served(served.server, served.port, far, served.handlers)
        calls = [begin(there, method) for method in ("Wait", "Hold")]
        for _ in calls:
            await served.begun()
        proxy.reset()
        assert [await served.how_it_ended() for _ in calls] == ["cancelled"] * 2
        for call in calls:
            assert await call.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.slow
async def test_a_caller_that_is_silent_is_asked_and_then_taken_for_gone(serve: Serve) -> None:
    # The one that is there is only as quick as the machine.
    served = await serve(keepalive=1, keepalive_timeout=4)
    async with Proxy("127.0.0.1", served.port) as proxy, channel(proxy.address) as far:
        there = Served(served.server, served.port, far, served.handlers)
        near, lost = begin(served, "Wait"), begin(there, "Hold")
        for _ in range(2):
            await served.begun()
        proxy.black_hole()
        assert await served.how_it_ended() == "cancelled"
        assert not near.done(), "the client answers PINGs by itself"
        lost.cancel()
    served.handlers.go.set()
    assert await served.how_it_ended() == "answered"


async def test_a_caller_that_goes_ends_a_handler_that_writes(served: Served) -> None:
    call = served.answers("Pour")(bytes(1000))
    assert await call.read()
    call.cancel()
    assert await served.how_it_ended() in ("cancelled", "gone")


async def test_a_caller_that_does_not_read_makes_the_handler_wait(served: Served) -> None:
    call = served.answers("Pour")(bytes(1 << 20))
    await served.begun()
    # Until nothing changes any more: the buffers between the two are full.
    before = -1
    while before != served.handlers.written:
        before = served.handlers.written
        await asyncio.sleep(0.3)
    assert served.handlers.written < 50
    for _ in range(served.handlers.written + 20):
        await call.read()
    assert served.handlers.written > before
    call.cancel()
    await served.how_it_ended()


async def test_the_handler_knows_what_time_it_has(served: Served) -> None:
    await served.unary("Echo")(b"", timeout=100)
    remaining = (await served.begun()).time_remaining()
    assert remaining is not None
    # A client may round it.
    assert 90 < remaining <= 101
    await served.unary("Echo")(b"")
    assert (await served.begun()).time_remaining() is None


@pytest.mark.slow
async def test_a_streaming_call_ends_with_its_time(served: Served) -> None:
    # It has connected: its time is not spent on that.
    await served.unary("Echo")(b"")
    await served.begun()
    call = served.both("Hold")(timeout=3)
    await served.begun()
    assert (await refused(call.read())).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert await served.how_it_ended() == "cancelled"


async def test_a_half_close_is_no_cancel(served: Served) -> None:
    call = served.both("Hold")()
    await served.begun()
    await call.done_writing()
    served.handlers.go.set()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    assert await served.how_it_ended() == "answered"


async def test_a_stop_lets_calls_end_and_takes_no_connections(serve: Serve) -> None:
    served = await serve()
    call = asyncio.ensure_future(served.unary("Wait")(b"done"))
    await served.begun()
    stopping = asyncio.create_task(served.server.stop(PATIENCE))
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            except (ConnectionRefusedError, ConnectionResetError):
                break
            writer.close()
    assert not stopping.done()
    served.handlers.go.set()
    assert await call == b"done"
    await asyncio.wait_for(stopping, PATIENCE)


async def test_a_stop_cuts_off_what_is_not_done_after_the_grace(serve: Serve) -> None:
    served = await serve()
    calls = [begin(served, method) for method in ("Wait", "Hold")]
    for _ in calls:
        await served.begun()
    began = time.monotonic()
    await asyncio.wait_for(served.server.stop(0.3), PATIENCE)
    assert time.monotonic() - began >= 0.29
    assert [await served.how_it_ended() for _ in calls] == ["cancelled"] * 2
    for call in calls:
        assert await call.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_stop_waits_for_what_a_handler_does_when_it_is_cancelled(serve: Serve) -> None:
    served = await serve()
    served.handlers.cleanup = 0.2
    call = begin(served, "Wait")
    await served.begun()
    await served.server.stop(0)
    assert served.handlers.ended.get_nowait() == "cancelled"
    with contextlib.suppress(grpc.aio.AioRpcError):
        await call.wait_for_connection()


@pytest.mark.slow
async def test_an_old_connection_is_replaced_and_what_is_under_way_on_it_goes_on(serve: Serve) -> None:
    served = await serve(max_connection_age=1.0)
    call = asyncio.ensure_future(served.unary("Wait")(b"under way"))
    first = (await served.begun()).peer()
    async with asyncio.timeout(PATIENCE):
        while True:
            await served.unary("Echo")(b"")
            if (await served.begun()).peer() != first:
                break
            await asyncio.sleep(0.05)
    served.handlers.go.set()
    assert await call == b"under way"
