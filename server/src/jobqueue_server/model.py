"""The values that travel between the layers: frozen, without protobuf and without database records."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Protocol
from uuid import UUID

from .lifecycle import Status

DEFAULT_NAMESPACE_NAME = "default"
DEFAULT_NAMESPACE = 1
DEFAULT_QUEUE = "default"
DEFAULT_MAX_ATTEMPTS = 3
MIN_PRIORITY, MAX_PRIORITY = -10, 10
MAX_ATTEMPTS_LIMIT = 1000
MIN_TIMEOUT, MAX_TIMEOUT = timedelta(seconds=1), timedelta(days=7)
MIN_BACKOFF, MAX_BACKOFF = timedelta(milliseconds=1), timedelta(days=7)
MAX_AHEAD = timedelta(days=400)
MAX_PAYLOAD_BYTES = 1 << 20
MAX_OUTPUT_BYTES = 1 << 20
MAX_ERROR_CHARS = 8 << 10
MAX_STACK_CHARS = 32 << 10
MAX_ERROR_TYPE_CHARS = 255
MAX_KEY_CHARS = 255
MAX_LABELS, MAX_LABEL_NAME, MAX_LABEL_VALUE = 32, 63, 255
MAX_HEADERS_BYTES = 8 << 10
MAX_CHECKPOINT_BYTES = 64 << 10
MAX_FOLLOW_UPS = 100
MAX_SETTLE_OUTCOMES = 1000
MAX_BATCH_JOBS = 1000
MAX_WATCHED_IDS = 1000
MAX_WORKER_NAME = 128
DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 50, 1000
MAX_PAGE_BYTES = 3 << 20
MAX_MESSAGE_BYTES = 4 << 20
MAX_DELIVERY_BYTES = 1 << 20
DEFAULT_WAIT, MAX_WAIT = timedelta(seconds=30), timedelta(seconds=60)
MIN_SESSION_TTL, MAX_SESSION_TTL = timedelta(seconds=5), timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds of the backoff between failed attempts; each wait is drawn evenly, up to three times the one before."""

    min_backoff: timedelta
    max_backoff: timedelta


DEFAULT_RETRY_POLICY = RetryPolicy(timedelta(seconds=1), timedelta(seconds=60))


NOTHING: Mapping[str, str] = MappingProxyType({})


def _nothing() -> Mapping[str, str]:
    return NOTHING


@dataclass(slots=True)
class NewJob:
    """A job as its producer asked for it: checked, and with nothing filled in that the producer left out.

    `payload` is JSON text. `run_at` and `delay` exclude each other. None means "not said". It is never changed. It is
    not frozen, since that takes 3.3 us instead of 0.6 for each job.
    """

    kind: str
    payload: bytes
    queue: str = DEFAULT_QUEUE
    priority: int = 0
    run_at: datetime | None = None
    delay: timedelta | None = None
    max_attempts: int | None = None
    timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    idempotency_key: str | None = None
    labels: Mapping[str, str] = field(default_factory=_nothing)
    headers: Mapping[str, str] = field(default_factory=_nothing)


@dataclass(slots=True)
class NewJobs:
    """Jobs that were asked for at once and are alike in all but their payloads. `new` has the first one's."""

    new: NewJob
    payloads: list[bytes]

    @classmethod
    def of(cls, new: NewJob) -> NewJobs:
        """One by itself."""
        return cls(new, [new.payload])


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An attempt that was charged: a failure, a timeout or a lost session."""

    attempt: int
    reason: str
    error_type: str
    error: str
    worker: str
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class JobProgress:
    """What a running attempt last said of itself."""

    fraction: float
    message: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is now. The BASIC view leaves `payload`, `output`, `headers` and `failed_attempts` empty."""

    id: UUID
    kind: str
    queue: str
    status: Status
    priority: int
    attempts: int
    failures: int
    losses: int
    max_attempts: int
    run_at: datetime
    created_at: datetime
    updated_at: datetime
    payload: bytes | None = None
    output: bytes | None = None
    last_error: str | None = None
    locked_at: datetime | None = None
    locked_by: str | None = None
    cancel_requested: bool = False
    idempotency_key: str | None = None
    finished_at: datetime | None = None
    reason: str | None = None
    timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    failed_attempts: tuple[FailedAttempt, ...] = ()
    progress: JobProgress | None = None


@dataclass(slots=True)
class Enqueued:
    """The answer to an enqueue: the job, or its id alone where a replayed job was deleted since.

    Not frozen, as NewJob.
    """

    id: UUID
    replayed: bool
    job: Job | None = None


@dataclass(frozen=True, slots=True)
class EnqueuedBatch:
    """The answer to a batch: the ids in its order, and those of them that stand for a job of an earlier request."""

    ids: list[UUID]
    replayed: frozenset[UUID] = frozenset()


class Ticket(Protocol):
    """Jobs in line to be stored, as the fast path knows them.

    Attributes:
        done: Ends when the jobs are stored, with the time by the database's clock, or with the error.
    """

    done: asyncio.Future[datetime]

    @property
    def ids(self) -> Sequence[UUID]:
        """The ids of all jobs, in the order of the request."""

    @property
    def payload(self) -> bytes:
        """The payload of the first job."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What the handlers see of the call."""

    @property
    def shared(self) -> Hashable:
        """Tickets for which this is equal have first jobs that differ only in what is each job's own (`Field.own`)."""

    def job(self, at: datetime) -> Job:
        """The first job as it was enqueued at that time."""

    def give_up(self) -> None:
        """The caller has gone. Jobs that no insert has taken yet are never stored."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a page holds. All given conditions hold together; `statuses` empty means any."""

    queue: str | None = None
    kind: str | None = None
    statuses: frozenset[Status] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Jobs, newest first. It may be short, even empty, and still have a next one."""

    jobs: tuple[Job, ...]
    next_page_token: str = ""


@dataclass(frozen=True, slots=True)
class WatchFilter:
    """Which jobs are watched. All given conditions hold together; `ids` None means any."""

    ids: tuple[UUID, ...] | None = None
    queue: str | None = None
    kind: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kind:
    """What is declared of a kind. `schema` is JSON Schema 2020-12 as text; None: any JSON."""

    name: str
    schema: str | None = None
    retry_policy: RetryPolicy | None = None
    max_attempts: int | None = None
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Depth:
    """How many jobs of a queue stand in one status. `capped`: there are more than were counted."""

    status: Status
    jobs: int
    capped: bool = False
    oldest_age: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue with its depths by status, of those that have not ended."""

    name: str
    paused: bool
    depths: tuple[Depth, ...] = ()
    running: int = 0
