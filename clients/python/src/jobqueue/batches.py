"""Many jobs, cut into batches that a server takes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence

from . import convert
from .errors import FieldViolation, JobQueueError
from .jobs import AUTO, Auto, EnqueueResult, NewJob
from .v1 import job_pb2

_JOBS = 1000
# A message may have 4 MiB.
_BYTES = 3 * 1024 * 1024

_JOB_PATH = re.compile(r"\bjobs\[(\d+)\]")


def batches(jobs: Iterable[NewJob], sealed: Iterable[bytes | None]) -> Iterator[list[job_pb2.NewJob]]:
    """The jobs as messages, in lists of up to 1000 and 3 MiB, made as they are asked for. `sealed`: as of `new_job`."""
    batch: list[job_pb2.NewJob] = []
    size = 0
    for job, payload in zip(jobs, sealed, strict=False):
        message = convert.new_job(job, key_of(job.idempotency_key), payload)
        bytes_ = message.ByteSize()
        if batch and (len(batch) == _JOBS or size + bytes_ > _BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += bytes_
    if batch:
        yield batch


def key_of(key: str | Auto | None) -> str:
    """The key to send: AUTO becomes a new one, once, so that all tries of a call share it."""
    if key is AUTO:
        return str(uuid.uuid4())
    if key == "":
        raise ValueError("idempotency_key is empty; it has 1 to 255 characters, or is None for no key")
    return str(key) if key is not None else ""


def rebased(error: JobQueueError, before: Sequence[EnqueueResult]) -> JobQueueError:
    """The error of a batch, with its paths counted from the first job of all, and what the batches before it did."""
    offset = len(before)
    error.enqueued = tuple(before)
    if offset:
        error.violations = tuple(
            FieldViolation(
                _JOB_PATH.sub(lambda found: f"jobs[{int(found[1]) + offset}]", each.field), each.description
            )
            for each in error.violations
        )
        error.add_note(f"the {offset} jobs of the batches before are enqueued; see `enqueued`")
    return error
