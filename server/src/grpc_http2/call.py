"""One call: from its fields to its status."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, Self

import grpc
import grpc.aio

from . import frames
from .answer_side import Handler
from .errors import MessageTooLarge, MessageUnreadable, PeerGone
from .fields import Metadata, RequestHead, http_status_block, metadata_block
from .messages import ENCODING_OF, Messages, TooLarge
from .request_side import RequestSide, always

if TYPE_CHECKING:
    from .connection import Connection

_log = logging.getLogger(__name__)

# A caller's own deadline counts up to so many times what a request has otherwise to be whole.
_MOST_PATIENCE = 10


class Cancellable(Protocol):
    """What goes on for a call."""

    def cancel(self) -> object:
        """The caller does not wait for it any more."""


class Call(RequestSide):
    """A call, as its handler knows it: the third layer, which runs the handler.

    It has what handlers use of `grpc.aio.ServicerContext`. A handler is a task; it is cancelled when the other side
    resets the stream, when the connection is lost, when a streaming call's time is up, and when the server ends.
    A unary handler may have `immediate(raw, call) -> bool`, which is asked before: it starts a call that needs no
    task, sets what stands for it as `task` and says `answer` or `finish` later, or answers False.

    Attributes:
        task: The handler's, or what stands for it.
    """

    __slots__ = ("_deadline", "task")

    def __init__(self, connection: Connection, number: int, request: RequestHead, handler: Handler) -> None:
        # What the server says.
        self.id = number
        self.window = connection.streams.window
        self.unsent = bytearray()
        self.waited = 0
        self.ended = self.half_closed = False
        self._connection = connection
        self._out = connection.out
        self._handler = handler
        self._received = 0
        self._answering = False
        self._encoding = self._next_encoding = None
        self._last = None
        self._room = self._writable = None
        self._code, self._details, self._trailing = 0, "", ()
        self._timer = None
        # What the caller says.
        self.compressed = False
        self._request = request
        self._arrived = deque()
        self._messages = Messages(request.shared.encoding, connection.terms.most_bytes, self._arrived.append)
        self._credit = self._held = 0
        self._refusal = None
        self._reader = self._handle = self._handled = self._context = None
        self._ready = always
        # The handler.
        self.task: Cancellable | None = None
        self._deadline = None if request.timeout is None else time.monotonic() + request.timeout

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
        """Whether the caller no longer waits for the answer."""
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
            raise RuntimeError("compression is set before the first message and the initial metadata")
        encoding = ENCODING_OF[compression]
        accepted = encoding != "identity" and encoding in self._request.shared.accepts
        self._encoding = self._next_encoding = encoding if accepted else None

    def disable_next_message_compression(self) -> None:
        """Sends the next message as it is."""
        self._next_encoding = None

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        """Sends the answer's fields before its first message."""
        if not self.ended and not self._answering:
            self._open(metadata)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if (message := await self.read()) is grpc.aio.EOF:
            raise StopAsyncIteration
        return message

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> None:
        """Ends the call with a status.

        Raises:
            grpc.aio.AbortError: Always; the handler is to let it pass.
        """
        self._code, self._details, self._trailing = code.value[0], details, trailing_metadata
        raise grpc.aio.AbortError("Locally aborted.")

    # ---- what the connection uses

    def begin(self) -> None:
        """Starts the handler of a call that does not wait for its one message."""
        if not self._handler.request_streaming:
            return
        if self._request.timeout is not None:
            self._timer = self._connection.loop.call_later(self._request.timeout, self._out_of_time)
        self._start(self._streaming(self._handler.stream_stream or self._handler.stream_unary, self))

    def look_at_its_time(self) -> None:
        """Ends a request that should be whole by now."""
        most = self._connection.terms.limits.request
        if self._refusal is not None:
            if self.waited > most:
                self._refused(*self._refusal)
        elif self._deadline is None:
            if self.waited > most:
                self._fail(grpc.StatusCode.DEADLINE_EXCEEDED, f"the request was not whole after {most:g} s")
        elif self._deadline <= time.monotonic() or self.waited > _MOST_PATIENCE * most:
            self._out_of_time()

    def on_reset(self) -> None:
        """The other side ended the call, or its connection was lost."""
        super().on_reset()
        if self.task is not None:
            self.task.cancel()

    def shut_down(self) -> None:
        """The server ends, and can't wait for it."""
        self._fail(grpc.StatusCode.UNAVAILABLE, "the server ended before the call did")

    # ---- the handler

    def _whole(self) -> None:
        """Starts the handler of a call with one message."""
        if len(self._arrived) != 1:
            self._fail(grpc.StatusCode.INTERNAL, f"the call has {len(self._arrived)} messages instead of one")
            return
        raw = self._arrived.popleft()
        if self._handler.response_streaming:
            self._start(self._streaming(self._handler.unary_stream, raw))
        elif not self._begun_at_once(raw):
            self._start(self._unary(raw))

    def _begun_at_once(self, raw: bytes | TooLarge) -> bool:
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
        tasks = self._connection.terms.tasks
        self.task = task = self._connection.loop.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _unary(self, raw: bytes | TooLarge) -> None:
        handler = self._handler
        try:
            if self._out.is_crowded():
                await self._out.until_room(self)
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
            if self._out.is_crowded():
                await self._out.until_room(self)
            if request is not self:
                request = self._message(request)
            outcome: Awaitable[Any] | AsyncIterator[Any] = behaviour(request, self)
            if isinstance(outcome, AsyncIterator):
                with suppress(StopAsyncIteration):
                    while True:
                        await self.write(await anext(outcome))
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
        elif isinstance(error, MessageUnreadable):
            # Of the caller's making, and so nothing to log.
            self.finish(grpc.StatusCode.INTERNAL.value[0], str(error))
        elif isinstance(error, (asyncio.CancelledError, PeerGone)):
            self.finish(grpc.StatusCode.CANCELLED.value[0], "the call was cancelled")
        elif isinstance(error, Exception):
            if not self.ended:
                _log.error("a handler of %s failed", self._request.shared.path, exc_info=error)
                # Its text may say what the caller is not to know.
                self.finish(grpc.StatusCode.UNKNOWN.value[0], "the server failed to handle the call")
        else:
            raise error

    def _refused(self, status: int, text: str) -> None:
        """Answers a request that is no call."""
        block = http_status_block(status) + metadata_block((("content-type", "text/plain"),))
        self._out.write(frames.header_frames(self.id, block, False, self._out.frame_bytes))
        self._answering = True
        self._send(text.encode())
        last = frames.frame(frames.DATA, frames.END_STREAM, self.id)
        if not self.half_closed:
            last += frames.reset(self.id, frames.ErrorCode.NO_ERROR)
        if not self.ended:
            self._say_last(last)

    def _out_of_time(self) -> None:
        self._fail(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def _fail(self, code: grpc.StatusCode, text: str) -> None:
        self.finish(code.value[0], text)
        if self.task is not None:
            self.task.cancel()
