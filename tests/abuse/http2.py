"""Floods of HTTP/2: frames, fields and calls."""

from __future__ import annotations

import gzip
from collections.abc import Callable

from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from hpack import Encoder

from tests.grpc_http2.wire import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    SETTINGS,
    call_fields,
    frame,
    message,
    reset,
    setting,
    update,
)

from .flood import CONNECTIONS, SILENT, Chunk, Stream, Target, again, flood, on_each, once

HELLO = PREFACE + frame(SETTINGS, 0, 0)
_CHECK, _WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
_REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
# Its answer has tens of kB.
_ASK = message(ServerReflectionRequest(file_containing_symbol="jobqueue.v1.JobQueue").SerializeToString())
_OPEN, _WHOLE = END_HEADERS, END_HEADERS | END_STREAM


def block(path: str, *more: tuple[str, str]) -> bytes:
    """A call's fields, none of which the table is to remember."""
    fields = call_fields(path, *more)
    return b"".join(
        b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value for name, value in fields
    )


def _calls(one: Callable[[int], bytes], count: int = 200) -> Chunk:
    """Pieces with calls, each on a stream of its own."""
    return lambda number: b"".join(one(2 * (number * count + each) + 1) for each in range(count))


def _same(sent: bytes) -> Stream:
    """A call that stays open, and then the same again and again."""
    return again(sent, HELLO + frame(HEADERS, _OPEN, 1, block(_REFLECTION)))


# ---- frames

_FRAMES = {
    "pings and acks": (
        "PING, PING acks that were not asked for, SETTINGS, SETTINGS acks",
        [frame(PING, 0, 0, bytes(8)), frame(PING, ACK, 0, bytes(8)), frame(SETTINGS, 0, 0), frame(SETTINGS, ACK, 0)],
    ),
    "windows": (
        "windows that grow by one, of the connection and of a stream; windows that change; priorities",
        [
            update(0, 1), update(1, 1), setting(INITIAL_WINDOW_SIZE=1) + setting(INITIAL_WINDOW_SIZE=2),
            frame(PRIORITY, 0, 1, bytes(5)),
        ],
    ),
    "tiny data": (
        "DATA of nothing, of padding, of one byte; resets of nothing",
        [frame(DATA, 0, 1), frame(DATA, PADDED, 1, b"\0"), frame(DATA, 0, 1, b"\0"), reset(1)],
    ),
    "strange frames": (
        "frames of unknown kinds, GOAWAY, fields of even streams, pushes",
        [
            frame(99, 0, 1, b"?"), frame(GOAWAY, 0, 0, bytes(8)), frame(HEADERS, _WHOLE, 2, b"\x82"),
            frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4)),
        ],
    ),
}  # fmt: skip
for _name, (_about, _kinds) in _FRAMES.items():
    flood(_name, f"{_about}: one kind a connection, as fast as they are taken")(
        lambda target, kinds=_kinds: on_each(target, *(_same(kind * 2000) for kind in kinds))  # type: ignore[misc]
    )


# ---- fields


@flood("header bombs", "fields of 16 to 60 KiB in blocks of 0.5 to 1 kB")
async def _header_bombs(target: Target) -> None:
    large = b"\x40\x05large\x78" + b"x" * 120
    too_large = _calls(lambda one: frame(HEADERS, _WHOLE, one, large + b"\xbe" * 380), 20)
    allowed = _calls(lambda one: frame(HEADERS, _WHOLE, one, block(_CHECK) + large + b"\xbe" * 90), 20)
    await on_each(target, Stream(HELLO, too_large), Stream(HELLO, allowed))


@flood("Huffman's code", "blocks of 15 to 60 kB that take long to be read")
async def _huffman(target: Target) -> None:
    def coded(count: int) -> bytes:
        return Encoder().encode(call_fields(_CHECK, ("large", "xyz{|}" * count)), huffman=True)

    blocks = [coded(8000)[:60_000], coded(8000)[:39_000], coded(2000)]
    streams = [
        Stream(HELLO, _calls(lambda one, sent=sent: frame(HEADERS, _WHOLE, one, sent), 1))  # type: ignore[misc]
        for sent in blocks
    ]
    await on_each(target, *streams)


@flood("pieces of a block", "CONTINUATION of one byte, of none, of 16 kB")
async def _pieces(target: Target) -> None:
    opening = HELLO + frame(HEADERS, 0, 1, b"\x82")
    pieces = [
        frame(CONTINUATION, 0, 1, b"\x82") * 2000,
        frame(CONTINUATION, 0, 1) * 2000,
        frame(CONTINUATION, 0, 1, bytes(16_384)),
    ]
    await on_each(target, *(again(sent, opening) for sent in pieces))


@flood("tables", "fields that change the table each time, and its size")
async def _tables(target: Target) -> None:
    def grows(one: int) -> bytes:
        name = b"\x40\x08%08d\x01x" % one
        return frame(HEADERS, _WHOLE, one, block(_CHECK) + name * 50)

    sizes = frame(HEADERS, _WHOLE, 1, b"\x20\x3f\xe1\x1f" * 500 + b"\x82")
    await on_each(target, Stream(HELLO, _calls(grows, 50)), Stream(HELLO, lambda _: sizes * 10))


# ---- calls


@flood("rapid resets", "calls that are reset at once, without a deadline and with a short one")
async def _rapid(target: Target) -> None:
    plain, late = block(_WATCH), block(_WATCH, ("grpc-timeout", "200m"))
    streams = [
        Stream(HELLO, _calls(lambda one, head=head: frame(HEADERS, _OPEN, one, head) + reset(one)))  # type: ignore[misc]
        for head in (plain, late)
    ]
    await on_each(target, *streams)


@flood("made resets", "calls that the server has to reset")
async def _made(target: Target) -> None:
    head = block(_CHECK)
    await on_each(
        target, Stream(HELLO, _calls(lambda one: frame(HEADERS, _OPEN, one, head) + update(one, 0)))
    )


@flood("too many streams", "calls beyond the most, which are refused")
async def _too_many(target: Target) -> None:
    head = block(_CHECK)
    await on_each(target, Stream(HELLO, _calls(lambda one: frame(HEADERS, _OPEN, one, head))))


@flood("calls", "whole calls of a method that there is, answers read")
async def _whole_calls(target: Target) -> None:
    head = block(_CHECK)
    one = _calls(lambda one: frame(HEADERS, _OPEN, one, head) + frame(DATA, END_STREAM, one, message(b"")))
    await on_each(target, Stream(HELLO, one))


@flood("unknown methods", "error answers that are not read")
async def _unknown(target: Target) -> None:
    def one(number: int) -> bytes:
        return frame(HEADERS, _WHOLE, number, block("/t.T/" + "x" * 100 + str(number)))

    await on_each(target, Stream(HELLO, _calls(one), reads=False))


def _large_answers(one: int) -> bytes:
    return frame(HEADERS, _OPEN, one, block(_REFLECTION)) + frame(DATA, END_STREAM, one, _ASK)


@flood("zero windows", "large answers for which there is no room")
async def _zero(target: Target) -> None:
    streams = [
        Stream(PREFACE + setting(INITIAL_WINDOW_SIZE=0), _calls(_large_answers, 20)),
        # Of the connection: it is never given back.
        Stream(PREFACE + setting(INITIAL_WINDOW_SIZE=1 << 30), _calls(_large_answers, 20)),
    ]
    await on_each(target, *streams)


@flood("slow readers", "large answers, all windows open, not read")
async def _slow_readers(target: Target) -> None:
    opening = PREFACE + setting(INITIAL_WINDOW_SIZE=1 << 30) + update(0, 1 << 30)
    await on_each(target, Stream(opening, _calls(_large_answers, 20), reads=False))


@flood("slow writers", "300 requests a connection that come byte by byte")
async def _slow_writers(target: Target) -> None:
    streams = range(1, 601, 2)
    opening = HELLO + b"".join(
        frame(HEADERS, _OPEN, one, block(_CHECK)) + frame(DATA, 0, one, b"\0\0\x10\0\0") for one in streams
    )
    more = b"".join(frame(DATA, 0, one, b"x") for one in streams)
    await on_each(target, Stream(opening, lambda _: more, pause=1.0))


@flood(
    "unfinished messages", "150 requests a connection, of 4 MiB less a byte each", 650,
    "JOBQUEUE_GRPC_ALL_HELD_MIB, and an eighth that buffers have in reserve: producers may have as much under way",
)  # fmt: skip
async def _unfinished(target: Target) -> None:
    size, piece = 4 << 20, 16_384

    def opening(one: int) -> bytes:
        return frame(HEADERS, _OPEN, one, block(_CHECK)) + frame(
            DATA, 0, one, b"\0" + size.to_bytes(4, "big")
        )

    # 4 MiB less a piece of each, one stream after the other.
    count = size // piece - 1
    sent = bytes(piece)
    streams = Stream(
        HELLO + b"".join(opening(2 * each + 1) for each in range(150)),
        lambda number: frame(DATA, 0, 2 * (number // count) + 1, sent) if number < 150 * count else b"",
    )
    await on_each(target, streams)


@flood("compressed bombs", "messages of 4 kB that are 4 MiB")
async def _bombs(target: Target) -> None:
    head = block(_CHECK, ("grpc-encoding", "gzip"))
    bomb = message(packed=gzip.compress(bytes((4 << 20) - 1)))
    one = _calls(lambda one: frame(HEADERS, _OPEN, one, head) + frame(DATA, END_STREAM, one, bomb), 10)
    await on_each(target, Stream(HELLO, one))


@flood("open streams", "4,096 streams a connection that stay open")
async def _open_streams(target: Target) -> None:
    streams = range(1, 2 * 4096, 2)
    opening = HELLO + b"".join(frame(HEADERS, _OPEN, one, block(_REFLECTION)) for one in streams)
    await once(target, opening, connections=CONNECTIONS)


# ---- connections


@flood("silent", f"{SILENT} connections that say nothing, or half a preface")
async def _silent(target: Target) -> None:
    await once(target, PREFACE[:7], connections=SILENT)


@flood("quiet", f"{SILENT} connections that greet and make no call")
async def _quiet(target: Target) -> None:
    await once(target, HELLO, connections=SILENT)


@flood("remembered fields", "60 connections with 32 calls each whose fields are 16 KiB from 0.5 kB")
async def _remembered(target: Target) -> None:
    add = frame(HEADERS, _WHOLE, 1, block("/t.T/x") + b"\x40\x02aa\x02bb")
    more = [
        frame(HEADERS, _WHOLE, 2 * each + 3, block("/t.T/x", ("n", str(each))) + b"\xbe" * 420)
        for each in range(32)
    ]
    await once(target, HELLO + add + b"".join(more), connections=60)


@flood("half frames", "500 connections with half a frame, or half a block of fields")
async def _half_frames(target: Target) -> None:
    await once(target, HELLO + frame(HEADERS, 0, 1, bytes(60_000))[:50_000], connections=500)


@flood("connecting", "connections that begin wrong, one after the other: HTTP/1.1, TLS, no SETTINGS, garbage")
async def _connecting(target: Target) -> None:
    wrong = [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"\x16\x03\x01" + bytes(100),
        PREFACE + frame(PING, 0, 0, bytes(8)),
        HELLO + b"\xff" * 100,
    ]
    await on_each(target, *(Stream(sent, lambda _: b"", pause=0.001) for sent in wrong))
