"""Statistics, and how many jobs there are: convert, call the core, render."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from jobqueue.v1 import stats_pb2 as pb

from ..chain import Call
from ..core.events.tallies import COUNTS
from ..core.stats.counting import JobCounts
from ..core.stats.history import LONGEST, MIN_STEP, GroupBy, Histories, History, Totals, Wanted
from ..dealt import Dealt
from . import checks, convert
from .checks import Problems
from .job_queue import job_filter

_GROUPS = dict(pb.GroupBy.items())
# A large one has some megabytes.
_MOST_CHARTS = 4
# Then others have their turn: a point takes 40 us, a chart has hundreds, and jobs are handed out on the same loop.
_POINTS_AT_ONCE = 25


class StatsServicer:
    """Says what happened to jobs, and counts them. The contract has the errors, `checks` and the core raise them."""

    def __init__(self, histories: Histories, counts: JobCounts) -> None:
        self._histories = histories
        self._counts = counts
        # Many look at the same chart: what is read is kept for 10 s, and so is the message of it.
        self._messages: Dealt[History, asyncio.Future[pb.QueryStatsResponse]] = Dealt(_MOST_CHARTS)

    async def QueryStats(self, request: pb.QueryStatsRequest, call: Call) -> pb.QueryStatsResponse:
        """Says what happened in a time."""
        problems = Problems()
        wanted = _wanted(request, problems)
        problems.raise_if_any()
        found = await self._histories.query(call.scope, wanted)
        making = self._messages.get(found, lambda new: asyncio.ensure_future(_history(new)))
        # A caller that hangs up does not end it for the others.
        return await asyncio.shield(making)

    async def CountJobs(self, request: pb.CountJobsRequest, call: Call) -> pb.CountJobsResponse:
        """Counts jobs."""
        problems = Problems()
        wanted = job_filter(request, problems)
        problems.raise_if_any()
        found = await self._counts.count(call.scope, wanted)
        response = pb.CountJobsResponse(count=found.jobs, exact=found.exact)
        convert.set_moment(response.read_at, found.at)
        return response


def _wanted(request: pb.QueryStatsRequest, problems: Problems) -> Wanted:
    if request.queue:
        checks.name(request.queue, "queue", problems)
    if request.kind:
        checks.name(request.kind, "kind", problems, "send_email")
    since, until = (
        convert.moment(getattr(request, field))
        if request.HasField(field) and checks.timestamp(getattr(request, field), field, problems)
        else None
        for field in ("since", "until")
    )
    step = None
    if request.HasField("step") and checks.duration(request.step, "step", MIN_STEP, LONGEST, problems):
        step = convert.span(request.step)
        if step % MIN_STEP or request.step.nanos:
            problems.add("step", "must be a multiple of 10 s")
    checks.enum(request.group_by, _GROUPS, "group_by", problems)
    group_by = GroupBy.NOTHING if problems else GroupBy(request.group_by)
    return Wanted(request.queue or None, request.kind or None, since, until, step, group_by)


async def _history(found: History) -> pb.QueryStatsResponse:
    message = pb.QueryStatsResponse(series_left_out=found.left_out)
    for series in found.series:
        made = message.series.add(queue=series.queue, kind=series.kind)
        _set_totals(made.totals, series.totals)
        for number, (at, totals) in enumerate(series.points):
            if number % _POINTS_AT_ONCE == _POINTS_AT_ONCE - 1:
                await asyncio.sleep(0)
            point = made.points.add()
            convert.set_moment(point.at, at)
            _set_totals(point.totals, totals)
    convert.set_moment(message.since, found.since)
    convert.set_moment(message.read_at, found.read_at)
    convert.set_span(message.step, found.step)
    return message


def _set_totals(message: pb.StatTotals, totals: Totals) -> None:
    for name, count in zip(COUNTS, totals.counts, strict=True):
        setattr(message, name, count)
    for field, value in (
        (message.wait_p50, totals.wait(0.5)),
        (message.wait_p99, totals.wait(0.99)),
        (message.run_p50, totals.run(0.5)),
        (message.run_p99, totals.run(0.99)),
    ):
        if value is not None:
            convert.set_span(field, _whole(value))


def _whole(value: timedelta) -> timedelta:
    """To a tenth of a millisecond: what is behind it means nothing."""
    return timedelta(microseconds=round(value / timedelta(microseconds=100)) * 100)
