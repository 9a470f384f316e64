"""Which job a log line belongs to."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .job import LeasedJob

log = logging.getLogger("jobqueue.worker")

#: The job whose handler runs here, for code that is not given its context.
current_job: ContextVar[LeasedJob | None] = ContextVar("jobqueue_current_job", default=None)


def about(job: LeasedJob) -> dict[str, Any]:
    """The fields that name a job in a log line, for `extra`."""
    return {
        "job_id": job.id,
        "attempt": job.attempt,
        "kind": job.kind,
        "queue": job.queue,
        "request_id": job.headers.get("x-request-id", ""),
    }


class JobLogFilter(logging.Filter):
    """Adds `job_id`, `attempt`, `kind`, `queue` and `request_id` to every line that a handler logs.

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
        for name, value in fields.items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


_NONE: dict[str, Any] = {"job_id": "", "attempt": "", "kind": "", "queue": "", "request_id": ""}
