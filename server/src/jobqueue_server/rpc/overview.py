"""The overview, and the servers: convert, call the core, render."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import cast

from jobqueue.v1 import overview_pb2 as pb

from ..chain import Call
from ..core.events.tallies import COUNTS
from ..core.insight.overviews import Overviews
from ..core.insight.view import DepthOf, QueueView, View
from ..core.insight.warnings import Warning
from ..core.insight.workers import Fleet, ServerSeen
from ..core.session.load import Workers
from . import convert


class OverviewServicer:
    """Says how the queues are doing, and which servers there are. The contract has the errors, the core raises them."""

    def __init__(self, overviews: Overviews, fleet: Fleet) -> None:
        self._overviews = overviews
        self._fleet = fleet
        # Of the newest reading: many watch the same view, and get one and the same message.
        self._made_at: datetime | None = None
        self._made: dict[View, pb.WatchOverviewResponse] = {}

    async def GetOverview(self, request: pb.GetOverviewRequest, call: Call) -> pb.GetOverviewResponse:
        """Says how the queues are doing."""
        view = await self._overviews.get(call.scope)
        return pb.GetOverviewResponse(overview=self._message(view).overview)

    async def WatchOverview(
        self, request: pb.WatchOverviewRequest, call: Call
    ) -> AsyncGenerator[pb.WatchOverviewResponse, None]:
        """Says so again and again."""
        async with aclosing(self._overviews.watch(call.scope)) as views:
            async for view in views:
                yield self._message(view)

    async def ListServers(self, request: pb.ListServersRequest, call: Call) -> pb.ListServersResponse:
        """Lists the servers."""
        found = await self._fleet.now()
        return pb.ListServersResponse(
            servers=[_server(server, call.scope.namespace) for server in found.servers_for(call.scope)]
        )

    def _message(self, view: View) -> pb.WatchOverviewResponse:
        if self._made_at != view.read_at:
            self._made_at, self._made = view.read_at, {}
        message = self._made.get(view)
        if message is None:
            message = self._made[view] = pb.WatchOverviewResponse(overview=_overview(view))
        return message


def _overview(view: View) -> pb.Overview:
    workers = view.workers
    message = pb.Overview(
        flow=_flow(view.flow, view.window),
        depth=_depth(view.depth),
        queues=[_queue(queue, view.window) for queue in view.queues],
        queues_left_out=view.queues_left_out,
        workers=pb.WorkersOverview(
            sessions=workers.sessions,
            silent=view.silent,
            draining=workers.draining,
            slots=workers.slots,
            free_slots=workers.free,
        ),
        servers=[_server(server, view.namespace) for server in view.servers],
        warnings=[_warning(warning) for warning in view.warnings],
    )
    convert.set_moment(message.read_at, view.read_at)
    convert.set_span(message.window, view.window)
    return message


def _flow(counts: Sequence[int], window: timedelta) -> pb.Flow:
    seconds = window.total_seconds()
    return pb.Flow(**{name: count / seconds for name, count in zip(COUNTS, counts, strict=True)})


def _depth(depth: DepthOf) -> pb.Depth:
    message = pb.Depth(
        queued=depth.queued,
        retrying=depth.retrying,
        running=depth.running,
        held=depth.held,
        capped=depth.capped,
    )
    if depth.due_for:
        convert.set_span(message.oldest_due_age, depth.due_for)
    return message


def _queue(queue: QueueView, window: timedelta) -> pb.QueueOverview:
    message = pb.QueueOverview(
        queue=queue.name,
        paused=queue.paused,
        depth=_depth(queue.depth),
        flow=_flow(queue.flow, window),
        workers=queue.workers.sessions,
        slots=queue.workers.slots,
        free_slots=queue.workers.free,
    )
    if queue.pause is not None:
        convert.set_moment(message.pause.since, queue.pause.since)
        message.pause.by = queue.pause.by
        message.pause.reason = queue.pause.reason
    return message


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
    convert.set_span(message.heartbeat_age, max(server.silent_for, timedelta()))
    return message


def _warning(warning: Warning) -> pb.Warning:
    message = pb.Warning(
        code=cast("pb.Warning.WarningCode.ValueType", int(warning.code)),
        message=warning.message,
        queue=warning.queue,
        remedy=warning.remedy,
    )
    if warning.since is not None:
        convert.set_moment(message.since, warning.since)
    return message
