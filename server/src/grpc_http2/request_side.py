"""A call's request: its messages as they come, and who is handed them."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from . import frames
from .answer_side import AnswerSide
from .fields import RequestHead
from .messages import Decompressed, MessageRefused, Messages, TooLarge, deserialized
from .outbox import SMALL_BYTES
from .peer import PeerCertificate

# What the other side may send on a stream before it is read. From half of it on it is told that it may send more.
STREAM_WINDOW = 1 << 20


def always() -> bool:
    """A handler that is ready for each message."""
    return True


class RequestSide(AnswerSide):
    """The second of a call's three layers: what the caller says.

    Attributes:
        compressed: Whether the message came compressed that its handler was given last.
    """

    __slots__ = (
        "_arrived", "_context", "_credit", "_handle", "_handled", "_held", "_messages", "_reader", "_ready",
        "_refusal", "_request", "compressed",
    )  # fmt: skip

    compressed: bool
    _request: RequestHead
    _arrived: deque[bytes | TooLarge]
    _messages: Messages
    # Bytes that came and were not given back to the other side's window.
    _credit: int
    # Bytes that came and were not handed on.
    _held: int
    # What a request gets once it has ended that is no call.
    _refusal: tuple[int, str] | None
    _reader: asyncio.Future[None] | None
    # Who is handed each message as it comes, and what stands in for its task then.
    _handle: Callable[[Any], None] | None
    _handled: asyncio.Future[None] | None
    _ready: Callable[[], bool]
    _context: contextvars.Context | None

    # ---- the layer above

    def _whole(self) -> None:
        """A request of one message is whole, or has the beginning of one that is too large."""
        raise NotImplementedError

    def _fail(self, code: grpc.StatusCode, text: str) -> None:
        """The call can't go on, whatever its handler is about."""
        raise NotImplementedError

    def _refused(self, status: int, text: str) -> None:
        """A request that is no call is whole."""
        raise NotImplementedError

    # ---- what handlers use

    def certificate(self) -> PeerCertificate | None:
        """The caller's certificate; None if it showed none."""
        return self._connection.certificate

    # ---- what the connection uses

    def on_data(self, data: bytes, size: int) -> None:
        """Takes the content of a DATA frame, which had so many bytes with its padding.

        Raises:
            ConnectionBroken: There are too many frames that bring little, or resets.
        """
        connection = self._connection
        if self.half_closed:
            connection.streams.reset(self, frames.ErrorCode.STREAM_CLOSED)
            return
        self._received += len(data)
        self._credit += size
        if self._credit > STREAM_WINDOW:
            connection.streams.reset(self, frames.ErrorCode.FLOW_CONTROL_ERROR)
            return
        if self._refusal is not None or self._messages.over or not data:
            # It is not read, or it is all padding.
            if data and size < SMALL_BYTES:
                connection.budget.idle()
            self._give_back()
            return
        arrived = self._arrived
        before = len(arrived)
        self._held += size
        try:
            connection.held.add(size)
            self._messages.feed(data)
            if self._messages.grown:
                self._grown()
        except MessageRefused as refused:
            self._fail(refused.code, refused.message)
            return
        if self._messages.held:
            if size < SMALL_BYTES:
                connection.budget.idle()
            if not before:
                # The rest of the message can come only if the window is given back.
                self._give_back()
        if self._handle is not None:
            self.resume()
        elif arrived:
            if self._reader is not None:
                self._wake_reader()
            elif type(arrived[-1]) is TooLarge and not self._handler.request_streaming:
                # It is answered now, and not when all of it has come.
                self._whole()

    def close(self) -> None:
        """The other side has said all.

        Raises:
            ConnectionBroken: There are too many resets.
        """
        self.half_closed = True
        if self.ended:
            self.flush_status()
            return
        if self._request.shared.length not in (None, self._received):
            self._connection.streams.reset(self, frames.ErrorCode.PROTOCOL_ERROR)
        elif self._refusal is not None:
            self._refused(*self._refusal)
        elif self._messages.held:
            self._fail(grpc.StatusCode.INTERNAL, "the call ended within a message")
        elif self._handler.request_streaming:
            self._wake_reader()
            self.resume()
        elif not self._messages.over:
            self._whole()

    def refuse(self, status: int, text: str) -> None:
        """Ends a request that is no call as HTTP does, once it has ended itself."""
        self._refusal = status, text

    @property
    def timeout(self) -> float | None:
        """Seconds that the caller gives it; None for no bound."""
        return self._request.timeout

    @property
    def receiving(self) -> bool:
        """Whether its handler, or a refusal, waits for the end of the request."""
        if self.half_closed or self.ended:
            return False
        return self._refusal is not None or not self._handler.request_streaming

    # ---- what handlers use

    async def read(self) -> Any:
        """The next message; `grpc.aio.EOF` when the other side has said all.

        One read at a time.

        Raises:
            MessageTooLarge: It is.
            MessageUnreadable: It is none.
        """
        while not self._arrived:
            if self.half_closed or self.ended:
                return grpc.aio.EOF
            self._reader = self._connection.loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        raw = self._arrived.popleft()
        if not self._arrived:
            self._let_go()
            self._give_back()
        return self._message(raw)

    async def receive(self, handle: Callable[[Any], None], ready: Callable[[], bool]) -> None:
        """Has each message handled as it comes, without a task in between, until the other side has said all.

        Args:
            handle: Gets each message, in the context of the task that waits here.
            ready: Whether `handle` takes the next one now. Where it does not, `resume` goes on.

        Raises:
            MessageTooLarge: A message is.
            MessageUnreadable: A message is none.
            Exception: What `handle` raised; no message is handled after that.
        """
        self._handle, self._ready = handle, ready
        self._context = contextvars.copy_context()
        self._handled = self._connection.loop.create_future()
        self.resume()
        try:
            await self._handled
        finally:
            if self._handled.done() and not self._handled.cancelled():
                self._handled.exception()
            # The frames of an error know this stream and the message. If the stream kept the error, or the
            # handler of messages, all of them would wait for the garbage collector, for hundreds of streams.
            self._handle = self._handled = self._context = None
            self._ready = always

    def resume(self) -> None:
        """Handles what has come, as long as it may be handled."""
        context = self._context
        if context is None or self._handle is None:
            return
        # Within itself: the turn that there is goes on.
        self._context = None
        try:
            context.run(self._handle_all)
        finally:
            self._context = context

    # ---- messages

    def _handle_all(self) -> None:
        if self._handled is None or self._handled.done():
            return
        arrived = self._arrived
        try:
            while arrived and self._handle is not None and self._ready():
                self._handle(self._message(arrived.popleft()))
        except Exception as error:
            self._handled.set_exception(error)
            return
        if not arrived:
            self._let_go()
            self._give_back()
            if self.half_closed and not self._handled.done():
                self._handled.set_result(None)

    def _message(self, raw: bytes | TooLarge) -> Any:
        """As its handler takes it; raises what `deserialized` does."""
        self.compressed = type(raw) is Decompressed
        return deserialized(raw, self._handler.request_deserializer)

    def _grown(self) -> None:
        """Counts messages as large as they are in memory: deflate makes a thousand bytes of one."""
        size, self._messages.grown = self._messages.grown, 0
        self._held += size
        self._connection.held.add(size)

    def _give_back(self) -> None:
        """Lets the other side send as much again as was taken, once that is worth a frame."""
        if self._credit >= STREAM_WINDOW // 2 and not self.half_closed:
            self._out.write(frames.window_update(self.id, self._credit))
            self._credit = 0

    def _let_go(self) -> None:
        """What came was handed on, or never will be."""
        self._connection.held.bytes -= self._held
        self._held = 0

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _forget(self) -> None:
        # The one message of a call counts as held until then: 4 kB may be 4 MiB once decompressed.
        if self._held:
            self._let_go()
        self._arrived.clear()
        self._messages.held.clear()
        super()._forget()
