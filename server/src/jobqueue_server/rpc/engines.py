"""The engines that can serve gRPC. JOBQUEUE_GRPC_ENGINE chooses one; only this file imports both."""

from __future__ import annotations

from typing import Literal, Protocol

import grpc_http2

from ..tls import Tls
from .grpcio.server import GrpcioServer
from .transport import Limits, Server

Engine = Literal["http2", "grpcio"]


class _Make(Protocol):
    def __call__(
        self,
        *,
        most_bytes: int,
        most_streams: int,
        max_connection_age: float | None,
        keepalive: int,
        keepalive_timeout: int,
        reuse_port: bool,
        limits: Limits | None,
    ) -> Server: ...


class _Http2(grpc_http2.Server):
    async def listen(self, host: str, port: int, tls: Tls | None) -> int:
        """Listens on the address, and answers the port.

        Raises:
            OSError: Another program has the address, or it is not this machine's.
        """
        port = self.bind(host, port)
        await self.start(None if tls is None else tls.http2)
        return port


#: Makes the server of each engine. `grpc_http2.Server` explains the arguments.
ENGINES: dict[Engine, _Make] = {"http2": _Http2, "grpcio": GrpcioServer}
