"""Listens, and serves handlers made for gRPC on the connections that come."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .connection import Connection
from .stream import Handler

_BACKLOG = 4096
# What a caller gets to agree on how to encrypt, in seconds.
_HANDSHAKE = 10.0
# What handlers get that were cancelled, in seconds.
_CLEANUP = 5.0


@dataclass(frozen=True, slots=True)
class _Details:
    """What a generic handler is asked with."""

    method: str
    invocation_metadata: tuple[()] = ()


class Http2Server:
    """Has what is used here of `grpc.aio.Server`.

    Args:
        most_bytes: Of one message.
        most_streams: Calls and streams under way on one connection.
        max_connection_age: Seconds after which, a tenth sooner or later, a connection takes no new calls; None: never.
        keepalive: Seconds of silence after which the other side is asked whether it is there.
        keepalive_timeout: Seconds that it has to answer.
        reuse_port: Whether several servers may listen on the same port.
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
    ) -> None:
        self._most_bytes = most_bytes
        self._most_streams = most_streams
        self._max_connection_age = max_connection_age
        self._keepalive = keepalive
        self._keepalive_timeout = keepalive_timeout
        self._reuse_port = reuse_port
        self._generic: list[Any] = []
        self._handlers: dict[str, Handler] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()
        self._sockets: list[socket.socket] = []
        self._listening: list[asyncio.Server] = []
        self._ticking: asyncio.Task[None] | None = None

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Serves these."""
        self._generic.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Serves these methods of a service."""
        self._handlers.update({f"/{service}/{name}": handler for name, handler in handlers.items()})

    def _find(self, path: str) -> Handler | None:
        handler = self._handlers.get(path)
        if handler is None:
            details = _Details(path)
            for generic in self._generic:
                handler = generic.service(details)
                if handler is not None:
                    self._handlers[path] = handler
                    break
        return handler

    def bind(self, host: str, port: int) -> int:
        """Takes the address, every one of a name's, and answers the port.

        Raises:
            OSError: Another program has it, or it is not this machine's.
        """
        places = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        refused: OSError | None = None
        each = list(dict.fromkeys((family, place) for family, _, _, _, place in places))
        for family, place in each:
            # Where 0.0.0.0 is one of them, `::` has no room for IPv4.
            both = place[0] == "::" and len(each) == 1
            try:
                taken = socket.create_server(
                    (place[0], port),
                    family=family,
                    backlog=_BACKLOG,
                    reuse_port=self._reuse_port,
                    dualstack_ipv6=both and socket.has_dualstack_ipv6(),
                )
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    self._let_go()
                    raise
                # `localhost` may be two addresses, of which a machine has one.
                refused = error
                continue
            taken.setblocking(False)
            # Its connections have it from it: asyncio sets it for none of these, and an answer then waits for 40 ms.
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(taken)
            port = taken.getsockname()[1]
        if not self._sockets:
            raise refused or OSError(f"{host} is no address")
        return port

    def _let_go(self) -> None:
        for taken in self._sockets:
            taken.close()
        self._sockets.clear()

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        """Takes connections where `bind` was."""
        loop = asyncio.get_running_loop()
        for taken in self._sockets:
            self._listening.append(
                await loop.create_server(
                    self._connection,
                    sock=taken,
                    ssl=context,
                    ssl_handshake_timeout=None if context is None else _HANDSHAKE,
                    backlog=_BACKLOG,
                )
            )
        self._ticking = asyncio.create_task(self._tick(), name="http2")

    def _connection(self) -> Connection:
        age = self._max_connection_age
        return Connection(
            self._find,
            self._tasks,
            self._connections,
            most_bytes=self._most_bytes,
            most_streams=self._most_streams,
            retires_in=None if age is None else age * random.uniform(0.9, 1.1),
        )

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            for connection in list(self._connections):
                connection.tick(self._keepalive, self._keepalive_timeout)

    async def stop(self, grace: float) -> None:
        """Takes no new calls, and cuts off those that are not done after the grace, in seconds."""
        for listening in self._listening:
            listening.close()
        self._let_go()
        for connection in list(self._connections):
            connection.leave()
        await self._calls_end(grace)
        for connection in list(self._connections):
            connection.end()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=_CLEANUP)
        if self._ticking is not None:
            self._ticking.cancel()
        # What was said last is on its way; whoever does not take it is not waited for.
        for connection in list(self._connections):
            connection.abort()

    async def _calls_end(self, seconds: float) -> None:
        """Waits for the calls that there are: also for what a handler has left to be sent, and what still comes."""
        waits = [asyncio.ensure_future(connection.calls_end()) for connection in self._connections]
        if waits:
            _, late = await asyncio.wait(waits, timeout=seconds)
            for wait in late:
                wait.cancel()
