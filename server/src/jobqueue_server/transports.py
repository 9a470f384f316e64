"""The ports of a server: gRPC, HTTP/JSON and metrics; what they serve goes through one chain."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

from google.protobuf.descriptor import ServiceDescriptor

from . import logs
from .chain import Chain
from .core.events.database_state import DatabaseState
from .core.upkeep.standstill import Standstill
from .drain import LAST_FRAMES
from .http.front import http_server
from .http.ops import Operations
from .http.ui import BELOW, Dashboard
from .limits import grpc_limits
from .metrics import Metrics
from .rpc.server import GrpcServer
from .scrape import ScrapeEndpoint
from .security import metrics_token
from .serving import Serving
from .settings import Settings
from .tls import Tls

_log = logs.get(__name__)


class Transports:
    """Serves the same services over both transports.

    Attributes:
        serving: Whether they take work.
        grpc_port: Where gRPC answers, after `start`.
        http_port: Where HTTP answers, after `start`; 0 where it is off.
        metrics_port: Where Prometheus reads, after `start`; 0 where it is off.
        dashboard: The page for browsers.
    """

    def __init__(
        self,
        settings: Settings,
        chain: Chain,
        services: Sequence[tuple[ServiceDescriptor, object]],
        metrics: Metrics,
        database: DatabaseState,
        standstill: Standstill,
        tls: Tls | None,
        *,
        reuse_port: bool,
    ) -> None:
        self._settings = settings
        self.grpc = GrpcServer(
            chain,
            services,
            tls=tls,
            reuse_port=reuse_port,
            max_connection_age=settings.connection_max_age,
            limits=grpc_limits(settings),
            engine=settings.grpc_engine,
            reflection=settings.reflection,
        )
        self.serving = Serving(self.grpc, chain, database, standstill)
        self.dashboard = Dashboard("off" if settings.http_addr is None else settings.ui)
        operations = Operations(metrics, self.serving.not_ready, self.dashboard, self.serving.noted)
        self.http = http_server(settings, chain, services, operations, tls=tls, reuse_port=reuse_port)
        self._endpoint = ScrapeEndpoint(metrics.pages(), metrics_token(settings))
        self.grpc_port = self.http_port = self.metrics_port = 0

    async def start(self, up: AsyncExitStack) -> None:
        """Opens the ports that the settings name. What has come up is put on `up`, which ends it in reverse.

        Raises:
            AddressUnusable: A port is taken.
        """
        settings = self._settings
        if settings.metrics_addr is not None:
            self.metrics_port = self._endpoint.start(settings.metrics_addr)
            up.push_async_callback(asyncio.to_thread, self._endpoint.stop)
            _log.info("metrics are served", port=self.metrics_port)
        self.grpc_port = await self.grpc.start(settings.grpc_addr)
        up.push_async_callback(self.grpc.stop, LAST_FRAMES)
        if settings.http_addr is not None:
            self.http_port = await self.http.start(settings.http_addr)
            up.push_async_callback(self.http.leave, LAST_FRAMES)

    def http_shown(self) -> dict[str, str | int]:
        """Where HTTP answers and a browser finds the dashboard, as fields of a log line; after `start`."""
        address = self._settings.http_addr
        if address is None:
            return {}
        if not self.dashboard.on:
            return {"http_port": self.http_port}
        scheme = "http" if self._settings.tls_cert is None else "https"
        return {
            "http_port": self.http_port,
            "dashboard": f"{scheme}://{address.rpartition(':')[0]}:{self.http_port}{BELOW}",
        }

    async def stop(self) -> None:
        """Closes the last port. Balancers read at /readyz that the server leaves until it has left."""
        await self.http.stop(LAST_FRAMES)
