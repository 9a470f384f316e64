"""Outcomes on their way to the database, one by one or as batches of plain successes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ...lifecycle import Event
from ...model import NewJob
from ..catalog.catalog import Lane
from ..events.ends import Ended
from ..lease.lease import Lease
from ..lease.session import Session


@dataclass(slots=True, eq=False)
class Outcome:
    """How one attempt ended, as its worker reports it. `event` SUCCEED may carry an output and follow-ups.

    `pause_key`: how long no job of its key starts; None: the key goes on.
    """

    event: Event
    lease_id: int = 0
    job_id: UUID | None = None
    attempt: int = 0
    output: bytes | None = None
    permanent: bool = False
    after: timedelta | None = None
    error_type: str | None = None
    message: str | None = None
    stack: str | None = None
    follow_ups: Sequence[NewJob] = ()
    pause_key: timedelta | None = None

    def names_lease(self, lease_id: int) -> None:
        """The number of its lease is this one; 0: it is named by job and attempt."""
        self.lease_id = lease_id


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one outcome, where the worker could not know it. `verdict` is a name of SettleResult.Verdict."""

    lease_id: int
    job_id: UUID | None
    attempt: int
    verdict: str
    status: int = 0
    run_at: datetime | None = None
    message: str = ""


class SettleReply:
    """The reply to a Settle frame, or to a unary call: it waits for all of its outcomes.

    `on_done` gets the answers that say more than APPLIED.
    """

    __slots__ = ("_answers", "_left", "_on_done")

    def __init__(self, outcomes: int, on_done: Callable[[list[Answer]], None]) -> None:
        self._left = outcomes
        self._answers: list[Answer] = []
        self._on_done = on_done
        if outcomes == 0:
            on_done([])

    def done(self, answer: Answer | None = None) -> None:
        """One outcome is answered; None: it was applied, and there is nothing to add."""
        if answer is not None:
            self._answers.append(answer)
        self.applied(1)

    def applied(self, outcomes: int) -> None:
        """So many were applied, and there is nothing to add."""
        self._left -= outcomes
        if self._left == 0:
            self._on_done(self._answers)


@dataclass(slots=True, eq=False)
class PendingOutcome:
    """An outcome on its way to the database. `lease` is None where the session does not hold it (any more)."""

    session: Session
    job_id: UUID
    attempt: int
    lease_id: int
    lease: Lease | None
    outcome: Outcome
    reply: SettleReply

    @property
    def since(self) -> float:
        """When the attempt began here, by time.monotonic(); 0 where the session does not hold it."""
        return self.lease.template.since if self.lease is not None else 0.0

    @property
    def succeeding(self) -> tuple[UUID, int, int, bytes | None]:
        """What the statement that ends it as succeeded wants to know."""
        return self.job_id, self.attempt, self.session.id, self.outcome.output


#: The outcome of a success without an output.
SUCCEEDED = Outcome(Event.SUCCEED)


class SuccessBatch:
    """Leases of a session that succeeded without an output, as most do: all of one frame, each once."""

    __slots__ = ("leases", "reply", "session")

    def __init__(self, session: Session, leases: list[Lease], reply: SettleReply) -> None:
        self.session = session
        self.leases = leases
        self.reply = reply

    @property
    def ids(self) -> list[UUID]:
        """Of the jobs."""
        return [lease.job_id for lease in self.leases]

    @property
    def since(self) -> float:
        """When the first attempt of them began here, by time.monotonic()."""
        return self.leases[0].template.since

    def split(self, most: int) -> tuple[SuccessBatch, SuccessBatch | None]:
        """Its first leases, so many at most, and the others; None: there are no others."""
        if len(self.leases) <= most:
            return self, None
        first, rest = self.leases[:most], self.leases[most:]
        return SuccessBatch(self.session, first, self.reply), SuccessBatch(self.session, rest, self.reply)

    def pending(self, lease: Lease) -> PendingOutcome:
        """One of them by itself."""
        return PendingOutcome(
            self.session, lease.job_id, lease.attempt, lease.lease_id, lease, SUCCEEDED, self.reply
        )


class Succeeded:
    """Attempts that succeeded at one time, by their kind and by when they began."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._alike: dict[tuple[int, datetime], list[UUID]] = {}
        self.ends: list[Ended] = []

    def add(self, leases: Iterable[Lease]) -> None:
        """Of one session.

        A lease that follows another of the same claim or insert, as most do, costs an append: those have the same lane
        and the same time. Where each call enqueues one job each has a template of its own; to count those one by one
        took 1.2 us a job.
        """
        template = lane = started_at = None
        for lease in leases:
            if lease.template is not template:
                template = lease.template
                if template.lane is not lane or template.started_at is not started_at:
                    lane, started_at = template.lane, template.started_at
                    append = self._of(lane, started_at).append
            append(lease.job_id)

    def _of(self, lane: Lane, started_at: datetime) -> list[UUID]:
        key = lane.id, started_at
        ids = self._alike.get(key)
        if ids is None:
            ids = self._alike[key] = []
            ran = (self._at - started_at).total_seconds()
            self.ends.append(Ended(ids, lane.kind, "succeeded", ran, None, lane.id))
        return ids
