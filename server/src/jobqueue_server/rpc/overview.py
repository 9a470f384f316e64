"""The overview, and the servers: convert, call the core, render."""

from __future__ import annotations

from jobqueue.v1 import overview_pb2 as pb

from ..chain import Call
from ..core.insight.workers import Fleet, ServerSeen
from ..core.session.load import Workers
from . import convert


class OverviewServicer:
    """Says how the queues are doing, and which servers there are. The contract has the errors."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def ListServers(self, request: pb.ListServersRequest, call: Call) -> pb.ListServersResponse:
        """Lists the servers."""
        found = await self._fleet.now()
        return pb.ListServersResponse(
            servers=[_server(server, call.scope.namespace) for server in found.servers]
        )


def _server(server: ServerSeen, namespace: int) -> pb.Server:
    workers = server.workers.get(namespace, Workers())
    message = pb.Server(
        id=str(server.id),
        name=server.name,
        version=server.version or "",
        level=server.level,
        self=server.own,
        sessions=workers.sessions,
        slots=workers.slots,
        free_slots=workers.free,
    )
    convert.set_moment(message.started_at, server.started_at)
    convert.set_moment(message.heard_at, server.heard_at)
    convert.set_span(message.heartbeat_age, server.silent_for)
    return message
