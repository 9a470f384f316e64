"""What callers can make the server hold, and for how long: connections, requests that come, answers that wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

import pytest

from grpc_http2 import turn as module
from grpc_http2.limits import Limits
from grpc_http2.outbox import DEAF_BYTES, FLUSH_BYTES

from .conftest import Serve
from .wire import (
    CANCEL,
    CONTINUATION,
    DATA,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADERS,
    NO_ERROR,
    PING,
    PREFACE,
    REFUSED_STREAM,
    RST_STREAM,
    Caller,
    Wire,
    call_fields,
    frame,
    message,
    setting,
    update,
)

OK, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED = 0, 4, 8
MIB = 1 << 20


async def closed(wire: Wire) -> bool:
    """Waits for the server to close the connection."""
    while await wire.receive():
        pass
    return wire.closed


async def blind(port: int, window: int = 0) -> Wire:
    """A caller whose streams have this window, and who gives nothing back by itself."""
    wire = await Wire.open(port, start=PREFACE + setting(INITIAL_WINDOW_SIZE=window))
    wire.reads = False
    return wire


# ---- connections


async def test_a_connection_that_is_one_too_many_is_closed_and_there_is_room_again_after_another(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    served = await serve(limits=Limits(connections=2))
    async with await Wire.open(served.port) as first, await Wire.open(served.port) as second:
        await first.echo()
        await second.echo()
        began = time.monotonic()
        with caplog.at_level(logging.WARNING):
            for _ in range(20):
                async with await Wire.open(served.port) as third:
                    assert await closed(third)
                    assert not third.frames
        lines = [one for one in caplog.records if "connections are open, which is the most" in one.message]
        assert 1 <= len(lines) <= 1 + time.monotonic() - began
        assert (await first.answer(await first.call())).status == OK
        second.socket.close()
        async with asyncio.timeout(60):
            while True:
                async with await Wire.open(served.port) as third:
                    await third.call()
                    if await third.receive():
                        break


@pytest.mark.slow
@pytest.mark.parametrize("start", [b"", PREFACE[:10], PREFACE, PREFACE + frame(4, 0, 0)[:8], b"GE"])
async def test_a_caller_that_does_not_greet_is_closed(serve: Serve, start: bytes) -> None:
    served = await serve(limits=Limits(greeting=1))
    async with await Wire.open(served.port) as other, await Wire.open(served.port, start=start) as wire:
        assert await asyncio.wait_for(closed(wire), 10)
        assert (await other.answer(await other.call())).status == OK


# ---- requests


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/t.T/Echo", "/t.T/Repeat"])
async def test_a_request_that_does_not_become_whole_is_told_so(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    # Who gives a deadline is waited for longer.
    monkeypatch.setattr("grpc_http2.call._MOST_PATIENCE", 3)
    served = await serve(limits=Limits(request=1))
    async with await Wire.open(served.port) as wire:
        streaming = await wire.call("/t.T/Chat", None)
        own = await wire.call(path, None, grpc_timeout="1S")
        none, begun = await wire.call(path, None), await wire.call(path, None)
        endless = await wire.call(path, None, grpc_timeout="99999999H")
        await wire.send(frame(DATA, 0, begun, message(bytes(100))[:50]))
        for stream in (none, begun):
            answer = await wire.answer(stream)
            assert (answer.status, answer.text) == (DEADLINE_EXCEEDED, "the request was not whole after 1 s")
        assert (await wire.answer(own)).status == DEADLINE_EXCEEDED
        answer = await wire.answer(endless)
        assert (answer.status, answer.text) == (DEADLINE_EXCEEDED, "Deadline Exceeded")
        await wire.send(frame(DATA, END_STREAM, streaming, message(b"still")))
        assert (await wire.answer(streaming)).messages == [b"still"]
    assert len(served.handlers.contexts) == 1


@pytest.mark.slow
async def test_of_requests_that_do_not_become_whole_the_newest_are_refused(serve: Serve) -> None:
    served = await serve(limits=Limits(receiving=3))
    async with await Wire.open(served.port) as wire:
        streams = [await wire.call("/t.T/Echo", None) for _ in range(5)]
        for stream in streams[3:]:
            assert (await wire.answer(stream)).reset == REFUSED_STREAM
        # What the caller sent before it could know is passed over.
        await wire.send(b"".join(frame(DATA, END_STREAM, stream, message(b"x")) for stream in streams))
        for stream in streams[:3]:
            assert (await wire.answer(stream)).messages == [b"x"]
    assert len(served.handlers.contexts) == 3


async def test_a_burst_of_calls_whose_fields_all_come_first_is_served(serve: Serve) -> None:
    """As Node sends it: 200 of them at once are nothing that a caller must not do."""
    served = await serve(limits=Limits(receiving=3))
    async with await Wire.open(served.port) as wire:
        streams = [wire.next() for _ in range(1000)]
        await wire.send(b"".join(wire.headers(stream, call_fields()) for stream in streams))
        await wire.echo()
        await wire.send(b"".join(frame(DATA, END_STREAM, stream, message(b"x")) for stream in streams))
        for stream in streams:
            assert (await wire.answer(stream)).messages == [b"x"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "begun",
    [
        frame(DATA, 0, 1, bytes(60_000))[:50_000],
        frame(HEADERS, 0, 3, b"\x82") + frame(CONTINUATION, 0, 3, bytes(100)),
    ],
    ids=["a frame", "a block of fields"],
)
async def test_a_frame_that_does_not_become_whole_is_held_for_a_while_and_counted(
    serve: Serve, begun: bytes
) -> None:
    served = await serve(limits=Limits(request=2))
    async with await Wire.open(served.port) as wire:
        await wire.send(wire.headers(wire.next(), call_fields("/t.T/Chat")) + begun)
        usage = served.server._terms.usage
        async with asyncio.timeout(60):
            while usage.held < len(begun) - 20:
                await asyncio.sleep(0.01)
        sending = True
        while sending:
            # It is heard all the time.
            await wire.send(bytes(1) if begun.startswith(frame(DATA, 0, 1, bytes(60_000))[:9]) else b"")
            with contextlib.suppress(TimeoutError):
                sending = await asyncio.wait_for(wire.receive(), 0.1)
        assert usage.held == 0


@pytest.mark.slow
async def test_a_refused_request_does_not_wait_for_its_end_for_ever(serve: Serve) -> None:
    served = await serve(limits=Limits(request=1))
    async with await Wire.open(served.port) as wire:
        stream = wire.next()
        await wire.send(wire.headers(stream, call_fields(content_type="text/plain")))
        await wire.until(lambda: stream in wire.answers and wire.answers[stream].reset is not None)
        answer = wire.answers[stream]
        assert (answer.fields[":status"], answer.ended, answer.reset) == ("415", True, NO_ERROR)
        assert (await wire.answer(await wire.call())).status == OK


async def test_what_all_requests_hold_is_bounded_and_who_holds_most_is_cut_off(serve: Serve) -> None:
    served = await serve(limits=Limits(held=MIB))
    async with await Caller.greet(served.port) as most, await Caller.greet(served.port) as least:
        held = await least.begin("/t.T/Hold")
        await least.say(held, message(bytes(300_000)))
        large = await most.begin("/t.T/Hold")
        await most.say(large, message(bytes(700_000)))
        assert await served.handlers.began.get()
        assert await served.handlers.began.get()
        second = await least.begin("/t.T/Hold")
        await least.say(second, message(bytes(300_000)))
        assert await closed(most)
        assert await served.handlers.cancelled.get() == "Hold"
        # Whoever would be the next to hold most is refused what is too much.
        third = await least.begin("/t.T/Hold")
        await least.say(third, message(bytes(600_000)))
        answer = await least.answer(third)
        assert answer.status == RESOURCE_EXHAUSTED
        assert answer.text == f"over {MIB} bytes of all connections' requests are held"
        served.handlers.go.set()
        await least.say(held, b"", end=True)
        assert (await least.answer(held)).messages == [b"300000"]
        await least.say(second, b"", end=True)
        assert (await least.answer(second)).messages == [b"300000"]


# ---- answers


async def test_answers_that_are_not_read_are_bounded_for_a_connection(serve: Serve) -> None:
    served = await serve(limits=Limits(connection_unread=MIB))
    async with await blind(served.port) as wire:
        # Their handlers run before there is an answer.
        streams = [await wire.call("/t.T/Wait", bytes(300_000)) for _ in range(5)]
        for _ in streams:
            await served.handlers.began.get()
        served.handlers.go.set()
        for stream in streams[3:]:
            assert (await wire.answer(stream)).reset == ENHANCE_YOUR_CALM
        assert 900_000 < served.server._terms.usage.unread <= MIB
        await wire.send(update(0, 2 * MIB) + setting(INITIAL_WINDOW_SIZE=MIB))
        for stream in streams[:3]:
            answer = await wire.answer(stream)
            assert (answer.messages, answer.status) == ([bytes(300_000)], OK)
        assert served.server._terms.usage.unread == 0


async def test_a_caller_that_goes_on_asking_for_what_it_does_not_read_loses_its_connection(
    serve: Serve,
) -> None:
    served = await serve(limits=Limits(connection_unread=MIB, reset_burst=20))
    async with await blind(served.port) as wire:
        for _ in range(30):
            await wire.call("/t.T/Wait", bytes(300_000))
        for _ in range(30):
            await served.handlers.began.get()
        served.handlers.go.set()
        assert await closed(wire)
        assert served.server._terms.usage.unread == 0


async def test_calls_are_not_handled_before_earlier_answers_are_read_and_then_all_are(serve: Serve) -> None:
    served = await serve(limits=Limits(connection_unread=MIB))
    async with await blind(served.port) as wire:
        streams = [await wire.call("/t.T/Echo", b"%d " % number + bytes(100_000)) for number in range(50)]
        served.handlers.go.set()
        async with asyncio.timeout(25):
            while not served.server._terms.usage.unread:
                await asyncio.sleep(0.01)
        await wire.send(frame(PING, 0, 0, bytes(8)))
        [connection] = served.server._terms.connections
        async with asyncio.timeout(25):
            while len(connection.out.held_up) + len(served.handlers.contexts) < 50:
                await asyncio.sleep(0.01)
        # An eighth, and the answer that passed it.
        assert connection.out.unread <= MIB // 8 + 110_000
        assert len(served.handlers.contexts) == 2
        await wire.send(setting(INITIAL_WINDOW_SIZE=MIB))
        for number, stream in enumerate(streams):
            await wire.send(update(0, 110_000))
            answer = await wire.answer(stream)
            assert (answer.messages, answer.status) == ([b"%d " % number + bytes(100_000)], OK)
            assert connection.out.unread <= MIB // 8 + 110_000
        assert served.server._terms.usage.unread == 0
        assert not connection.out.held_up


async def test_calls_that_wait_for_earlier_answers_are_bounded_and_end_with_their_callers(
    serve: Serve,
) -> None:
    served = await serve(limits=Limits(connection_unread=MIB, waiting=5, stall=1))
    async with await blind(served.port) as wire:
        first = await wire.call("/t.T/Echo", bytes(300_000))
        await served.handlers.began.get()
        [connection] = served.server._terms.connections
        streams = [await wire.call("/t.T/Echo", b"a") for _ in range(5)]
        async with asyncio.timeout(25):
            while len(connection.out.held_up) < 5:
                await asyncio.sleep(0.01)
        assert (await wire.answer(await wire.call("/t.T/Echo", b"a"))).reset == REFUSED_STREAM
        await wire.send(frame(RST_STREAM, 0, streams[0], bytes((0, 0, 0, CANCEL))))
        # Who reads nothing of the first loses it, and the others then have room.
        assert (await wire.answer(first)).reset == CANCEL
        await wire.send(setting(INITIAL_WINDOW_SIZE=MIB))
        for stream in streams[1:]:
            answer = await wire.answer(stream)
            assert answer.reset == CANCEL or answer.messages == [b"a"]
        assert not connection.out.held_up
        assert served.server._terms.usage.unread == 0


async def test_answers_that_are_not_read_are_bounded_for_all_and_who_reads_least_is_cut_off(
    serve: Serve,
) -> None:
    served = await serve(limits=Limits(unread=MIB))
    async with await blind(served.port) as most, await blind(served.port) as least:
        await most.call("/t.T/Echo", bytes(700_000))
        await least.call("/t.T/Echo", bytes(200_000))
        for _ in range(2):
            await served.handlers.began.get()
        stream = await least.call("/t.T/Echo", bytes(200_000))
        assert await closed(most)
        await least.send(update(0, MIB) + update(stream, MIB))
        assert (await least.answer(stream)).messages == [bytes(200_000)]


@pytest.mark.slow
async def test_error_answers_that_are_not_read_are_bounded(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They need no window. The server looks at no more of such a caller's calls before that reads."""
    monkeypatch.setattr(module, "_TURN", 60.0)
    served = await serve()
    async with await Wire.open(served.port, buffer=4096) as wire:
        first = wire.next()
        await wire.send(wire.headers(first, call_fields("/t.T/" + "x" * 250)))
        block = wire.encoder.encode(call_fields("/t.T/" + "x" * 250))
        streams = range(first + 2, first + 2 + 2 * 50_000, 2)
        sent = b"".join(frame(1, 4 | END_STREAM, stream, block) for stream in streams)
        sending = asyncio.create_task(wire.send(sent))
        [connection] = served.server._terms.connections
        async with asyncio.timeout(60):
            while not connection.out.deaf:
                await asyncio.sleep(0.01)
        for _ in range(20):
            await asyncio.sleep(0.01)
            # What was sent together when the bound was passed, and an answer.
            assert connection.out.unread < DEAF_BYTES + FLUSH_BYTES + 1000
            # What one read brought.
            assert len(connection._reader._pending) < 300_000
        for stream in streams:
            await wire.answer(stream)
        await sending
        assert (await wire.answer(await wire.call("/t.T/Echo", None, grpc_timeout="0S"))).status is not None


@pytest.mark.slow
async def test_a_caller_is_read_no_further_also_where_its_last_frame_is_one_too_many(serve: Serve) -> None:
    served = await serve()
    async with await Wire.open(served.port, buffer=4096) as wire:
        [connection] = served.server._terms.connections
        block = wire.encoder.encode(call_fields("/t.T/" + "x" * 250))
        async with asyncio.timeout(60):
            while not connection.out.deaf:
                # So few that they come alone, and none is left when the server halts.
                await wire.send(b"".join(frame(1, 4 | END_STREAM, wire.next(), block) for _ in range(10)))
                await asyncio.sleep(0.0001)
        assert not connection._transport.is_reading()


@pytest.mark.slow
async def test_a_caller_that_reads_nothing_for_too_long_loses_its_connection(serve: Serve) -> None:
    served = await serve(limits=Limits(stall=1))
    async with await Wire.open(served.port, buffer=4096) as wire:
        wire.reads = False
        await wire.send(setting(INITIAL_WINDOW_SIZE=1 << 30) + update(0, 1 << 30))
        await wire.call("/t.T/Hold", b"")
        await wire.call("/t.T/Repeat", b"1000000 " + bytes(1000))
        # It is heard all the time.
        async with asyncio.timeout(25):
            while served.handlers.cancelled.empty():
                await wire.send(frame(PING, 0, 0, bytes(8)))
                await asyncio.sleep(0.1)
        assert not served.server._terms.connections
        assert served.server._terms.usage.unread == 0


@pytest.mark.slow
async def test_a_caller_that_does_not_read_a_stream_for_too_long_loses_it_and_no_other(serve: Serve) -> None:
    served = await serve(limits=Limits(stall=1))
    async with await blind(served.port, 100) as wire:
        await wire.send(update(0, MIB))
        slow = await wire.call("/t.T/Echo", bytes(150))
        stalled = await wire.call("/t.T/Repeat", b"1000 " + bytes(60))
        chat = await wire.call("/t.T/Chat", None)
        for _ in range(12):
            await asyncio.sleep(0.25)
            await wire.send(update(slow, 1))
        assert (await wire.answer(stalled)).reset == CANCEL
        contexts = [one for one in served.handlers.contexts if one.id == stalled]
        assert contexts[0].cancelled()
        assert not wire.answers[slow].over
        await wire.send(update(slow, 100) + frame(DATA, END_STREAM, chat, message(b"well")))
        assert (await wire.answer(slow)).messages == [bytes(150)]
        assert (await wire.answer(chat)).messages == [b"well"]
        assert len([one for one in wire.frames if one[0] == RST_STREAM]) == 1
