"""The lifecycle of a job as a table: the specification that SQL, tests and documents share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Status(IntEnum):
    """A job's status, as callers see it. `Job.Status` in the contract and `finished_job.status` have these numbers."""

    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    RETRYING = 4
    FAILED_PERMANENT = 5
    CANCELLED = 6

    @property
    def terminal(self) -> bool:
        """Whether the job has ended: only RetryJob and DeleteJob can change it."""
        return self in TERMINAL


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED_PERMANENT, Status.CANCELLED})


class State(IntEnum):
    """The value of `live_job.state`. The status of a live job follows from this and its counters."""

    READY = 1
    LEASED = 2
    #: The job waits for something else than a worker, which `Hold` names. No index that claims read has it.
    HELD_BACK = 3
    READY_ISOLATED = 4


class Hold(IntEnum):
    """What a job that is held back waits for: the value of `live_job.hold`, and the number of `Job.Hold`."""

    #: A token of its key: another job of the key must end first, or its rate allows no more now.
    KEY = 1
    #: Its run_at, and then a token of its key.
    TIME = 2
    #: ReleaseJob.
    HAND = 4


class Event(IntEnum):
    """The events that end an attempt. The numbers up to 9 are the values of `attempt.outcome`."""

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
    #: Like UNDELIVERED, but the session was lost: the job may have killed its worker before the receipt.
    UNSEEN = 12


#: From this many losses and unseen ends on, a job is isolated: a session holds at most one such job, gets it in its own
#: delivery, and gets no other before its receipt. `end_attempt.sql` and `held.sql` have the same number.
ISOLATED_FROM = 2


class Reason:
    """Why a job ended (`Job.reason`), and why an attempt ended (`FailedAttempt.reason`)."""

    ATTEMPTS_EXHAUSTED = "ATTEMPTS_EXHAUSTED"
    NOT_RETRYABLE = "NOT_RETRYABLE"
    LOST_TOO_OFTEN = "LOST_TOO_OFTEN"
    CANCELLED_BY_CALLER = "CANCELLED_BY_CALLER"
    CANCELLED_BY_WORKER = "CANCELLED_BY_WORKER"
    CANCEL_GRACE_ENDED = "CANCEL_GRACE_ENDED"
    KEY_CANCELLED = "KEY_CANCELLED"
    BODY_MISSING = "BODY_MISSING"
    HANDLER_FAILED = "HANDLER_FAILED"
    TIMED_OUT = "TIMED_OUT"
    SESSION_LOST = "SESSION_LOST"


@dataclass(frozen=True, slots=True)
class Exit:
    """One way out of RUNNING: the next status, and the counter that it charges.

    `wanted` has the possible next statuses of a job without a cancel request, `with_cancel` the next status of a job
    with one. `charges` names the counter that goes up.
    """

    wanted: frozenset[Status]
    charges: str | None = None
    with_cancel: Status = Status.CANCELLED


_WAITING = frozenset({Status.QUEUED, Status.RETRYING})

#: Every event that can end an attempt. `end_plain.sql` and `end_attempt.sql` make exactly these transitions.
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

#: The operations on stored jobs, each with the statuses in which it is allowed.
CANCELLABLE = frozenset({Status.QUEUED, Status.RETRYING, Status.RUNNING})
RETRYABLE = TERMINAL
DELETABLE = TERMINAL


def status_of(state: int, failures: int, losses: int) -> Status:
    """The status of a live job, from its state and counters."""
    if state == State.LEASED:
        return Status.RUNNING
    return Status.RETRYING if failures + losses > 0 else Status.QUEUED
