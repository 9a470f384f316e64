"""The HTTP server: uvicorn and httptools, on the server's event loop and on a separate port."""

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

# Longer than proxies keep idle connections (60 s), so that the proxy closes first, and never sends on a closed one.
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048
# After the loss of the caller's machine or network, the kernel would try to send for a quarter of an hour.
_SILENT_SECONDS, _PROBE_SECONDS, _PROBES = 15, 5, 3


class HttpServer:
    """Serves an application.

    Args:
        app: The application.
        front: The application with its wrappers; None if it has none.
        fast_path: The fast path for enqueues; None if it is off.
        tls: The certificate; None: plain text.
        reuse_port: Whether several servers may listen on the same port, so that each gets a share of the connections.
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
        """Listens on `host:port`, and answers the port. Port 0 takes a free one.

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
        # Connections inherit TCP_NODELAY. asyncio sets it only on sockets that name TCP as their protocol, which these
        # do not: an answer in two pieces took 40 ms, until the caller acknowledged the first. uvloop always sets it.
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
        # Not by `serve`, which handles the process's signals.
        self._sockets = listening_together(self._socket)
        await self._server.startup(self._sockets)
        self._running = asyncio.create_task(self._server.main_loop(), name="http")
        return int(self._socket.getsockname()[1])

    async def leave(self, grace: timedelta) -> None:
        """Ends the streams, and answers DRAINING to calls that are not done after the grace.

        The port still answers the operational paths and the calls that finish work. The chain refuses other calls.
        """
        await self._app.leave(grace)

    async def stop(self, grace: timedelta) -> None:
        """Closes the port and all connections."""
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
    """Sets, if the system can, that each connection ends after 30 s without an acknowledgement of the other side."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _SILENT_SECONDS),
        ("TCP_KEEPINTVL", _PROBE_SECONDS),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", 1000 * (_SILENT_SECONDS + _PROBES * _PROBE_SECONDS)),
    ):
        if hasattr(socket, name):
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
