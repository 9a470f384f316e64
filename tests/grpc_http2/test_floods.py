"""What a connection is held to, so that one caller does not take the server from the others."""

from __future__ import annotations

import asyncio

import pytest

from grpc_http2 import frame_handler
from grpc_http2 import turn as module
from grpc_http2.limits import Limits

from .conftest import Serve, Served
from .test_fuzz import Transport
from .wire import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    Answer,
    Wire,
    call_fields,
    frame,
    message,
    reset,
    setting,
    update,
)

OK, RESOURCE_EXHAUSTED = 0, 8
MANY = Limits().idle_burst + 100
RESETS = Limits().reset_burst + 100


async def flooded(wire: Wire, sent: bytes) -> tuple[int, str]:
    """How the connection ends that much is sent on, by a caller that reads meanwhile."""
    sending = asyncio.create_task(wire.send(sent))
    said = await wire.end()
    await sending
    return said


async def test_calls_beyond_the_most_are_refused_and_may_be_made_again(serve: Serve) -> None:
    served = await serve(most_streams=3)
    async with await Wire.open(served.port) as wire:
        streams = [await wire.call("/t.T/Wait", b"%d" % number) for number in range(3)]
        # What follows its fields is passed over: the caller can't know yet.
        refused = wire.next()
        sent = wire.headers(refused, call_fields()) + frame(DATA, 0, refused, message(b"x"))
        await wire.send(
            sent + frame(DATA, 0, refused, b"") + wire.headers(refused, [(b"trailer", b"1")], True)
        )
        assert (await wire.answer(refused)).reset == REFUSED_STREAM
        served.handlers.go.set()
        assert [(await wire.answer(stream)).messages for stream in streams] == [[b"0"], [b"1"], [b"2"]]
        assert (await wire.answer(await wire.call())).status == OK
        assert len([one for one in wire.frames if one[0] == RST_STREAM]) == 1
    # It was told so.
    assert (3).to_bytes(2, "big") + (3).to_bytes(4, "big") in wire.of(SETTINGS)[0]


@pytest.mark.parametrize(
    "one",
    [
        frame(PING, 0, 0, bytes(8)),
        frame(SETTINGS, 0, 0),
        frame(SETTINGS, ACK, 0),
        frame(PRIORITY, 0, 1, bytes(5)),
        frame(DATA, 0, 1),
        frame(DATA, PADDED, 1, b"\0"),
        frame(99, 0, 1, b"?"),
        frame(PING, ACK, 0, bytes(8)),
        frame(GOAWAY, 0, 0, bytes(8)),
        update(0, 1),
        update(1, 1),
    ],
    ids=[
        "pings",
        "settings",
        "acknowledgements",
        "priorities",
        "empty",
        "padding",
        "unknown",
        "echoes",
        "goodbyes",
        "windows",
        "stream windows",
    ],
)
async def test_a_flood_of_frames_that_bring_nothing_ends_its_connection(served: Served, one: bytes) -> None:
    async with await Wire.open(served.port) as other, await Wire.open(served.port) as wire:
        await wire.send(wire.headers(wire.next(), call_fields("/t.T/Chat")))
        # Some are let be again with each second.
        code, text = await flooded(wire, one * MANY * 2)
        assert code == ENHANCE_YOUR_CALM
        assert text == f"over {Limits().idle_burst} frames that bring little or nothing"
        assert (await other.answer(await other.call())).status == OK


@pytest.mark.parametrize("content_type", ["application/grpc", "text/plain"])
@pytest.mark.parametrize("path", ["/t.T/Echo", "/t.T/Chat"])
async def test_a_flood_of_single_bytes_ends_its_connection(
    served: Served, path: str, content_type: str
) -> None:
    """Of a message that does not become whole, and of what nobody reads."""
    async with await Wire.open(served.port) as wire:
        stream = wire.next()
        await wire.send(wire.headers(stream, call_fields(path, content_type=content_type)))
        sent = b"".join(frame(DATA, 0, stream, bytes((byte,))) for byte in message(bytes(2 * MANY)))
        assert (await flooded(wire, sent))[0] == ENHANCE_YOUR_CALM


async def test_a_caller_that_sends_much_at_once_does_not_keep_others_waiting(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is handled in pieces, between which others have their turn; nothing is read and nothing is lost meanwhile."""
    monkeypatch.setattr(module, "_TURN", 0.0)
    monkeypatch.setattr(module, "_SHARE", 0.0)
    connection, network = served.server._connection(), Transport()
    connection.connection_made(network)
    connection.data_received(PREFACE + frame(SETTINGS, 0, 0))
    streams = range(1, 601, 2)
    call = [
        frame(HEADERS, END_HEADERS, stream, network.wire.encoder.encode(call_fields()))
        + frame(DATA, END_STREAM, stream, message(b"%d" % stream))
        for stream in streams
    ]
    sent = b"".join(call)
    connection.data_received(sent[:-5])
    assert not network.reads()
    # With TLS some more may come all the same.
    connection.data_received(sent[-5:])
    turns = 0
    while not network.reads():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= len(sent) // 2100
    while len([one for one in network.wire.answers.values() if one.over]) < len(streams):
        await asyncio.sleep(0)
        await network.look()
    assert all(network.wire.answers[stream].messages == [b"%d" % stream] for stream in streams)
    connection.connection_lost(None)


async def test_a_flood_on_a_call_that_has_ended_ends_its_connection(served: Served) -> None:
    async with await Wire.open(served.port) as wire:
        stream = await wire.call("/t.T/Chat", None, grpc_timeout="0S")
        await wire.answer(stream)
        assert (await flooded(wire, frame(DATA, 0, stream, bytes(100)) * MANY * 2))[0] == ENHANCE_YOUR_CALM


async def test_windows_that_have_bytes_sent_one_by_one_end_their_connection(served: Served) -> None:
    async with await Wire.open(served.port) as wire:
        wire.reads = False
        await wire.send(setting(INITIAL_WINDOW_SIZE=0))
        stream = await wire.call("/t.T/Echo", bytes(MANY * 4))
        assert (await flooded(wire, update(stream, 1) * MANY * 2))[0] == ENHANCE_YOUR_CALM


async def test_a_caller_that_says_what_it_has_read_of_each_answer_is_no_flood(served: Served) -> None:
    """Two windows and a PING for each message, more of them than the burst has."""
    async with await Wire.open(served.port) as wire:
        stream = wire.next()
        await wire.send(wire.headers(stream, call_fields("/t.T/Chat")))
        piece = frame(DATA, 0, stream, message(b"x"))
        said = piece + update(stream, 6) + update(0, 6) + frame(PING, ACK, 0, bytes(8))
        for count in range(500, MANY + 500, 500):
            await wire.send(said * 500)
            await wire.until(lambda count=count: len(wire.answers.get(stream, Answer()).data) == count * 6)  # type: ignore[misc]
        await wire.send(frame(DATA, END_STREAM, stream))
        assert (await wire.answer(stream)).status == OK


async def test_metadata_that_is_too_large_is_told_a_few_times(served: Served) -> None:
    """A block of 64 KiB takes up to a tenth of a second to be read."""
    async with await Wire.open(served.port) as wire:
        small = b"\x40\x05large\x78" + b"x" * 120 + b"\xbe" * 200
        sent = b"".join(frame(HEADERS, END_HEADERS | END_STREAM, number, small) for number in range(1, 21, 2))
        assert (await flooded(wire, sent))[0] == ENHANCE_YOUR_CALM
        assert 1 <= len([one for one in wire.answers.values() if one.status == RESOURCE_EXHAUSTED]) <= 5
    async with await Wire.open(served.port) as wire:
        stream = wire.next()
        block = wire.encoder.encode(call_fields("/t.T/Echo", ("large", "x" * 45_000)), huffman=False)
        await wire.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
        assert (await wire.end())[0] == ENHANCE_YOUR_CALM


async def test_resets_are_let_be_in_a_burst_and_for_each_call_that_ends_well(serve: Serve) -> None:
    served = await serve(limits=Limits(reset_burst=10, resets_per_second=1))
    async with await Wire.open(served.port) as wire:
        for _ in range(10):
            for _ in range(9):
                await wire.send(reset(await wire.call("/t.T/Wait")))
            for _ in range(9):
                assert (await wire.answer(await wire.call())).status == OK
        for _ in range(30):
            await wire.send(reset(await wire.call("/t.T/Wait")))
        code, text = await wire.end()
        assert (code, text) == (ENHANCE_YOUR_CALM, "over 10 resets beyond the calls that ended well")


async def test_a_caller_whose_calls_run_out_of_time_in_masses_keeps_its_connection(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It resets each at its deadline, before the server says so. Those whose time is not up count."""
    # So long that the server does not end a call by itself meanwhile, however slow the machine is.
    monkeypatch.setattr(frame_handler, "_LAG", 7.0)
    served = await serve(limits=Limits(reset_burst=10, resets_per_second=1))
    async with await Wire.open(served.port) as wire:
        streams = [await wire.call("/t.T/Wait", b"", grpc_timeout="7050m") for _ in range(100)]
        for _ in streams:
            await served.handlers.began.get()
        # By the server's count there are 7 s left.
        await asyncio.sleep(0.1)
        await wire.send(b"".join(reset(stream) for stream in streams))
        await wire.echo()
        assert not served.server._terms.tasks
        await wire.send(
            b"".join([reset(await wire.call("/t.T/Wait", b"", grpc_timeout="60S")) for _ in range(30)])
        )
        assert (await wire.end())[0] == ENHANCE_YOUR_CALM


async def test_calls_that_the_server_has_to_reset_count_as_resets(serve: Serve) -> None:
    served = await serve(limits=Limits(reset_burst=10, resets_per_second=1))
    async with await Wire.open(served.port) as wire:
        for _ in range(30):
            stream = await wire.call("/t.T/Wait")
            await wire.send(update(stream, 0))
        assert (await wire.end())[0] == ENHANCE_YOUR_CALM


@pytest.mark.parametrize("reset_one", [reset(1), reset(3)])
async def test_a_flood_of_resets_of_nothing_ends_its_connection(served: Served, reset_one: bytes) -> None:
    async with await Wire.open(served.port) as wire:
        for _ in range(2):
            await wire.send(wire.headers(wire.next(), call_fields("/t.T/Chat")))
        assert (await flooded(wire, reset_one * RESETS * 2))[0] == ENHANCE_YOUR_CALM


async def test_a_flood_of_calls_that_are_reset_ends_its_connection_and_all_handlers(served: Served) -> None:
    async with await Wire.open(served.port) as wire:
        # The second time the table knows all fields.
        await wire.answer(await wire.call("/t.T/Hold", None, grpc_timeout="0S"))
        block = wire.encoder.encode(call_fields("/t.T/Hold"))
        streams = range(wire.next(), 8 * RESETS, 2)
        sent = b"".join(frame(HEADERS, END_HEADERS, stream, block) + reset(stream) for stream in streams)
        assert (await flooded(wire, sent))[0] == ENHANCE_YOUR_CALM
    async with asyncio.timeout(60):
        while served.server._terms.tasks:
            await asyncio.sleep(0)


async def test_a_flood_of_empty_pieces_of_a_block_ends_its_connection(served: Served) -> None:
    async with await Wire.open(served.port) as wire:
        sent = frame(HEADERS, 0, 1, b"\x82") + frame(CONTINUATION, 0, 1) * MANY * 2
        assert (await flooded(wire, sent))[0] == ENHANCE_YOUR_CALM
    async with await Wire.open(served.port) as wire:
        sent = frame(HEADERS, 0, 1, b"\x82") + frame(CONTINUATION, 0, 1, b"\x82") * MANY * 2
        assert "bring little" in (await flooded(wire, sent))[1]


async def test_pings_are_echoed_and_what_is_unknown_is_passed_over(served: Served) -> None:
    async with await Wire.open(served.port) as wire:
        await wire.send(
            frame(99, 255, 7, b"new") + frame(PING, ACK, 0, b"nobody's") + frame(PING, 0, 0, b"12345678")
        )
        await wire.until(lambda: wire.of(PING))
        assert [one[:3] for one in wire.frames if one[0] == PING] == [(PING, ACK, 0)]
        assert wire.of(PING) == [b"12345678"]
        assert (await wire.answer(await wire.call())).status == OK


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (frame(PING, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
        (frame(PING, 0, 1, bytes(8)), PROTOCOL_ERROR),
        (frame(SETTINGS, 0, 1), PROTOCOL_ERROR),
        (frame(SETTINGS, 0, 0, bytes(5)), FRAME_SIZE_ERROR),
        (frame(SETTINGS, ACK, 0, bytes(6)), FRAME_SIZE_ERROR),
        (frame(SETTINGS, 0, 0, b"\0\2\0\0\0\2"), PROTOCOL_ERROR),
        (frame(SETTINGS, 0, 0, b"\0\5\0\0\0\1"), PROTOCOL_ERROR),
        (frame(DATA, 0, 0, b"x"), PROTOCOL_ERROR),
        (frame(DATA, 0, 7, b"x"), PROTOCOL_ERROR),
        (frame(DATA, PADDED, 1), FRAME_SIZE_ERROR),
        (frame(DATA, PADDED, 1, b"\5abcd"), PROTOCOL_ERROR),
        (frame(HEADERS, 4, 0, b"\x82"), PROTOCOL_ERROR),
        (frame(HEADERS, 4, 2, b"\x82"), PROTOCOL_ERROR),
        (frame(PRIORITY, 0, 0, bytes(5)), PROTOCOL_ERROR),
        (frame(PRIORITY, 0, 1, bytes(4)), FRAME_SIZE_ERROR),
        (frame(RST_STREAM, 0, 1, bytes(3)), FRAME_SIZE_ERROR),
        (reset(0), PROTOCOL_ERROR),
        (reset(7), PROTOCOL_ERROR),
        (frame(WINDOW_UPDATE, 0, 0, bytes(3)), FRAME_SIZE_ERROR),
        (frame(WINDOW_UPDATE, 0, 0, bytes(4)), PROTOCOL_ERROR),
        (frame(WINDOW_UPDATE, 0, 7, b"\0\0\0\1"), PROTOCOL_ERROR),
        (frame(PUSH_PROMISE, 4, 1, bytes(4)), PROTOCOL_ERROR),
        (frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL_ERROR),
        (frame(DATA, 0, 1, bytes(65_537)), FRAME_SIZE_ERROR),
    ],
)
async def test_a_broken_protocol_ends_the_connection_and_says_why(
    served: Served, wrong: bytes, code: int
) -> None:
    async with await Wire.open(served.port) as wire:
        stream = wire.next()
        await wire.send(
            wire.headers(stream, call_fields("/t.T/Hold")) + wrong + frame(PING, 0, 0, b"too late")
        )
        said, text = await wire.end()
        assert said == code
        assert text
        assert int.from_bytes(wire.of(GOAWAY)[-1][:4], "big") == stream
        assert not wire.of(PING)
    assert await served.handlers.cancelled.get() == "Hold"


async def test_a_stream_is_begun_once(served: Served) -> None:
    async with await Wire.open(served.port) as wire:
        stream = await wire.call()
        await wire.answer(stream)
        await wire.send(wire.headers(stream, call_fields(), True))
        assert (await wire.end())[0] == STREAM_CLOSED
    async with await Wire.open(served.port) as wire:
        await wire.send(wire.headers(5, call_fields(), True) + frame(DATA, END_STREAM, 3, b""))
        await wire.answer(5)
        await wire.until(lambda: wire.answers.get(3))
        assert wire.answers[3].reset == STREAM_CLOSED
