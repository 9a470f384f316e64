"""The unary methods of the service JobQueue: convert, call the core, render."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from jobqueue.v1 import job_pb2 as pb
from jobqueue.v1 import jobqueue_pb2 as rpc_pb
from jobqueue.v1 import stats_pb2 as stats_pb

from ..chain import Call
from ..core.bulk.changes import JobChanges
from ..core.intake.enqueuer import Enqueuer
from ..core.intake.ticket import answer_of
from ..core.query.reads import LOOKS_FOR, JobReads
from ..core.upkeep.clock import Clock
from ..errors import FieldInvalid
from ..lifecycle import Status
from ..model import DEFAULT_WAIT, MAX_MESSAGE_BYTES, Enqueued, JobFilter, NewJobs, Page
from . import checks, convert
from .checks import Problems
from .enqueued import enqueued_message, results_message
from .metadata import HTTP_CODE, KEY, job_headers

_FORMATS = dict(pb.PayloadFormat.items())
_VIEWS = dict(pb.JobView.items())
_STATUSES = {name: number for name, number in pb.Job.Status.items() if number}
# A wait ends this long before the caller's deadline, so that the answer arrives in time.
_ANSWERING = timedelta(milliseconds=250)
# A list, whose last scan may take longer than a wait's answer.
_SCANNING = timedelta(seconds=1)


class JobQueueServicer:
    """Enqueues, reads and changes jobs. The contract lists the errors; `checks` and the core raise them."""

    def __init__(self, enqueuer: Enqueuer, reads: JobReads, changes: JobChanges, clock: Clock) -> None:
        self._enqueuer = enqueuer
        self._reads = reads
        self._changes = changes
        self._clock = clock

    async def EnqueueJob(self, request: rpc_pb.EnqueueJobRequest, call: Call) -> rpc_pb.EnqueueJobResponse:
        """Enqueues one job. The idempotency key in the metadata wins over the key in the job."""
        problems = Problems()
        _format(request.payload_format, problems)
        if not request.HasField("job"):
            problems.add("job", "is required")
            problems.raise_if_any()
        key = call.text(KEY) if KEY in call.metadata else None
        if key is not None:
            checks.idempotency_key(key, KEY, problems)
        new = convert.new_job(
            request.job, "job.", self._clock.now(), problems, given_headers=job_headers(call), key=key
        )
        problems.raise_if_any()
        enqueued = await self._enqueued([NewJobs.of(new)], "job", call)
        return enqueued_message(enqueued, request.payload_format, call)

    async def BatchEnqueueJobs(
        self, request: rpc_pb.BatchEnqueueJobsRequest, call: Call
    ) -> rpc_pb.BatchEnqueueJobsResponse:
        """Enqueues all of the jobs or none."""
        if KEY in call.metadata:
            raise FieldInvalid.of(KEY, "must go into each job of a batch, as jobs[0].idempotency_key")
        problems = Problems()
        checks.batch_size(len(request.jobs), problems)
        problems.raise_if_any()
        now, headers = self._clock.now(), job_headers(call)
        new = [
            convert.decode_simple(job, headers)
            or convert.new_job(job, f"jobs[{index}].", now, problems, given_headers=headers)
            for index, job in enumerate(request.jobs)
        ]
        checks.distinct_keys(new, "jobs", problems)
        problems.raise_if_any()
        return results_message(await self._enqueued([NewJobs.of(job) for job in new], "jobs[]", call))

    async def _enqueued(self, jobs: Sequence[NewJobs], path: str, call: Call) -> Enqueued:
        if call.span is not None:
            call.span.sends(jobs)
        enqueued = await answer_of(self._enqueuer.put(call.scope, jobs, path, call.peer))
        call.tell_pressure(enqueued.pressure)
        return enqueued

    async def GetJob(self, request: rpc_pb.GetJobRequest, call: Call) -> rpc_pb.GetJobResponse:
        """Reads one job in full."""
        job = await self._reads.get(call.scope, _checked(request))
        return rpc_pb.GetJobResponse(job=convert.job_message(job, request.payload_format))

    async def ListJobs(self, request: rpc_pb.ListJobsRequest, call: Call) -> rpc_pb.ListJobsResponse:
        """Reads a page of jobs, newest first."""
        problems = Problems()
        checks.page_size(request.page_size, problems)
        checks.text(request.page_token, "page_token", checks.MAX_PAGE_TOKEN_CHARS, problems)
        checks.enum(request.view, _VIEWS, "view", problems)
        _format(request.payload_format, problems)
        wanted = job_filter(request, problems)
        problems.raise_if_any()
        full = request.view == pb.JOB_VIEW_FULL
        remaining = call.remaining()
        patience = LOOKS_FOR if remaining is None else timedelta(seconds=remaining) - _SCANNING
        page = await self._reads.list(
            call.scope,
            wanted,
            size=request.page_size,
            token=request.page_token,
            full=full,
            patience=patience,
        )
        response = _page(page, request.payload_format)
        if full and response.ByteSize() > MAX_MESSAGE_BYTES:
            # The page has at most 3 MiB of text, but the Values may be larger.
            response = _page(page, pb.PAYLOAD_FORMAT_JSON)
        return response

    async def CancelJob(self, request: rpc_pb.CancelJobRequest, call: Call) -> rpc_pb.CancelJobResponse:
        """Cancels a waiting job, or asks the worker of a running one."""
        problems = Problems()
        checks.text(request.reason, "reason", checks.MAX_REASON_CHARS, problems)
        job, pending = await self._changes.cancel(call.scope, _checked(request, problems), request.reason)
        if pending:
            call.answer_metadata[HTTP_CODE] = "202"
        return rpc_pb.CancelJobResponse(job=convert.job_message(job, request.payload_format), pending=pending)

    async def RetryJob(self, request: rpc_pb.RetryJobRequest, call: Call) -> rpc_pb.RetryJobResponse:
        """Makes a finished job QUEUED again."""
        job_id = _checked(request)
        job = await self._changes.retry(call.scope, job_id, respect_unique=request.respect_unique)
        return rpc_pb.RetryJobResponse(job=convert.job_message(job, request.payload_format))

    async def ReleaseJob(self, request: rpc_pb.ReleaseJobRequest, call: Call) -> rpc_pb.ReleaseJobResponse:
        """Puts a job that is held back by hand at the end of its line."""
        job = await self._changes.release(call.scope, _checked(request))
        return rpc_pb.ReleaseJobResponse(job=convert.job_message(job, request.payload_format))

    async def DeleteJob(self, request: rpc_pb.DeleteJobRequest, call: Call) -> rpc_pb.DeleteJobResponse:
        """Deletes a finished job."""
        problems = Problems()
        job_id = checks.uuid(request.id, "id", problems)
        problems.raise_if_any()
        await self._changes.delete(call.scope, job_id)
        return rpc_pb.DeleteJobResponse()

    async def WaitJob(self, request: rpc_pb.WaitJobRequest, call: Call) -> rpc_pb.WaitJobResponse:
        """Waits until a job is terminal, the timeout is over, or the caller's deadline is near, and answers the job."""
        problems = Problems()
        if request.HasField("timeout"):
            checks.wait(request.timeout, "timeout", problems)
        job_id = _checked(request, problems)
        wait = convert.span(request.timeout) if request.HasField("timeout") else DEFAULT_WAIT
        remaining = call.remaining()
        if remaining is not None:
            wait = min(wait, timedelta(seconds=remaining) - _ANSWERING)
        if wait > timedelta():
            job = await self._reads.wait(call.scope, job_id, wait)
        else:
            job = await self._reads.get(call.scope, job_id)
        return rpc_pb.WaitJobResponse(job=convert.job_message(job, request.payload_format))


def _checked(
    request: (
        rpc_pb.GetJobRequest
        | rpc_pb.CancelJobRequest
        | rpc_pb.RetryJobRequest
        | rpc_pb.ReleaseJobRequest
        | rpc_pb.WaitJobRequest
    ),
    problems: Problems | None = None,
) -> UUID:
    """Checks the id and the form of a request, and raises for all problems that were found."""
    problems = Problems() if problems is None else problems
    job_id = checks.uuid(request.id, "id", problems)
    _format(request.payload_format, problems)
    problems.raise_if_any()
    return job_id


def _format(value: int, problems: Problems) -> None:
    checks.enum(value, _FORMATS, "payload_format", problems)


def job_filter(request: rpc_pb.ListJobsRequest | stats_pb.CountJobsRequest, problems: Problems) -> JobFilter:
    """Which jobs a request wants."""
    if request.queue:
        checks.name(request.queue, "queue", problems)
    if request.kind:
        checks.name(request.kind, "kind", problems, "send_email")
    for index, status in enumerate(request.status):
        checks.enum(status, _STATUSES, f"status[{index}]", problems)
    labels = checks.label_filter(request.labels, problems)
    since, before = (
        convert.moment(getattr(request, field))
        if request.HasField(field) and checks.timestamp(getattr(request, field), field, problems)
        else None
        for field in ("created_after", "created_before")
    )
    return JobFilter(
        request.queue or None,
        request.kind or None,
        frozenset() if problems else frozenset(Status(status) for status in request.status),
        labels,
        since,
        before,
    )


def _page(page: Page, payload_format: int) -> rpc_pb.ListJobsResponse:
    return rpc_pb.ListJobsResponse(
        jobs=[convert.job_message(job, payload_format) for job in page.jobs],
        next_page_token=page.next_page_token,
    )
