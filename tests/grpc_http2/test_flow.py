"""Flow control: neither side sends more than the other takes, and what is taken is given back."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from grpc_http2.request_side import STREAM_WINDOW

from .conftest import Served
from .wire import (
    DATA,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    PADDED,
    PREFACE,
    WINDOW_UPDATE,
    Caller,
    Wire,
    call_fields,
    frame,
    message,
    setting,
    update,
)

OK = 0
MIB = 1 << 20


async def strict(served: Served, window: int) -> Wire:
    """A caller whose streams have this window, and who gives nothing back by itself."""
    wire = await Wire.open(served.port, start=PREFACE + setting(INITIAL_WINDOW_SIZE=window))
    wire.reads = False
    return wire


async def test_the_server_sends_on_a_stream_what_its_window_takes_and_goes_on_by_window_updates(
    served: Served,
) -> None:
    async with await strict(served, 10) as wire:
        stream = await wire.call("/t.T/Echo", bytes(100))
        await wire.until(lambda: len(wire.answers[stream].data) == 10 if stream in wire.answers else False)
        for more in (1, 0, 7, 40):
            sent = len(wire.answers[stream].data)
            if more:
                await wire.send(update(stream, more))
            await wire.echo()
            assert len(wire.answers[stream].data) == sent + more
            assert not wire.answers[stream].over
        await wire.send(update(stream, 1000))
        answer = await wire.answer(stream)
        assert (answer.messages, answer.status) == ([bytes(100)], OK)


async def test_a_changed_initial_window_counts_for_calls_under_way_and_may_make_it_negative(
    served: Served,
) -> None:
    async with await strict(served, 50) as wire:
        stream = await wire.call("/t.T/Echo", bytes(195))
        await wire.until(lambda: stream in wire.answers and len(wire.answers[stream].data) == 50)
        # 0 - 40: what is given now only pays the debt.
        await wire.send(setting(INITIAL_WINDOW_SIZE=10) + update(stream, 40))
        await wire.echo()
        assert len(wire.answers[stream].data) == 50
        await wire.send(update(stream, 5))
        await wire.echo()
        assert len(wire.answers[stream].data) == 55
        # A new call has the new window.
        other = await wire.call("/t.T/Echo", bytes(100))
        await wire.echo()
        assert len(wire.answers[other].data) == 10
        # Within one frame the last value holds.
        await wire.send(setting(INITIAL_WINDOW_SIZE=0) + setting(INITIAL_WINDOW_SIZE=110))
        await wire.echo()
        assert len(wire.answers[stream].data) == 155
        assert (await wire.answer(other)).messages == [bytes(100)]
        await wire.send(setting(INITIAL_WINDOW_SIZE=1000))
        assert (await wire.answer(stream)).messages == [bytes(195)]


async def test_all_streams_together_keep_to_the_connections_window(served: Served) -> None:
    async with await strict(served, MIB) as wire:
        streams = [await wire.call("/t.T/Echo", bytes(40_000)) for _ in range(3)]
        await wire.echo()

        def came() -> list[int]:
            return [len(wire.answers[stream].data) for stream in streams]

        assert sum(came()) == 65_535
        for more in (1, 14_470):
            before = sum(came())
            await wire.send(update(0, more))
            await wire.echo()
            assert sum(came()) == before + more
        # Another stream's window is no help.
        await wire.send(update(streams[2], 100_000))
        await wire.echo()
        assert sum(came()) == 65_535 + 14_471
        await wire.send(update(0, 100_000))
        for stream in streams:
            assert (await wire.answer(stream)).messages == [bytes(40_000)]


async def test_a_stream_without_room_does_not_stop_others(served: Served) -> None:
    async with await strict(served, 0) as wire:
        blocked = [await wire.call("/t.T/Repeat", b"1000000 abc") for _ in range(5)]
        other = wire.next()
        await wire.send(
            wire.headers(other, call_fields())
            + update(other, 1000)
            + frame(DATA, END_STREAM, other, message(b"through"))
        )
        assert (await wire.answer(other)).messages == [b"through"]
        assert not any(wire.answers[stream].data for stream in blocked)


async def test_those_that_wait_for_the_connections_window_take_turns(served: Served) -> None:
    async with await strict(served, 100 * MIB) as wire:
        streams = [await wire.call("/t.T/Repeat", b"1000000 " + bytes(1000)) for _ in range(4)]
        await wire.echo()
        for _ in range(40):
            await wire.send(update(0, 5 * 1005))
            await wire.echo()
        came = [len(wire.answers[stream].data) for stream in streams]
        assert min(came) > 30 * 1005, came


@pytest.mark.slow
async def test_a_caller_that_does_not_read_makes_the_handler_wait(served: Served) -> None:
    """By its window, and by a network that takes no more, which here is a small buffer."""
    async with await strict(served, 5 * 1005) as wire:
        stream = await wire.call("/t.T/Repeat", b"1000 " + bytes(1000))
        await wire.echo()
        assert served.handlers.written == 5
        await wire.send(update(stream, 10 * 1005))
        await wire.echo()
        assert served.handlers.written == 15
    async with await Caller.greet(served.port, window=(1 << 31) - 1, buffer=4096) as caller:
        caller.h2.increment_flow_control_window((1 << 31) - 1 - 65_535)
        await caller.flush()
        served.handlers.written = 0
        stream = await caller.begin("/t.T/Repeat")
        await caller.say(stream, message(b"200000 " + bytes(1000)), end=True)
        # Until nothing changes any more: the buffers between the two are full.
        before = -1
        while before != served.handlers.written or not before:
            before = served.handlers.written
            await asyncio.sleep(0.1)
        assert 0 < served.handlers.written < 20_000
        while not caller.answers.get(stream) or len(caller.answers[stream].data) < 30_000_000:
            await caller.receive()
        assert served.handlers.written > 20_000


async def test_a_message_that_waits_for_room_is_held_once(served: Served) -> None:
    """As its bytes; the handler's object goes."""

    class Said:
        """A message."""

    kept: list[weakref.ref[Said]] = []

    async def say(request: bytes, call: object) -> AsyncIterator[Said]:
        def made() -> Said:
            said = Said()
            kept.append(weakref.ref(said))
            return said

        yield made()
        yield made()

    make: Any = grpc
    handler = make.unary_stream_rpc_method_handler(say, response_serializer=lambda _: bytes(100))
    served.server.add_registered_method_handlers("d.D", {"Say": handler})
    async with await strict(served, 10) as wire:
        stream = await wire.call("/d.D/Say")
        await wire.until(lambda: stream in wire.answers and len(wire.answers[stream].data) == 10)
        await wire.echo()
        assert [each() for each in kept] == [None]
        await wire.send(update(stream, 1000))
        assert (await wire.answer(stream)).messages == [bytes(100)] * 2


async def test_a_frame_is_no_larger_than_the_caller_takes(served: Served) -> None:
    async with await Wire.open(served.port) as wire:
        stream = await wire.call("/t.T/Echo", bytes(200_000))
        assert (await wire.answer(stream)).messages == [bytes(200_000)]
        assert max(map(len, wire.of(DATA, stream))) == 16_384
        await wire.send(setting(MAX_FRAME_SIZE=1 << 20))
        stream = await wire.call("/t.T/Echo", bytes(200_000))
        assert (await wire.answer(stream)).messages == [bytes(200_000)]
        assert max(map(len, wire.of(DATA, stream))) <= 65_536


async def test_a_caller_may_send_50_mib_on_one_stream_and_on_many(served: Served) -> None:
    piece = message(bytes(MIB))
    async with await Caller.greet(served.port) as caller:
        stream = await caller.begin("/t.T/Total")
        for _ in range(50):
            await caller.say(stream, piece)
        await caller.say(stream, b"", end=True)
        assert (await caller.answer(stream)).messages == [b"%d" % (50 * MIB)]
        streams = [await caller.begin("/t.T/Size") for _ in range(50)]
        for stream in streams:
            await caller.say(stream, piece, end=True)
        for stream in streams:
            assert (await caller.answer(stream)).messages == [b"%d" % MIB]


async def test_a_handler_that_does_not_read_stops_its_caller_and_nobody_else(served: Served) -> None:
    async with await Caller.greet(served.port) as caller:
        stream = await caller.begin("/t.T/Hold")
        sent = 0
        while room := min(caller.h2.local_flow_control_window(stream) // 1005, 16):
            await caller.say(stream, message(bytes(1000)) * room)
            sent += room * 1000
        await served.handlers.began.get()
        assert (await caller.ask("/t.T/Echo", bytes(MIB))).messages == [bytes(MIB)]
        assert not caller.of(WINDOW_UPDATE, stream)
        assert sent // 1000 == STREAM_WINDOW // 1005
        served.handlers.go.set()
        await caller.until(lambda: caller.of(WINDOW_UPDATE, stream))
        await caller.say(stream, message(bytes(1000)) * 2000, end=True)
        assert (await caller.answer(stream)).messages == [b"%d" % (sent + 2_000_000)]


async def test_a_caller_that_sends_more_than_it_may_loses_the_stream(served: Served) -> None:
    async with await Wire.open(served.port) as wire:
        stream = wire.next()
        await wire.send(wire.headers(stream, call_fields("/t.T/Hold")))
        await served.handlers.began.get()
        await wire.send(frame(DATA, 0, stream, message(bytes(1019)) * 16) * 70)
        assert (await wire.answer(stream)).reset == FLOW_CONTROL_ERROR
        assert await served.handlers.cancelled.get() == "Hold"
        assert (await wire.answer(await wire.call())).status == OK


async def test_padding_is_given_back_though_nobody_reads_it(served: Served) -> None:
    async with await Caller.greet(served.port) as caller:
        stream = await caller.begin("/t.T/Chat")
        for number in range(9000):
            caller.h2.send_data(stream, b"", pad_length=255)
            if caller.h2.local_flow_control_window(stream) < 256:
                await caller.flush()
                await caller.until(lambda: caller.h2.local_flow_control_window(stream) >= 256)
            assert number < 9000
        await caller.say(stream, message(b"padded"), end=True)
        assert (await caller.answer(stream)).messages == [b"padded"]


async def test_a_body_that_is_no_call_is_taken_to_its_end(served: Served) -> None:
    async with await Wire.open(served.port) as wire:
        stream = wire.next()
        await wire.send(wire.headers(stream, call_fields(content_type="text/plain")))
        for _ in range(3):
            await wire.send(frame(DATA, 0, stream, bytes(16_384)) * 50)
            seen = len(wire.of(WINDOW_UPDATE, stream))
            await wire.until(lambda seen=seen: len(wire.of(WINDOW_UPDATE, stream)) > seen)  # type: ignore[misc]
        await wire.send(frame(DATA, END_STREAM | PADDED, stream, b"\3end\0\0\0"))
        assert (await wire.answer(stream)).fields[":status"] == "415"


async def test_windows_stay_below_two_to_the_31st(served: Served) -> None:
    most = (1 << 31) - 1
    async with await Wire.open(served.port) as wire:
        stream = await wire.call("/t.T/Wait")
        await wire.send(update(stream, most))
        assert (await wire.answer(stream)).reset == FLOW_CONTROL_ERROR
        await wire.send(update(0, most))
        assert (await wire.end())[0] == FLOW_CONTROL_ERROR
    async with await Wire.open(served.port) as wire:
        stream = await wire.call("/t.T/Wait")
        await wire.send(update(stream, 1000) + setting(INITIAL_WINDOW_SIZE=most))
        assert (await wire.end())[0] == FLOW_CONTROL_ERROR
    async with await Wire.open(served.port) as wire:
        await wire.send(setting(INITIAL_WINDOW_SIZE=most + 1))
        assert (await wire.end())[0] == FLOW_CONTROL_ERROR
