"""What callers do to the server that mean it harm: each flood by its name, from a few connections."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

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
    SETTINGS,
    call_fields,
    frame,
    message,
    reset,
    setting,
    update,
)

CONNECTIONS = 4
SILENT = 2000
_HELLO = PREFACE + frame(SETTINGS, 0, 0)
_CHECK, _WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
_REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
# Its answer has tens of kB.
_ASK = message(ServerReflectionRequest(file_containing_symbol="jobqueue.v1.JobQueue").SerializeToString())


@dataclass(frozen=True, slots=True)
class Target:
    """Where the server answers, and until when it is flooded, as of `time.monotonic`."""

    grpc: int
    http: int
    until: float

    @property
    def left(self) -> float:
        """Seconds."""
        return max(self.until - time.monotonic(), 0.0)


Chunk = Callable[[int], bytes]
Run = Callable[[Target], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Flood:
    """One of them."""

    name: str
    about: str
    run: Run


FLOODS: dict[str, Flood] = {}


def _flood(name: str, about: str) -> Callable[[Run], Run]:
    def keep(run: Run) -> Run:
        FLOODS[name] = Flood(name, about, run)
        return run

    return keep


async def _pour(
    target: Target,
    opening: bytes,
    chunk: Chunk,
    *,
    reads: bool = True,
    http: bool = False,
    pause: float = 0.0,
) -> None:
    """Sends pieces as fast as the server takes them, and connects anew whenever that ends the connection."""
    while target.left:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", target.http if http else target.grpc)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        reading = asyncio.create_task(_read(reader, writer)) if reads else None
        try:
            writer.write(opening)
            number = 0
            while target.left and not writer.transport.is_closing():
                writer.write(chunk(number))
                number += 1
                await asyncio.wait_for(writer.drain(), max(target.left, 0.01))
                await asyncio.sleep(pause)
        except (OSError, TimeoutError):
            pass
        finally:
            if reading is not None:
                reading.cancel()
            writer.transport.abort()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(1 << 20):
            pass
    writer.close()


async def _all(target: Target, opening: bytes, chunk: Chunk, **how: float) -> None:
    await asyncio.gather(*(_pour(target, opening, chunk, **how) for _ in range(CONNECTIONS)))  # type: ignore[arg-type]


def _block(path: str, *more: tuple[str, str]) -> bytes:
    """A call's fields, none of which the table is to remember."""
    fields = call_fields(path, *more)
    return b"".join(
        b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value for name, value in fields
    )


def _calls(one: Callable[[int], bytes], count: int = 200) -> Chunk:
    """Pieces with calls, each on a stream of its own."""
    return lambda number: b"".join(one(2 * (number * count + each) + 1) for each in range(count))


# ---- frames that bring nothing

_OPEN_CALL = _HELLO + frame(HEADERS, END_HEADERS, 1, _block(_REFLECTION))
for _name, _one in {
    "pings": frame(PING, 0, 0, bytes(8)),
    "ping acks": frame(PING, ACK, 0, bytes(8)),
    "settings": frame(SETTINGS, 0, 0),
    "settings that change": setting(INITIAL_WINDOW_SIZE=1) + setting(INITIAL_WINDOW_SIZE=2),
    "settings acks": frame(SETTINGS, ACK, 0),
    "windows of one": update(0, 1),
    "stream windows of one": update(1, 1),
    "priorities": frame(PRIORITY, 0, 1, bytes(5)),
    "unknown frames": frame(99, 0, 1, b"?"),
    "goodbyes": frame(GOAWAY, 0, 0, bytes(8)),
    "empty data": frame(DATA, 0, 1),
    "padding": frame(DATA, PADDED, 1, b"\0"),
    "single bytes": frame(DATA, 0, 1, b"\0"),
    "resets of nothing": reset(1),
}.items():
    _flood(_name, "as fast as they are taken")(
        lambda target, sent=_one * 2000: _all(target, _OPEN_CALL, lambda _: sent)  # type: ignore[misc]
    )


# ---- calls


@_flood("rapid resets", "calls that are reset at once")
async def _rapid(target: Target) -> None:
    head = _block(_WATCH)
    one = _calls(lambda stream: frame(HEADERS, END_HEADERS, stream, head) + reset(stream))
    await _all(target, _HELLO, one)


@_flood("made resets", "calls that the server has to reset")
async def _made(target: Target) -> None:
    head = _block(_CHECK)
    one = _calls(lambda stream: frame(HEADERS, END_HEADERS, stream, head) + update(stream, 0))
    await _all(target, _HELLO, one)


@_flood("too many streams", "calls beyond the most, which are refused")
async def _too_many(target: Target) -> None:
    head = _block(_CHECK)
    await _all(target, _HELLO, _calls(lambda stream: frame(HEADERS, END_HEADERS, stream, head)))


@_flood("unknown methods", "error answers that are not read")
async def _unknown(target: Target) -> None:
    head = _block("/t.T/" + "x" * 100)
    one = _calls(lambda stream: frame(HEADERS, END_HEADERS | END_STREAM, stream, head))
    await _all(target, _HELLO, one, reads=False)


@_flood("zero windows", "large answers for which there is no room")
async def _zero(target: Target) -> None:
    head = _block(_REFLECTION)
    one = _calls(
        lambda stream: frame(HEADERS, END_HEADERS, stream, head) + frame(DATA, END_STREAM, stream, _ASK), 20
    )
    await _all(target, PREFACE + setting(INITIAL_WINDOW_SIZE=0), one)


@_flood("slow readers", "large answers, all windows open, not read")
async def _slow_readers(target: Target) -> None:
    head = _block(_REFLECTION)
    one = _calls(
        lambda stream: frame(HEADERS, END_HEADERS, stream, head) + frame(DATA, END_STREAM, stream, _ASK), 20
    )
    opening = PREFACE + setting(INITIAL_WINDOW_SIZE=1 << 30) + update(0, 1 << 30)
    await _all(target, opening, one, reads=False)


@_flood("slow writers", "300 requests a connection that come byte by byte")
async def _slow_writers(target: Target) -> None:
    head = _block(_CHECK)
    streams = range(1, 601, 2)
    opening = _HELLO + b"".join(
        frame(HEADERS, END_HEADERS, stream, head) + frame(DATA, 0, stream, b"\0\0\x10\0\0")
        for stream in streams
    )
    await _all(target, opening, lambda _: b"".join(frame(DATA, 0, one, b"x") for one in streams), pause=1.0)


@_flood("compressed bombs", "messages of 4 kB that are 4 MiB")
async def _bombs(target: Target) -> None:
    head = _block(_CHECK, ("grpc-encoding", "gzip"))
    bomb = message(packed=gzip.compress(bytes(4 << 20)))
    one = _calls(
        lambda stream: frame(HEADERS, END_HEADERS, stream, head) + frame(DATA, END_STREAM, stream, bomb), 10
    )
    await _all(target, _HELLO, one)


# ---- fields


@_flood("header bombs", "blocks of 1 kB that are 60")
async def _header_bombs(target: Target) -> None:
    block = b"\x40\x05large\x78" + b"x" * 120 + b"\xbe" * 380
    await _all(target, _HELLO, _calls(lambda one: frame(HEADERS, END_HEADERS | END_STREAM, one, block), 20))


@_flood("Huffman's code", "blocks of 60 kB that take long to be read")
async def _huffman(target: Target) -> None:
    block = Encoder().encode(call_fields(_CHECK, ("large", "xyz{|}" * 8000)), huffman=True)[:60_000]
    await _all(target, _HELLO, _calls(lambda one: frame(HEADERS, END_HEADERS | END_STREAM, one, block), 1))


@_flood("pieces of a block", "CONTINUATION of one byte")
async def _pieces(target: Target) -> None:
    sent = frame(CONTINUATION, 0, 1, b"\x82") * 2000
    await _all(target, _HELLO + frame(HEADERS, 0, 1, b"\x82"), lambda _: sent)


@_flood("endless block", "CONTINUATION of 16 kB")
async def _endless(target: Target) -> None:
    sent = frame(CONTINUATION, 0, 1, bytes(16_384))
    await _all(target, _HELLO + frame(HEADERS, 0, 1, b"\x82"), lambda _: sent)


# ---- connections


@_flood("silent", f"{SILENT} connections that say nothing, or half a preface")
async def _silent(target: Target) -> None:
    async def one(number: int) -> None:
        while target.left:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", target.grpc)
            except OSError:
                await asyncio.sleep(0.2)
                continue
            with contextlib.suppress(OSError, TimeoutError):
                writer.write(PREFACE[: number % 24])
                await asyncio.wait_for(reader.read(), target.left or 0.01)
            writer.transport.abort()

    await asyncio.gather(*(one(number) for number in range(SILENT)))


@_flood("quiet", f"{SILENT} connections that greet and make no call")
async def _quiet(target: Target) -> None:
    async def one() -> None:
        await _pour(target, _HELLO, lambda _: b"", pause=min(target.left, 5.0))

    await asyncio.gather(*(one() for _ in range(SILENT)))


for _name, _one in {
    "bad preface": b"\x16\x03\x01" + bytes(100),
    "HTTP/1.1": b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "no settings": PREFACE + frame(PING, 0, 0, bytes(8)),
    "garbage": _HELLO + b"\xff" * 100,
}.items():
    _flood(_name, "on the gRPC port, connecting anew each time")(
        lambda target, sent=_one: _all(target, sent, lambda _: b"", pause=0.001)  # type: ignore[misc]
    )


# ---- the port of HTTP


@_flood("HTTP: pipelined", "requests whose answers are not read")
async def _pipelined(target: Target) -> None:
    sent = b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n" * 500
    await _all(target, b"", lambda _: sent, reads=False, http=True)


@_flood("HTTP: slow heads", "a field a second, 500 connections")
async def _slow_heads(target: Target) -> None:
    async def one() -> None:
        begun = b"GET /health HTTP/1.1\r\nhost: a\r\n"
        await _pour(target, begun, lambda number: b"x-%d: y\r\n" % number, http=True, pause=1.0)

    await asyncio.gather(*(one() for _ in range(500)))


@_flood("HTTP: endless head", "fields without an end")
async def _endless_head(target: Target) -> None:
    sent = b"x-more: " + b"y" * 1000 + b"\r\n"
    await _all(target, b"GET /health HTTP/1.1\r\nhost: a\r\n", lambda _: sent * 50, http=True)


@_flood("HTTP: single bytes", "bodies in chunks of one byte")
async def _chunks(target: Target) -> None:
    begun = b"POST /v1/jobs HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    await _all(target, begun, lambda _: b"1\r\n \r\n" * 2000, http=True)
