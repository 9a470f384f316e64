"""One case's history: what the processes noted, and what the database says of it in the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from jobqueue_server.lifecycle import Event as Exit
from jobqueue_server.lifecycle import Status

from .journal import Event

Lease = tuple[str, int]


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job in the database. Times are seconds since 1970, by the database's clock.

    Attributes:
        token: What the producer put into the payload: which call this job came of.
        status: QUEUED stands for every status in which a job waits.
        session: Who holds it, or settled it.
        started_at: When the attempt that runs or ended it began.
        leased_for: For how long it has been leased, in seconds; None unless RUNNING.
    """

    id: str
    token: str
    status: Status
    attempts: int
    session: int | None = None
    reason: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    leased_for: float | None = None

    @property
    def last(self) -> tuple[object, ...]:
        """What an end is: it must never change."""
        return (int(self.status), self.reason, self.attempts, self.finished_at)


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    """An attempt that did not succeed, in the database."""

    id: str
    attempt: int
    session: int | None
    outcome: Exit
    started_at: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session in the database. `ttl` is in seconds."""

    id: int
    ttl: float
    ended_at: float | None = None


@dataclass(frozen=True)
class History:
    """What is checked.

    Attributes:
        events: Of all journals; those of one process in their order.
        explained: What may have made a job run again in this case, beside a failure or a snooze.
        all_over: Whether the case has waited until every job had ended.
    """

    events: Sequence[Event]
    jobs: Mapping[str, StoredJob] = field(default_factory=dict)
    attempts: Mapping[Lease, StoredAttempt] = field(default_factory=dict)
    sessions: Mapping[int, StoredSession] = field(default_factory=dict)
    explained: frozenset[Exit] = frozenset()
    all_over: bool = True

    def of(self, *what: str) -> Iterable[Event]:
        """The events of these kinds."""
        return (event for event in self.events if event.what in what)

    @cached_property
    def acknowledged(self) -> Mapping[str, Event]:
        """The enqueues that were answered OK, by job."""
        return {event.id: event for event in self.of("enqueued") if event.code == "OK"}

    @cached_property
    def deliveries(self) -> Mapping[Lease, Sequence[Event]]:
        """Who was handed which attempt."""
        found: dict[Lease, list[Event]] = defaultdict(list)
        for event in self.of("delivered"):
            found[event.lease].append(event)
        return found

    @cached_property
    def settled(self) -> Mapping[Lease, Sequence[Event]]:
        """The answers to settlements."""
        found: dict[Lease, list[Event]] = defaultdict(list)
        for event in self.of("settled"):
            found[event.lease].append(event)
        return found

    @cached_property
    def retried(self) -> Mapping[str, Sequence[float]]:
        """When an operator asked for a job to be retried."""
        found: dict[str, list[float]] = defaultdict(list)
        for event in self.of("retry_asked"):
            found[event.id].append(event.at)
        return found

    @cached_property
    def heard(self) -> Mapping[int, float]:
        """When each session said last what the server surely heard: it answered.

        The server heard it then or later.
        """
        asked: dict[tuple[str, int, int], float] = {}
        last: dict[int, float] = {}
        for event in self.of("beat", "pong"):
            if event.what == "beat":
                asked[event.who, event.session, event.seq] = event.at
            else:
                at = asked.get((event.who, event.session, event.seq), 0.0)
                last[event.session] = max(last.get(event.session, 0.0), at)
        return last

    @cached_property
    def left(self) -> frozenset[int]:
        """The sessions that drained: they end whenever they are empty."""
        return frozenset(event.session for event in self.of("drain", "goodbye"))

    def started_at(self, lease: Lease) -> float | None:
        """When an attempt began, by the database."""
        row = self.attempts.get(lease)
        if row is not None:
            return row.started_at
        job = self.jobs.get(lease[0])
        return job.started_at if job is not None and job.attempts == lease[1] else None
