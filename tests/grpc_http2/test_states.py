"""The tables of states are what the server does, frame by frame and state by state; and how large a class may be."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path

import pytest

import grpc_http2
from grpc_http2.states import TABLE, Phase, StreamState, Verdict

from .conftest import Served
from .wire import (
    ACK,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    WINDOW_UPDATE,
    Wire,
    call_fields,
    frame,
    message,
    reset,
    update,
)

PACKAGE = Path(grpc_http2.__file__).parent
KINDS = {"HEADERS": HEADERS, "DATA": DATA, "RST_STREAM": RST_STREAM, "WINDOW_UPDATE": WINDOW_UPDATE}


async def stream_in(state: StreamState, served: Served, wire: Wire) -> int:
    """A stream that is there."""
    if state is StreamState.IDLE:
        return 101
    if state is StreamState.OPEN:
        return await wire.call("/t.T/Hold", None)
    if state is StreamState.HALF_CLOSED:
        stream = await wire.call("/t.T/Wait")
        await served.handlers.began.get()
        return stream
    if state is StreamState.CLOSED:
        stream = await wire.call()
        await wire.answer(stream)
        return stream
    if state is StreamState.CUT_SHORT:
        # The answer is refused before its caller has said all.
        stream = await wire.call("/t.T/Refuse", None)
        await wire.send(frame(DATA, 0, stream, b"\0\xff\xff\xff\xff"))
        await wire.answer(stream)
        return stream
    await wire.call("/t.T/Hold", None)
    [connection] = served.server._terms.connections
    connection.leave()
    await wire.until(lambda: wire.of(PING))
    await wire.send(frame(PING, ACK, 0, wire.of(PING)[0]))
    await wire.until(lambda: len(wire.of(GOAWAY)) == 2)
    return 101


def sent(kind: int, stream: int, state: StreamState, wire: Wire) -> bytes:
    """A frame of this kind that would be well where it is taken."""
    if kind == DATA:
        return frame(DATA, 0, stream, message(b"x"))
    if kind == RST_STREAM:
        return reset(stream)
    if kind == WINDOW_UPDATE:
        return update(stream, 1)
    begins = state in (StreamState.IDLE, StreamState.BEYOND, StreamState.CLOSED)
    fields = call_fields("/t.T/Echo") if begins else [(b"trailer", b"x")]
    return wire.headers(stream, fields, end=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", StreamState)
async def test_each_frame_becomes_what_the_table_says(served: Served, state: StreamState, kind: str) -> None:
    verdict, reason = TABLE[state][KINDS[kind]]
    async with await Wire.open(served.port) as wire:
        stream = await stream_in(state, served, wire)
        before = len(wire.frames)
        [connection] = served.server._terms.connections
        idle = connection.budget._idle_frames
        alive = frame(PING, 0, 0, b"there?\0\0")

        await wire.send(sent(KINDS[kind], stream, state, wire) + alive)

        if verdict is Verdict.CONNECTION_ERROR:
            assert (await wire.end())[0] == reason
            return
        await wire.until(lambda: (PING, ACK, 0, b"there?\0\0") in wire.frames)
        resets = [one for one in wire.frames[before:] if one[0] == RST_STREAM and one[2] == stream]
        if verdict is Verdict.STREAM_ERROR:
            assert [int.from_bytes(one[3], "big") for one in resets] == [reason]
        else:
            assert not resets or verdict is Verdict.TAKEN
        if verdict is Verdict.PASSED_OVER:
            # The PING is one too.
            assert connection.budget._idle_frames == idle + 2


@pytest.mark.parametrize("state", StreamState)
async def test_priority_is_passed_over_in_each_state(served: Served, state: StreamState) -> None:
    async with await Wire.open(served.port) as wire:
        stream = await stream_in(state, served, wire)
        await wire.send(frame(PRIORITY, 0, stream, bytes(5)) + frame(PING, 0, 0, b"there?\0\0"))
        await wire.until(lambda: (PING, ACK, 0, b"there?\0\0") in wire.frames)


async def test_a_connection_goes_through_its_phases_and_never_back(served: Served) -> None:
    async with await Wire.open(served.port, start=b"") as wire:
        async with asyncio.timeout(20):
            while not served.server._terms.connections:
                await asyncio.sleep(0)
        [connection] = served.server._terms.connections
        seen = [connection.phase]
        await wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
        stream = await wire.call("/t.T/Hold", None)
        await served.handlers.began.get()
        seen.append(connection.phase)
        connection.leave()
        seen.append(connection.phase)
        await wire.until(lambda: wire.of(PING))
        await wire.send(frame(PING, ACK, 0, wire.of(PING)[0]))
        await wire.until(lambda: len(wire.of(GOAWAY)) == 2)
        seen.append(connection.phase)
        connection.leave()
        connection.say_last()
        seen.append(connection.phase)
        served.handlers.go.set()
        await wire.send(frame(DATA, END_STREAM, stream, message(b"x")))
        await wire.end()
        async with asyncio.timeout(20):
            while connection.phase is not Phase.LOST:
                await asyncio.sleep(0)
        assert seen == [Phase.GREETING, Phase.OPEN, Phase.LEAVING, Phase.LEFT, Phase.LEFT]


@pytest.mark.parametrize("module", sorted(PACKAGE.glob("*.py")), ids=lambda module: module.name)
def test_no_class_has_over_250_lines(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ClassDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 250, node.name
