"""The other side of a connection, every byte of which a test decides on: by itself (`Wire`), or by `h2` (`Caller`).

`Caller` is also a referee: `h2` raises where the server breaks the protocol or sends more than it may.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes
from hpack import Decoder, Encoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_STREAM = ACK = 1
END_HEADERS = 4
PADDED = 8
WITH_PRIORITY = 32
HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 4, 5
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR = 0, 1, 2
FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 3, 5, 6
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 7, 8, 9, 11
# For a machine that is busy; shorter than the server's own usual bounds, so that those are not waited for.
SECONDS = 25

Fields = list[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame, right or wrong."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def setting(**values: int) -> bytes:
    """A SETTINGS frame: `setting(INITIAL_WINDOW_SIZE=0)`."""
    return frame(
        SETTINGS, 0, 0, b"".join(struct.pack(">HI", globals()[name], value) for name, value in values.items())
    )


def update(stream: int, more: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", more))


def reset(stream: int, code: int = CANCEL) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def message(content: bytes = b"", packed: bytes | None = None) -> bytes:
    """A message of gRPC; `packed` is how it looks compressed."""
    body = content if packed is None else packed
    return struct.pack(">BI", packed is not None, len(body)) + body


def packed(encoding: str, content: bytes) -> bytes:
    """A message as gzip or deflate make it."""
    return message(packed=gzip.compress(content) if encoding == "gzip" else zlib.compress(content))


def call_fields(path: str = "/t.T/Echo", *more: tuple[str, str], **changed: str | None) -> Fields:
    """What a call begins with; `te=None` leaves a field out, `method="GET"` changes a pseudo-field."""
    pseudo = {"method": "POST", "scheme": "http", "path": path, "authority": "a"}
    known = {**pseudo, "content_type": "application/grpc", "te": "trailers"}
    fields = []
    for name, value in {**known, **changed}.items():
        if value is not None:
            colon = ":" if name in pseudo else ""
            fields.append(((colon + name.replace("_", "-")).encode(), value.encode("latin-1")))
    fields.sort(key=lambda one: not one[0].startswith(b":"))
    return fields + [(name.encode(), value.encode("latin-1")) for name, value in more]


@dataclass
class Answer:
    """What came on a stream."""

    fields: dict[str, str] = field(default_factory=dict)
    trailers: list[tuple[str, str]] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None

    @property
    def messages(self) -> list[bytes]:
        """Those that are whole."""
        found, at = [], 0
        while len(self.data) >= at + 5:
            flag, size = struct.unpack_from(">BI", self.data, at)
            assert flag == 0
            if len(self.data) < at + 5 + size:
                break
            found.append(bytes(self.data[at + 5 : at + 5 + size]))
            at += 5 + size
        return found

    @property
    def status(self) -> int | None:
        """gRPC's, once it is there."""
        said = dict(self.trailers).get("grpc-status")
        return None if said is None else int(said)

    @property
    def text(self) -> str:
        """The status' text."""
        return unquote(dict(self.trailers).get("grpc-message", ""))


class Wire:
    """A socket, and what came on it.

    Attributes:
        frames: All that came: kind, flags, stream, payload.
        answers: What came on each stream.
        reads: Whether it lets the server send on, by WINDOW_UPDATE for all that came.
        closed: Whether the server has closed the connection.
    """

    def __init__(self, taken: socket.socket) -> None:
        self.socket = taken
        self.frames: list[tuple[int, int, int, bytes]] = []
        self.answers: dict[int, Answer] = {}
        self.reads = True
        self.closed = False
        self.encoder = Encoder()
        self._decoder = Decoder()
        self._came = b""
        self._block = b""
        self._next = 1

    @classmethod
    async def open(
        cls, port: int, *, host: str = "127.0.0.1", start: bytes | None = None, buffer: int = 0
    ) -> Self:
        """Connects and greets; `start` are other first bytes, `buffer` a small one for what comes."""
        taken = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        taken.setblocking(False)
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffer:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        await asyncio.get_running_loop().sock_connect(taken, (host, port))
        wire = cls(taken)
        await wire.send(PREFACE + frame(SETTINGS, 0, 0) if start is None else start)
        return wire

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *why: object) -> None:
        self.socket.close()

    async def send(self, data: bytes) -> None:
        """Sends bytes; a connection that the server has closed takes none, which is not wrong."""
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(self.socket, data), 3 * SECONDS)

    def next(self) -> int:
        """The number of a new stream."""
        self._next += 2
        return self._next - 2

    def headers(
        self, stream: int, fields: Iterable[tuple[bytes, bytes]], end: bool = False, **how: bool
    ) -> bytes:
        """A HEADERS frame."""
        return frame(HEADERS, END_HEADERS | end, stream, self.encoder.encode(list(fields), **how))

    async def call(
        self,
        path: str = "/t.T/Echo",
        content: bytes | None = b"",
        *more: tuple[str, str],
        **changed: str | None,
    ) -> int:
        """Makes a call with one message, and ends its side; with None it sends the fields alone."""
        stream = self.next()
        sent = self.headers(stream, call_fields(path, *more, **changed))
        if content is not None:
            body = message(content)
            for at in range(0, len(body), 16_384):
                last = END_STREAM if at + 16_384 >= len(body) else 0
                sent += frame(DATA, last, stream, body[at : at + 16_384])
        await self.send(sent)
        return stream

    async def receive(self) -> bool:
        """Takes what comes next; whether anything did."""
        try:
            data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.socket, 1 << 20), SECONDS)
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
            return False
        self._came += data
        await self._heard(data)
        return True

    async def _heard(self, data: bytes) -> None:
        await self._take()

    async def _take(self) -> None:
        given: dict[int, int] = {}
        while len(self._came) >= 9:
            length = int.from_bytes(self._came[:3], "big")
            if len(self._came) < 9 + length:
                break
            kind, flags, stream = struct.unpack_from(">BBI", self._came, 3)
            payload, self._came = self._came[9 : 9 + length], self._came[9 + length :]
            self.frames.append((kind, flags, stream, payload))
            self._frame(kind, flags, stream, payload)
            if kind == DATA and payload:
                given[0] = given.get(0, 0) + length
                given[stream] = given.get(stream, 0) + length
        if self.reads and given and type(self) is Wire:
            await self.send(b"".join(update(stream, more) for stream, more in given.items()))

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        answer = self.answers.setdefault(stream, Answer()) if stream else Answer()
        if kind == DATA:
            answer.data += payload
        elif kind == RST_STREAM:
            answer.reset = int.from_bytes(payload, "big")
        elif kind in (HEADERS, CONTINUATION):
            self._block += payload
            if flags & END_HEADERS:
                fields = [(str(name), str(value)) for name, value in self._decoder.decode(self._block)]
                self._block = b""
                if answer.fields:
                    answer.trailers = fields
                else:
                    answer.fields = dict(fields)
                    answer.trailers = fields
        answer.ended = answer.ended or bool(kind in (DATA, HEADERS) and flags & END_STREAM)

    async def until(self, there: Callable[[], object]) -> None:
        """Takes what comes until something is there."""
        while not there():
            assert await self.receive(), f"the server closed the connection, after {self.frames[-3:]}"

    async def answer(self, stream: int) -> Answer:
        """What a stream got, once it is over."""
        await self.until(lambda: stream in self.answers and self.answers[stream].over)
        return self.answers[stream]

    async def echo(self) -> None:
        """Waits until all that was sent before was handled: a PING comes back."""
        before = len(self.of(PING))
        await self.send(frame(PING, 0, 0, b"handled?"))
        await self.until(lambda: any(payload == b"handled?" for payload in self.of(PING)[before:]))

    async def end(self) -> tuple[int, str]:
        """The reason and the text of the last GOAWAY, once the connection is closed."""
        while not self.closed:
            await self.receive()
        said = self.of(GOAWAY)
        assert said, self.frames
        return int.from_bytes(said[-1][4:8], "big"), said[-1][8:].decode()

    def of(self, kind: int, stream: int = 0) -> list[bytes]:
        """The payloads of a kind of frames."""
        return [payload for what, _, number, payload in self.frames if what == kind and number == stream]


class Caller(Wire):
    """A client that keeps to the protocol, as `h2` does."""

    def __init__(self, taken: socket.socket) -> None:
        super().__init__(taken)
        self.h2 = H2Connection(
            H2Configuration(
                client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False
            )
        )

    @classmethod
    async def greet(cls, port: int, *, window: int = 65_535, buffer: int = 0) -> Self:
        """Connects; the window is that of each stream."""
        caller = await cls.open(port, start=b"", buffer=buffer)
        caller.h2.local_settings = type(caller.h2.local_settings)(
            client=True,
            initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window, SettingCodes.ENABLE_PUSH: 0},
        )
        caller.h2.initiate_connection()
        await caller.flush()
        await caller.until(lambda: caller.of(SETTINGS))
        return caller

    async def flush(self) -> None:
        """Sends what `h2` has to send."""
        await self.send(self.h2.data_to_send())

    async def _heard(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            more = getattr(event, "flow_controlled_length", 0)
            if more and self.reads:
                self.h2.acknowledge_received_data(more, event.stream_id)  # type: ignore[attr-defined]
        await self.flush()
        await self._take()

    async def begin(self, path: str = "/t.T/Echo", *more: tuple[str, str], end: bool = False) -> int:
        """Sends a call's fields."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, call_fields(path, *more), end)
        await self.flush()
        return stream

    async def say(self, stream: int, data: bytes, end: bool = False, most: int = 1 << 24) -> None:
        """Sends bytes of messages, in frames of the most bytes, as the server's windows let it."""
        at = 0
        while at < len(data):
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, most)
            if not room:
                assert await self.receive()
                continue
            self.h2.send_data(stream, data[at : at + room])
            at += room
            await self.flush()
        if end:
            self.h2.end_stream(stream)
            await self.flush()

    async def ask(self, path: str, content: bytes, *more: tuple[str, str]) -> Answer:
        """A call with one message, to its end."""
        stream = await self.begin(path, *more)
        await self.say(stream, message(content), True)
        return await self.answer(stream)
