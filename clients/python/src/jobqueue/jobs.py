"""Jobs, kinds and queues as Python values."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any


class Status(enum.StrEnum):
    """Where a job is in its life."""

    #: A status that this version of the client does not know.
    UNSPECIFIED = "STATUS_UNSPECIFIED"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    RETRYING = "RETRYING"
    FAILED_PERMANENT = "FAILED_PERMANENT"
    CANCELLED = "CANCELLED"

    @property
    def is_terminal(self) -> bool:
        """Whether the job is over."""
        return self in _TERMINAL


_TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED_PERMANENT, Status.CANCELLED})


class Auto(enum.Enum):
    """The type of `AUTO`."""

    AUTO = "auto"

    def __repr__(self) -> str:
        return "AUTO"


#: As an idempotency key: a new one for this call, which its retries share.
AUTO = Auto.AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The wait between a failure and the next attempt. What is None is the kind's value, else the default.

    Attributes:
        min_backoff: The shortest wait, 1 ms to 7 days.
        max_backoff: The longest wait, `min_backoff` to 7 days.
    """

    min_backoff: timedelta | None = None
    max_backoff: timedelta | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to enqueue.

    Attributes:
        kind: What sort of work it is.
        payload: The handler's input: anything that `json.dumps` takes.
        queue: The line that it waits in. Empty: `default`.
        priority: -10..10, higher first.
        run_at: The earliest moment at which it may start, with a time zone; at most 400 days ahead.
        delay: The same, from now by the database's clock.
        max_attempts: How many failures end it for good, 1..1000. None: the kind's value, else 3.
        timeout: How long one attempt may run, 1 s to 7 days. None: the kind's value, else no limit.
        retry_policy: The wait between attempts. None: the kind's, else the default.
        idempotency_key: The same key and the same job again answers the job that is there. AUTO makes a key for
            this call, so that the client may repeat it when a connection breaks.
        labels: The producer's own marks, to find jobs by.
        headers: Given to the handler beside the payload.
        payload_json: The payload as JSON text, instead of `payload`; stored byte for byte.
    """

    kind: str
    payload: Any = None
    queue: str = field(default="", kw_only=True)
    priority: int = field(default=0, kw_only=True)
    run_at: datetime | None = field(default=None, kw_only=True)
    delay: timedelta | None = field(default=None, kw_only=True)
    max_attempts: int | None = field(default=None, kw_only=True)
    timeout: timedelta | None = field(default=None, kw_only=True)
    retry_policy: RetryPolicy | None = field(default=None, kw_only=True)
    idempotency_key: str | Auto | None = field(default=None, kw_only=True)
    labels: Mapping[str, str] | None = field(default=None, kw_only=True)
    headers: Mapping[str, str] | None = field(default=None, kw_only=True)
    payload_json: bytes | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class EnqueueResult:
    """What became of one job of `enqueue_many`.

    Attributes:
        id: The job's id.
        replayed: Whether it was there before, by its idempotency key.
    """

    id: str
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedAttempt:
    """One attempt that did not succeed. `reason` is HANDLER_FAILED, TIMED_OUT or SESSION_LOST; more may be added."""

    attempt: int
    reason: str
    error_type: str
    error: str
    worker: str
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """How far a running attempt says it is; `fraction` is 0..1, None if it can't tell."""

    fraction: float | None
    message: str
    updated_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it was when it was read.

    Payload, output, headers and failed attempts are left out of lists unless `full=True`; then `payload_json` and
    `output_json` are None, which tells it from a payload of `null`.
    """

    id: str
    kind: str
    queue: str
    status: Status
    priority: int
    attempts: int
    max_attempts: int
    failures: int
    losses: int
    payload: Any
    payload_json: bytes | None
    output: Any
    output_json: bytes | None
    reason: str
    last_error: str
    run_at: datetime | None
    created_at: datetime | None
    updated_at: datetime | None
    finished_at: datetime | None
    locked_at: datetime | None
    locked_by: str
    cancel_requested: bool
    idempotency_key: str
    timeout: timedelta | None
    retry_policy: RetryPolicy | None
    labels: Mapping[str, str]
    headers: Mapping[str, str]
    failed_attempts: tuple[FailedAttempt, ...]
    progress: JobProgress | None
    #: Of an answer to `enqueue`: whether the job was there before, by its idempotency key.
    replayed: bool = False

    @property
    def is_terminal(self) -> bool:
        """Whether it is over."""
        return self.status.is_terminal


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of a list. It may be short, even empty, and still have a next one.

    Attributes:
        jobs: Newest first.
        next_page_token: For the next page. Empty: this was the last one.
    """

    jobs: tuple[Job, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class Cancellation:
    """The answer to `cancel`.

    Attributes:
        job: The job as the call left it.
        pending: Whether it ran: its worker is told.
    """

    job: Job
    pending: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A sort of work. `put_kind` replaces a kind as a whole.

    Attributes:
        name: Its name.
        schema: The JSON Schema of its payloads, as a Python value. None: every JSON value is taken.
        retry_policy: For jobs that don't say.
        max_attempts: For jobs that don't say. None: 3.
        timeout: For jobs that don't say. None: no limit.
    """

    name: str
    schema: Mapping[str, Any] | bool | None = None
    retry_policy: RetryPolicy | None = None
    max_attempts: int | None = None
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How many jobs of one status there are in a queue.

    Attributes:
        jobs: How many, those with a later `run_at` included.
        capped: Whether counting stopped at its bound, so that there are at least so many.
        oldest_age: How long the first of them has been due, or the first RUNNING one has run. None: there is none.
    """

    jobs: int
    capped: bool
    oldest_age: timedelta | None


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as it was when it was read.

    Attributes:
        name: Its name.
        paused: Whether no job may be claimed from it.
        running: How many of its jobs run.
        depths: Its jobs that are not over, by QUEUED, RETRYING and RUNNING.
    """

    name: str
    paused: bool
    running: int
    depths: Mapping[Status, QueueDepth]
