"""A call over `grpc.aio`, with the same interface for handlers as a call of the engine `http2`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio

from grpc_http2 import CertificateFacts, read_certificate

from ..transport import MessageTooLarge, MessageUnreadable, Metadata, PeerCertificate, PeerGone, TooLarge
from ..transport import raw as as_it_came

_log = logging.getLogger(__name__)


class GrpcioCall:
    """A call with one request.

    gRPC's own context must not be used after the handler has ended: the process would crash.

    Args:
        context: gRPC's own context, for messages as bytes.
        handler: The handler of the method.
        most_bytes: The largest message, in bytes.
        asks: Whether callers may show certificates.

    Attributes:
        compressed: Whether the last message was compressed. Not known in this engine.
    """

    compressed: bool | None = None

    def __init__(self, context: Any, handler: Any, most_bytes: int, asks: bool = False) -> None:
        self._context = context
        self._handler = handler
        self._most_bytes = most_bytes
        self._peer = unquote(context.peer())
        self._certificate = _names(context.auth_context()) if asks else None
        # Whether nothing more is sent, because the caller has gone or the call is ending.
        self._ended = False
        # Whether the handler has ended.
        self._over = False
        # Whether answers must be compressed.
        self._compresses = False

    async def unary(self, raw: bytes) -> bytes | None:
        """Runs the handler. Answers its response; None if the call has ended without one."""
        handler = self._handler
        try:
            response = await handler.unary_unary(self._message(raw), self)
            serialize = handler.response_serializer
            response = response if serialize is None else serialize(response)
            if self._compresses:
                # gRPC ignores the compression for the metadata of a unary answer.
                await self.send_initial_metadata(())
        except BaseException as error:
            await self._failed(error)
            return None
        finally:
            self._over = True
        return bytes(response)

    async def stream(self, raw: bytes) -> None:
        """Runs a handler that answers a stream."""
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
        """Ends the call of a handler that has failed.

        Raises:
            BaseException: The call was cancelled, or the process must end.
        """
        if isinstance(error, grpc.aio.AbortError):
            _forget(error)
            return
        if isinstance(error, asyncio.CancelledError):
            if _cancelled():
                # gRPC has cancelled the call, and knows why.
                raise error
        elif not isinstance(error, Exception):
            raise error
        code, text = grpc.StatusCode.UNKNOWN, "the server failed to handle the call"
        if isinstance(error, MessageTooLarge):
            code, text = grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)
        elif isinstance(error, MessageUnreadable):
            # The caller's error, so it is not logged.
            code, text = grpc.StatusCode.INTERNAL, str(error)
        elif isinstance(error, (asyncio.CancelledError, PeerGone)):
            code, text = grpc.StatusCode.CANCELLED, "the call was cancelled"
        else:
            # The text may have details that the caller must not see.
            _log.error("a handler failed", exc_info=error)
        try:
            await self._context.abort(code, text)
        except grpc.aio.AbortError as aborted:
            _forget(aborted)
        except grpc.aio.BaseError:
            # The caller has gone.
            return

    def _message(self, raw: bytes) -> Any:
        """Deserializes a message for the handler.

        Raises:
            MessageTooLarge: The message is over the limit.
            MessageUnreadable: The message is malformed.
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

    # ---- the interface for handlers

    def invocation_metadata(self) -> Metadata:
        """The metadata of the call."""
        metadata: Metadata = self._context.invocation_metadata()
        return metadata

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline, at least 0; None without a deadline."""
        seconds: float | None = self._context.time_remaining()
        return seconds

    def peer(self) -> str:
        """The caller's address, as gRPC writes it."""
        return self._peer

    def certificate(self) -> PeerCertificate | None:
        """The caller's certificate; None: it showed none."""
        return self._certificate

    def set_code(self, code: grpc.StatusCode) -> None:
        """Sets the status with which the call ends when the handler returns."""
        self._context.set_code(code)

    def set_details(self, details: str) -> None:
        """Sets the status' text."""
        self._context.set_details(details)

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Sets the trailers."""
        self._context.set_trailing_metadata(metadata)

    def set_compression(self, compression: grpc.Compression) -> None:
        """Sets how answers are compressed: also where the caller does not say that it reads that.

        Raises:
            RuntimeError: The initial metadata, which names the compression, was sent already.
        """
        self._context.set_compression(compression)
        self._compresses = compression is not grpc.Compression.NoCompression

    def disable_next_message_compression(self) -> None:
        """Sends the next message uncompressed."""
        self._context.disable_next_message_compression()

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        """Sends the initial metadata."""
        if self._over:
            return
        # If the caller has gone, the next operation finds it out.
        with contextlib.suppress(grpc.aio.BaseError):
            await self._context.send_initial_metadata(metadata)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> None:
        """Ends the call with a status.

        Raises:
            grpc.aio.AbortError: The call has ended. The handler must not catch it.
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
        """Sends a message, and waits while the caller reads too slowly.

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


def _names(shown: Mapping[str, Sequence[bytes]]) -> PeerCertificate | None:
    """What gRPC tells of a caller's certificate."""
    pem = shown.get("x509_pem_cert")
    if not pem:
        return None
    uris, dns, common = (
        tuple(value.decode("utf-8", "replace") for value in shown.get(name, ()))
        for name in ("peer_uri", "peer_dns", "x509_common_name")
    )
    return PeerCertificate(uris, dns, common, *_facts(pem[0]))


@lru_cache(1024)
def _facts(pem: bytes) -> CertificateFacts:
    return read_certificate(ssl.PEM_cert_to_DER_cert(pem.decode("ascii")))


def _forget(aborted: grpc.aio.AbortError) -> None:
    """Clears the frames of an error. gRPC keeps the error with the call, and the frames refer to the call."""
    aborted.__traceback__ = aborted.__context__ = None


def _cancelled() -> bool:
    """Whether this task is cancelled, and not only what it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
