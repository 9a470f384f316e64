"""The reasons why a job waits, as values, and how they follow from what is known of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any
from uuid import UUID

from ... import lifecycle
from ...lifecycle import Event, Hold, State, Status
from ...model import KeyHolder
from ..session.load import Workers
from ..upkeep.standstill import REMEDY
from .workers import Subscribed

_FAILED = frozenset({Event.FAIL, Event.LOST, Event.TIMEOUT})


class Code(IntEnum):
    """The numbers are those of the contract."""

    TERMINAL = 1
    IS_RUNNING = 2
    HELD_BY_HAND = 3
    NOT_DUE = 4
    BACKOFF = 5
    QUEUE_PAUSED = 6
    NO_WORKER = 7
    NO_CREDIT = 8
    WORKERS_DRAINING = 9
    RUNS_ALONE = 10
    BEHIND = 11
    ABOUT_TO_START = 12
    KEY_AT_LIMIT = 13
    KEY_RATE = 14
    KEY_PAUSED = 15
    KEY_ORDER = 16
    KEY_BLOCKED = 17
    QUEUE_AT_LIMIT = 18
    QUEUE_RATE = 19
    KIND_AT_LIMIT = 20
    KIND_RATE = 21
    KEY_TURN = 22
    NO_WORKER_LARGE_ENOUGH = 23
    STANDSTILL = 24


@dataclass(frozen=True, slots=True)
class End:
    """How a job ended."""

    reason: str
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """The attempt that runs."""

    attempt: int
    worker: str
    since: datetime
    deadline_at: datetime | None
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class Due:
    """When a job is due, and how its last attempt failed."""

    run_at: datetime
    failures: int
    max_attempts: int
    last_reason: str
    last_error: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Who paused a queue."""

    since: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class WorkersOf:
    """The workers that take a job, and if there is none what comes near. `weight`: how many slots the job takes."""

    workers: Workers
    nearest: tuple[Subscribed, ...] = ()
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Line:
    """How many jobs go before one."""

    ahead: int
    capped: bool


@dataclass(frozen=True, slots=True)
class Stuck:
    """A job in line that no worker takes."""

    job_id: UUID
    kind: str


@dataclass(frozen=True, slots=True)
class KeyOf:
    """What holds back a job whose queue limits its key. The fields are those of the contract.

    `of_its_own`: whether `max_running` is the key's own, and not its queue's.
    `strict`: its jobs start in the order of their enqueues. `blocked`: none starts since a job failed.
    `blocked_by`: that job; None where the caller may not read it.
    `fair`: its queue's keys take turns. `paused_until`: until when a worker has paused it.
    `crowded`: as many of its jobs are in line as its rate lets in at once. `stuck`: one in line that no worker takes.
    """

    key: str
    max_running: int | None
    taken: int
    holders: tuple[KeyHolder, ...]
    ahead: int
    capped: bool
    next_at: datetime | None
    pause: Pause | None = None
    of_its_own: bool = False
    strict: bool = False
    blocked: bool = False
    blocked_by: UUID | None = None
    fair: bool = False
    paused_until: datetime | None = None
    crowded: bool = False
    stuck: Stuck | None = None

    @property
    def at_limit(self) -> bool:
        """Whether one of its jobs must end before another may start."""
        return self.max_running is not None and self.taken >= self.max_running


@dataclass(frozen=True, slots=True)
class Total:
    """What holds back a job whose queue or kind limits all its jobs together. The fields are those of the contract."""

    max_running: int | None
    running: int = 0
    next_at: datetime | None = None


Detail = Total | End | Attempt | Due | Pause | WorkersOf | Line | KeyOf


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: in a few words, and what would end it."""

    code: Code
    message: str
    unblocked_by: tuple[str, ...] = ()
    detail: Detail | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a job.

    Attributes:
        row: Of explain_job.sql.
        workers: Those that take its kind from its queue.
        nearest: If there is none, what comes near.
        unknown: How many servers were not heard.
        errors: Whether the caller may see errors.
        most_ahead: How many jobs before it were counted at most.
        key: What its key waits for; None: it has none that its queue limits, or is held back no longer.
        standing_since: Since when nothing is handed out, of any queue; None: it is.
    """

    row: Mapping[str, Any]
    workers: Workers
    nearest: Sequence[Subscribed]
    unknown: int
    errors: bool
    most_ahead: int
    key: KeyOf | None = None
    standing_since: datetime | None = None


def status_of(row: Mapping[str, Any]) -> Status:
    """The job's status."""
    if row["ended"] is not None:
        return Status(row["ended"])
    return lifecycle.status_of(row["state"], row["failures"], row["losses"])


def reasons_of(facts: Facts) -> tuple[Reason, ...]:
    """What holds the job now comes first, then what would hold it next."""
    row = facts.row
    if row["ended"] is not None:
        return (_ended(row),)
    if row["state"] == State.LEASED:
        return (_running(row),)
    found = tuple(_waits(facts))
    return found or (Reason(Code.ABOUT_TO_START, "nothing holds it back"),)


def starts_at(reasons: Sequence[Reason]) -> datetime | None:
    """When a job that waits can start; None: something else than time must come first."""
    times = [_ends_at(reason) for reason in reasons]
    return None if None in times else max(each for each in times if each is not None)


def _ends_at(reason: Reason) -> datetime | None:
    """When time alone ends a reason."""
    match reason.detail:
        case Due(run_at=at) | Total(next_at=at):
            return at
        case KeyOf(ahead=0, next_at=at) if reason.code is Code.KEY_RATE:
            return at
        case KeyOf(ahead=0, paused_until=at, pause=None) if reason.code is Code.KEY_PAUSED:
            return at
    return None


def summary_of(status: Status, reasons: Sequence[Reason]) -> str:
    """One sentence."""
    first = reasons[0]
    by = " or ".join(first.unblocked_by)
    if first.code is Code.TERMINAL:
        return f"The job {first.message}; {by} would start it again."
    if first.code is Code.IS_RUNNING:
        return f"The job {first.message}."
    if first.code is Code.ABOUT_TO_START:
        return "The job is about to start: nothing holds it back."
    then = "".join(f"; then {reason.message}" for reason in reasons[1:])
    return f"The job waits, since {first.message}; {by} would {'let it go on' if then else 'start it'}{then}."


def _ended(row: Mapping[str, Any]) -> Reason:
    why = f" ({row['reason']})" if row["reason"] else ""
    return Reason(
        Code.TERMINAL,
        f"ended as {Status(row['ended']).name}{why} at {_at(row['finished_at'])}",
        (f"RetryJob {row['id']}",),
        End(row["reason"] or "", row["finished_at"]),
    )


def _running(row: Mapping[str, Any]) -> Reason:
    worker = row["worker"] or ""
    return Reason(
        Code.IS_RUNNING,
        f"runs, attempt {row['attempts']} on {worker} since {_at(row['changed_at'])}",
        (),
        Attempt(row["attempts"], worker, row["changed_at"], row["deadline"], row["cancel_requested"]),
    )


def _waits(facts: Facts) -> Iterator[Reason]:
    row = facts.row
    held = row["hold"] is not None
    due = row["run_at"] <= row["now"]
    stands = facts.standing_since is not None
    paused = row["paused_at"] is not None or stands
    if row["hold"] == Hold.HAND:
        yield Reason(Code.HELD_BY_HAND, "it is held back by hand", (f"ReleaseJob {row['id']}",))
    waits = row["hold"] == Hold.KEY
    if not waits and not due:
        yield _not_due(facts)
    if facts.key is not None:
        yield from _key_stands(row, facts.key)
        if waits:
            yield from _key_lets_in(row, facts.key)
        elif due and facts.key.at_limit:
            yield _key_at_limit(row, facts.key)
    if waits and not due:
        yield _not_due(facts)
    if facts.standing_since is not None:
        yield _stands(facts.standing_since)
    if row["paused_at"] is not None:
        yield _paused(row)
    if due:
        yield from _limited(row)
    yield from _no_worker(facts)
    yield from _too_heavy(facts)
    if due and not held and not paused and facts.workers.sessions:
        yield from _no_room(facts)
        if row["ahead"]:
            yield _behind(facts)


def _before(of: KeyOf) -> str:
    """How many of its key go before a job."""
    return f"; {of.ahead}{' or more' if of.capped else ''} of the key go before it" if of.ahead else ""


def _policy(row: Mapping[str, Any], of: KeyOf) -> str:
    """What changes what is allowed of a key."""
    return f"UpdateQueueKey {row['queue']} {of.key}" if of.of_its_own else f"UpdateQueue {row['queue']}"


def _key_stands(row: Mapping[str, Any], of: KeyOf) -> Iterator[Reason]:
    """Of a key whose jobs do not start at all: it would hold back a job that comes to it later as well."""
    of_key = f"UpdateQueueKey {row['queue']} {of.key}"
    before = _before(of) if not of.at_limit else ""
    if of.pause is not None:
        by = f" by {of.pause.by}" if of.pause.by else ""
        message = f"its key {of.key} is paused since {_at(of.pause.since)}{by}{before}"
        yield Reason(Code.KEY_PAUSED, message, (of_key,), of)
    if of.paused_until is not None:
        message = f"its key {of.key} is paused until {_at(of.paused_until)}, as a worker said{before}"
        yield Reason(Code.KEY_PAUSED, message, ("time alone", of_key), of)
    if of.blocked:
        ways: tuple[str, ...] = (f"UnblockQueueKey {row['queue']} {of.key}",)
        failed = "another job"
        if of.blocked_by is not None:
            ways = (f"RetryJob {of.blocked_by}", f"DeleteJob {of.blocked_by}", *ways)
            failed = f"job {of.blocked_by}"
        message = f"its key {of.key} is blocked, as {failed} failed or was cancelled{_before(of)}"
        yield Reason(Code.KEY_BLOCKED, message, ways, of)


def _key_lets_in(row: Mapping[str, Any], of: KeyOf) -> Iterator[Reason]:
    """Of a job that waits for its key."""
    policy, before = _policy(row, of), _before(of)
    if of.blocked:
        return
    if of.at_limit:
        yield _key_at_limit(row, of)
    elif of.crowded:
        message = (
            f"as many jobs of its key {of.key} are in line as its rate lets in at once{_stuck(of)}{before}"
        )
        yield Reason(Code.KEY_RATE, message, ("the start of one of them", *_taker(row, of), policy), of)
    elif of.next_at is not None:
        message = f"the rate of its key {of.key} lets the next one start at {_at(of.next_at)}{before}"
        yield Reason(Code.KEY_RATE, message, ("time alone", policy), of)
    elif of.fair and of.pause is None and of.paused_until is None:
        message = f"other jobs of its key {of.key} have the turn{_stuck(of)}{before}"
        yield Reason(Code.KEY_TURN, message, ("turns of its key", *_taker(row, of), policy), of)


def _key_at_limit(row: Mapping[str, Any], of: KeyOf) -> Reason:
    policy, before = _policy(row, of), _before(of)
    if of.strict:
        first = f"job {of.holders[0].job_id}" if of.holders else "another job"
        message = f"{first} of its key {of.key} goes first, in strict order{_stuck(of)}{before}"
        return Reason(Code.KEY_ORDER, message, ("the end of that job", *_taker(row, of), policy), of)
    message = (
        f"{of.taken} of {of.max_running} jobs of its key {of.key} run or are in line{_stuck(of)}{before}"
    )
    return Reason(Code.KEY_AT_LIMIT, message, ("the end of one of them", *_taker(row, of), policy), of)


def _stuck(of: KeyOf) -> str:
    return (
        ""
        if of.stuck is None
        else f"; no worker takes job {of.stuck.job_id} of them, of kind {of.stuck.kind}"
    )


def _taker(row: Mapping[str, Any], of: KeyOf) -> tuple[str, ...]:
    """Who would take the job of the key that no worker takes."""
    return () if of.stuck is None else (f"a worker that takes kind {of.stuck.kind} in queue {row['queue']}",)


def _not_due(facts: Facts) -> Reason:
    row = facts.row
    failed = row["outcome"] in _FAILED
    reason = row["last_reason"] or "" if failed else ""
    error = row["last_error"] or "" if failed and facts.errors else ""
    due = Due(row["run_at"], row["failures"], row["max_attempts"], reason, error)
    if not failed:
        return Reason(Code.NOT_DUE, f"it is due at {_at(row['run_at'])}", ("time alone",), due)
    how = f"its last attempt failed ({reason})" if reason else "its last attempt failed"
    count = f"failure {row['failures']} of {row['max_attempts']}"
    message = f"{how}, {count}, and the next one is due at {_at(row['run_at'])}"
    return Reason(Code.BACKOFF, message, ("time alone",), due)


def _stands(since: datetime) -> Reason:
    pause = Pause(since, "", "JOBQUEUE_START=paused")
    message = f"nothing is handed out since {_at(since)}, as a server was started with JOBQUEUE_START=paused"
    return Reason(Code.STANDSTILL, message, (REMEDY,), pause)


def _paused(row: Mapping[str, Any]) -> Reason:
    by = f" by {row['paused_by']}" if row["paused_by"] else ""
    why = f" ({row['pause_reason']})" if row["pause_reason"] else ""
    return Reason(
        Code.QUEUE_PAUSED,
        f"the queue {row['queue']} is paused since {_at(row['paused_at'])}{by}{why}",
        (f"ResumeQueue {row['queue']}",),
        Pause(row["paused_at"], row["paused_by"] or "", row["pause_reason"] or ""),
    )


def _limited(row: Mapping[str, Any]) -> Iterator[Reason]:
    """By all jobs of its queue together, or of its kind."""
    for of, at_limit, rate, change in (
        ("queue", Code.QUEUE_AT_LIMIT, Code.QUEUE_RATE, "UpdateQueue"),
        ("kind", Code.KIND_AT_LIMIT, Code.KIND_RATE, "PutKind"),
    ):
        name, most, running, at = (
            row[f"{of}{what}"] for what in ("", "_max_running", "_counted", "_next_start")
        )
        if most is not None and running >= most:
            message = f"{running} of {most} jobs of the {of} {name} run"
            yield Reason(
                at_limit, message, ("the end of one of them", f"{change} {name}"), Total(most, running)
            )
        if at is not None and at > row["now"]:
            message = f"the rate of the {of} {name} lets the next job start at {_at(at)}"
            yield Reason(rate, message, ("time alone", f"{change} {name}"), Total(most, next_at=at))


def _no_worker(facts: Facts) -> Iterator[Reason]:
    row, workers = facts.row, facts.workers
    if workers.sessions:
        return
    another = _a_worker(row)
    takes = f"kind {row['kind']} in queue {row['queue']}"
    if workers.draining:
        subject = _workers(workers.draining, f"takes {takes} takes", f"take {takes} take")
        yield Reason(Code.WORKERS_DRAINING, f"{subject} no more jobs", (f"a{another}",), WorkersOf(workers))
        return
    near = "".join(
        f"; {each.sessions} {'worker takes' if each.sessions == 1 else 'workers take'} kind {each.kind} "
        f"in queue {each.queue}"
        for each in facts.nearest[:1]
    )
    unheard = f"; {facts.unknown} of the servers were not heard" if facts.unknown else ""
    yield Reason(
        Code.NO_WORKER,
        f"no worker takes {takes}{near}{unheard}",
        (f"a{another}",),
        WorkersOf(workers, tuple(facts.nearest)),
    )


def _too_heavy(facts: Facts) -> Iterator[Reason]:
    row, workers = facts.row, facts.workers
    weight = row["weight"]
    if workers.sessions and weight > workers.most_slots:
        subject = _workers(workers.sessions, "takes it has", "take it have")
        unheard = f"; {facts.unknown} of the servers were not heard" if facts.unknown else ""
        yield Reason(
            Code.NO_WORKER_LARGE_ENOUGH,
            f"it takes {weight} slots, and {subject} {workers.most_slots} at most{unheard}",
            (f"a{_a_worker(row)}, with {weight} slots", f"PutKind {row['kind']}"),
            WorkersOf(workers, weight=weight),
        )


def _no_room(facts: Facts) -> Iterator[Reason]:
    row, workers = facts.row, facts.workers
    another = f"another{_a_worker(row)}"
    weight = row["weight"]
    if weight > workers.most_slots:
        return
    if not workers.free:
        subject = _workers(workers.sessions, "takes it", "take it")
        yield Reason(
            Code.NO_CREDIT,
            f"none of the {workers.slots} slots of {subject} is free",
            ("the end of a job there", another),
            WorkersOf(workers, weight=weight),
        )
    elif weight > workers.most_free:
        subject = _workers(workers.sessions, "takes it has", "take it have")
        yield Reason(
            Code.NO_CREDIT,
            f"it takes {weight} slots of one worker, and {subject} {workers.most_free} free at most",
            ("the end of jobs there", another),
            WorkersOf(workers, weight=weight),
        )
    elif row["size"] > workers.largest:
        yield Reason(
            Code.NO_CREDIT,
            f"its payload of {row['size']} bytes is more than a worker with a free slot takes now",
            ("the end of a job there", another),
            WorkersOf(workers),
        )
    elif row["state"] == State.READY_ISOLATED and workers.isolating >= workers.sessions:
        subject = _workers(workers.sessions, "takes it has", "take it have")
        yield Reason(
            Code.RUNS_ALONE,
            f"it lost its worker twice, so it runs apart from other such jobs, and {subject} one",
            ("the end of that job", another),
            WorkersOf(workers),
        )


def _behind(facts: Facts) -> Reason:
    ahead = facts.row["ahead"]
    capped = ahead >= facts.most_ahead
    more = " or more" if capped else ""
    verb = "job goes" if ahead == 1 else "jobs go"
    return Reason(Code.BEHIND, f"{ahead}{more} {verb} first", ("their start",), Line(ahead, capped))


def _workers(count: int, one: str, many: str) -> str:
    return f"the one worker that {one}" if count == 1 else f"the {count} workers that {many}"


def _a_worker(row: Mapping[str, Any]) -> str:
    return f" worker that takes kind {row['kind']} in queue {row['queue']}"


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
