"""Statistics, and how many jobs there are: convert, call the core, render."""

from __future__ import annotations

from datetime import timedelta

from jobqueue.v1 import stats_pb2 as pb

from ..chain import Call
from ..core.events.tallies import COUNTS
from ..core.stats.counting import JobCounts
from ..core.stats.history import LONGEST, MIN_STEP, GroupBy, Histories, History, Series, Totals, Wanted
from ..dealt import Dealt
from . import checks, convert
from .checks import Problems
from .job_queue import job_filter

_GROUPS = dict(pb.GroupBy.items())
# A large one has some megabytes.
_MOST_CHARTS = 4


class StatsServicer:
    """Says what happened to jobs, and counts them. The contract has the errors, `checks` and the core raise them."""

    def __init__(self, histories: Histories, counts: JobCounts) -> None:
        self._histories = histories
        self._counts = counts
        # Many look at the same chart: what is read is kept for 10 s, and so is the message of it.
        self._messages: Dealt[History, pb.QueryStatsResponse] = Dealt(_MOST_CHARTS)

    async def QueryStats(self, request: pb.QueryStatsRequest, call: Call) -> pb.QueryStatsResponse:
        """Says what happened in a time."""
        problems = Problems()
        wanted = _wanted(request, problems)
        problems.raise_if_any()
        found = await self._histories.query(call.scope, wanted)
        return self._messages.get(found, _history)

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


def _history(found: History) -> pb.QueryStatsResponse:
    message = pb.QueryStatsResponse(
        series=[_series(series) for series in found.series], series_left_out=found.left_out
    )
    convert.set_moment(message.since, found.since)
    convert.set_moment(message.read_at, found.read_at)
    convert.set_span(message.step, found.step)
    return message


def _series(series: Series) -> pb.Series:
    message = pb.Series(queue=series.queue, kind=series.kind, totals=_totals(series.totals))
    for at, totals in series.points:
        convert.set_moment(message.points.add(totals=_totals(totals)).at, at)
    return message


def _totals(totals: Totals) -> pb.StatTotals:
    message = pb.StatTotals()
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
    return message


def _whole(value: timedelta) -> timedelta:
    """To a tenth of a millisecond: what is behind it means nothing."""
    return timedelta(microseconds=round(value / timedelta(microseconds=100)) * 100)
