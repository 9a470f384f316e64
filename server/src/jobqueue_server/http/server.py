"""The HTTP server: uvicorn and httptools on the loop of everything else, on a port of its own."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta

import uvicorn

from grpc_http2 import listening_together

from ..addresses import split_address, taken
from ..tls import Tls
from .answer import Asgi
from .app import HttpApp
from .fast.path import HttpFastPath
from .protocol import HttpProtocol

# Longer than proxies keep theirs (60 s), so that it is never us who closes a connection just as one sends on it.
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048
# A caller whose machine or network has gone says nothing, and the kernel would try for a quarter of an hour.
_SILENT_SECONDS, _PROBE_SECONDS, _PROBES = 15, 5, 3


class HttpServer:
    """Serves an application of ours.

    Args:
        app: The application.
        front: The same with what stands before it; None for nothing.
        fast_path: That for most enqueues; None where there is none.
        tls: The certificate; None: plain text.
        reuse_port: Whether several servers may listen on the same port, each getting a share of the connections.
    """

    def __init__(
        self,
        app: HttpApp,
        front: Asgi | None = None,
        *,
        fast_path: HttpFastPath | None = None,
        tls: Tls | None = None,
        reuse_port: bool = False,
    ) -> None:
        self._protocol = type(
            "_Protocol", (HttpProtocol,), {"_fast_path": fast_path, "_answer_with": app.refuse}
        )
        self._tls = tls
        self._reuse_port = reuse_port
        self._app = app
        self._front = front or app
        self._running: asyncio.Task[None] | None = None

    async def start(self, address: str) -> int:
        """Listens on `host:port` and answers the port, which differs from the asked one if that was 0.

        Raises:
            AddressUnusable: The port is taken, or the address is not this machine's.
        """
        host, port = split_address(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            # uvicorn would end the whole process.
            self._socket = socket.create_server(
                (host, port), family=family, backlog=_BACKLOG, reuse_port=self._reuse_port
            )
        except OSError as error:
            raise taken("The HTTP server", address, "API_BIND_ADDR") from error
        # Connections inherit it. asyncio sets it on those alone that name TCP as their protocol, which these don't: an
        # answer in two pieces waited 40 ms for the caller to acknowledge the first. uvloop sets it by itself.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _notice_the_gone(self._socket)
        config = uvicorn.Config(
            self._front,
            http=self._protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
        )
        config.load()
        if self._tls is not None:
            config.ssl = self._tls.http1
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)
        # Step by step, and not by `serve`, which takes the process's signals.
        self._sockets = listening_together(self._socket)
        await self._server.startup(self._sockets)
        self._running = asyncio.create_task(self._server.main_loop(), name="http")
        return int(self._socket.getsockname()[1])

    async def leave(self, grace: timedelta) -> None:
        """Ends the streams, and answers DRAINING to the calls that are not done after the grace.

        It still answers on its port: the operational paths, and the calls that finish work. The chain refuses others.
        """
        await self._app.leave(grace)

    async def stop(self, grace: timedelta) -> None:
        """Takes no new connections, and leaves."""
        if self._running is None:
            return
        for listening in self._server.servers:
            listening.close()
        await self.leave(grace)
        # uvicorn would notice within a tenth of a second that it should end, and then wait for another one.
        self._running.cancel()
        await asyncio.wait({self._running})
        if self._server.server_state.connections or self._server.server_state.tasks:
            await self._server.shutdown(self._sockets)
            return
        for each in self._sockets:
            each.close()
        for listening in self._server.servers:
            await listening.wait_closed()


def _notice_the_gone(listening: socket.socket) -> None:
    """Ends each connection that it takes, where the system can, after 30 s in which the other side confirms nothing."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _SILENT_SECONDS),
        ("TCP_KEEPINTVL", _PROBE_SECONDS),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", 1000 * (_SILENT_SECONDS + _PROBES * _PROBE_SECONDS)),
    ):
        if hasattr(socket, name):
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
