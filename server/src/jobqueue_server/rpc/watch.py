"""WatchJobs: convert, watch, render."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from jobqueue.v1 import job_pb2 as pb
from jobqueue.v1 import jobqueue_pb2 as rpc_pb

from ..chain import Call
from ..core.query.watch import Watches
from ..core.query.watching import Told
from ..model import WatchFilter
from . import checks, convert
from .checks import Problems

_FORMATS = dict(pb.PayloadFormat.items())
_VIEWS = dict(pb.JobView.items())


class WatchServicer:
    """Answers jobs as they change. The contract lists the errors; `checks` and the core raise them."""

    def __init__(self, watches: Watches) -> None:
        self._watches = watches

    async def WatchJobs(
        self, request: rpc_pb.WatchJobsRequest, call: Call
    ) -> AsyncGenerator[rpc_pb.WatchJobsResponse, None]:
        """Answers jobs as they change, one in each message."""
        problems = Problems()
        wanted = _filter(request, problems)
        checks.text(request.resume_token, "resume_token", checks.MAX_WATCH_TOKEN_CHARS, problems)
        checks.enum(request.view, _VIEWS, "view", problems)
        checks.enum(request.payload_format, _FORMATS, "payload_format", problems)
        problems.raise_if_any()
        full = request.view == pb.JOB_VIEW_FULL
        async with aclosing(
            self._watches.watch(call.scope, wanted, request.resume_token, full=full)
        ) as answers:
            async for told in answers:
                yield _response(told, request.payload_format)


def _filter(request: rpc_pb.WatchJobsRequest, problems: Problems) -> WatchFilter:
    ids = checks.watched_ids(request.ids, problems)
    if request.queue:
        checks.name(request.queue, "queue", problems)
    if request.kind:
        checks.name(request.kind, "kind", problems, "send_email")
    labels = checks.label_filter(request.labels, problems)
    return WatchFilter(ids or None, request.queue or None, request.kind or None, labels)


def _response(told: Told, payload_format: int) -> rpc_pb.WatchJobsResponse:
    response = rpc_pb.WatchJobsResponse(resume_token=told.token)
    if told.job is not None:
        response.job.CopyFrom(convert.job_message(told.job, payload_format))
    elif told.gone is not None:
        response.job.id = str(told.gone)
    return response
