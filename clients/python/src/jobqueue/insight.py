"""Why a job waits, and what a queue wants, as Python values."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from . import convert
from .jobs import Status, Until
from .v1 import insight_pb2 as pb
from .v1 import job_pb2


class ReasonCode(enum.StrEnum):
    """Why a job waits."""

    #: Something that this version of the client does not know.
    UNSPECIFIED = "CODE_UNSPECIFIED"
    TERMINAL = "TERMINAL"
    IS_RUNNING = "IS_RUNNING"
    HELD_BY_HAND = "HELD_BY_HAND"
    NOT_DUE = "NOT_DUE"
    BACKOFF = "BACKOFF"
    QUEUE_PAUSED = "QUEUE_PAUSED"
    NO_WORKER = "NO_WORKER"
    NO_CREDIT = "NO_CREDIT"
    WORKERS_DRAINING = "WORKERS_DRAINING"
    RUNS_ALONE = "RUNS_ALONE"
    BEHIND = "BEHIND"
    ABOUT_TO_START = "ABOUT_TO_START"
    KEY_AT_LIMIT = "KEY_AT_LIMIT"
    KEY_RATE = "KEY_RATE"
    KEY_PAUSED = "KEY_PAUSED"
    KEY_ORDER = "KEY_ORDER"
    KEY_BLOCKED = "KEY_BLOCKED"
    QUEUE_AT_LIMIT = "QUEUE_AT_LIMIT"
    QUEUE_RATE = "QUEUE_RATE"
    KIND_AT_LIMIT = "KIND_AT_LIMIT"
    KIND_RATE = "KIND_RATE"
    KEY_TURN = "KEY_TURN"
    NO_WORKER_LARGE_ENOUGH = "NO_WORKER_LARGE_ENOUGH"
    STANDSTILL = "STANDSTILL"


@dataclass(frozen=True, slots=True)
class EndDetail:
    """Of TERMINAL: how the job ended."""

    reason: str
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class AttemptDetail:
    """Of IS_RUNNING: the attempt that runs. `deadline_at` None: it has no timeout."""

    attempt: int
    worker: str
    since: datetime | None
    deadline_at: datetime | None
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class DueDetail:
    """Of NOT_DUE and BACKOFF: when the job is due, and how its last attempt failed."""

    run_at: datetime | None
    failures: int
    max_attempts: int
    last_reason: str
    last_error: str


@dataclass(frozen=True, slots=True)
class PauseDetail:
    """Of QUEUE_PAUSED: since when, by whom, and why."""

    since: datetime | None
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerSubscription:
    """A queue and a kind that some workers take."""

    queue: str
    kind: str
    sessions: int


@dataclass(frozen=True, slots=True)
class WorkersDetail:
    """Of NO_WORKER, NO_CREDIT, WORKERS_DRAINING, RUNS_ALONE and NO_WORKER_LARGE_ENOUGH: the workers that take the job.

    Attributes:
        sessions: Those that take jobs.
        slots: Their slots for the job's kind.
        free_slots: Of these, the free ones.
        full_by_kind: Those whose slots for the kind are taken, while others are free.
        full_by_bytes: Those that hold as many bytes as they take.
        draining: Those that are connected and take no more.
        isolating: Of those that take jobs, those that have a job that runs alone.
        nearest: If there is none: what comes near.
        slot_weight: Of a job that takes several slots: how many. Else 0, as the next two.
        most_slots: The slots of the one that has the most.
        most_free_slots: The free slots of the one that has the most free.
    """

    sessions: int
    slots: int
    free_slots: int
    full_by_kind: int
    full_by_bytes: int
    draining: int
    isolating: int
    nearest: tuple[WorkerSubscription, ...]
    slot_weight: int = 0
    most_slots: int = 0
    most_free_slots: int = 0


@dataclass(frozen=True, slots=True)
class LineDetail:
    """Of BEHIND: how many jobs go first. `capped`: there may be more."""

    ahead: int
    capped: bool


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """A job that counts against what its queue allows of its key. `worker` empty: it is in line."""

    job_id: str
    worker: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class KeyDetail:
    """Of the reasons that begin with KEY_: what holds back a job whose queue limits its key.

    Attributes:
        key: The key.
        max_running: How many of its jobs may be in line or run at once. 0: as many as there are.
        taken: How many are.
        holders: Some of these.
        ahead: How many jobs of the key go before the job.
        capped: Whether there may be more of these.
        next_at: When the rate lets the next one in, or until when a worker has paused the key. None: an end must come
            first.
        pause: Since when the key is paused, and by whom. None: it is not.
        blocked_by: The job that failed or was cancelled, since when none of the key starts. Empty: there is none.
    """

    key: str
    max_running: int
    taken: int
    holders: tuple[KeyHolder, ...]
    ahead: int
    capped: bool
    next_at: datetime | None
    pause: PauseDetail | None
    blocked_by: str = ""


@dataclass(frozen=True, slots=True)
class TotalDetail:
    """Of a limit: how many jobs run, of those that may. Of QUEUE_RATE and KIND_RATE: when the next one may start."""

    max_running: int
    running: int
    next_at: datetime | None


Detail = (
    EndDetail | AttemptDetail | DueDetail | PauseDetail | WorkersDetail | LineDetail | KeyDetail | TotalDetail
)


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason why a job waits.

    Attributes:
        code: What it is.
        message: The same for people.
        unblocked_by: What would end it, each enough by itself, such as `ResumeQueue reports`.
        detail: What is known of it. None: nothing more.
    """

    code: ReasonCode
    message: str
    unblocked_by: tuple[str, ...]
    detail: Detail | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """When a job may start, if the jobs of its queue go on ending as they did in the last minute.

    Attributes:
        ahead: The jobs that go before it. `capped`: there may be more.
        ends_per_second: How many jobs ended in each second of the last minute.
        earliest_at: It hardly starts before this.
        latest_at: It hardly starts after this. None: too few jobs ended to say so, or `capped`.
    """

    ahead: int
    capped: bool
    ends_per_second: float
    earliest_at: datetime | None
    latest_at: datetime | None


@dataclass(frozen=True, slots=True)
class NameDetail:
    """The name of a unique job, as the next enqueue of the name would find it.

    Attributes:
        key: `Unique.key`. Empty: the payload makes the name.
        held_by: The id of the job that holds it: this one, or another. Empty: none does.
        until: What ends the hold. None where no job holds it.
        period_ends_at: It is held until then, whatever becomes of that job. None: its period is over, or has none.
        message: The same for people.
    """

    key: str
    held_by: str
    until: Until | None
    period_ends_at: datetime | None
    message: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a job waits, or how it runs or ended.

    Attributes:
        job_id: The job's id.
        status: The job's status.
        summary: One sentence: why it waits, and what would start it.
        reasons: What holds it now comes first, then what would hold it next.
        could_start_at: When it can start, if nothing but time is awaited. None: not known.
        read_at: When this was so, by the database's clock.
        unknown: The servers that were not heard. Their workers are left out.
        estimate: When it may start, where it waits for its turn alone. None: it waits for something else, or no job
            of the queue ended in the last minute.
        name: Its name, and which job holds it. It never holds a job back. None: the job is not unique.
    """

    job_id: str
    status: Status
    summary: str
    reasons: tuple[Reason, ...]
    could_start_at: datetime | None
    read_at: datetime | None
    unknown: tuple[str, ...]
    estimate: Estimate | None = None
    name: NameDetail | None = None


@dataclass(frozen=True, slots=True)
class QueueDemand:
    """How many slots a queue wants.

    Attributes:
        runnable: The jobs that could start now if there were slots.
        capped: Whether the server stopped counting at its bound, so that there may be more.
        running: The jobs that run.
        held: The jobs that are held back.
        held_by_key: Of these, the jobs that wait for their key.
        later: The jobs that are due later.
        paused: The jobs that are due, while the queue is paused.
        beyond_limit: The jobs that are due, and more than the queue lets run.
        workers: The sessions that take jobs of the queue.
        slots: Their slots.
        free_slots: Of these, the free ones.
        oldest_runnable_age: For how long the first runnable job has been due. None: there is none.
        wanted_slots: `running` and `runnable` together.
        more_workers_would_help: Whether jobs could run now and no slot is free for them.
        why: Why, for people.
        read_at: When this was so, by the database's clock.
        unknown: The servers that were not heard. Their workers are left out.
        arrivals_per_second: How many jobs were enqueued in each second of the last minute.
        ends_per_second: How many jobs ended in each second of the last minute.
    """

    runnable: int
    capped: bool
    running: int
    held: int
    held_by_key: int
    later: int
    paused: int
    beyond_limit: int
    workers: int
    slots: int
    free_slots: int
    oldest_runnable_age: timedelta | None
    wanted_slots: int
    more_workers_would_help: bool
    why: str
    read_at: datetime | None
    unknown: tuple[str, ...]
    arrivals_per_second: float = 0.0
    ends_per_second: float = 0.0


def explanation(message: pb.ExplainJobResponse) -> Explanation:
    """The explanation in an answer."""
    return Explanation(
        message.job_id,
        convert.status(message.status),
        message.summary,
        tuple(_reason(each) for each in message.reasons),
        _moment(message, "could_start_at"),
        _moment(message, "read_at"),
        tuple(message.unknown),
        Estimate(**_fields(message.estimate)) if message.HasField("estimate") else None,
        _name(message.name) if message.HasField("name") else None,
    )


def _name(message: pb.NameDetail) -> NameDetail:
    known = job_pb2.Unique.Until.DESCRIPTOR.values_by_number.get(message.until)
    until = Until(known.name) if known is not None and message.until else None
    return NameDetail(
        message.key, message.held_by, until, _moment(message, "period_ends_at"), message.message
    )


def demand(message: pb.GetQueueDemandResponse) -> QueueDemand:
    """The demand in an answer."""
    return QueueDemand(**_fields(message))


_DETAILS: dict[str, type[Detail]] = {
    "end": EndDetail,
    "attempt": AttemptDetail,
    "due": DueDetail,
    "pause": PauseDetail,
    "workers": WorkersDetail,
    "line": LineDetail,
    "key": KeyDetail,
    "total": TotalDetail,
}


def _reason(message: pb.Reason) -> Reason:
    known = pb.Reason.Code.DESCRIPTOR.values_by_number.get(message.code)
    which = message.WhichOneof("detail")
    return Reason(
        ReasonCode(known.name) if known is not None else ReasonCode.UNSPECIFIED,
        message.message,
        tuple(message.unblocked_by),
        None if which is None else _DETAILS[which](**_fields(getattr(message, which))),
    )


def _fields(message: Any) -> dict[str, Any]:
    """The fields of a message, by the names that the values have too."""
    return {field.name: _value(message, field) for field in message.DESCRIPTOR.fields}


def _value(message: Any, field: Any) -> Any:
    value = getattr(message, field.name)
    match field.message_type.name if field.message_type else "":
        case "Timestamp":
            return _moment(message, field.name)
        case "Duration":
            return value.ToTimedelta() if message.HasField(field.name) else None
        case "KeyHolder":
            return tuple(KeyHolder(each.job_id, each.worker, _moment(each, "since")) for each in value)
        case "PauseDetail":
            return PauseDetail(**_fields(value)) if message.HasField(field.name) else None
        case "WorkerSubscription":
            return tuple(WorkerSubscription(each.queue, each.kind, each.sessions) for each in value)
    return tuple(value) if field.name == "unknown" else value


def _moment(message: Any, name: str) -> datetime | None:
    return getattr(message, name).ToDatetime(UTC) if message.HasField(name) else None
