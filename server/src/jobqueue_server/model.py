"""The values that the layers exchange: frozen, without protobuf and without database records."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple, Protocol
from uuid import UUID

from .lifecycle import Hold, Status

DEFAULT_NAMESPACE = 1
DEFAULT_NAMESPACE_NAME = "default"
DEFAULT_QUEUE = "default"
DEFAULT_MAX_ATTEMPTS = 3
MIN_PRIORITY, MAX_PRIORITY = -10, 10
MAX_ATTEMPTS_LIMIT = 1000
MIN_TIMEOUT, MAX_TIMEOUT = timedelta(seconds=1), timedelta(days=7)
MIN_BACKOFF, MAX_BACKOFF = timedelta(milliseconds=1), timedelta(days=7)
MAX_AHEAD = timedelta(days=400)
MAX_KEY_PAUSE = timedelta(hours=24)
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
MAX_RUNNING_OF_A_KEY = 1_000_000
MAX_RUNNING_OF_A_QUEUE = MAX_RUNNING_OF_A_KIND = 1_000_000
MAX_SLOT_WEIGHT = 1_000
MAX_KIND_VERSION = 1_000_000
#: How many annotations a kind has, and how long their names are, in characters, and their values, in bytes.
MAX_ANNOTATIONS, MAX_ANNOTATION_NAME, MAX_ANNOTATION_BYTES = 16, 64, 1 << 10
MAX_WAITING = 1_000_000
#: How long a queue may keep jobs that ended.
MIN_RETENTION_OF_A_QUEUE, MAX_RETENTION_OF_A_QUEUE = timedelta(hours=1), timedelta(days=3650)
MAX_WAITING_OF_A_KEY = 2**31 - 1
MAX_RATE_COUNT = 1_000_000
MIN_RATE_PERIOD, MAX_RATE_PERIOD = timedelta(milliseconds=1), timedelta(days=1)
MAX_POINTERS, MAX_POINTER_CHARS = 16, 255
MAX_NAMING_PAYLOAD_BYTES = 64 << 10
MIN_UNIQUE_PERIOD = timedelta(seconds=1)
MIN_SESSION_TTL, MAX_SESSION_TTL = timedelta(seconds=5), timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The bounds of the backoff after a failure. Each wait is drawn evenly, up to three times the previous one."""

    min_backoff: timedelta
    max_backoff: timedelta


DEFAULT_RETRY_POLICY = RetryPolicy(timedelta(seconds=1), timedelta(seconds=60))


#: What a claim takes at once: a rate without a burst of its own lets so much of it start together.
_RATE_BURST = timedelta(milliseconds=50)


@dataclass(frozen=True, slots=True)
class Rate:
    """How many jobs may start in a time.

    Attributes:
        count: So many in each period, 1 to MAX_RATE_COUNT.
        period: MIN_RATE_PERIOD to MAX_RATE_PERIOD, in whole milliseconds.
        burst: So many may start at once. None: what the rate lets start in 50 ms, 1 at least.
    """

    count: int
    period: timedelta
    burst: int | None = None

    @property
    def at_once(self) -> int:
        """How many may start at once."""
        if self.burst is not None:
            return self.burst
        return max(1, -(-self.count * _RATE_BURST // self.period))

    @property
    def most_in_a_period(self) -> int:
        """The most of one key that start in any span as long as the period.

        `count + at_once - 1` are let in; as many as may start at once can have been let in before, and start in it.
        """
        return self.most_started_in_a_period + self.at_once

    @property
    def most_started_in_a_period(self) -> int:
        """The same of a rate that counts jobs as they start, as that of a queue does."""
        return self.count + self.at_once - 1


class OnKeyFailure(IntEnum):
    """What becomes of a key in strict order whose job failed or was cancelled. The contract has these numbers."""

    CONTINUE = 1
    HOLD = 2
    CANCEL_REST = 3


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """What a queue allows of the jobs of one key. None: no limit.

    Attributes:
        max_running: How many of them run at once, 1 to MAX_RUNNING_OF_A_KEY.
        rate: How many of them start in a time.
        max_waiting: How many of them may wait for the key, 1 or more.
        require_key: Whether a job without a key is refused.
        strict: Whether they start in the order in which their enqueues were answered, one after the other.
        on_failure: What becomes of a key whose job failed or was cancelled, in strict order.
        fair: Whether keys take turns: jobs of one key stand in line a few at a time.
    """

    max_running: int | None = None
    rate: Rate | None = None
    max_waiting: int | None = None
    require_key: bool = False
    strict: bool = False
    on_failure: OnKeyFailure = OnKeyFailure.CONTINUE
    fair: bool = False

    @property
    def limits(self) -> bool:
        """Whether jobs may have to wait for their key."""
        return self.max_running is not None or self.rate is not None or self.fair


class UniqueScope(IntEnum):
    """Among which jobs of a namespace a name stands once. The contract has these numbers."""

    KIND = 1
    QUEUE_AND_KIND = 2
    QUEUE = 3
    NAMESPACE = 4

    @property
    def of_queue(self) -> bool:
        """Whether it stands once among the jobs of a queue; else of all queues."""
        return self in (UniqueScope.QUEUE, UniqueScope.QUEUE_AND_KIND)

    @property
    def of_kind(self) -> bool:
        """Whether it stands once among the jobs of a kind; else of all kinds."""
        return self in (UniqueScope.KIND, UniqueScope.QUEUE_AND_KIND)


class Until(IntEnum):
    """Until when a job holds its name. The contract has these numbers."""

    STARTS = 1
    ENDS = 2
    PERIOD = 3


class OnConflict(IntEnum):
    """What becomes of a job whose name another one holds. The contract has these numbers."""

    KEEP = 1
    REJECT = 2
    REPLACE = 3
    DEBOUNCE = 4

    @property
    def changes(self) -> bool:
        """Whether the job that is there is changed."""
        return self >= OnConflict.REPLACE


class UniqueField(IntEnum):
    """What of the job that is there is changed. The contract has these numbers."""

    PAYLOAD = 1
    RUN_AT = 2
    PRIORITY = 3
    LABELS = 4
    HEADERS = 5
    MAX_ATTEMPTS = 6
    TIMEOUT = 7


class UniqueAction(IntEnum):
    """What was done instead of storing a job. The contract has these numbers."""

    KEPT = 1
    REPLACED = 2
    DEBOUNCED = 3


#: What REPLACE changes where nothing else is said.
REPLACED = (UniqueField.PAYLOAD, UniqueField.LABELS, UniqueField.HEADERS)


@dataclass(frozen=True, slots=True)
class Unique:
    """The name of a job's work, which is to be done once.

    Attributes:
        key: The name; None: the payload makes it.
        payload_fields: JSON pointers to the parts of the payload that make it; none: all of it.
        scope: Among which jobs it stands once.
        until: Until when the job holds it.
        period: At least so long. PERIOD has one.
        on_conflict: What becomes of the job if another one holds the name.
        replace: What of that one is changed then, in order.
        max_delay: With DEBOUNCE, how long after its enqueue that one starts at most.
    """

    key: str | None = None
    payload_fields: tuple[str, ...] = ()
    scope: UniqueScope = UniqueScope.KIND
    until: Until = Until.STARTS
    period: timedelta | None = None
    on_conflict: OnConflict = OnConflict.KEEP
    replace: tuple[UniqueField, ...] = ()
    max_delay: timedelta | None = None

    @property
    def said(self) -> dict[str, object]:
        """What differs from the defaults, as JSON: a part of the request that an idempotency key stands for."""
        said: dict[str, object] = {}
        if self.key is not None:
            said["key"] = self.key
        if self.payload_fields:
            said["payload_fields"] = list(self.payload_fields)
        if self.scope is not UniqueScope.KIND:
            said["scope"] = int(self.scope)
        if self.until is not Until.STARTS:
            said["until"] = int(self.until)
        if self.period is not None:
            said["period"] = self.period // timedelta(microseconds=1)
        if self.on_conflict is not OnConflict.KEEP:
            said["on_conflict"] = int(self.on_conflict)
        if self.replace:
            said["replace"] = [int(field) for field in self.replace]
        if self.max_delay is not None:
            said["max_delay"] = self.max_delay // timedelta(microseconds=1)
        return said


NO_KEY_POLICY = KeyPolicy()


NOTHING: Mapping[str, str] = MappingProxyType({})


def _nothing() -> Mapping[str, str]:
    return NOTHING


@dataclass(slots=True)
class NewJob:
    """A job as its producer asked for it. It was checked, and fields that the producer left out are not filled in.

    `payload` is JSON text. Only one of `run_at` and `delay` is set. None means that the producer left the field out.
    The object is never changed. It is not frozen, because that takes 3.3 us instead of 0.6 for each job.
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
    hold: Hold | None = None
    key: str | None = None
    unique: Unique | None = None


@dataclass(slots=True)
class NewJobs:
    """Jobs of one request that differ only in their payloads and keys. `new` is the first of them.

    `keys`: that of each; None: they have none.
    """

    new: NewJob
    payloads: list[bytes]
    keys: list[str] | None = None

    @classmethod
    def of(cls, new: NewJob) -> NewJobs:
        """A single job."""
        return cls(new, [new.payload], None if new.key is None else [new.key])


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An attempt that was charged, because it failed, timed out or lost its session."""

    attempt: int
    reason: str
    error_type: str
    error: str
    worker: str
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class JobProgress:
    """The last progress that a running attempt reported."""

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
    hold: Hold | None = None
    key: str | None = None
    unique_key: str | None = None


@dataclass(slots=True)
class Enqueued:
    """The answer to an enqueue of one job or of many. It is not frozen, for the same reason as NewJob.

    Attributes:
        ids: The ids in the order of the request: of new jobs, and of those that answer for others.
        replayed: Those of jobs of earlier requests with the same idempotency keys.
        actions: By their places in `ids`, what became of jobs that hold the names of others, which were not stored.
        pressure: How near the server was to refusing jobs: 0 to 1.
        job: The first job. None: it was deleted since the first request, or the principal may not read it.
    """

    ids: Sequence[UUID]
    replayed: Collection[UUID] = ()
    actions: Mapping[int, UniqueAction] = field(default_factory=dict)
    pressure: float = 0.0
    job: Job | None = None


class FirstJob(NamedTuple):
    """What the answer to a call says of its first job, or its only one.

    Attributes:
        id: Its id.
        payload: Its payload.
        idempotency_key: Its idempotency key.
        key: By which its queue may limit it.
        unique_key: The key of its name; None where it has none, and for jobs that are not unique.
        headers: Its headers, with those that the call gives to its jobs.
        labels: Its labels.
        run_at: When it may start.
        shared: Where it is equal, two jobs differ only in the fields with `Field.own`.
    """

    id: UUID
    payload: bytes
    idempotency_key: str | None
    key: str | None
    unique_key: str | None
    headers: Mapping[str, str]
    labels: Mapping[str, str]
    run_at: datetime
    shared: Hashable


class Ticket(Protocol):
    """Jobs that wait to be stored, as who brought them sees them.

    Attributes:
        done: Done when the jobs are stored or answered: its error says why not. Its result is the time of that by the
            database's clock; none where `instead` is the answer.
    """

    done: asyncio.Future[datetime]

    @property
    def ids(self) -> Sequence[UUID]:
        """The ids of all jobs, in the order of the request."""

    @property
    def instead(self) -> Enqueued | None:
        """After `done`, the whole answer, where it is not that the jobs of `ids` were stored as they were put in line.

        None where it is; then `first` and `job` tell of the first of them.
        """

    @property
    def pressure(self) -> float:
        """After `done`, how near the server was to refusing jobs: 0 to 1."""

    def first(self, at: datetime) -> FirstJob:
        """The first job, as it was enqueued at this time."""

    def job(self, at: datetime) -> Job:
        """The same, whole."""

    def give_up(self) -> None:
        """Takes back the jobs that no insert has taken yet, because the caller has gone. They are never stored."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list. A job must match all conditions that are given; empty `statuses` means any status."""

    queue: str | None = None
    kind: str | None = None
    statuses: frozenset[Status] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of jobs, newest first. It may be short or empty, and still have a next page."""

    jobs: tuple[Job, ...]
    next_page_token: str = ""


@dataclass(frozen=True, slots=True)
class WatchFilter:
    """Which jobs to watch. A job must match all conditions that are given; `ids` None means any id."""

    ids: tuple[UUID, ...] | None = None
    queue: str | None = None
    kind: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kind:
    """A declared kind. `schema` is a JSON Schema 2020-12 as text; None: every JSON value is valid.

    `max_running` and `rate`: how many of its jobs run at once and start in a time; None: any number.
    `slot_weight`: how many slots of a worker each of its jobs takes, 1 to MAX_SLOT_WEIGHT.
    `version`, `output_schema` and `annotations` are for its owners: the catalog does not read them. `version` 0: none.
    """

    name: str
    schema: str | None = None
    retry_policy: RetryPolicy | None = None
    max_attempts: int | None = None
    timeout: timedelta | None = None
    max_running: int | None = None
    rate: Rate | None = None
    slot_weight: int = 1
    version: int = 0
    output_schema: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Depth:
    """The number of a queue's jobs in one status. `capped`: counting stopped at its bound."""

    status: Status
    jobs: int
    capped: bool = False
    oldest_age: timedelta | None = None


@dataclass(frozen=True, slots=True)
class HoldDepth:
    """The number of a queue's jobs that are held back for one reason. `capped`: counting stopped at its bound."""

    hold: Hold
    jobs: int
    capped: bool = False


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """A job that counts against what its queue allows of its key. `worker` empty: it is in line."""

    job_id: UUID
    worker: str
    since: datetime


@dataclass(frozen=True, slots=True)
class QueueKey:
    """One key of a queue.

    Attributes:
        queue: The queue's name.
        key: As in `NewJob.key`.
        max_running: How many of its jobs run at once, instead of what the queue allows. None: as the queue says.
        paused: Whether no more of its jobs are let in.
        paused_at: Since when; None: it is not paused.
        paused_by: The principal who paused it; empty where that is not known.
        limit: How many may be in line or run at once, by what is said of it or else of its queue. None: no limit.
        taken: How many were let in.
        waiting: How many wait for it.
        next_start_at: When the rate lets the next one in; None: an end must come first, or none waits.
        holders: Of those that were let in, some. Empty in lists.
        revision: Stands for what is said of it; 1: nothing.
        paused_until: Until when a worker has paused it; None: none has.
        blocked_by: The job that failed or was cancelled and blocks it; None: none does.
    """

    queue: str
    key: str
    max_running: int | None = None
    paused: bool = False
    paused_at: datetime | None = None
    paused_by: str = ""
    limit: int | None = None
    taken: int = 0
    waiting: int = 0
    next_start_at: datetime | None = None
    holders: tuple[KeyHolder, ...] = ()
    revision: int = 1
    paused_until: datetime | None = None
    blocked_by: UUID | None = None


@dataclass(frozen=True, slots=True)
class QueueRetention:
    """How long a queue keeps jobs after their end, by the status in which they ended. None: as long as every queue."""

    succeeded: timedelta | None = None
    failed_permanent: timedelta | None = None
    cancelled: timedelta | None = None


#: Of a queue that keeps jobs as long as every queue.
NO_RETENTION = QueueRetention()


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue with the depths of the statuses that are not terminal, and of the holds that jobs of it are in."""

    name: str
    paused: bool
    depths: tuple[Depth, ...] = ()
    running: int = 0
    held: tuple[HoldDepth, ...] = ()
    keys: KeyPolicy | None = None
    revision: int = 1
    #: How many of its jobs may wait, run, and start in a time. None: any number.
    max_waiting: int | None = None
    max_running: int | None = None
    rate: Rate | None = None
    retention: QueueRetention = NO_RETENTION
