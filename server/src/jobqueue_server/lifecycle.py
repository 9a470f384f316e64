"""The lifecycle of a job as a table: the specification that SQL, tests and documents share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Status(IntEnum):
    """What callers see. The numbers are those of `Job.Status` in the contract and of `finished_job.status`."""

    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    RETRYING = 4
    FAILED_PERMANENT = 5
    CANCELLED = 6

    @property
    def terminal(self) -> bool:
        """Whether only an operator's retry or a delete can change it."""
        return self in TERMINAL


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED_PERMANENT, Status.CANCELLED})


class State(IntEnum):
    """What `live_job.state` holds of a job that has not ended; its status derives from this and the counters."""

    READY = 1
    LEASED = 2
    HELD_BACK = 3
    READY_ISOLATED = 4


class Event(IntEnum):
    """What ends an attempt otherwise than by success. The numbers to 9 are those of `attempt.outcome`."""

    FAIL = 1
    CANCELLED = 2
    SNOOZE = 3
    RELEASE = 4
    REVOKE = 5
    UNDELIVERED = 6
    LOST = 7
    TIMEOUT = 8
    SUCCEED = 9
    CANCEL_GRACE_ENDED = 10
    BODY_MISSING = 11
    #: As UNDELIVERED, but its session was lost: the job may have killed its worker before a receipt came.
    UNSEEN = 12


#: From so many losses and unseen ends on a job runs isolated: at most one such job a session, delivered by itself, and
#: nothing follows it before its receipt. `end_attempt.sql` and `held.sql` have the same number.
ISOLATED_FROM = 2


class Reason:
    """Why a job ended (`Job.reason`) and why an attempt did (`FailedAttempt.reason`)."""

    ATTEMPTS_EXHAUSTED = "ATTEMPTS_EXHAUSTED"
    NOT_RETRYABLE = "NOT_RETRYABLE"
    LOST_TOO_OFTEN = "LOST_TOO_OFTEN"
    CANCELLED_BY_CALLER = "CANCELLED_BY_CALLER"
    CANCELLED_BY_WORKER = "CANCELLED_BY_WORKER"
    CANCEL_GRACE_ENDED = "CANCEL_GRACE_ENDED"
    BODY_MISSING = "BODY_MISSING"
    HANDLER_FAILED = "HANDLER_FAILED"
    TIMED_OUT = "TIMED_OUT"
    SESSION_LOST = "SESSION_LOST"


@dataclass(frozen=True, slots=True)
class Exit:
    """One way out of RUNNING: where it leads and what it charges.

    `wanted` is the status without a cancel request; a job with one ends CANCELLED whatever `wanted` says, except that
    a success stays a success. `charges` names the counter that goes up.
    """

    wanted: frozenset[Status]
    charges: str | None = None
    with_cancel: Status = Status.CANCELLED


_WAITING = frozenset({Status.QUEUED, Status.RETRYING})

#: Every event that may meet a running job. `settle_succeeded.sql` and `end_attempt.sql` make these and no others.
EXITS: dict[Event, Exit] = {
    Event.SUCCEED: Exit(frozenset({Status.SUCCEEDED}), with_cancel=Status.SUCCEEDED),
    Event.FAIL: Exit(frozenset({Status.RETRYING, Status.FAILED_PERMANENT}), "failures"),
    Event.TIMEOUT: Exit(frozenset({Status.RETRYING, Status.FAILED_PERMANENT}), "failures"),
    Event.LOST: Exit(frozenset({Status.RETRYING, Status.FAILED_PERMANENT}), "losses"),
    Event.SNOOZE: Exit(_WAITING),
    Event.RELEASE: Exit(_WAITING),
    Event.REVOKE: Exit(_WAITING),
    Event.UNDELIVERED: Exit(_WAITING),
    Event.UNSEEN: Exit(_WAITING, "unseen"),
    Event.CANCELLED: Exit(frozenset({Status.CANCELLED})),
    Event.CANCEL_GRACE_ENDED: Exit(frozenset({Status.CANCELLED})),
    Event.BODY_MISSING: Exit(frozenset({Status.FAILED_PERMANENT}), with_cancel=Status.FAILED_PERMANENT),
}

#: What a caller or an operator may ask, and of a job in which status it is answered otherwise than by an error.
CANCELLABLE = frozenset({Status.QUEUED, Status.RETRYING, Status.RUNNING})
RETRYABLE = TERMINAL
DELETABLE = TERMINAL


def status_of(state: int, failures: int, losses: int) -> Status:
    """The status of a live job, from its state and counters."""
    if state == State.LEASED:
        return Status.RUNNING
    return Status.RETRYING if failures + losses > 0 else Status.QUEUED
