"""What a flood is, and how its bytes are sent."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

CONNECTIONS = 4
SILENT = 2000
# What a server may need more than before while it is flooded.
MEMORY_MIB = 100


@dataclass
class Target:
    """Where the server answers, until when it is flooded, as of `time.monotonic`, and what it was sent.

    Attributes:
        bytes: That the server's machine has taken.
        connections: That were opened.
    """

    grpc: int
    http: int
    until: float
    bytes: int = 0
    connections: int = 0

    @property
    def left(self) -> float:
        """Seconds."""
        return max(self.until - time.monotonic(), 0.0)


Run = Callable[[Target], Awaitable[object]]
# The next piece of a connection, by its number.
Chunk = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Flood:
    """One of them.

    Attributes:
        memory_mib: How much more memory than before the server may need meanwhile.
        because: Why that is not MEMORY_MIB.
    """

    name: str
    about: str
    run: Run
    memory_mib: int = MEMORY_MIB
    because: str = ""


FLOODS: dict[str, Flood] = {}


def flood(name: str, about: str, memory_mib: int = MEMORY_MIB, because: str = "") -> Callable[[Run], Run]:
    """Adds a flood."""

    def keep(run: Run) -> Run:
        FLOODS[name] = Flood(name, about, run, memory_mib, because)
        return run

    return keep


@dataclass(frozen=True)
class Stream:
    """What one connection sends.

    Attributes:
        opening: First.
        chunk: Then, again and again.
        reads: Whether it reads what it is sent.
        http: Whether it is for the port of HTTP.
        pause: Seconds between two chunks.
    """

    opening: bytes
    chunk: Chunk
    reads: bool = True
    http: bool = False
    pause: float = 0.0


def again(sent: bytes, opening: bytes = b"", *, reads: bool = True, http: bool = False) -> Stream:
    """The same bytes again and again."""
    return Stream(opening, lambda _: sent, reads=reads, http=http)


async def pour(target: Target, streams: Sequence[Stream]) -> None:
    """Sends one stream as fast as the server takes it; whenever that ends the connection, the next one on a new one."""
    for stream in itertools.cycle(streams):
        if not target.left:
            return
        try:
            port = target.http if stream.http else target.grpc
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        target.connections += 1
        reading = asyncio.create_task(_read(reader, writer)) if stream.reads else None
        try:
            await _write(target, writer, stream)
        except (OSError, TimeoutError):
            pass
        finally:
            if reading is not None:
                reading.cancel()
            writer.transport.abort()


async def _write(target: Target, writer: asyncio.StreamWriter, stream: Stream) -> None:
    for number, data in enumerate(itertools.chain([stream.opening], map(stream.chunk, itertools.count()))):
        if not target.left or writer.transport.is_closing():
            return
        writer.write(data)
        target.bytes += len(data)
        async with asyncio.timeout(max(target.left, 0.01)):
            await writer.drain()
        await asyncio.sleep(stream.pause if number else 0)


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(1 << 20):
            pass
    writer.close()


async def on_each(target: Target, *streams: Stream, connections: int = CONNECTIONS) -> None:
    """Pours on some connections at once, which begin with another of the streams each."""
    turns = [streams[at % len(streams) :] + streams[: at % len(streams)] for at in range(connections)]
    await asyncio.gather(*(pour(target, turn) for turn in turns))


async def once(target: Target, opening: bytes, *, connections: int, http: bool = False) -> None:
    """Connections that say so much and then nothing, and come again when they are closed."""

    async def one() -> None:
        while target.left:
            try:
                port = target.http if http else target.grpc
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.2)
                continue
            target.connections += 1
            target.bytes += len(opening)
            with contextlib.suppress(OSError, TimeoutError):
                writer.write(opening)
                async with asyncio.timeout(target.left or 0.01):
                    while await reader.read(1 << 16):
                        pass
            writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(connections)))
