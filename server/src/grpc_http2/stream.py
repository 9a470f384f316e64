"""One call on its connection: what handlers know as their context."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

import grpc
import grpc.aio

from . import frames
from .errors import MessageTooLarge, PeerGone
from .fields import (
    ANSWER_BLOCK,
    OK_BLOCK,
    Metadata,
    Request,
    encoding_block,
    http_status_block,
    metadata_block,
    status_block,
)
from .messages import (
    ENCODING_OF,
    Decompressed,
    MessageRefused,
    Messages,
    TooLarge,
    compressed,
    framed,
)
from .messages import raw as as_it_came

if TYPE_CHECKING:
    from .connection import Connection

_log = logging.getLogger(__name__)

# How long a call that is refused waits for its caller's first message, in seconds. The client of `grpc.aio` tells
# INTERNAL of one that ended before it could write, whatever the status was.
FIRST_WORD = 0.25
# What the other side may send on a stream before it is read. From half of it on it is told that it may send more.
STREAM_WINDOW = 1 << 20
# What is smaller, and makes no message whole, is work and brings little.
SMALL_BYTES = 64
# A caller's own deadline counts up to so many times what a request has otherwise to be whole.
_MOST_PATIENCE = 10

# A grpc.RpcMethodHandler, whose types know neither coroutines nor that a serializer may be missing.
Handler = Any


class Cancellable(Protocol):
    """What goes on for a call."""

    def cancel(self) -> object:
        """Nobody waits for it any more."""


class Stream:
    """A call from its fields to its status.

    It has what handlers use of `grpc.aio.ServicerContext`. A handler is a task; it is cancelled when the other side
    resets the stream, when the connection is lost, when a streaming call's time is up, and when the server ends.
    A unary handler may have `immediate(raw, stream) -> bool`, which is asked before: it starts a call that needs no
    task, sets what stands for it as `task` and says `answer` or `finish` later, or answers False.

    Attributes:
        id: Its number on the connection.
        window: Bytes that the other side takes now; may be negative.
        unsent: Bytes of messages for which there was no room yet.
        waited: Seconds in which its request did not become whole, or in which nothing of `unsent` was taken.
        task: The handler's, or what stands for it.
        ended: Whether its status is said, or nobody is there to be told.
        half_closed: Whether the other side has said all.
        compressed: Whether the message came compressed that its handler was given last.
    """

    __slots__ = (
        "_answering",
        "_arrived",
        "_code",
        "_connection",
        "_context",
        "_credit",
        "_deadline",
        "_details",
        "_encoding",
        "_handle",
        "_handled",
        "_handler",
        "_held",
        "_last",
        "_messages",
        "_next_encoding",
        "_reader",
        "_ready",
        "_received",
        "_refusal",
        "_request",
        "_room",
        "_timer",
        "_trailing",
        "_writable",
        "compressed",
        "ended",
        "half_closed",
        "id",
        "task",
        "unsent",
        "waited",
        "window",
    )

    def __init__(
        self, connection: Connection, stream_id: int, request: Request, handler: Handler, window: int
    ) -> None:
        self.id = stream_id
        self.window = window
        self.unsent = bytearray()
        self.waited = 0
        self.task: Cancellable | None = None
        self.ended = False
        self.half_closed = False
        self.compressed = False
        self._connection = connection
        self._request = request
        self._handler = handler
        self._arrived: deque[bytes | TooLarge] = deque()
        self._messages = Messages(request.encoding, connection.most_bytes, self._arrived.append)
        # Bytes that came and were not given back to the other side's window.
        self._credit = 0
        # Bytes that came and were not handed on.
        self._held = 0
        self._received = 0
        # What a request gets once it has ended that is no call.
        self._refusal: tuple[int, str] | None = None
        self._answering = False
        # How answers are compressed, and how the next one is; None: they are not.
        self._encoding: str | None = None
        self._next_encoding: str | None = None
        self._last: bytes | None = None
        self._reader: asyncio.Future[None] | None = None
        # Who is handed each message as it comes, and what stands in for its task then.
        self._handle: Callable[[Any], None] | None = None
        self._handled: asyncio.Future[None] | None = None
        self._ready: Callable[[], bool] = _always
        self._context: contextvars.Context | None = None
        self._writable: Callable[[], None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._code: int = 0
        self._details = ""
        self._trailing: Metadata = ()
        self._deadline = None if request.timeout is None else time.monotonic() + request.timeout
        self._timer: asyncio.TimerHandle | None = None

    # ---- what comes

    def begin(self) -> None:
        """Starts the handler of a call that does not wait for its one message."""
        if not self._handler.request_streaming:
            return
        if self._request.timeout is not None:
            self._timer = self._connection.loop.call_later(self._request.timeout, self._out_of_time)
        self._start(self._streaming(self._handler.stream_stream or self._handler.stream_unary, self))

    def fed(self, data: bytes, size: int) -> None:
        """Takes the content of a DATA frame, which had so many bytes with its padding."""
        if self.half_closed:
            self._connection.reset(self, frames.Reason.STREAM_CLOSED)
            return
        self._received += len(data)
        self._credit += size
        if self._credit > STREAM_WINDOW:
            self._connection.reset(self, frames.Reason.FLOW_CONTROL_ERROR)
            return
        if self._refusal is not None or self._messages.over or not data:
            # Nobody reads it; what is all padding says nothing either.
            if data and size < SMALL_BYTES:
                self._connection.idle()
            self._give_back()
            return
        arrived = self._arrived
        before = len(arrived)
        self._held += size
        try:
            self._connection.hold(size)
            self._messages.feed(data)
            if self._messages.grown:
                self._grown()
        except MessageRefused as refused:
            self._fail(refused.code, refused.message)
            return
        if self._messages.held:
            if size < SMALL_BYTES:
                self._connection.idle()
            if not before:
                # Whoever waits for the rest of a message must let it come.
                self._give_back()
        if self._handle is not None:
            self.resume()
        elif arrived:
            if self._reader is not None:
                self._wake_reader()
            elif type(arrived[-1]) is TooLarge and not self._handler.request_streaming:
                # It is answered now, and not when all of it has come.
                self._start_with_one()

    def _grown(self) -> None:
        """Counts messages as large as they are in memory: deflate makes a thousand bytes of one."""
        size, self._messages.grown = self._messages.grown, 0
        self._held += size
        self._connection.hold(size)

    def close(self) -> None:
        """The other side has said all."""
        self.half_closed = True
        if self.ended:
            self.tell()
            return
        if self._request.length not in (None, self._received):
            self._connection.reset(self, frames.Reason.PROTOCOL_ERROR)
        elif self._refusal is not None:
            self._refused(*self._refusal)
        elif self._messages.held:
            self._fail(grpc.StatusCode.INTERNAL, "the call ended within a message")
        elif self._handler.request_streaming:
            self._wake_reader()
            self.resume()
        elif not self._messages.over:
            self._start_with_one()

    def _start_with_one(self) -> None:
        """Starts the handler of a call with one message."""
        if len(self._arrived) != 1:
            self._fail(grpc.StatusCode.INTERNAL, f"the call has {len(self._arrived)} messages instead of one")
            return
        raw = self._arrived.popleft()
        self._let_go()
        if self._handler.response_streaming:
            self._start(self._streaming(self._handler.unary_stream, raw))
        elif not self._immediate(raw):
            self._start(self._unary(raw))

    @property
    def receiving(self) -> bool:
        """Whether its handler, or a refusal, waits for the end of the request."""
        if self.half_closed or self.ended:
            return False
        return self._refusal is not None or not self._handler.request_streaming

    def look_at_its_time(self) -> None:
        """Ends a request that should be whole by now."""
        most = self._connection.limits.request
        if self._refusal is not None:
            if self.waited > most:
                self._refused(*self._refusal)
        elif self._deadline is None:
            if self.waited > most:
                text = f"the request was not whole after {most:g} s"
                self._fail(grpc.StatusCode.DEADLINE_EXCEEDED, text)
        elif self._deadline <= time.monotonic() or self.waited > _MOST_PATIENCE * most:
            self._out_of_time()

    def gone(self) -> None:
        """The other side ended the call, or its connection was lost."""
        self.ended = True
        self._forget()
        if self.task is not None:
            self.task.cancel()

    def cut(self) -> None:
        """The server ends, and can't wait for it."""
        self._fail(grpc.StatusCode.UNAVAILABLE, "the server ended before the call did")

    def _out_of_time(self) -> None:
        self._fail(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def _fail(self, code: grpc.StatusCode, text: str) -> None:
        """The call can't go on, whatever its handler is about."""
        self.finish(code.value[0], text)
        if self.task is not None:
            self.task.cancel()

    def _give_back(self) -> None:
        """Lets the other side send as much again as was taken, once that is worth a frame."""
        if self._credit >= STREAM_WINDOW // 2 and not self.half_closed:
            self._connection.write(frames.window_update(self.id, self._credit))
            self._credit = 0

    def _let_go(self) -> None:
        """What came was handed on, or never will be."""
        self._connection.held -= self._held
        self._held = 0

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # ---- the handler

    def _immediate(self, raw: bytes | TooLarge) -> bool:
        """Whether the call goes on without a task, or has ended."""
        immediate = getattr(self._handler.unary_unary, "immediate", None)
        if immediate is None or type(raw) is TooLarge:
            return False
        try:
            return bool(immediate(raw, self))
        except Exception as error:
            self._failed(error)
            return True

    def _start(self, work: Any) -> None:
        connection = self._connection
        self.task = task = connection.loop.create_task(work)
        connection.tasks.add(task)
        task.add_done_callback(connection.tasks.discard)

    async def _unary(self, raw: bytes | TooLarge) -> None:
        handler = self._handler
        try:
            response = await handler.unary_unary(self._message(raw), self)
            if handler.response_serializer is not None:
                response = handler.response_serializer(response)
        except BaseException as error:
            self._failed(error)
            return
        self.answer(response)

    async def _streaming(self, behaviour: Callable[[Any, Any], Any], request: Any) -> None:
        handler = self._handler
        try:
            if request is not self:
                request = self._message(request)
            outcome: Awaitable[Any] | AsyncIterator[Any] = behaviour(request, self)
            if isinstance(outcome, AsyncIterator):
                async for response in outcome:
                    await self.write(response)
            else:
                response = await outcome
                if handler.stream_unary is not None:
                    await self.write(response)
        except BaseException as error:
            self._failed(error)
            return
        self.finish(self._code, self._details, self._trailing)

    def _failed(self, error: BaseException) -> None:
        """Says how a handler ended that did not end well.

        Raises:
            BaseException: The process is to end.
        """
        if isinstance(error, grpc.aio.AbortError):
            self.finish(self._code, self._details, self._trailing)
        elif isinstance(error, MessageTooLarge):
            self.finish(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], str(error))
        elif isinstance(error, (asyncio.CancelledError, PeerGone)):
            self.finish(grpc.StatusCode.CANCELLED.value[0], "the call was cancelled")
        elif isinstance(error, Exception):
            if not self.ended:
                _log.error("a handler of %s failed", self._request.path, exc_info=error)
                # Its text may say what the caller is not to know.
                self.finish(grpc.StatusCode.UNKNOWN.value[0], "the server failed to handle the call")
        else:
            raise error

    # ---- what goes

    def answer(self, response: bytes) -> None:
        """The one message of a call and its end, in one piece where there is room."""
        body = framed(response) if self._encoding is None else self._framed(response)
        size = len(body)
        connection = self._connection
        if (
            self._answering
            or self._encoding is not None
            or self.ended
            or self._code
            or not self.half_closed
            or connection.paused
            or size > self.window
            or size > connection.window
            or size > connection.frame_bytes
        ):
            if not self.ended:
                self._send(body)
                self.finish(self._code, self._details, self._trailing)
            return
        connection.window -= size
        trailers = _well(self._trailing)
        number = self.id
        connection.write(
            b"".join(
                (
                    frames.head(len(ANSWER_BLOCK), frames.HEADERS, frames.END_HEADERS, number),
                    ANSWER_BLOCK,
                    frames.head(size, frames.DATA, 0, number),
                    body,
                    frames.head(
                        len(trailers), frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, number
                    ),
                    trailers,
                )
            )
        )
        self._end()

    def _send(self, body: bytes) -> None:
        """Sends bytes of messages, as many as there is room for; the rest when there is."""
        connection = self._connection
        if not self._answering:
            self._open(())
        size = len(body)
        if (
            not self.unsent
            and not connection.paused
            and size <= self.window
            and size <= connection.window
            and size <= connection.frame_bytes
        ):
            self.window -= size
            connection.window -= size
            connection.answers += 1
            connection.write(frames.head(size, frames.DATA, 0, self.id) + body)
            return
        if not self.unsent:
            self.waited = 0
        self.unsent += body
        connection.keep(size)
        connection.pump(self)
        if self.unsent:
            connection.bound_unread(self)

    def _open(self, metadata: Metadata) -> None:
        self._answering = True
        block = ANSWER_BLOCK + metadata_block(metadata) if metadata else ANSWER_BLOCK
        if self._encoding is not None:
            block += encoding_block(self._encoding)
        self._connection.write(frames.header_frames(self.id, block, False, self._connection.frame_bytes))

    def _framed(self, message: bytes) -> bytes:
        if self._encoding is None:
            return framed(message)
        encoding, self._next_encoding = self._next_encoding, self._encoding
        return framed(message) if encoding is None else compressed(message, encoding)

    def finish(self, code: int, details: str = "", trailing: Metadata = ()) -> None:
        """Says the call's status, behind what is still to be sent."""
        if self.ended:
            return
        if self._timer is not None:
            self._timer.cancel()
        block = status_block(code, details) + metadata_block(trailing)
        if not self._answering:
            block = ANSWER_BLOCK + block
        last = frames.header_frames(self.id, block, True, self._connection.frame_bytes)
        if not self.half_closed:
            # The other side may stop: nobody reads the rest.
            last += frames.reset(self.id, frames.Reason.NO_ERROR)
        if code:
            self._connection.keep(-len(self.unsent))
            self.unsent.clear()
        if code and not self._received and not self.half_closed:
            self.ended = True
            self._hold_back(last)
            self._timer = self._connection.loop.call_later(FIRST_WORD, self.tell)
            return
        self._say_last(last)

    def tell(self) -> None:
        """Says how a call has ended, which was held back."""
        if self._last is not None and not self.unsent:
            self._say_last(self._last)

    def refuse(self, status: int, text: str) -> None:
        """Ends a request that is no call as HTTP does, once it has ended itself."""
        self._refusal = status, text

    def _refused(self, status: int, text: str) -> None:
        block = http_status_block(status) + metadata_block((("content-type", "text/plain"),))
        self._connection.write(frames.header_frames(self.id, block, False, self._connection.frame_bytes))
        self._answering = True
        self._send(text.encode())
        last = frames.frame(frames.DATA, frames.END_STREAM, self.id)
        if not self.half_closed:
            last += frames.reset(self.id, frames.Reason.NO_ERROR)
        if not self.ended:
            self._say_last(last)

    def _say_last(self, last: bytes) -> None:
        """Ends the stream by these frames, behind what is still to be sent."""
        self.ended = True
        if self.unsent:
            self._hold_back(last)
            return
        self._connection.write(last)
        self._end()

    def _hold_back(self, last: bytes) -> None:
        self._last = last
        self._connection.keep(len(last))

    def _end(self) -> None:
        self.ended = True
        self._connection.ended_well += 1
        self._forget()
        self._connection.over(self)

    def _forget(self) -> None:
        if self._last is not None or self.unsent:
            self._connection.keep(-len(self.unsent) - len(self._last or b""))
            self._last = None
            self.unsent.clear()
        self._let_go()
        self._arrived.clear()
        self._messages.held.clear()
        if self._timer is not None:
            self._timer.cancel()
        self.sent()

    def sent(self) -> None:
        """All that there was to send has been sent, or never will be."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        if self._writable is not None:
            writable, self._writable = self._writable, None
            self._connection.loop.call_soon(writable)
        self.tell()

    # ---- what handlers use

    def invocation_metadata(self) -> Metadata:
        """What came with the call."""
        return self._request.metadata

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline, not below 0; None without one."""
        return None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    def peer(self) -> str:
        """Who called, as gRPC names them."""
        return self._connection.peer

    def cancelled(self) -> bool:
        """Whether nobody waits for the answer."""
        return self.ended

    def set_code(self, code: grpc.StatusCode) -> None:
        """Sets the status that a handler's return ends the call with."""
        self._code = code.value[0]

    def set_details(self, details: str) -> None:
        """Sets the status' text."""
        self._details = details

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Sets what goes with the status."""
        self._trailing = metadata

    def set_compression(self, compression: grpc.Compression) -> None:
        """Sets how answers are compressed. They are not where the caller does not say that it reads that.

        Raises:
            RuntimeError: The answer's fields, which say it, were sent already.
        """
        if self._answering:
            raise RuntimeError(
                "compression can be set before the first message and the initial metadata are sent"
            )
        encoding = ENCODING_OF[compression]
        accepted = encoding != "identity" and encoding in self._request.accepts
        self._encoding = self._next_encoding = encoding if accepted else None

    def disable_next_message_compression(self) -> None:
        """Sends the next message as it is."""
        self._next_encoding = None

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        """Sends the answer's fields before its first message."""
        if not self.ended and not self._answering:
            self._open(metadata)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> None:
        """Ends the call with a status.

        Raises:
            grpc.aio.AbortError: Always; the handler is to let it pass.
        """
        self._code, self._details, self._trailing = code.value[0], details, trailing_metadata
        raise grpc.aio.AbortError("Locally aborted.")

    async def read(self) -> Any:
        """The next message; `grpc.aio.EOF` when the other side has said all.

        One read at a time.
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

    def _message(self, raw: bytes | TooLarge) -> Any:
        """As its handler takes it.

        Raises:
            MessageTooLarge: It is.
        """
        self.compressed = type(raw) is Decompressed
        deserialize = self._handler.request_deserializer
        if deserialize is as_it_came:
            return raw
        if type(raw) is TooLarge:
            raise MessageTooLarge(raw.text)
        return raw if deserialize is None else deserialize(raw)

    async def receive(self, handle: Callable[[Any], None], ready: Callable[[], bool]) -> None:
        """Has each message handled as it comes, without a task in between, until the other side has said all.

        Args:
            handle: Gets each message, in the context of whoever waits here.
            ready: Whether `handle` takes the next one now. Where it does not, `resume` goes on.

        Raises:
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
            # The frames of an error know this stream and the message. As long as it knew the error, or whoever handled
            # messages, all of them would wait for the collector, which comes by after hundreds of streams.
            self._handle = self._handled = self._context = None
            self._ready = _always

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

    def writable(self) -> bool:
        """Whether a message is sent at once."""
        return not self.unsent and not self._connection.paused

    def send(self, message: Any) -> None:
        """Sends a message; one that nobody is there for is passed over. Who sends much looks at `writable` before."""
        if not self.ended:
            self._send(self._framed(self._handler.response_serializer(message)))

    def when_writable(self, call: Callable[[], None]) -> None:
        """Calls once there is room again, or nobody is there any more."""
        self._writable = call
        if self.writable() or self.ended:
            self.sent()
        elif not self.unsent:
            self._connection.waiting[self] = None

    async def write(self, message: Any) -> None:
        """Sends a message, and waits while the other side takes no more.

        Raises:
            PeerGone: Nobody is there to be sent anything.
        """
        if self.ended:
            raise PeerGone
        serialize = self._handler.response_serializer
        self._send(self._framed(message if serialize is None else serialize(message)))
        if self.unsent or self._connection.paused:
            await self._until_sent()

    async def _until_sent(self) -> None:
        while (self.unsent or self._connection.paused) and not self.ended:
            self._room = self._connection.loop.create_future()
            try:
                if not self.unsent:
                    self._connection.waiting[self] = None
                await self._room
            finally:
                self._room = None
                self._connection.waiting.pop(self, None)
        if self.ended:
            raise PeerGone

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Any:
        message = await self.read()
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        return message


def _always() -> bool:
    return True


def _well(trailing: Metadata) -> bytes:
    """The block of a call that ended well."""
    return OK_BLOCK + metadata_block(trailing) if trailing else OK_BLOCK
