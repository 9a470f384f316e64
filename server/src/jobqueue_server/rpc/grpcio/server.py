"""A server on `grpc.aio.server` that serves handlers made for the engine `http2`, without the fast path."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import grpc
import grpc.aio

from ...tls import Tls
from ..transport import Limits
from .call import GrpcioCall
from .stream import GrpcioStream

# Up to this many times the limit this server refuses a message, with a reason. Above it gRPC refuses it.
_READ = 2
_MAX_METADATA_BYTES = 16 << 10
# The most calls that wait for the loop. By default gRPC ends more and more of them from 1,000 on, and all from 3,000
# on, with a CANCELLED that has no reason and no retry time. The chain refuses with both.
_MAX_PENDING = 100_000
# A client that pings more often, in seconds, is disconnected ("too many pings").
_MIN_PING_INTERVAL_MS = 500
# How long cancelled handlers may take to end, in seconds.
_CLEANUP = 5.0


class GrpcioServer:
    """`grpc.aio.server` with the arguments of `grpc_http2.Server`, as far as it supports them.

    Args:
        most_bytes: The largest message, in bytes.
        most_streams: The most calls and streams at a time on one connection.
        max_connection_age: After so many seconds, a tenth more or less, a connection accepts no new calls; None: never.
        keepalive: After so many seconds of silence the server sends a ping.
        keepalive_timeout: How many seconds the other side has to answer a ping.
        reuse_port: Whether several servers may listen on the same port.
        limits: The limits of what callers can make the server hold and do. Only `connections` and `greeting` are used.
    """

    def __init__(
        self,
        *,
        most_bytes: int,
        most_streams: int,
        max_connection_age: float | None,
        keepalive: int,
        keepalive_timeout: int,
        reuse_port: bool,
        limits: Limits | None = None,
    ) -> None:
        limits = Limits() if limits is None else limits
        self._most_bytes = most_bytes
        self._calls: set[asyncio.Task[Any]] = set()
        # Whether callers may show certificates.
        self._asks = False
        greeting = int(limits.greeting * 1000)
        options = [
            ("grpc.so_reuseport", int(reuse_port)),
            ("grpc.max_receive_message_length", _READ * most_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", _MAX_METADATA_BYTES),
            ("grpc.max_concurrent_streams", most_streams),
            ("grpc.max_allowed_incoming_connections", limits.connections),
            ("grpc.server_handshake_timeout_ms", greeting),
            ("grpc.http2.settings_timeout", greeting),
            ("grpc.server.max_pending_requests", _MAX_PENDING),
            ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING),
            # All three are needed: `ping_timeout_ms` is a minute by default, and wins over the second.
            ("grpc.keepalive_time_ms", keepalive * 1000),
            ("grpc.keepalive_timeout_ms", keepalive_timeout * 1000),
            ("grpc.http2.ping_timeout_ms", keepalive_timeout * 1000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_INTERVAL_MS),
        ]
        if max_connection_age is not None:
            # Without a grace running calls would never be ended.
            options.append(("grpc.max_connection_age_ms", int(max_connection_age * 1000)))
        self._server = grpc.aio.server(options=options)

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Adds generic handlers, before the start."""
        self._server.add_generic_rpc_handlers(tuple(_Handlers(each, self._wrapped) for each in handlers))

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Adds handlers of a service's methods, before the start."""
        wrapped = {name: self._wrapped(handler) for name, handler in handlers.items()}
        self._server.add_registered_method_handlers(service, wrapped)

    def _wrapped(self, handler: Any) -> Any:
        """A handler for gRPC: it gets and answers bytes, and makes the call's context."""
        make: Any = grpc

        async def unary(raw: bytes, context: Any) -> bytes | None:
            with self._running():
                return await GrpcioCall(context, handler, self._most_bytes, self._asks).unary(raw)

        async def answers(raw: bytes, context: Any) -> None:
            with self._running():
                await GrpcioCall(context, handler, self._most_bytes, self._asks).stream(raw)

        async def both(_: object, context: Any) -> None:
            with self._running():
                await GrpcioStream(context, handler, self._most_bytes, self._asks).stream_both()

        if handler.request_streaming:
            return make.stream_stream_rpc_method_handler(both)
        if handler.response_streaming:
            return make.unary_stream_rpc_method_handler(answers)
        return make.unary_unary_rpc_method_handler(unary)

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Counts a running handler. `stop` waits for all of them."""
        task = asyncio.current_task()
        assert task is not None, "handlers are tasks"
        self._calls.add(task)
        try:
            yield
        finally:
            self._calls.discard(task)

    async def listen(self, host: str, port: int, tls: Tls | None) -> int:
        """Listens on the address, and answers the port.

        Raises:
            OSError: Another program has the address, or it is not this machine's.
        """
        # Added last, so that it is asked last.
        self._server.add_generic_rpc_handlers((_NoMethod(),))
        place = f"[{host or '::'}]:{port}" if ":" in (host or "::") else f"{host}:{port}"
        try:
            if tls is None:
                port = self._server.add_insecure_port(place)
            else:
                self._asks = tls.client_ca is not None
                port = self._server.add_secure_port(place, _credentials(tls))
        except RuntimeError as error:
            # gRPC's error has no more details.
            raise OSError(errno.EADDRINUSE, f"gRPC can't listen on {place}") from error
        await self._server.start()
        return port

    async def stop(self, grace: float) -> None:
        """Accepts no new calls, and ends the calls that are not done after the grace, in seconds."""
        await self._server.stop(grace)
        if self._calls:
            await asyncio.wait(set(self._calls), timeout=_CLEANUP)


class _Handlers(grpc.GenericRpcHandler):
    """Wraps the handlers that another generic handler finds, each once."""

    def __init__(self, found: Any, wrapped: Callable[[Any], Any]) -> None:
        self._found = found
        self._wrapped = wrapped
        self._known: dict[str, Any] = {}

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a method; None if there is none."""
        method = handler_call_details.method
        if method not in self._known:
            handler = self._found.service(handler_call_details)
            if handler is None:
                return None
            self._known[method] = self._wrapped(handler)
        return self._known[method]


class _NoMethod(grpc.GenericRpcHandler):
    """Refuses calls of unknown methods, with the text of the engine `http2`."""

    def service(self, handler_call_details: Any) -> Any:
        """A handler that refuses this method."""
        text = f"there is no method {handler_call_details.method[:256]}"
        make: Any = grpc

        async def refuse(_: object, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, text)

        return make.stream_stream_rpc_method_handler(refuse)


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    """Each handshake has the files of now: the certificate and the authority, and no list of revoked certificates."""

    def now() -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([tls.pair], tls.client_ca)

    demands = tls.client_ca is not None and tls.demands
    return grpc.dynamic_ssl_server_credentials(now(), now, require_client_authentication=demands)
