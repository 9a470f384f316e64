"""What `Lease` needs of its stream, over each engine: order, room, and to know how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from jobqueue_server.rpc.transport import FrameStream, PeerGone

from .conftest import PATIENCE, Served

Drive = Callable[[Callable[[FrameStream], Awaitable[None]]], Any]


@pytest.fixture
def drive(served: Served) -> Drive:
    """Begins a call whose handler does what a test says."""

    def begin(work: Callable[[FrameStream], Awaitable[None]]) -> Any:
        served.handlers.drive = work
        return served.both("Drive")()

    return begin


async def test_what_is_sent_without_waiting_comes_in_order_and_before_the_end(drive: Drive) -> None:
    async def work(stream: FrameStream) -> None:
        for number in range(500):
            stream.send(b"%d" % number)
        await stream.write(b"500")
        stream.send(b"501")

    call = drive(work)
    assert [each async for each in call] == [b"%d" % number for number in range(502)]
    assert await call.code() is grpc.StatusCode.OK


async def test_messages_are_handled_as_they_come_and_no_sooner_than_they_may(drive: Drive) -> None:
    handled: list[bytes] = []
    open_ = True
    came = asyncio.Event()
    streams: list[FrameStream] = []

    def handle(message: bytes) -> None:
        nonlocal open_
        handled.append(message)
        open_ = len(handled) % 3 != 0
        came.set()

    async def work(stream: FrameStream) -> None:
        streams.append(stream)
        await stream.receive(handle, lambda: open_)
        stream.send(b"all")

    call = drive(work)
    for number in range(8):
        await call.write(b"%d" % number)
    await call.done_writing()
    async with asyncio.timeout(PATIENCE):
        for most in (3, 6, 8):
            while len(handled) < most:
                came.clear()
                await came.wait()
            # Others have come, and wait.
            await asyncio.sleep(0.1)
            assert len(handled) == most
            open_ = True
            streams[0].resume()
        assert await call.read() == b"all"
    assert handled == [b"%d" % number for number in range(8)]


async def test_an_error_of_what_handles_ends_the_receiving(drive: Drive) -> None:
    def handle(message: bytes) -> None:
        handled.append(message)
        raise ValueError(message)

    handled: list[bytes] = []
    written = asyncio.Event()

    async def work(stream: FrameStream) -> None:
        await written.wait()
        with pytest.raises(ValueError, match="first"):
            await stream.receive(handle, lambda: True)
        stream.send(b"told")

    call = drive(work)
    for message in (b"first", b"second"):
        await call.write(message)
    written.set()
    assert await call.read() == b"told"
    assert handled == [b"first"]


async def test_a_call_that_is_cancelled_is_not_taken_for_closed(served: Served, drive: Drive) -> None:
    closed: list[bool] = []

    async def work(stream: FrameStream) -> None:
        async def read() -> None:
            await stream.receive(lambda message: None, lambda: True)
            closed.append(True)

        reading = asyncio.create_task(read())
        try:
            await asyncio.Event().wait()
        finally:
            reading.cancel()

    for _ in range(20):
        call = drive(work)
        await call.write(b"x")
        await served.begun()
        call.cancel()
        assert await served.how_it_ended() == "cancelled"
    assert closed == []


@pytest.mark.slow
async def test_a_caller_that_does_not_read_leaves_no_room_and_later_there_is_again(drive: Drive) -> None:
    sent = 0
    full, told = asyncio.Event(), asyncio.Event()

    async def work(stream: FrameStream) -> None:
        nonlocal sent
        quiet = 0
        # The client has threads of its own, which may be late.
        while quiet < 40:
            while stream.writable() and sent < 2000:
                stream.send(bytes(100_000))
                sent += 1
                quiet = 0
            await asyncio.sleep(0.05)
            quiet += 1
        full.set()
        stream.when_writable(told.set)
        await told.wait()
        stream.send(b"more")

    call = drive(work)
    await asyncio.wait_for(full.wait(), PATIENCE)
    # The client has most of it: its window grows as it measures the way.
    assert 0 < sent < 1000
    assert not told.is_set()
    async with asyncio.timeout(PATIENCE):
        for _ in range(sent):
            assert len(await call.read()) == 100_000
        assert await call.read() == b"more"
        assert await call.read() is grpc.aio.EOF


async def test_who_waits_for_room_is_told_when_the_caller_has_gone(served: Served, drive: Drive) -> None:
    full, told = asyncio.Event(), asyncio.Event()

    async def work(stream: FrameStream) -> None:
        quiet = 0
        while quiet < 10:
            while stream.writable():
                stream.send(bytes(100_000))
                quiet = 0
            await asyncio.sleep(0.05)
            quiet += 1
        stream.when_writable(told.set)
        full.set()
        await asyncio.Event().wait()

    call = drive(work)
    await asyncio.wait_for(full.wait(), PATIENCE)
    call.cancel()
    assert await served.how_it_ended() == "cancelled"
    await asyncio.wait_for(told.wait(), PATIENCE)


async def test_an_error_ends_a_stream_also_where_much_waits_to_be_written(drive: Drive) -> None:
    async def work(stream: FrameStream) -> None:
        for _ in range(200):
            stream.send(bytes(100_000))
        await stream.abort(grpc.StatusCode.NOT_FOUND, "enough", (("why", "so"),))

    call = drive(work)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for each in call:
            assert len(each) == 100_000
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, "enough")
    trailing: Any = tuple(caught.value.trailing_metadata() or ())
    assert ("why", "so") in trailing


async def test_nothing_is_sent_or_read_once_the_handler_has_ended(served: Served, drive: Drive) -> None:
    """Whoever still knows the stream may try: a session's link, a task that was left behind."""

    async def work(stream: FrameStream) -> None:
        await stream.read()

    call = drive(work)
    await call.write(b"x")
    stream = await served.begun()
    assert await call.read() is grpc.aio.EOF
    # The call is forgotten on each side.
    await served.unary("Echo")(b"")
    stream.send(b"late")
    with pytest.raises(PeerGone):
        await stream.write(b"late")
    assert await stream.read() is grpc.aio.EOF
    assert stream.peer().startswith("ipv4:127.0.0.1:")
    await stream.send_initial_metadata((("late", "1"),))
    told = asyncio.Event()
    stream.when_writable(told.set)
    await asyncio.wait_for(told.wait(), PATIENCE)
