"""The gRPC server: its services, health, reflection, and what it is set to on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

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

# Longer than between heartbeats, so that a worker that is heard is not pinged beside them.
_KEEPALIVE_SECONDS = 8
_KEEPALIVE_TIMEOUT_SECONDS = 3


class GrpcServer:
    """Serves servicers through the chain.

    Args:
        chain: What every call passes.
        services: Each service's descriptor and its servicer, as `rpc.adapter.generic_handler` takes them.
        tls: The certificate; None: plain text.
        reuse_port: Whether several servers may listen on the same port, each getting a share of the connections.
            Otherwise a second one is refused, instead of quietly taking half of the first one's.
        max_connection_age: After it, a tenth sooner or later, a connection takes no new calls and its caller connects
            anew, so that load spreads over servers that came later; calls under way, streams too, go on. None: never.
        max_calls_per_connection: Calls and streams under way on one connection; further ones wait on its other side.
        limits: What callers can make it hold and do.
        engine: What it speaks HTTP/2 by. `grpcio` keeps a few of the limits only: see docs/engines.md.
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
        names += [HEALTH_SERVICE, V1, V1ALPHA]
        add_reflection(self._server, names, chain)

    async def start(self, address: str) -> int:
        """Listens on `host:port` and answers the port, which differs from the asked one if that was 0.

        The health stays NOT_SERVING until `set_serving`.

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
        """Sets what the health check answers for the server and for each service."""
        await self._health.set_serving(serving)

    async def stop(self, grace: timedelta) -> None:
        """Takes no new calls, and cuts off those that are not done after the grace.

        It does not tell the streams: their servicers end them before.
        """
        await self._server.stop(grace.total_seconds())
