"""Cases for the transport: a conversation, changed, in pieces, on a network that may take no more for a while."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import patch

from hpack import Decoder

from grpc_http2 import reader, turn
from grpc_http2.connection import Connection
from grpc_http2.limits import Limits
from tests.grpc_http2.conftest import Served, start
from tests.grpc_http2.wire import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    SETTINGS,
    call_fields,
    frame,
    message,
)

from .case import Failures
from .corpus import conversations
from .frames import Mutator, split

# Which a short conversation reaches.
_NARROW = Limits(
    connections=50, greeting=2.0, receiving=2, request=2.0, connection_unread=20_000, unread=30_000, stall=2.0,
    connection_held=20_000, held=30_000, reset_burst=3, resets_per_second=1, idle_burst=50, idle_per_second=10,
    leaving=1.0,
)  # fmt: skip
# The most turns of the loop that all of a case takes.
_TURNS = 3000
_ENDS_ALL = b"\xff" * 70_000


class Network(asyncio.Transport):
    """Stands for the socket: it may be full, it may be closed, and what it says is looked at.

    Args:
        high: Bytes beyond which it says that it is full.
    """

    def __init__(self, high: int) -> None:
        super().__init__()
        self.sent = bytearray()
        self.protocol: asyncio.Protocol | None = None
        self._high = high
        self._full = False
        self._waiting = 0
        self._closing = False
        self._reading = True
        self.lost = False

    @property
    def reads(self) -> bool:
        return self._reading and not self._closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or self.lost:
            return
        self.sent += data
        self._waiting += len(data)
        if self._waiting > self._high and not self._full:
            self._full = True
            assert self.protocol is not None
            self.protocol.pause_writing()

    def take(self) -> None:
        """The other side reads all that there is."""
        self._waiting = 0
        if self._full and not self.lost:
            self._full = False
            assert self.protocol is not None
            self.protocol.resume_writing()

    def lose(self) -> None:
        """The connection is no more."""
        if not self.lost:
            self.lost = self._closing = True
            assert self.protocol is not None
            self.protocol.connection_lost(None)

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self.lose)

    abort = close

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        assert not self._closing
        self._reading = True

    def get_write_buffer_size(self) -> int:
        return self._waiting

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Its own count."""

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 1) if name == "peername" else default


class Fuzzed:
    """A server with usual bounds, and one with narrow ones."""

    def __init__(self, wide: Served, narrow: Served, failures: Failures) -> None:
        self._servers = (wide, narrow)
        self._failures = failures
        self._corpus = [split(one) for one in conversations("http2")]
        self.good = 0

    async def case(self, chance: random.Random) -> list[str]:
        """One case; what is wrong."""
        served = chance.choice(self._servers)
        # Half of them wait for a turn at each frame.
        reader._SHORT_READ = chance.choice((0, 1 << 20))
        if served.handlers.go.is_set() and chance.random() < 0.5:
            served.handlers.go.clear()
        frames = Mutator(chance, self._corpus).frames()
        preface = PREFACE if chance.random() < 0.97 else PREFACE[: chance.randint(0, 24)] + b"GET"
        sent = preface + b"".join(each.raw for each in frames)
        network = Network(chance.choice((1000, 64 << 10, 1 << 30)))
        connection = _connected(served, network)
        wrong = await self._converse(chance, served, connection, network, sent)
        network.lose()
        wrong += await self._afterwards(served)
        wrong += _said(bytes(network.sent))
        if chance.random() < 0.05:
            wrong += await self._good_call(served)
        return wrong + [text for text in self._failures.take() if not _is_meant(text)]

    async def _converse(
        self, chance: random.Random, served: Served, connection: Connection, network: Network, sent: bytes
    ) -> list[str]:
        at = 0
        pieces = chance.choice((1, 3, 30))
        ends = chance.random() < 0.5
        sent += _ENDS_ALL if ends else b""
        turns = 0
        while at < len(sent) and not network.is_closing():
            size = chance.randint(1, 1 + 2 * len(sent) // pieces)
            for _ in range(chance.choice((0, 0, 1, 5))):
                await asyncio.sleep(0)
            while not network.reads and not network.is_closing():
                network.take()
                await asyncio.sleep(0)
                turns += 1
                if turns > _TURNS:
                    return ["it never reads again"]
            if network.is_closing():
                break
            connection.data_received(sent[at : at + size])
            at += size
            happening = chance.random()
            if happening < 0.1:
                network.take()
            elif happening < 0.2:
                _tick(served, connection)
            elif happening < 0.22:
                served.handlers.go.set()
            elif happening < 0.23:
                connection.leave()
            elif happening < 0.235:
                connection.end()
        if not ends and chance.random() < 0.3:
            for _ in range(10):
                _tick(served, connection)
                await asyncio.sleep(0)
        while ends and not network.is_closing():
            # It can't but end.
            network.take()
            await asyncio.sleep(0)
            turns += 1
            if turns > _TURNS:
                return ["it neither answers nor ends"]
        return []

    async def _afterwards(self, served: Served) -> list[str]:
        for _ in range(_TURNS):
            if not served.server._terms.tasks and not served.server._terms.connections:
                break
            await asyncio.sleep(0)
        usage = served.server._terms.usage
        left = {
            "unread": usage.unread,
            "held": usage.held,
            "tasks": len(served.server._terms.tasks),
            "connections": len(served.server._terms.connections),
        }
        # Told once.
        usage.unread = usage.held = 0
        served.handlers.contexts.clear()
        for queue in (served.handlers.began, served.handlers.cancelled):
            while not queue.empty():
                queue.get_nowait()
        return [f"{name} is {count} after the end" for name, count in left.items() if count]

    async def _good_call(self, served: Served) -> list[str]:
        self.good += 1
        network = Network(1 << 30)
        connection = _connected(served, network)
        block = b"".join(
            b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value for name, value in call_fields()
        )
        call = frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, message(b"well"))
        connection.data_received(PREFACE + frame(SETTINGS, 0, 0) + call)
        for _ in range(_TURNS):
            if b"grpc-status" in network.sent:
                break
            await asyncio.sleep(0)
        network.lose()
        return [] if message(b"well") in network.sent else ["a good call was not answered"]


def _connected(served: Served, network: Network) -> Connection:
    connection = served.server._connection()
    assert isinstance(connection, Connection)
    network.protocol = connection
    connection.connection_made(network)
    return connection


def _tick(served: Served, connection: Connection) -> None:
    """A second passes, as it does for a server's connections."""
    if connection in served.server._terms.connections:
        connection.tick()
        served.server._terms.usage.relieve_unread()


def _is_meant(text: str) -> bool:
    """Whether it is about a handler of the tests that fails: on purpose, or at a request that it does not know."""
    return text.startswith("a handler of ") and "tests/grpc_http2/conftest.py" in text


def _said(sent: bytes) -> list[str]:
    """What is wrong with what the server said: frames are whole, fields can be read, streams end once."""
    if not sent or sent.startswith(b"HTTP/1.1"):
        return []
    decoder, at, ended = Decoder(), 0, set()
    while at < len(sent):
        if len(sent) < at + 9:
            return ["it ended within the head of a frame"]
        size = int.from_bytes(sent[at : at + 3], "big")
        kind, flags = sent[at + 3], sent[at + 4]
        stream = int.from_bytes(sent[at + 5 : at + 9], "big")
        payload = sent[at + 9 : at + 9 + size]
        if len(payload) < size:
            return ["it ended within a frame"]
        if kind in (HEADERS, DATA):
            if stream in ended:
                return [f"stream {stream} goes on behind its end"]
            if flags & END_STREAM:
                ended.add(stream)
        if kind == HEADERS and flags & END_HEADERS:
            decoder.decode(payload)
        if kind == GOAWAY and size < 8:
            return ["GOAWAY is too short"]
        at += 9 + size
    return []


@asynccontextmanager
async def fuzzed() -> AsyncIterator[Fuzzed]:
    """What cases run on."""
    with Failures() as failures, patch.multiple(turn, _TURN=0.0), patch.multiple(reader, _SHORT_READ=0):
        wide, narrow = (
            await start(),
            await start(
                limits=_NARROW, most_streams=5, max_connection_age=3.0, keepalive=2, keepalive_timeout=2
            ),
        )
        yield Fuzzed(wide, narrow, failures)
        for served in (wide, narrow):
            await served.server.stop(0)
