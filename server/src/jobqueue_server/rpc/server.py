"""The gRPC server: its services, health, reflection, and the settings of its connections."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from google.protobuf.descriptor import ServiceDescriptor

from ..addresses import split_address, taken
from ..chain import Chain
from ..model import MAX_MESSAGE_BYTES
from ..tls import Tls
from .adapter import generic_handler
from .engines import ENGINES, Engine
from .health import SERVICE as HEALTH_SERVICE
from .health import Health
from .reflection import V1, V1ALPHA, add_reflection
from .transport import Limits, Server

Reflection = Literal["auto", "on", "off"]
# Longer than a heartbeat interval, so that a worker that sends heartbeats gets no pings.
_KEEPALIVE_SECONDS = 8
_KEEPALIVE_TIMEOUT_SECONDS = 3


class GrpcServer:
    """Serves servicers through the chain.

    Args:
        chain: The chain that every call passes.
        services: Each service's descriptor and its servicer, as `rpc.adapter.generic_handler` takes them.
        tls: The certificate; None: plain text.
        reuse_port: Whether several servers may listen on the same port, so that each gets a share of the connections.
            If not, a second server is refused, instead of taking half of the connections unnoticed.
        max_connection_age: After this time, a tenth sooner or later, a connection accepts no new calls and its caller
            connects again, so that newer servers get load too. Calls and streams that run go on. None: no limit.
        max_calls_per_connection: The most calls and streams at a time on one connection. Further ones wait at the
            caller.
        limits: The limits of what callers can make the server hold and do.
        engine: The engine that serves HTTP/2. `grpcio` has only a few of the limits: see docs/engines.md.
        reflection: Whether the contract can be read over gRPC: `on` by all, `auto` by those that the chain lets in.
    """

    def __init__(
        self,
        chain: Chain,
        services: Sequence[tuple[ServiceDescriptor, object]],
        *,
        tls: Tls | None = None,
        reuse_port: bool = False,
        max_connection_age: timedelta | None = None,
        max_calls_per_connection: int = 4096,
        limits: Limits | None = None,
        engine: Engine = "http2",
        reflection: Reflection = "auto",
    ) -> None:
        self._tls = tls
        self._server: Server = ENGINES[engine](
            most_bytes=MAX_MESSAGE_BYTES,
            most_streams=max_calls_per_connection,
            max_connection_age=None if max_connection_age is None else max_connection_age.total_seconds(),
            keepalive=_KEEPALIVE_SECONDS,
            keepalive_timeout=_KEEPALIVE_TIMEOUT_SECONDS,
            reuse_port=reuse_port,
            limits=limits,
        )
        self._server.add_generic_rpc_handlers(
            tuple(generic_handler(service, servicer, chain) for service, servicer in services)
        )
        names = [service.full_name for service, _ in services]
        self._health = Health(names)
        self._health.register(self._server)
        if reflection != "off":
            names += [HEALTH_SERVICE, V1, V1ALPHA]
            add_reflection(self._server, names, chain, public=reflection == "on")

    async def start(self, address: str) -> int:
        """Listens on `host:port`, and answers the port. Port 0 takes a free one.

        The health service answers NOT_SERVING until `set_serving`.

        Raises:
            AddressUnusable: The port is taken, or the address is not this machine's.
        """
        host, port = split_address(address)
        await self._health.set_serving(False)
        try:
            return await self._server.listen(host, port, self._tls)
        except OSError as error:
            raise taken("The gRPC server", address, "JOBQUEUE_GRPC_ADDR") from error

    async def set_serving(self, serving: bool) -> None:
        """Sets the answer of the health service for the server and for each service."""
        await self._health.set_serving(serving)

    async def stop(self, grace: timedelta) -> None:
        """Accepts no new calls, and ends the calls that are not done after the grace.

        It does not end streams: their servicers have done that before.
        """
        await self._server.stop(grace.total_seconds())
