"""A connection's life: whether the other side is there, its age, and the server's end."""

from __future__ import annotations

import asyncio
import time

import pytest

from grpc_http2 import server
from grpc_http2.connection import Connection
from grpc_http2.limits import Limits

from .conftest import Serve, Served, start
from .wire import (
    ACK,
    DATA,
    END_STREAM,
    GOAWAY,
    NO_ERROR,
    PING,
    REFUSED_STREAM,
    Wire,
    call_fields,
    frame,
    message,
    setting,
    update,
)

OK, UNAVAILABLE = 0, 14
LAST_OF_ALL = (1 << 31) - 1


def last_ids(wire: Wire) -> list[int]:
    """What the GOAWAY frames say."""
    assert all(payload[4:8] == bytes((0, 0, 0, NO_ERROR)) for payload in wire.of(GOAWAY))
    return [int.from_bytes(payload[:4], "big") for payload in wire.of(GOAWAY)]


async def echo_the_leaving(wire: Wire) -> None:
    """Waits for the PING behind the first GOAWAY, and echoes it."""
    await wire.until(lambda: wire.of(PING))
    [payload] = wire.of(PING)
    await wire.send(frame(PING, ACK, 0, payload))


@pytest.mark.slow
async def test_a_silent_peer_is_asked_and_then_taken_for_gone(serve: Serve) -> None:
    served = await serve(keepalive=1, keepalive_timeout=1)
    async with await Wire.open(served.port) as wire, await Wire.open(served.port) as there:
        await wire.call("/t.T/Hold")
        await there.call("/t.T/Hold")
        # Whoever does not even greet is held to it too.
        mute = await Wire.open(served.port, start=b"")

        async def answers() -> None:
            while await there.receive():
                if there.frames[-1][0] == PING:
                    await there.send(frame(PING, ACK, 0, there.frames[-1][3]))

        answering = asyncio.create_task(answers())
        while await wire.receive():
            pass
        while await mute.receive():
            pass
        mute.socket.close()
        assert len(wire.of(PING)) == 1
        assert await served.handlers.cancelled.get() == "Hold"
        while len(there.of(PING)) < 3:
            await asyncio.sleep(0.01)
        answering.cancel()
        assert not there.closed
        assert (await there.answer(await there.call())).status == OK
        assert served.handlers.cancelled.empty()


@pytest.mark.slow
async def test_whoever_is_heard_is_not_asked(serve: Serve) -> None:
    served = await serve(keepalive=2, keepalive_timeout=1)
    async with await Wire.open(served.port) as wire:
        until = time.monotonic() + 3.5
        while time.monotonic() < until:
            await wire.answer(await wire.call())
            await asyncio.sleep(0.1)
        assert not wire.of(PING)


@pytest.mark.slow
async def test_an_old_connection_serves_what_was_sent_before_its_end_was_known(serve: Serve) -> None:
    served = await serve(max_connection_age=0.5)
    async with await Wire.open(served.port) as wire:
        under_way = await wire.call("/t.T/Chat", None)
        await wire.until(lambda: wire.of(GOAWAY) and wire.of(PING))
        assert last_ids(wire) == [LAST_OF_ALL]
        # Sent before the caller looked at it.
        before = await wire.call("/t.T/Echo", b"in time")
        assert (await wire.answer(before)).messages == [b"in time"]
        assert last_ids(wire) == [LAST_OF_ALL]
        # An echo of something else is no sign that it knows.
        await wire.send(frame(PING, ACK, 0, b"alive?\0\0"))
        also = await wire.call("/t.T/Echo", b"in time too")
        assert (await wire.answer(also)).messages == [b"in time too"]
        await wire.send(frame(PING, ACK, 0, wire.of(PING)[0]))
        await wire.until(lambda: len(wire.of(GOAWAY)) == 2)
        assert last_ids(wire) == [LAST_OF_ALL, also]
        # What comes all the same is refused, and harms nobody: the caller was told to call elsewhere.
        late = await wire.call("/t.T/Echo", b"late")
        await wire.send(update(late, 5) + frame(3, 0, late, bytes(4)))
        await wire.send(frame(DATA, END_STREAM, under_way, message(b"under way")))
        answer = await wire.answer(under_way)
        assert (answer.messages, answer.status) == ([b"under way"], OK)
        assert wire.answers[late].reset == REFUSED_STREAM
        assert await wire.receive() is False


@pytest.mark.slow
async def test_an_old_connection_without_calls_ends_once_its_caller_knows(serve: Serve) -> None:
    served = await serve(max_connection_age=0.5)
    async with await Wire.open(served.port) as wire:
        await echo_the_leaving(wire)
        while await wire.receive():
            pass
        assert last_ids(wire) == [LAST_OF_ALL, 0]


@pytest.mark.slow
async def test_a_caller_that_never_says_that_it_knows_is_given_no_call_after_a_while(serve: Serve) -> None:
    served = await serve(max_connection_age=0.5, limits=Limits(leaving=1))
    async with await Wire.open(served.port) as wire:
        under_way = await wire.call("/t.T/Chat", None)
        await wire.until(lambda: len(wire.of(GOAWAY)) == 2)
        assert last_ids(wire) == [LAST_OF_ALL, under_way]
        late = await wire.call("/t.T/Echo", b"late")
        assert (await wire.answer(late)).reset == REFUSED_STREAM
        await wire.send(frame(DATA, END_STREAM, under_way, message(b"under way")))
        assert (await wire.answer(under_way)).messages == [b"under way"]
        assert await wire.receive() is False
    assert len(served.handlers.contexts) == 1


async def test_a_stop_lets_calls_end_and_takes_no_connections(serve: Serve) -> None:
    served = await serve()
    async with await Wire.open(served.port) as wire:
        streams = [await wire.call("/t.T/Wait", b"done"), await wire.call("/t.T/Chat", None)]
        await served.handlers.began.get()
        await served.handlers.began.get()
        stopping = asyncio.create_task(served.server.stop(30))
        await echo_the_leaving(wire)
        await wire.until(lambda: len(wire.of(GOAWAY)) == 2)
        with pytest.raises(ConnectionRefusedError):
            await Wire.open(served.port)
        served.handlers.go.set()
        assert (await wire.answer(streams[0])).messages == [b"done"]
        assert not stopping.done()
        await wire.send(frame(DATA, END_STREAM, streams[1], message(b"too")))
        assert (await wire.answer(streams[1])).messages == [b"too"]
        await asyncio.wait_for(stopping, 25)
        assert await wire.receive() is False


async def test_a_stop_waits_for_an_answer_that_has_room_only_later(serve: Serve) -> None:
    """And for a call whose message has not come whole yet: neither has a handler at work."""
    served = await serve()
    async with await Wire.open(served.port) as wire:
        wire.reads = False
        await wire.send(setting(INITIAL_WINDOW_SIZE=5))
        answered = await wire.call("/t.T/Echo", b"all of it")
        asking = await wire.call("/t.T/Echo", None)
        await wire.send(frame(DATA, 0, asking, message(b"x")[:3]))
        await wire.until(lambda: answered in wire.answers and len(wire.answers[answered].data) == 5)
        await wire.echo()
        assert not served.server._terms.tasks
        stopping = asyncio.create_task(served.server.stop(30))
        await wire.until(lambda: wire.of(GOAWAY))
        await wire.send(
            setting(INITIAL_WINDOW_SIZE=1000) + frame(DATA, END_STREAM, asking, message(b"x")[3:])
        )
        assert (await wire.answer(answered)).messages == [b"all of it"]
        assert (await wire.answer(asking)).messages == [b"x"]
        await asyncio.wait_for(stopping, 25)


async def test_a_stop_cuts_off_what_is_not_done_after_the_grace(serve: Serve) -> None:
    served = await serve()
    async with await Wire.open(served.port) as wire:
        unary, both = await wire.call("/t.T/Wait"), await wire.call("/t.T/Hold")
        await served.handlers.began.get()
        await served.handlers.began.get()
        began = time.monotonic()
        stopping = asyncio.create_task(served.server.stop(0.3))
        for stream in (unary, both):
            answer = await wire.answer(stream)
            assert (answer.status, answer.text) == (UNAVAILABLE, "the server ended before the call did")
        assert time.monotonic() - began >= 0.29
        assert {await served.handlers.cancelled.get() for _ in range(2)} == {"Wait", "Hold"}
        await asyncio.wait_for(stopping, 25)
        assert await wire.receive() is False


async def test_a_stop_without_calls_waits_for_nobody(serve: Serve) -> None:
    served = await serve()
    async with await Wire.open(served.port) as wire, await Wire.open(served.port, start=b"") as mute:
        await wire.answer(await wire.call())
        await asyncio.wait_for(served.server.stop(100), 50)
        assert (await wire.end())[0] == NO_ERROR
        while await mute.receive():
            pass


async def test_a_stop_waits_for_what_a_handler_does_when_it_is_cancelled() -> None:
    served: Served = await start()
    cleaned = asyncio.Event()

    async def slow(request: bytes, context: object) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            cleaned.set()
        return b""

    served.handlers.echo = slow  # type: ignore[method-assign]
    served.server._generic[:] = [served.handlers.generic()]
    async with await Wire.open(served.port) as wire:
        stream = await wire.call()
        while not served.server._terms.tasks:
            await asyncio.sleep(0)
        await served.server.stop(0)
        assert cleaned.is_set()
        assert (await wire.answer(stream)).status == UNAVAILABLE


async def test_calls_after_the_end_was_said_do_not_begin_anew(served: Served) -> None:
    """A caller that never echoes is served until the server stops."""
    async with await Wire.open(served.port) as wire:
        held = await wire.call("/t.T/Wait", b"held")
        await served.handlers.began.get()
        stopping = asyncio.create_task(served.server.stop(30))
        await wire.until(lambda: wire.of(PING))
        more = wire.next()
        await wire.send(wire.headers(more, call_fields()) + frame(DATA, END_STREAM, more, message(b"more")))
        assert (await wire.answer(more)).messages == [b"more"]
        served.handlers.go.set()
        assert (await wire.answer(held)).messages == [b"held"]
        await asyncio.wait_for(stopping, 25)
        assert last_ids(wire)[0] == LAST_OF_ALL


@pytest.mark.slow
async def test_the_look_at_all_connections_leaves_others_their_turns(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,000 that were silent together ended in one turn of the loop, which took 1.2 s."""
    turn, looks, seen_all = 0, list[int](), asyncio.Event()

    def look(connection: Connection) -> None:
        looks.append(turn)
        if len(looks) == 20:
            seen_all.set()

    monkeypatch.setattr(Connection, "tick", look)
    monkeypatch.setattr(server, "_LOOK", 0.0)
    served = await serve()
    wires = [await Wire.open(served.port, start=b"") for _ in range(20)]

    async def count() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await seen_all.wait()
    counting.cancel()
    assert len(set(looks[:20])) == 20
    for wire in wires:
        wire.socket.close()
