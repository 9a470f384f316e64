"""Which job a log line belongs to: in its text for plain log handlers, in its fields for all others."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobqueue.jobs import LeasedJob

log = logging.getLogger("jobqueue.worker")

_NO_TRACE: Mapping[str, str] = {"trace_id": "", "span_id": ""}

#: The job whose handler runs here, for code that is not given its context.
current_job: ContextVar[LeasedJob | None] = ContextVar("jobqueue_current_job", default=None)

#: `trace_id` and `span_id` of the handler's span, where it has one; else empty.
current_trace: ContextVar[Mapping[str, str]] = ContextVar("jobqueue_current_trace", default=_NO_TRACE)


def about(job: LeasedJob) -> dict[str, Any]:
    """The fields that name a job in a log line, for `extra`."""
    return {
        "job_id": job.id,
        "attempt": job.attempt,
        "kind": job.kind,
        "queue": job.queue,
        "request_id": job.headers.get("x-request-id", ""),
    }


class JobLog(logging.LoggerAdapter[logging.Logger]):
    """The worker's log, for lines about one job: each names it in its text and carries its fields.

    Args:
        job: What they are about.
    """

    def __init__(self, job: LeasedJob) -> None:
        super().__init__(log, about(job))
        request = job.headers.get("x-request-id")
        name = f"{job.kind} {job.id}, attempt {job.attempt}" + (f", request {request}" if request else "")
        # A request id is the caller's text, and what follows is a format.
        self._prefix = name.replace("%", "%%")

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[str, MutableMapping[str, Any]]:
        """Puts the job before the text."""
        return f"{self._prefix}: {msg}", {**kwargs, "extra": self.extra}


class JobLogFilter(logging.Filter):
    """Adds `job_id`, `attempt`, `kind`, `queue` and `request_id` to every line that a handler logs.

    Also `trace_id` and `span_id`, where its job is sampled.

    Add it to a log handler (a filter on a logger sees that logger's own lines only)::

        stream = logging.StreamHandler()
        stream.addFilter(JobLogFilter())
        stream.setFormatter(logging.Formatter("%(levelname)s %(job_id)s/%(attempt)s %(message)s"))

    Outside of a handler the fields are empty, so that a format that names them works for every line.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Fills in what the line does not say itself."""
        job = current_job.get()
        fields = about(job) if job is not None else _NONE
        for name, value in (*fields.items(), *current_trace.get().items()):
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


_NONE: dict[str, Any] = {"job_id": "", "attempt": "", "kind": "", "queue": "", "request_id": ""}
