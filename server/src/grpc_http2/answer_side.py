"""A call's answer: its fields, its messages within the windows, and its status behind them."""

from __future__ import annotations

import struct
from asyncio import Future, TimerHandle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import frames
from .errors import PeerGone
from .fields import ANSWER_BLOCK, OK_BLOCK, Metadata, encoding_block, metadata_block, status_block
from .messages import HEAD_BYTES, compressed, framed

if TYPE_CHECKING:
    from .connection import Connection
    from .outbox import Outbox

# How long a call that is refused waits for its caller's first message, in seconds. The client of `grpc.aio` tells
# INTERNAL of one that ended before it could write, whatever the status was.
FIRST_WORD = 0.25

# What a whole answer begins with: its headers, then the heads of its data and of its message.
_HEADERS_HEAD = frames.head(len(ANSWER_BLOCK), frames.HEADERS, frames.END_HEADERS, 0)[: -frames.STREAM_BYTES]
_heads = struct.Struct(f">L{len(ANSWER_BLOCK)}sBHBBLBL").pack

# A grpc.RpcMethodHandler, whose types know neither coroutines nor that a serializer may be missing.
Handler = Any


class AnswerSide:
    """The first of a call's three layers: what the server says.

    Attributes:
        id: Its number on the connection.
        window: Bytes that the other side takes now; may be negative.
        unsent: Bytes of messages for which there was no room yet.
        waited: Seconds in which its request did not become whole, or in which nothing of `unsent` was taken.
        ended: Whether its status is sent, or the caller has gone.
        half_closed: Whether the other side has said all.
    """

    __slots__ = (
        "_answering", "_code", "_connection", "_details", "_encoding", "_handler", "_last",
        "_next_encoding", "_out", "_received", "_room", "_timer", "_trailing", "_writable", "ended",
        "half_closed", "id", "unsent", "waited", "window",
    )  # fmt: skip

    # `Call` sets all of it: a constructor for each layer would be a twentieth of what a call costs.
    id: int
    window: int
    unsent: bytearray
    waited: int
    ended: bool
    half_closed: bool
    _connection: Connection
    _out: Outbox
    _handler: Handler
    # Bytes of the request.
    _received: int
    # Whether the answer's fields were sent.
    _answering: bool
    # How answers are compressed, and how the next one is; None: they are not.
    _encoding: str | None
    _next_encoding: str | None
    # The status, while it waits behind what is unsent.
    _last: bytes | None
    # Who waits for room, and who is to be called then.
    _room: Future[None] | None
    _writable: Callable[[], None] | None
    _code: int
    _details: str
    _trailing: Metadata
    _timer: TimerHandle | None

    # ---- what handlers use

    async def write(self, message: Any) -> None:
        """Sends a message, and waits while the other side takes no more.

        Raises:
            PeerGone: The caller has gone.
        """
        if self.ended:
            raise PeerGone
        serialize = self._handler.response_serializer
        self._send(self._framed(message if serialize is None else serialize(message)))
        if self.unsent or self._out.paused:
            # Its bytes wait. So that it does not too, no handler's caller has a name for it either.
            del message
            await self._until_sent()

    def writable(self) -> bool:
        """Whether a message is sent at once."""
        return not self.unsent and not self._out.paused

    def send(self, message: Any) -> None:
        """Sends a message, or drops it if the caller has gone. Check `writable` before sending much."""
        if not self.ended:
            self._send(self._framed(self._handler.response_serializer(message)))

    def when_writable(self, call: Callable[[], None]) -> None:
        """Calls once there is room again, or the caller has gone."""
        self._writable = call
        if self.writable() or self.ended:
            self.on_drained()
        elif not self.unsent:
            self._out.waiting[self] = None

    def answer(self, response: bytes) -> None:
        """The one message of a call and its end, in one piece where there is room."""
        size = len(response) + HEAD_BYTES
        out = self._out
        if (
            self._answering
            or self._encoding is not None
            or self.ended
            or self._code
            or not self.half_closed
            or out.paused
            or size > self.window
            or size > out.window
            or size > out.frame_bytes
        ):
            if not self.ended:
                self._send(self._framed(response))
                self.finish(self._code, self._details, self._trailing)
            return
        out.window -= size
        trailers = OK_BLOCK + metadata_block(self._trailing) if self._trailing else OK_BLOCK
        number = self.id
        heads = _heads(
            number, ANSWER_BLOCK, size >> 16, size & 0xFFFF, frames.DATA, 0, number, 0, len(response)
        )
        out.write(
            b"".join(
                (
                    _HEADERS_HEAD,
                    heads,
                    response,
                    frames.head(
                        len(trailers), frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, number
                    ),
                    trailers,
                )
            )
        )
        self._end()

    def finish(self, code: int, details: str = "", trailing: Metadata = ()) -> None:
        """Says the call's status, behind what is still to be sent."""
        if self.ended:
            return
        if self._timer is not None:
            self._timer.cancel()
        block = status_block(code, details) + metadata_block(trailing)
        if not self._answering:
            block = ANSWER_BLOCK + block
        last = frames.header_frames(self.id, block, True, self._out.frame_bytes)
        if not self.half_closed:
            # The caller may stop sending: the rest is not read.
            last += frames.reset(self.id, frames.ErrorCode.NO_ERROR)
        if code:
            self._out.keep(-len(self.unsent))
            self.unsent.clear()
        if code and not self._received and not self.half_closed:
            self.ended = True
            self._hold_back(last)
            self._timer = self._connection.loop.call_later(FIRST_WORD, self.flush_status)
            return
        self._say_last(last)

    # ---- what the connection uses

    def flush_status(self) -> None:
        """Says how a call has ended, which was held back."""
        if self._last is not None and not self.unsent:
            self._say_last(self._last)

    def on_drained(self) -> None:
        """All that there was to send has been sent, or never will be."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        if self._writable is not None:
            writable, self._writable = self._writable, None
            self._connection.loop.call_soon(writable)
        self.flush_status()

    # ---- frames

    def _framed(self, message: bytes) -> bytes:
        if self._encoding is None:
            return framed(message)
        encoding, self._next_encoding = self._next_encoding, self._encoding
        return framed(message) if encoding is None else compressed(message, encoding)

    def _open(self, metadata: Metadata) -> None:
        self._answering = True
        block = ANSWER_BLOCK + metadata_block(metadata) if metadata else ANSWER_BLOCK
        if self._encoding is not None:
            block += encoding_block(self._encoding)
        self._out.write(frames.header_frames(self.id, block, False, self._out.frame_bytes))

    def _send(self, body: bytes) -> None:
        """Sends bytes of messages, as many as there is room for; the rest when there is."""
        out = self._out
        if not self._answering:
            self._open(())
        size = len(body)
        if (
            not self.unsent
            and not out.paused
            and size <= self.window
            and size <= out.window
            and size <= out.frame_bytes
        ):
            self.window -= size
            out.window -= size
            out.budget.answers += 1
            out.write(frames.head(size, frames.DATA, 0, self.id) + body)
            return
        if not self.unsent:
            self.waited = 0
        self.unsent += body
        out.keep(size)
        out.pump(self)
        if self.unsent and out.is_too_much():
            self._connection.streams.lose(self, frames.ErrorCode.ENHANCE_YOUR_CALM)

    async def _until_sent(self) -> None:
        out = self._out
        while (self.unsent or out.paused) and not self.ended:
            self._room = self._connection.loop.create_future()
            try:
                if not self.unsent:
                    out.waiting[self] = None
                await self._room
            finally:
                self._room = None
                out.waiting.pop(self, None)
        if self.ended:
            raise PeerGone

    def _say_last(self, last: bytes) -> None:
        """Ends the stream by these frames, behind what is still to be sent."""
        self.ended = True
        if self.unsent:
            self._hold_back(last)
            return
        self._out.write(last)
        self._end()

    def _hold_back(self, last: bytes) -> None:
        self._last = last
        self._out.keep(len(last))

    def _end(self) -> None:
        self.ended = True
        self._out.budget.ended_well += 1
        self._forget()
        self._connection.streams.on_closed(self)

    def _forget(self) -> None:
        """Nothing more is sent."""
        if self._last is not None or self.unsent:
            self._out.keep(-len(self.unsent) - len(self._last or b""))
            self._last = None
            self.unsent.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._room is not None or self._writable is not None:
            self.on_drained()

    def on_reset(self) -> None:
        """The other side ended the call, or its connection was lost."""
        self.ended = True
        self._forget()
