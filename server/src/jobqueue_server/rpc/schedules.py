"""The service Schedules: convert, call the core, render."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from google.longrunning import operations_pb2 as lro_pb

from jobqueue.v1 import job_pb2 as job_pb
from jobqueue.v1 import schedule_pb2 as pb

from ..chain import Call
from ..core.bulk.operations import Operations
from ..core.schedule.runs import ScheduleRuns
from ..core.schedule.schedules import ScheduleService, Shown
from ..core.upkeep.clock import Clock
from ..model import MAX_AHEAD, MAX_KEY_CHARS, NewJob
from ..store.bulk.requests import Request, Selection, Verb
from ..store.schedule.schedules import ScheduleFilter
from ..store.schedule.values import Overlap, Policy, Schedule, Spec
from . import checks, convert
from . import schedule_values as values
from .bulk import MAX_PER_SECOND
from .checks import Problems
from .key_policy import MAX_ETAG_CHARS
from .metadata import HTTP_CODE
from .operation_messages import backfill_preview_message, operation_message
from .schedule_values import MAX_COUNT, MAX_RUNS_TOKEN_CHARS, run_message, schedule_message, tick_message

_FORMATS = dict(job_pb.PayloadFormat.items())
_DEFAULT_COUNT = 10
#: Of a schedule that is not made yet.
_NO_ID = 0


class SchedulesServicer:
    """Makes, reads, changes and fires schedules. The contract lists the errors; `checks` and the core raise them."""

    def __init__(
        self, schedules: ScheduleService, runs: ScheduleRuns, operations: Operations, clock: Clock
    ) -> None:
        self._schedules = schedules
        self._runs = runs
        self._operations = operations
        self._clock = clock

    async def CreateSchedule(
        self, request: pb.CreateScheduleRequest, call: Call
    ) -> pb.CreateScheduleResponse:
        """Makes a schedule."""
        problems = Problems()
        checks.enum(request.payload_format, _FORMATS, "payload_format", problems)
        if not request.HasField("schedule"):
            problems.add("schedule", "is required")
            problems.raise_if_any()
        schedule = self._new(request.schedule, problems)
        problems.raise_if_any()
        shown = await self._schedules.create(call.scope, schedule)
        call.answer_metadata[HTTP_CODE] = "201"
        return pb.CreateScheduleResponse(schedule=_message(shown, request.payload_format))

    async def GetSchedule(self, request: pb.GetScheduleRequest, call: Call) -> pb.GetScheduleResponse:
        """Reads one schedule."""
        problems = _named(request.name, request.payload_format)
        problems.raise_if_any()
        shown = await self._schedules.get(call.scope, request.name)
        return pb.GetScheduleResponse(schedule=_message(shown, request.payload_format))

    async def ListSchedules(self, request: pb.ListSchedulesRequest, call: Call) -> pb.ListSchedulesResponse:
        """Reads a page of schedules by name."""
        problems = Problems()
        checks.page_size(request.page_size, problems)
        checks.text(request.page_token, "page_token", checks.MAX_PAGE_TOKEN_CHARS, problems)
        if request.kind:
            checks.name(request.kind, "kind", problems, "send_email")
        if request.queue:
            checks.name(request.queue, "queue", problems)
        wanted = ScheduleFilter(
            request.kind or None,
            request.queue or None,
            request.paused if request.HasField("paused") else None,
            checks.label_filter(request.labels, problems),
        )
        problems.raise_if_any()
        found, token = await self._schedules.list_schedules(
            call.scope, wanted, request.page_size, request.page_token
        )
        return pb.ListSchedulesResponse(
            schedules=[schedule_message(each, (), 0, shown=False) for each in found], next_page_token=token
        )

    async def UpdateSchedule(
        self, request: pb.UpdateScheduleRequest, call: Call
    ) -> pb.UpdateScheduleResponse:
        """Changes a schedule, or makes it."""
        problems = _named(request.schedule.name, request.payload_format, "schedule.name")
        checks.text(request.schedule.etag, "schedule.etag", MAX_ETAG_CHARS, problems)
        changes = values.changes(request, self._clock.now(), problems)
        problems.raise_if_any()
        make = None
        if request.allow_missing and request.schedule.HasField("spec") and request.schedule.HasField("job"):
            make = self._new(request.schedule, problems)
            problems.raise_if_any()
        shown = await self._schedules.update(
            call.scope,
            request.schedule.name,
            changes,
            etag=request.schedule.etag,
            make=make,
            has_payload=request.schedule.job.WhichOneof("content") is not None,
        )
        return pb.UpdateScheduleResponse(schedule=_message(shown, request.payload_format))

    async def DeleteSchedule(
        self, request: pb.DeleteScheduleRequest, call: Call
    ) -> pb.DeleteScheduleResponse:
        """Deletes a schedule with its runs."""
        problems = _named(request.name)
        checks.text(request.etag, "etag", MAX_ETAG_CHARS, problems)
        problems.raise_if_any()
        await self._schedules.delete(call.scope, request.name, request.etag)
        return pb.DeleteScheduleResponse()

    async def PauseSchedule(self, request: pb.PauseScheduleRequest, call: Call) -> pb.PauseScheduleResponse:
        """Stops a schedule."""
        problems = _named(request.name, request.payload_format)
        checks.text(request.note, "note", checks.MAX_REASON_CHARS, problems)
        problems.raise_if_any()
        shown = await self._schedules.set_paused(call.scope, request.name, request.note)
        return pb.PauseScheduleResponse(schedule=_message(shown, request.payload_format))

    async def ResumeSchedule(
        self, request: pb.ResumeScheduleRequest, call: Call
    ) -> pb.ResumeScheduleResponse:
        """Lets a paused schedule go on."""
        problems = _named(request.name, request.payload_format)
        problems.raise_if_any()
        shown = await self._schedules.set_paused(call.scope, request.name, None)
        return pb.ResumeScheduleResponse(schedule=_message(shown, request.payload_format))

    async def RunSchedule(self, request: pb.RunScheduleRequest, call: Call) -> pb.RunScheduleResponse:
        """Fires a schedule now."""
        problems = _named(request.name)
        overlap = values.overlap(request.overlap, "overlap", problems)
        if request.request_id:
            checks.short_text(request.request_id, "request_id", MAX_KEY_CHARS, problems)
        problems.raise_if_any()
        run = await self._runs.run(call.scope, request.name, overlap, request.request_id or None)
        return pb.RunScheduleResponse(run=run_message(run))

    async def BackfillSchedule(
        self, request: pb.BackfillScheduleRequest, call: Call
    ) -> pb.BackfillScheduleResponse:
        """Starts an operation that fires the ticks of a span, or counts them."""
        problems = _named(request.name)
        _check_span(request, problems)
        if request.overlap == pb.SchedulePolicy.BUFFER_ONE:
            problems.add(
                "overlap", "must be ALLOW or SKIP: of the ticks of a span all but one would be replaced"
            )
        overlap = values.overlap(request.overlap, "overlap", problems) or Overlap.ALLOW
        if request.max_ticks < 0:
            problems.add("max_ticks", "must be 1 or more, or 0 for all ticks")
        if not 0 <= request.per_second <= MAX_PER_SECOND:
            problems.add("per_second", f"must be 1 to {MAX_PER_SECOND}, or 0 for as fast as it goes")
        if request.request_id:
            checks.short_text(request.request_id, "request_id", MAX_KEY_CHARS, problems)
        problems.raise_if_any()
        start, end = convert.moment(request.start_at), convert.moment(request.end_at)
        if end > self._clock.now():
            problems.add("end_at", "must not be in the future: a schedule fires what is to come by itself")
            problems.raise_if_any()
        backfill = await self._runs.backfill(call.scope, request.name, start, end, overlap)
        asked = Request(Selection(), request.per_second, request.max_ticks, backfill=backfill)
        if request.validate_only:
            counted = await self._runs.count(backfill, request.max_ticks)
            return pb.BackfillScheduleResponse(
                operation=backfill_preview_message(backfill, asked, counted.ticks, counted.capped)
            )
        operation = await self._operations.start(call.scope, Verb.BACKFILL, asked, request.request_id or None)
        return pb.BackfillScheduleResponse(operation=_started(operation_message(operation), call))

    async def ListScheduleRuns(
        self, request: pb.ListScheduleRunsRequest, call: Call
    ) -> pb.ListScheduleRunsResponse:
        """Reads a page of the runs of a schedule."""
        problems = _named(request.name)
        checks.page_size(request.page_size, problems)
        checks.text(request.page_token, "page_token", MAX_RUNS_TOKEN_CHARS, problems)
        problems.raise_if_any()
        runs, token = await self._schedules.list_runs(
            call.scope, request.name, request.page_size, request.page_token
        )
        return pb.ListScheduleRunsResponse(runs=map(run_message, runs), next_page_token=token)

    async def PreviewSchedule(
        self, request: pb.PreviewScheduleRequest, call: Call
    ) -> pb.PreviewScheduleResponse:
        """Answers the ticks of a spec."""
        problems = Problems()
        if not 0 <= request.count <= MAX_COUNT:
            problems.add("count", f"must be 1 to {MAX_COUNT}, or 0 for {_DEFAULT_COUNT}")
        since = values.moment(request.since, "since", problems) if request.HasField("since") else None
        if not request.HasField("spec"):
            problems.add("spec", "is required")
            problems.raise_if_any()
        spec = values.spec(request.spec, "spec.", problems)
        problems.raise_if_any()
        ticks = await self._schedules.preview(spec, since, request.count or _DEFAULT_COUNT)
        return pb.PreviewScheduleResponse(ticks=map(tick_message, ticks))

    def _new(self, given: pb.Schedule, problems: Problems) -> Schedule:
        """Checks and reads a schedule that is to be made."""
        checks.name(given.name, "schedule.name", problems, "nightly-report")
        checks.labels(given.labels, "schedule.labels", problems)
        checks.text(given.etag, "schedule.etag", MAX_ETAG_CHARS, problems)
        for name in ("spec", "job"):
            if not given.HasField(name):
                problems.add(f"schedule.{name}", "is required")
        spec = values.spec(given.spec, "schedule.spec.", problems) if given.HasField("spec") else None
        job = (
            values.job(given.job, "schedule.job.", self._clock.now(), problems)
            if given.HasField("job")
            else NewJob("", b"null")
        )
        policy = values.policy(given.policy, "schedule.policy.", problems)
        return Schedule(
            _NO_ID,
            _NO_ID,
            given.name,
            spec or Spec(),
            job,
            Policy(**policy),
            dict(given.labels),
            given.paused,
        )


def _named(name: str, payload_format: int = 0, field: str = "name") -> Problems:
    problems = Problems()
    checks.name(name, field, problems, "nightly-report")
    checks.enum(payload_format, _FORMATS, "payload_format", problems)
    return problems


def _check_span(request: pb.BackfillScheduleRequest, problems: Problems) -> None:
    found = []
    for field in ("start_at", "end_at"):
        if not request.HasField(field):
            problems.add(field, "is required")
        elif (moment := values.moment(getattr(request, field), field, problems)) is not None:
            found.append(moment)
    if len(found) == 2 and not timedelta() < found[1] - found[0] <= MAX_AHEAD:
        problems.add("end_at", f"must be later than start_at, by {MAX_AHEAD.days} days at most")


def _message(shown: Shown, payload_format: int) -> pb.Schedule:
    return schedule_message(shown.schedule, shown.upcoming, payload_format, shown=shown.payload)


def _started(operation: lro_pb.Operation, call: Call) -> lro_pb.Operation:
    if not operation.done:
        call.answer_metadata[HTTP_CODE] = "202"
    return cast(lro_pb.Operation, operation)
