"""grpc.health.v1, for load balancers and orchestrators: the health of the server ("") and of each of its services."""

from __future__ import annotations

from collections.abc import Iterable

from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from .transport import Server

SERVICE = "grpc.health.v1.Health"

_Status = health_pb2.HealthCheckResponse.ServingStatus


class Health:
    """The health service. It answers NOT_SERVING until `set`: a server listens before it has its database."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = ("", *services)
        self._servicer = health_aio.HealthServicer()

    def register(self, server: Server) -> None:
        """Adds the service to a server that has not started."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def set_serving(self, serving: bool) -> None:
        """Sets the status of all services, and answers the calls that watch it."""
        status = _Status.Value("SERVING" if serving else "NOT_SERVING")
        for service in self._services:
            await self._servicer.set(service, status)
