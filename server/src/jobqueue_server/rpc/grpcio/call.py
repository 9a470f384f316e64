"""A call over `grpc.aio`: what handlers know as their context, as the engine `http2` has it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio

from ..transport import MessageTooLarge, MessageUnreadable, Metadata, PeerGone, TooLarge
from ..transport import raw as as_it_came

_log = logging.getLogger(__name__)


class GrpcioCall:
    """A call with one request.

    gRPC's own context is not to be touched once the handler has ended: it would bring the process down.

    Args:
        context: gRPC's own, which takes and gives bytes.
        handler: Whose call it is.
        most_bytes: Of one message.

    Attributes:
        compressed: Whether the last message came compressed: not known here.
    """

    compressed: bool | None = None

    def __init__(self, context: Any, handler: Any, most_bytes: int) -> None:
        self._context = context
        self._handler = handler
        self._most_bytes = most_bytes
        self._peer = unquote(context.peer())
        # Whether nothing more is sent: the caller has gone, or the call is being ended.
        self._ended = False
        # Whether the handler has ended.
        self._over = False
        # Whether answers are to be compressed.
        self._compresses = False

    async def unary(self, raw: bytes) -> bytes | None:
        """Runs the handler; its response, or None where the call has ended otherwise."""
        handler = self._handler
        try:
            response = await handler.unary_unary(self._message(raw), self)
            serialize = handler.response_serializer
            response = response if serialize is None else serialize(response)
            if self._compresses:
                # Of what goes together with a unary answer, gRPC leaves the compression out.
                await self.send_initial_metadata(())
        except BaseException as error:
            await self._failed(error)
            return None
        finally:
            self._over = True
        return bytes(response)

    async def stream(self, raw: bytes) -> None:
        """Runs the handler, which answers by a stream."""
        try:
            await self._run(self._handler.unary_stream, self._message(raw))
            if self._ended:
                raise PeerGone
        except BaseException as error:
            await self._failed(error)
        finally:
            self._over = True

    async def _run(self, behaviour: Callable[[Any, Any], Any], request: Any) -> None:
        outcome: Awaitable[Any] | AsyncIterator[Any] = behaviour(request, self)
        if isinstance(outcome, AsyncIterator):
            async for response in outcome:
                await self.write(response)
            return
        response = await outcome
        if self._handler.stream_unary is not None:
            await self.write(response)

    async def _failed(self, error: BaseException) -> None:
        """Says how a handler ended that did not end well.

        Raises:
            BaseException: The call was cancelled, or the process is to end.
        """
        if isinstance(error, grpc.aio.AbortError):
            _forget(error)
            return
        if isinstance(error, asyncio.CancelledError):
            if _cancelled():
                # By gRPC, which knows why.
                raise error
        elif not isinstance(error, Exception):
            raise error
        code, text = grpc.StatusCode.UNKNOWN, "the server failed to handle the call"
        if isinstance(error, MessageTooLarge):
            code, text = grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)
        elif isinstance(error, MessageUnreadable):
            # Of the caller's making, and so nothing to log.
            code, text = grpc.StatusCode.INTERNAL, str(error)
        elif isinstance(error, (asyncio.CancelledError, PeerGone)):
            code, text = grpc.StatusCode.CANCELLED, "the call was cancelled"
        else:
            # Its text may say what the caller is not to know.
            _log.error("a handler failed", exc_info=error)
        try:
            await self._context.abort(code, text)
        except grpc.aio.AbortError as aborted:
            _forget(aborted)
        except grpc.aio.BaseError:
            # The caller has gone.
            return

    def _message(self, raw: bytes) -> Any:
        """As the handler takes it.

        Raises:
            MessageTooLarge: It is.
            MessageUnreadable: It is none.
        """
        deserialize = self._handler.request_deserializer
        if len(raw) > self._most_bytes:
            text = f"the message has {len(raw)} bytes; the most is {self._most_bytes}"
            if deserialize is as_it_came:
                return TooLarge(text)
            raise MessageTooLarge(text)
        if deserialize is None:
            return raw
        try:
            return deserialize(raw)
        except Exception as error:
            raise MessageUnreadable(error) from None

    def _raw(self, message: Any) -> bytes:
        serialize = self._handler.response_serializer
        raw: bytes = message if serialize is None else serialize(message)
        return raw

    # ---- what handlers use

    def invocation_metadata(self) -> Metadata:
        """What came with the call."""
        metadata: Metadata = self._context.invocation_metadata()
        return metadata

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline, not below 0; None without one."""
        seconds: float | None = self._context.time_remaining()
        return seconds

    def peer(self) -> str:
        """Who called, as gRPC names them."""
        return self._peer

    def set_code(self, code: grpc.StatusCode) -> None:
        """Sets the status that a handler's return ends the call with."""
        self._context.set_code(code)

    def set_details(self, details: str) -> None:
        """Sets the status' text."""
        self._context.set_details(details)

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Sets what goes with the status."""
        self._context.set_trailing_metadata(metadata)

    def set_compression(self, compression: grpc.Compression) -> None:
        """Sets how answers are compressed: also where the caller does not say that it reads that.

        Raises:
            RuntimeError: The answer's fields, which say it, were sent already.
        """
        self._context.set_compression(compression)
        self._compresses = compression is not grpc.Compression.NoCompression

    def disable_next_message_compression(self) -> None:
        """Sends the next message as it is."""
        self._context.disable_next_message_compression()

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        """Sends the answer's fields before its first message."""
        if self._over:
            return
        # A caller that has gone is known soon enough.
        with contextlib.suppress(grpc.aio.BaseError):
            await self._context.send_initial_metadata(metadata)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> None:
        """Ends the call with a status.

        Raises:
            grpc.aio.AbortError: It has; the handler is to let it pass.
            PeerGone: The caller had gone before.
        """
        if self._over:
            raise PeerGone
        try:
            await self._context.abort(code, details, trailing_metadata)
        except grpc.aio.AbortError:
            raise
        except grpc.aio.BaseError:
            raise PeerGone from None

    async def write(self, message: Any) -> None:
        """Sends a message, and waits while the caller takes no more.

        Raises:
            PeerGone: The caller has gone.
        """
        if self._over:
            raise PeerGone
        try:
            await self._context.write(self._raw(message))
        except grpc.aio.BaseError:
            self._ended = True
            raise PeerGone from None


def _forget(aborted: grpc.aio.AbortError) -> None:
    """Lets go of what an error knows: gRPC keeps it with the call, which those frames know, and raises it again."""
    aborted.__traceback__ = aborted.__context__ = None


def _cancelled() -> bool:
    """Whether this task is being cancelled, and not what it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
