"""Bytes cut anywhere mean the same, and bytes that mean nothing harm nobody; on uvloop, as the server runs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Served, start
from .wire import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PREFACE,
    SETTINGS,
    WITH_PRIORITY,
    Wire,
    call_fields,
    frame,
    message,
    packed,
    setting,
)

OK = 0


def run(work: Coroutine[Any, Any, None]) -> None:
    uvloop.run(asyncio.wait_for(work, 60))


@st.composite
def calls(draw: st.DrawFn) -> tuple[bytes, dict[int, list[bytes]]]:
    """The bytes of a connection with some calls, and what is to be answered."""
    encoder = Wire.__new__(Wire)
    Wire.__init__(encoder, None)  # type: ignore[arg-type]
    sent, answers = [setting(INITIAL_WINDOW_SIZE=1 << 20)], {}
    for number in range(draw(st.integers(1, 5))):
        stream = 2 * number + 1
        contents = draw(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
        both = len(contents) != 1
        encoding = draw(st.sampled_from(["identity", "gzip", "deflate"]))
        fields = call_fields("/t.T/Chat" if both else "/t.T/Echo", ("grpc-encoding", encoding))
        block = encoder.encoder.encode(fields, huffman=draw(st.booleans()))
        cut = draw(st.integers(0, len(block)))
        priority = draw(st.booleans())
        head = (b"\0\0\0\0\5" if priority else b"") + block[:cut]
        sent.append(frame(HEADERS, WITH_PRIORITY if priority else 0, stream, head))
        sent.append(frame(CONTINUATION, END_HEADERS, stream, block[cut:]))
        body = b"".join(message(one) if encoding == "identity" else packed(encoding, one) for one in contents)
        at = 0
        while at < len(body):
            size, padding = draw(st.integers(0, 50)), draw(st.integers(0, 3))
            piece, at = body[at : at + size], at + size
            flags = END_STREAM if at >= len(body) else 0
            if padding:
                sent.append(frame(DATA, flags | PADDED, stream, bytes((padding,)) + piece + bytes(padding)))
            else:
                sent.append(frame(DATA, flags, stream, piece))
        answers[stream] = contents
    return PREFACE + b"".join(sent), answers


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_connection_s_bytes_mean_the_same_in_whatever_pieces_they_come(data: st.DataObject) -> None:
    sent, answers = data.draw(calls())
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=30)))

    async def story() -> None:
        served = await start()
        # Piece by piece as the loop hands them over: of a socket's own pieces nobody can be sure.
        connection = served.server._connection()
        given_back = Transport()
        connection.connection_made(given_back)
        for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            connection.data_received(sent[begin:end])
        while len([one for one in given_back.wire.answers.values() if one.over]) < len(answers):
            await asyncio.sleep(0)
            await given_back.look()
        said = {stream: answer.messages for stream, answer in given_back.wire.answers.items()}
        assert said == answers
        assert all(answer.status == OK for answer in given_back.wire.answers.values())
        connection.connection_lost(None)
        await served.server.stop(0)

    run(story())


class Transport:
    """Keeps what a connection sends."""

    def __init__(self) -> None:
        self.sent = b""
        self._reading = True
        self.wire = Wire(None)  # type: ignore[arg-type]
        self.wire.reads = False

    def write(self, data: bytes) -> None:
        self.sent += data

    async def look(self) -> None:
        self.wire._came += self.sent
        self.sent = b""
        await self.wire._take()

    def set_write_buffer_limits(self, high: int) -> None:
        """There is no network to wait for."""

    def get_extra_info(self, name: str) -> None:
        """There is none."""

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True

    def reads(self) -> bool:
        return self._reading

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """It is."""


# Frames of any kind: most of them wrong, a few of them right.
GARBAGE = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.builds(
            frame,
            st.integers(0, 11),
            st.integers(0, 255),
            st.sampled_from([0, 1, 1, 1, 3, 5, 2, (1 << 32) - 1]),
            st.one_of(st.binary(max_size=40), st.just(bytes(4)), st.just(bytes(8))),
        ),
        st.sampled_from(
            [frame(SETTINGS, 0, 0), frame(DATA, 0, 1, message(b"x")), frame(DATA, END_STREAM, 1)]
        ),
        st.just(frame(HEADERS, END_HEADERS, 1, Wire(None).encoder.encode(call_fields("/t.T/Chat")))),  # type: ignore[arg-type]
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(GARBAGE)
def test_garbage_neither_hangs_its_connection_nor_harms_another(garbage: list[bytes]) -> None:
    async def story() -> None:
        served: Served = await start()
        failures: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        async with await Wire.open(served.port) as other, await Wire.open(served.port) as wire:
            await wire.send(b"".join(garbage))
            # Behind it, a frame that is too large wherever frames begin: it ends all that still waits for more.
            await wire.send(b"\xff" * 70_000)
            while await wire.receive():
                pass
            assert (await other.answer(await other.call("/t.T/Echo", b"well"))).messages == [b"well"]
        await served.server.stop(0)
        assert not failures
        assert not served.server._terms.tasks

    run(story())
