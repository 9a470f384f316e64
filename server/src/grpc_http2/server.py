"""Listens, and serves handlers made for gRPC on the connections that come."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
import time
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .answer_side import Handler
from .connection import Connection, Terms
from .limits import Limits
from .listen import BACKLOG, listening_sockets
from .states import Phase

_log = logging.getLogger(__name__)

# What handlers get that were cancelled, in seconds.
_CLEANUP = 5.0
# For the look at all connections in one turn of the loop, in seconds: 2,000 that end together would take 1.2.
_LOOK = 0.002


@dataclass(frozen=True, slots=True)
class _Details:
    """What a generic handler is asked with."""

    method: str
    invocation_metadata: tuple[()] = ()


class _Refused(asyncio.Protocol):
    """A connection that is one too many."""

    def connection_made(self, transport: Any) -> None:
        """Ends it. A caller tries again later, by itself."""
        transport.abort()


class Server:
    """Has what is used here of `grpc.aio.Server`.

    Args:
        most_bytes: Of one message.
        most_streams: Calls and streams under way on one connection.
        max_connection_age: Seconds after which, a tenth sooner or later, a connection takes no new calls; None: never.
        keepalive: Seconds of silence after which the other side is asked whether it is there.
        keepalive_timeout: Seconds that it has to answer.
        reuse_port: Whether several servers may listen on the same port.
        limits: What callers can make it hold and do.
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
        self._max_connection_age = max_connection_age
        self._reuse_port = reuse_port
        self._generic: list[Any] = []
        self._handlers: dict[str, Handler] = {}
        self._limits = Limits() if limits is None else limits
        self._terms = Terms(self._find, most_bytes, most_streams, keepalive, keepalive_timeout, self._limits)
        # Those too whose callers have not agreed yet on how to encrypt.
        self._accepted: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._refused = 0
        self._refused_told = 0.0
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
        self._sockets = listening_sockets(host, port, reuse_port=self._reuse_port)
        return int(self._sockets[0].getsockname()[1])

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
                    ssl_handshake_timeout=None if context is None else self._limits.greeting,
                    backlog=BACKLOG,
                )
            )
        self._ticking = asyncio.create_task(self._tick(), name="http2")

    def _connection(self) -> Connection | _Refused:
        if self._is_full():
            self._tell_of_the_refused()
            return _Refused()
        age = self._max_connection_age
        connection = Connection(self._terms, None if age is None else age * random.uniform(0.9, 1.1))
        self._accepted.add(connection)
        return connection

    def _is_full(self) -> bool:
        most = self._limits.connections
        # Those that have ended may not be forgotten yet.
        return len(self._accepted) >= most and sum(each.phase < Phase.LOST for each in self._accepted) >= most

    def _tell_of_the_refused(self) -> None:
        """Logs them, once a second at most."""
        self._refused += 1
        now = time.monotonic()
        if now - self._refused_told >= 1:
            _log.warning(
                "%d connections are open, which is the most: refused %d",
                self._limits.connections,
                self._refused,
            )
            self._refused, self._refused_told = 0, now

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            await self._look_at_all()
            self._terms.usage.relieve_unread()
            self._terms.usage.relieve_held()

    async def _look_at_all(self) -> None:
        """Once a second, in as many turns of the loop as it takes."""
        ends = time.monotonic() + _LOOK
        for connection in list(self._terms.connections):
            if connection.phase < Phase.LOST:
                connection.tick()
            if time.monotonic() >= ends:
                await asyncio.sleep(0)
                ends = time.monotonic() + _LOOK

    async def stop(self, grace: float) -> None:
        """Takes no new calls, and cuts off those that are not done after the grace, in seconds."""
        for listening in self._listening:
            listening.close()
        self._let_go()
        for connection in list(self._terms.connections):
            connection.leave()
        await self._calls_end(grace)
        for connection in list(self._terms.connections):
            connection.end()
        if self._terms.tasks:
            await asyncio.wait(set(self._terms.tasks), timeout=_CLEANUP)
        if self._ticking is not None:
            self._ticking.cancel()
        # The last bytes are on their way. A caller that does not read them is not waited for.
        for connection in list(self._terms.connections):
            connection.abort()

    async def _calls_end(self, seconds: float) -> None:
        """Waits for the calls that there are: also for what a handler has left to be sent, and what still comes."""
        waits = [asyncio.ensure_future(connection.calls_end()) for connection in self._terms.connections]
        if waits:
            _, late = await asyncio.wait(waits, timeout=seconds)
            for wait in late:
                wait.cancel()
