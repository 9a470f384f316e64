"""Jobs, kinds and queues as Python values, and the job as a handler sees it."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from .encoded import Encoded, shown
from .payload import decode

if TYPE_CHECKING:
    from .v1 import lease_pb2

T = TypeVar("T")

#: By this header a payload says of which version it is. Without it: 1.
VERSION_HEADER = "x-payload-version"

#: Whether payloads are encoded: never, where a program has encodings, or only encrypted. Empty: as "allowed", and
#: nothing is said of it to the server.
EncodingRule: TypeAlias = Literal["", "never", "allowed", "required"]


class Status(enum.StrEnum):
    """The status of a job."""

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
        """Whether the job has ended."""
        return self in _TERMINAL


class Hold(enum.StrEnum):
    """What a job that is held back waits for."""

    #: Something that this version of the client does not know.
    UNSPECIFIED = "HOLD_UNSPECIFIED"
    #: Its key: as many jobs of the key run as the queue allows, or its rate allows no more now.
    KEY = "KEY"
    #: Its run_at, and then its key.
    TIME = "TIME"
    #: `Client.release`.
    HAND = "HAND"


class KeyOrder(enum.StrEnum):
    """In what order jobs of one key start."""

    #: In none that is promised; or in one that this version of the client does not know.
    UNSPECIFIED = "KEY_ORDER_UNSPECIFIED"
    #: In the order in which their enqueues were answered, one after the other.
    STRICT = "KEY_ORDER_STRICT"


class OnKeyFailure(enum.StrEnum):
    """What becomes of a key in strict order whose job failed for good or was cancelled."""

    #: `CONTINUE`, if there is an order; or something that this version of the client does not know.
    UNSPECIFIED = "ON_KEY_FAILURE_UNSPECIFIED"
    #: The next job goes.
    CONTINUE = "ON_KEY_FAILURE_CONTINUE"
    #: The key is blocked, until `Client.retry` or `Client.delete` of that job, or `Client.unblock_queue_key`.
    HOLD = "ON_KEY_FAILURE_HOLD"
    #: The jobs that wait for the key are cancelled.
    CANCEL_REST = "ON_KEY_FAILURE_CANCEL_REST"


class UniqueScope(enum.StrEnum):
    """Among which jobs of the namespace a name stands once."""

    #: Those of the same kind, in all queues.
    KIND = "KIND"
    QUEUE_AND_KIND = "QUEUE_AND_KIND"
    #: Those of the same queue, of all kinds.
    QUEUE = "QUEUE"
    #: All.
    NAMESPACE = "NAMESPACE"


class Until(enum.StrEnum):
    """Until when a unique job holds its name."""

    #: Until a worker gets it: one may wait beside one that runs.
    STARTS = "STARTS"
    #: Until it has ended.
    ENDS = "ENDS"
    #: For `period`, whatever becomes of it.
    PERIOD = "PERIOD"


class OnConflict(enum.StrEnum):
    """What becomes of a unique job whose name another one holds."""

    #: It is not stored, and the other one is the answer.
    KEEP = "KEEP"
    #: The call fails with `Duplicate`.
    REJECT = "REJECT"
    #: The other one, if it waits, gets what this one brings, and is the answer.
    REPLACE = "REPLACE"
    #: As REPLACE, and it starts `delay` from now.
    DEBOUNCE = "DEBOUNCE"


class UniqueField(enum.StrEnum):
    """What REPLACE and DEBOUNCE change of the job that is there."""

    PAYLOAD = "PAYLOAD"
    #: `run_at` or `delay`; now if neither is given.
    RUN_AT = "RUN_AT"
    PRIORITY = "PRIORITY"
    LABELS = "LABELS"
    HEADERS = "HEADERS"
    MAX_ATTEMPTS = "MAX_ATTEMPTS"
    TIMEOUT = "TIMEOUT"


class UniqueAction(enum.StrEnum):
    """What was done instead of storing a unique job."""

    #: Another job holds the name, and is as it was.
    KEPT = "KEPT"
    #: Another job holds the name, and got what this one brought.
    REPLACED = "REPLACED"
    #: Another job holds the name, and starts later now.
    DEBOUNCED = "DEBOUNCED"


_TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED_PERMANENT, Status.CANCELLED})


class Auto(enum.Enum):
    """The type of `AUTO`."""

    AUTO = "auto"

    def __repr__(self) -> str:
        return "AUTO"


#: As an idempotency key: a new key for this call, which its retries share.
AUTO = Auto.AUTO


class Same(enum.Enum):
    """The type of `SAME`."""

    SAME = "same"

    def __repr__(self) -> str:
        return "SAME"


#: As a new value: what is there stays.
SAME = Same.SAME


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The wait between a failure and the next attempt. None: the kind's value, or the default.

    Attributes:
        min_backoff: The shortest wait, 1 ms to 7 days.
        max_backoff: The longest wait, `min_backoff` to 7 days.
    """

    min_backoff: timedelta | None = None
    max_backoff: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Unique:
    """The name of work that is to be done once: while a job holds it, others of the name are not stored.

    Attributes:
        key: The name, 1..255 characters. Empty: the payload makes it.
        payload_fields: JSON pointers to the parts of the payload that make it, such as `/user/id`; at most 16. Empty:
            all of it, which may then have at most 64 KiB.
        scope: Among which jobs the name stands once.
        until: Until when the job holds it.
        period: At least so long, 1 s to 400 days. `Until.PERIOD` wants one.
        on_conflict: What becomes of the job if another one holds the name.
        replace: With REPLACE and DEBOUNCE, what of that one is changed. Empty: payload, labels and headers with
            REPLACE, and its start alone with DEBOUNCE.
        max_delay: With DEBOUNCE, that one starts at most so long after its own enqueue.
    """

    key: str = ""
    payload_fields: Sequence[str] = field(default=(), kw_only=True)
    scope: UniqueScope = field(default=UniqueScope.KIND, kw_only=True)
    until: Until = field(default=Until.STARTS, kw_only=True)
    period: timedelta | None = field(default=None, kw_only=True)
    on_conflict: OnConflict = field(default=OnConflict.KEEP, kw_only=True)
    replace: Sequence[UniqueField] = field(default=(), kw_only=True)
    max_delay: timedelta | None = field(default=None, kw_only=True)

    @classmethod
    def while_waiting(cls, key: str = "") -> Unique:
        """At most one waits: while it does, another one of the name is not stored. Once it starts the next may wait."""
        return cls(key)

    @classmethod
    def while_live(cls, key: str = "") -> Unique:
        """At most one waits or runs: until it has ended, another one of the name is not stored."""
        return cls(key, until=Until.ENDS)

    @classmethod
    def throttle(cls, period: timedelta, key: str = "") -> Unique:
        """At most one in each period, 1 s to 400 days from its enqueue: what comes meanwhile is not stored."""
        return cls(key, until=Until.PERIOD, period=period)

    @classmethod
    def debounce(cls, max_delay: timedelta | None = None, key: str = "") -> Unique:
        """Each enqueue puts off the one that waits to its own `delay`, and gives it its payload.

        Args:
            max_delay: It starts at most so long after the first enqueue. None: it can be put off for ever.
            key: The name. Empty: the payload makes it, and then there is one for each payload.
        """
        return cls(key, on_conflict=OnConflict.DEBOUNCE, replace=(UniqueField.PAYLOAD,), max_delay=max_delay)


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to enqueue.

    Attributes:
        kind: The job's kind.
        payload: The handler's input: any value that `json.dumps` accepts.
        queue: The queue in which the job waits. Empty: `default`.
        priority: -10..10. Jobs of a higher priority are claimed first.
        run_at: The earliest time at which the job may start, with a time zone; at most 400 days from now.
        delay: The same as a time from now, by the database's clock.
        max_attempts: After how many failures the job ends as FAILED_PERMANENT, 1..1000. None: the kind's value, else 3.
        timeout: How long one attempt may run, 1 s to 7 days. None: the kind's value, or no limit.
        retry_policy: The wait between attempts. None: the kind's policy, or the default.
        idempotency_key: The same key with the same job answers the existing job. AUTO makes a key for this call, so
            that the client can repeat the call when a connection breaks.
        labels: The producer's own labels, by which jobs can be found.
        headers: Data for the handler in addition to the payload, at most 8 KiB.
        payload_json: The payload as JSON text, instead of `payload`; stored byte for byte.
        hold: Whether no worker gets the job until `Client.release`.
        key: What the job is about, for example a customer: its queue may limit how many jobs of one key run. Empty:
            none.
        unique: The name of the job's work, if it is to be done once. None: the job is not unique.
        encodings: Whether its payload is encoded, as `define_kind` says it. Empty: where the client has encodings.
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
    hold: bool = field(default=False, kw_only=True)
    key: str = field(default="", kw_only=True)
    unique: Unique | None = field(default=None, kw_only=True)
    encodings: EncodingRule = field(default="", kw_only=True, compare=False)


@dataclass(frozen=True, slots=True)
class EnqueueResult:
    """The result for one job of `enqueue_many`.

    Attributes:
        id: The job's id.
        replayed: Whether an earlier request with this idempotency key enqueued the job.
        unique_action: What was done with this job, which holds the name of the one that was to be enqueued. None: that
            one was stored.
    """

    id: str
    replayed: bool
    unique_action: UniqueAction | None = None


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
    """The last progress that a running attempt reported; `fraction` is 0..1, None if it can't tell."""

    fraction: float | None
    message: str
    updated_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job, as it was when it was read.

    Lists without `full=True` leave out payload, output, headers and failed attempts. Then `payload_json` and
    `output_json` are None, which differs from a payload of `null`.
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
    #: None: it is not held back.
    hold: Hold | None = None
    #: The key by which its queue may limit it. Empty: none.
    key: str = ""
    #: The name that it was enqueued with (`Unique.key`). Empty: it is not unique, or its payload makes the name.
    unique_key: str = ""
    #: Of an answer to `enqueue`: whether an earlier request with this idempotency key enqueued the job.
    replayed: bool = False
    #: Of an answer to `enqueue`: what was done with this job, which holds the name of the one that was to be enqueued
    #: (`Unique`). None: that one was stored, or `replayed`.
    unique_action: UniqueAction | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self.status.is_terminal


class LeasedJob:
    """One attempt of one job.

    `(id, attempt)` is a fencing token: a store that refuses a lower attempt of the same id is safe from a worker that
    was thought dead. It reads from the message that came over the wire, so that a job costs only what is looked at.
    """

    __slots__ = ("_message", "_payload")
    #: Whether encodings of the worker have decoded it: what then looks encoded is what a producer gave.
    opened = False

    def __init__(self, message: lease_pb2.LeasedJob) -> None:
        self._message = message

    @property
    def message(self) -> lease_pb2.LeasedJob:
        """What came over the wire, for the runtime."""
        return self._message

    @property
    def id(self) -> str:
        """The job's id."""
        return self._message.id

    @property
    def attempt(self) -> int:
        """The attempt's number in its job, from 1. Higher than that of every earlier one."""
        return self._message.attempt

    @property
    def kind(self) -> str:
        """The job's kind."""
        return self._message.kind

    @property
    def queue(self) -> str:
        """The queue that it was claimed from."""
        return self._message.queue

    @property
    def payload(self) -> Any:
        """The payload, decoded at the first look. Integers keep all their digits.

        Raises:
            Encoded: It is encoded, and the worker has no encodings.
        """
        try:
            return self._payload
        except AttributeError:
            value = shown(decode(self._message.payload_json))
            if type(value) is Encoded:
                raise value from None
            self._payload: Any = value
            return self._payload

    @property
    def payload_json(self) -> bytes:
        """The payload as the text that was enqueued, byte for byte."""
        return self._message.payload_json

    @property
    def max_attempts(self) -> int:
        """After how many failures the job ends as FAILED_PERMANENT."""
        return self._message.max_attempts

    @property
    def failures(self) -> int:
        """How many failures there have been."""
        return self._message.failures

    @property
    def is_last_attempt(self) -> bool:
        """Whether one more failure ends the job as FAILED_PERMANENT."""
        return self._message.failures >= self._message.max_attempts - 1

    @property
    def priority(self) -> int:
        """-10..10, higher first."""
        return self._message.priority

    @property
    def created_at(self) -> datetime:
        """When the job was enqueued, by the database's clock."""
        return self._message.created_at.ToDatetime(UTC)

    @property
    def timeout(self) -> timedelta | None:
        """How long this attempt may run. None: no limit."""
        return self._message.timeout.ToTimedelta() if self._message.HasField("timeout") else None

    @property
    def labels(self) -> Mapping[str, str]:
        """The producer's own labels."""
        return self._message.labels

    @property
    def key(self) -> str:
        """The key by which the queue may limit the job. Empty: none."""
        return self._message.key

    @property
    def headers(self) -> Mapping[str, str]:
        """The producer's headers, with `x-request-id` and `traceparent` of the call that enqueued the job."""
        return self._message.headers

    @property
    def checkpoint(self) -> bytes:
        """The last checkpoint of the earlier attempts. Empty: none."""
        return self._message.checkpoint

    def checkpoint_as(self, of: type[T]) -> T | None:
        """The last checkpoint of the earlier attempts, as the value that `save_checkpoint` was given.

        Args:
            of: Its type, as of payloads: a dataclass, a TypedDict, a model of pydantic, or what is built in.

        Returns:
            The value. None: there is no checkpoint.

        Raises:
            CheckpointUnreadable: It is not of the type, or is no JSON.
            Encoded: It is encoded, and the worker has no encodings.
            TypeError: The type has no form in JSON.
        """
        if not self._message.checkpoint:
            return None
        from .typed.checkpoints import read

        value: T = read(self._message.checkpoint, of, opened=self.opened)
        return value

    def __repr__(self) -> str:
        return f"<LeasedJob {self.kind} {self.id} attempt {self.attempt}>"


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of a list. It may be short or empty, and still have a next page.

    Attributes:
        jobs: Newest first.
        next_page_token: For the next page. Empty: this is the last page.
    """

    jobs: tuple[Job, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class Cancellation:
    """The answer to `cancel`.

    Attributes:
        job: The job as the call left it.
        pending: Whether the job was running, so that the server asks its worker to stop.
    """

    job: Job
    pending: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of jobs.

    Attributes:
        name: Its name.
        schema: The JSON Schema of its payloads, as a Python value. None: every JSON value is valid.
        retry_policy: For jobs without their own value.
        max_attempts: For jobs without their own value. None: 3.
        timeout: For jobs without their own value. None: no limit.
        limits: What it allows of all its jobs together, over all queues. None: no limit.
        slot_weight: How many slots of a worker each of its jobs takes, 1 to 1000.
        version: Of its payloads, 1 to 1,000,000. 0: it has none.
        output_schema: The JSON Schema of its outputs, as a Python value. No output is checked by it. None: nothing is
            said of them.
        annotations: What else its owners say of it: at most 16, with names of 1 to 64 characters and values of at most
            1024 bytes.
    """

    name: str
    schema: Mapping[str, Any] | bool | None = None
    retry_policy: RetryPolicy | None = None
    max_attempts: int | None = None
    timeout: timedelta | None = None
    limits: Limits | None = None
    slot_weight: int = 1
    version: int = 0
    output_schema: Mapping[str, Any] | bool | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


def no_kind(given: object) -> TypeError:
    """The error of what stands in the place of a kind and is none."""
    what = f"the class {given.__name__}" if isinstance(given, type) else f"of type {type(given).__name__}"
    return TypeError(f"the kind is {what}; it must be the name of a kind, what define_kind made, or a NewJob")


@dataclass(frozen=True, slots=True)
class SyncedKind:
    """What `sync_kinds` did with one kind.

    Attributes:
        kind: The kind as the server has it now.
        changed: Whether it was changed.
        newer: Whether the server has a higher version of it, declared by a newer program, and so nothing was changed.
    """

    kind: Kind
    changed: bool
    newer: bool


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The number of a queue's jobs in one status.

    Attributes:
        jobs: The number of jobs, those with a later `run_at` and those that are held back included.
        capped: Whether the server stopped counting at its bound, so that there may be more.
        oldest_age: For how long the first job has been due, or the first RUNNING job has run. None: there is no job.
    """

    jobs: int
    capped: bool
    oldest_age: timedelta | None


@dataclass(frozen=True, slots=True)
class HoldDepth:
    """The number of a queue's jobs that are held back and wait for the same.

    Attributes:
        jobs: The number of jobs. They count in `Queue.depths` too.
        capped: Whether the server stopped counting at its bound, so that there may be more.
    """

    jobs: int
    capped: bool


@dataclass(frozen=True, slots=True)
class Rate:
    """How many jobs may start in a time.

    Attributes:
        count: So many in each period, 1..1000000.
        period: 1 ms to 24 h, in whole milliseconds.
        burst: So many may start at once after a pause. 0: what the rate lets start in 50 ms, 1 at least.
        most_in_a_period: In answers: the most that start in any span as long as the period.
    """

    count: int
    period: timedelta
    burst: int = field(default=0, kw_only=True)
    most_in_a_period: int = field(default=0, kw_only=True, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a queue or a kind allows of all its jobs together. 0: no limit.

    Attributes:
        max_running: How many of them run at once, over all workers and servers, 1..1000000.
        rate: How many of them start in a time, over all workers and servers. Each start counts, also that of a retry.
    """

    max_running: int = 0
    rate: Rate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPolicy:
    """What a queue allows of the jobs of one key (`NewJob.key`). 0 and None: no limit.

    Attributes:
        max_running: How many of them run at once, 1..1000000.
        rate: How many of them start in a time.
        max_waiting: How many of them may wait for the key.
        require_key: Whether a job without a key is refused.
        order: In what order they start. STRICT lets one run at once.
        on_failure: What becomes of a key in strict order whose job failed for good or was cancelled.
        fair: Whether keys take turns, so that one with many jobs delays another by a round at most.
    """

    max_running: int = 0
    rate: Rate | None = None
    max_waiting: int = 0
    require_key: bool = False
    order: KeyOrder = KeyOrder.UNSPECIFIED
    on_failure: OnKeyFailure = OnKeyFailure.UNSPECIFIED
    fair: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long jobs of a queue can be read after their end, by the status of that end. None: as those of every queue.

    Attributes:
        succeeded: Of those that ended as SUCCEEDED, 1 h to 3650 days.
        failed_permanent: Of those that ended as FAILED_PERMANENT, 1 h to 3650 days.
        cancelled: Of those that ended as CANCELLED, 1 h to 3650 days.
    """

    succeeded: timedelta | None = None
    failed_permanent: timedelta | None = None
    cancelled: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue, as it was when it was read.

    Attributes:
        name: Its name.
        paused: Whether jobs of the queue may not be claimed.
        running: The number of its jobs that run.
        depths: The numbers of its jobs in QUEUED, RETRYING and RUNNING.
        held: The numbers of its jobs that are held back, by what they wait for. Empty: none is.
        key_policy: What it allows of the jobs of one key. None: keys are marks, and limit nothing.
        etag: Stands for this version of its limits, for `Client.update_queue`.
        max_waiting: How many of its jobs may wait before enqueues are refused. 0: any number.
        limits: What it allows of all its jobs together. None: they are limited by their workers alone.
        retention: How long its jobs can be read after their end. None: as long as those of every queue.
    """

    name: str
    paused: bool
    running: int
    depths: Mapping[Status, QueueDepth]
    held: Mapping[Hold, HoldDepth] = field(default_factory=dict)
    key_policy: KeyPolicy | None = None
    etag: str = ""
    max_waiting: int = 0
    limits: Limits | None = None
    retention: Retention | None = None
