"""The service Bulk: convert, call the core, render."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from google.longrunning import operations_pb2 as lro_pb

from jobqueue.v1 import bulk_pb2 as bulk_pb
from jobqueue.v1 import job_pb2 as pb

from ..chain import Call
from ..core.bulk.operations import Operations
from ..core.upkeep.clock import Clock
from ..lifecycle import TERMINAL, Status
from ..model import MAX_ATTEMPTS_LIMIT, MAX_ERROR_TYPE_CHARS, MAX_KEY_CHARS, MAX_PRIORITY, MIN_PRIORITY
from ..store.bulk.requests import Request, Selection, Verb
from . import checks, convert
from .checks import Problems
from .metadata import HTTP_CODE
from .operation_messages import operation_message, preview_message

MAX_FILTER_IDS = 1000
MAX_REASONS = 20
MAX_PER_SECOND = 100_000
MAX_SPREAD = timedelta(days=7)
_STATUSES = {name: number for name, number in pb.Job.Status.items() if number}
_is_reason = re.compile(r"[A-Z][A-Z0-9_]{0,62}").fullmatch
_DONE_TO = {Verb.RETRY: "retries", Verb.CANCEL: "cancels", Verb.DELETE: "deletes", Verb.UPDATE: "changes"}

BulkRequest = (
    bulk_pb.RetryJobsRequest
    | bulk_pb.CancelJobsRequest
    | bulk_pb.DeleteJobsRequest
    | bulk_pb.UpdateJobsRequest
)


@dataclass(frozen=True, slots=True)
class _Start:
    """When jobs are to start."""

    spread: timedelta
    run_at: datetime | None
    delay: timedelta

    def of(self, asked: Request) -> Request:
        return replace(asked, spread=self.spread, run_at=self.run_at, delay=self.delay)


class BulkServicer:
    """Starts operations. The contract lists the errors; `checks` and the core raise them."""

    def __init__(self, operations: Operations, clock: Clock) -> None:
        self._operations = operations
        self._clock = clock

    async def RetryJobs(self, request: bulk_pb.RetryJobsRequest, call: Call) -> bulk_pb.RetryJobsResponse:
        """Makes jobs that have ended QUEUED again."""
        problems = Problems()
        start = self._start(request, problems)
        asked = replace(
            start.of(_asked(Verb.RETRY, request, problems)),
            to_queue=request.to_queue or None,
            reset_checkpoint=request.reset_checkpoint,
            respect_unique=request.respect_unique,
        )
        return bulk_pb.RetryJobsResponse(operation=await self._started(Verb.RETRY, asked, request, call))

    async def CancelJobs(self, request: bulk_pb.CancelJobsRequest, call: Call) -> bulk_pb.CancelJobsResponse:
        """Cancels jobs that have not ended."""
        problems = Problems()
        checks.text(request.reason, "reason", checks.MAX_REASON_CHARS, problems)
        asked = replace(_asked(Verb.CANCEL, request, problems), reason=request.reason)
        return bulk_pb.CancelJobsResponse(operation=await self._started(Verb.CANCEL, asked, request, call))

    async def DeleteJobs(self, request: bulk_pb.DeleteJobsRequest, call: Call) -> bulk_pb.DeleteJobsResponse:
        """Deletes jobs that have ended."""
        asked = _asked(Verb.DELETE, request, Problems())
        return bulk_pb.DeleteJobsResponse(operation=await self._started(Verb.DELETE, asked, request, call))

    async def UpdateJobs(self, request: bulk_pb.UpdateJobsRequest, call: Call) -> bulk_pb.UpdateJobsResponse:
        """Changes jobs that wait."""
        problems = Problems()
        start = self._start(request, problems)
        new_start = request.WhichOneof("start") is not None
        if request.HasField("spread") and not new_start:
            problems.add(
                "spread", "is of a new start: set run_at or delay too, such as a delay of 0s for now"
            )
        if request.HasField("priority") and not MIN_PRIORITY <= request.priority <= MAX_PRIORITY:
            problems.add("priority", f"must be from {MIN_PRIORITY} to {MAX_PRIORITY}")
        if not 0 <= request.max_attempts <= MAX_ATTEMPTS_LIMIT:
            problems.add("max_attempts", f"must be 1 to {MAX_ATTEMPTS_LIMIT}, or 0: each job keeps its own")
        if not (request.HasField("priority") or new_start or request.to_queue or request.max_attempts):
            problems.add(
                "priority", "or run_at, delay, to_queue or max_attempts is required: what is to change"
            )
        asked = replace(
            start.of(_asked(Verb.UPDATE, request, problems)),
            to_queue=request.to_queue or None,
            new_start=new_start,
            priority=request.priority if request.HasField("priority") else None,
            max_attempts=request.max_attempts or None,
        )
        return bulk_pb.UpdateJobsResponse(operation=await self._started(Verb.UPDATE, asked, request, call))

    async def ResumeOperation(
        self, request: bulk_pb.ResumeOperationRequest, call: Call
    ) -> bulk_pb.ResumeOperationResponse:
        """Lets an operation go on that rests."""
        problems = Problems()
        operation_id = checks.uuid(request.id, "id", problems)
        problems.raise_if_any()
        operation = await self._operations.resume(call.scope, operation_id)
        return bulk_pb.ResumeOperationResponse(operation=operation_message(operation))

    def _start(
        self, request: bulk_pb.RetryJobsRequest | bulk_pb.UpdateJobsRequest, problems: Problems
    ) -> _Start:
        """Checks when jobs are to start, and where."""
        spread = delay = timedelta()
        run_at = None
        if request.HasField("spread") and checks.duration(
            request.spread, "spread", timedelta(), MAX_SPREAD, problems
        ):
            spread = convert.span(request.spread)
        match request.WhichOneof("start"):
            case "run_at" if checks.run_at(request.run_at, "run_at", self._clock.now(), problems):
                run_at = convert.moment(request.run_at)
            case "delay" if checks.delay(request.delay, "delay", problems):
                delay = convert.span(request.delay)
        if request.to_queue:
            checks.name(request.to_queue, "to_queue", problems)
        return _Start(spread, run_at, delay)

    async def _started(
        self, verb: Verb, asked: Request, request: BulkRequest, call: Call
    ) -> lro_pb.Operation:
        if not request.force:
            return preview_message(verb, asked, await self._operations.preview(call.scope, verb, asked))
        expected = request.expected if request.HasField("expected") else None
        operation = await self._operations.start(
            call.scope, verb, asked, request.request_id or None, expected
        )
        if not operation.state.ended:
            call.answer_metadata[HTTP_CODE] = "202"
        return operation_message(operation)


def _asked(verb: Verb, request: BulkRequest, problems: Problems) -> Request:
    """Checks what the three requests have in common, and raises for all problems that were found."""
    if not 0 <= request.per_second <= MAX_PER_SECOND:
        problems.add("per_second", f"must be 1 to {MAX_PER_SECOND}, or 0 for as fast as it goes")
    if request.max_jobs < 0:
        problems.add("max_jobs", "must be 1 or more, or 0 for all jobs")
    if request.request_id:
        checks.short_text(request.request_id, "request_id", MAX_KEY_CHARS, problems)
    if request.expected < 0:
        problems.add("expected", "must be 0 or more, as the dry run said (`estimate`)")
    if not request.HasField("filter"):
        problems.add("filter", "is required")
    selection = _selection(verb, request.filter, problems)
    problems.raise_if_any()
    return Request(selection, request.per_second, request.max_jobs)


def _selection(verb: Verb, given: bulk_pb.JobFilter, problems: Problems) -> Selection:
    ids = None
    if len(given.ids) > MAX_FILTER_IDS:
        problems.add("filter.ids", f"must be at most {MAX_FILTER_IDS} ids, not {len(given.ids)}")
    elif given.ids:
        found = {checks.uuid(text, f"filter.ids[{index}]", problems) for index, text in enumerate(given.ids)}
        ids = tuple(sorted(found))
    if given.queue:
        checks.name(given.queue, "filter.queue", problems)
    if given.kind:
        checks.name(given.kind, "filter.kind", problems, "send_email")
    statuses = _statuses(verb, given, problems)
    labels = checks.label_filter(given.labels, problems, "filter.labels")
    _only_of_ended(verb, given, problems)
    if len(given.reason) > MAX_REASONS:
        problems.add("filter.reason", f"must be at most {MAX_REASONS} reasons, not {len(given.reason)}")
    for index, reason in enumerate(given.reason[:MAX_REASONS]):
        if not _is_reason(reason):
            problems.add(
                f"filter.reason[{index}]", "must be a reason of Job.reason, such as ATTEMPTS_EXHAUSTED"
            )
    if given.error_type:
        checks.short_text(given.error_type, "filter.error_type", MAX_ERROR_TYPE_CHARS, problems)
    selection = Selection(
        ids,
        given.queue or None,
        given.kind or None,
        statuses,
        labels,
        _moment(given, "created_after", problems),
        _moment(given, "created_before", problems),
        _moment(given, "ended_after", problems),
        _moment(given, "ended_before", problems),
        reasons=tuple(dict.fromkeys(given.reason)),
        error_type=given.error_type or None,
    )
    if given.everything:
        if selection != Selection():
            problems.add("filter.everything", "must be left out where another condition is set")
        return Selection(everything=True)
    return selection


def _statuses(verb: Verb, given: bulk_pb.JobFilter, problems: Problems) -> frozenset[Status]:
    fitting = {status.name: int(status) for status in sorted(verb.statuses)}
    found = set()
    for index, number in enumerate(given.status):
        field = f"filter.status[{index}]"
        if number in _STATUSES.values() and number not in fitting.values():
            problems.add(
                field,
                f"is {Status(number).name}, but {verb.method} {_DONE_TO[verb]} only jobs that are {', '.join(fitting)}",
            )
        else:
            checks.enum(number, fitting, field, problems)
        found.add(number)
    return frozenset() if problems else frozenset(Status(number) for number in found)


def _moment(given: bulk_pb.JobFilter, field: str, problems: Problems) -> datetime | None:
    if not given.HasField(field):  # type: ignore[arg-type]
        return None
    value = getattr(given, field)
    return convert.moment(value) if checks.timestamp(value, f"filter.{field}", problems) else None


def _only_of_ended(verb: Verb, given: bulk_pb.JobFilter, problems: Problems) -> None:
    if verb.statuses & TERMINAL:
        return
    why = f"is for jobs that have ended, and {verb.method} {_DONE_TO[verb]} those that have not"
    for field in ("ended_after", "ended_before"):
        if given.HasField(field):
            problems.add(f"filter.{field}", why)
    if given.reason:
        problems.add("filter.reason", why)
