"""A worker's session as this server knows it: what it takes, what it holds, and the link to its stream."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from ..errors import JobQueueError
from ..lifecycle import Event
from ..scope import Scope
from .catalog import Lane
from .lease.capacity import Capacity
from .lease.receipts import Receipts
from .lease.states import TABLE, SessionEvent, SessionState

#: How many settled leases a session remembers at least, so that the same settlement again can be told apart from a
#: stale one. It remembers twice as many as it ever held at once: those may be unanswered, and no others.
REMEMBERED_LEASES = 256

_LIVE = SessionState.LIVE


@dataclass(frozen=True, slots=True)
class Asked:
    """A cancel that was asked for: why, in its caller's words, and how long from then on the server waits."""

    reason: str
    grace: timedelta

    @classmethod
    def of(cls, reason: str, left: timedelta | None) -> Asked:
        """As it stands in the database, where what is left may be over."""
        return cls(reason, max(left or timedelta(), timedelta()))


@dataclass(slots=True, eq=False)
class Terms:
    """What leases that were given at once have in common."""

    lane: Lane
    attempt: int
    priority: int
    failures: int
    max_attempts: int
    timeout_ms: int | None
    started_at: datetime
    labels: str | None = None
    headers: bytes | None = None
    isolated: bool = False
    since: float = field(default_factory=time.monotonic)


class Lease:
    """One session's right to run one attempt of one job.

    What few leases ever have is the class's until then: of tens of thousands a second each costs what it is written.

    Attributes:
        lease_id, job_id, terms: What it is.
        payload, checkpoint: Of the job, and of the attempts before; let go once they are sent.
        size: Bytes of the payload.
        seq: The delivery that carried it; 0: not sent yet.
        fraction: The progress that its worker last told.
        settling: Whether its outcome is on the way to the database.
        asked: A cancel, as it stood at the moment of a resume.
        told_to_stop: Whether its worker heard of a cancel on this stream.
    """

    checkpoint = b""
    seq = 0
    fraction = 0.0
    settling = False
    asked: Asked | None = None
    told_to_stop = False

    def __init__(self, lease_id: int, job_id: UUID, terms: Terms, payload: bytes = b"") -> None:
        self.lease_id = lease_id
        self.job_id = job_id
        self.terms = terms
        self.payload = payload
        self.size = len(payload)

    @classmethod
    def taken_over(cls, lease_id: int, job_id: UUID, terms: Terms, size: int, asked: Asked | None) -> Lease:
        """One that its worker still holds after a break: it was delivered, by a stream before this one."""
        lease = cls(lease_id, job_id, terms)
        lease.seq = -1
        lease.size = size
        if asked is not None:
            lease.asked = asked
        return lease

    @staticmethod
    def settle(
        held: Mapping[int, Lease], lease_ids: Iterable[int]
    ) -> tuple[list[Lease], list[Lease], list[int]]:
        """Outcomes of leases are on their way from now on.

        Returns:
            Those for which that is new, those whose outcome was on its way already, and numbers that are not held.
        """
        fresh: list[Lease] = []
        again: list[Lease] = []
        unheld: list[int] = []
        for lease_id in lease_ids:
            lease = held.get(lease_id)
            if lease is None:
                unheld.append(lease_id)
            elif lease.settling:
                again.append(lease)
            else:
                lease.settling = True
                fresh.append(lease)
        return fresh, again, unheld

    def settles(self) -> None:
        """Its outcome is on its way."""
        self.settling = True

    def unsettled(self) -> None:
        """Its outcome was not applied."""
        self.settling = False

    def goes_on_from(self, checkpoint: bytes) -> None:
        """What the attempts before left behind."""
        self.checkpoint = checkpoint

    def progressed(self, fraction: float) -> None:
        """Its worker told how far it is."""
        self.fraction = fraction

    def told(self) -> None:
        """Its worker heard of a cancel."""
        self.told_to_stop = True

    @property
    def attempt(self) -> int:
        """Which attempt of the job it is, from 1."""
        return self.terms.attempt

    @property
    def lane(self) -> Lane:
        """Where the job was."""
        return self.terms.lane


@dataclass(frozen=True, slots=True)
class Named:
    """A lease as a worker names it after a break."""

    lease_id: int
    job_id: UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class Lingering:
    """A lease that is over, and whose handler still runs as far as the worker's heartbeats say: it takes up its slot.

    What a worker names of its own accord is not known: `job_id` and `kind` are None then.
    """

    job_id: UUID | None
    attempt: int
    kind: str | None
    size: int


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


class Link(Protocol):
    """The stream of a session, as the core sees it. No method waits: a frame is put in line for the stream's writer."""

    def deliver(self, leases: Sequence[Lease]) -> None:
        """Hands over leases; sets their `seq` when they are written."""

    def cancel(self, lease_ids: Sequence[int], reason: str, grace: timedelta) -> None:
        """Asks the worker to stop these, within the grace."""

    def revoke(self, lease_ids: Sequence[int], reason: str) -> None:
        """Tells the worker that these are no longer its own."""

    def go_away(self, reason: str, drain: timedelta | None, reconnect_after: timedelta = timedelta()) -> None:
        """Asks the worker to connect elsewhere."""

    def goodbye(self, released: Sequence[Lease]) -> None:
        """Ends the stream after a drain."""

    def fail(self, error: JobQueueError) -> None:
        """Ends the stream with what its worker is told."""

    def leave(self) -> None:
        """Ends the stream because the server leaves; the session lives on."""

    def awaits_receipt(self, seen: int) -> bool:
        """Whether a delivery after `seen` is on its way, written or not."""

    def go_on(self) -> None:
        """Writes the deliveries that waited for the receipt of an isolated job."""


class Remembered:
    """Leases that are over: number -> (job id, attempt). The newest of them, at most twice as many as are worth it."""

    def __init__(self) -> None:
        self._newer: dict[int, tuple[UUID, int]] = {}
        self._older: dict[int, tuple[UUID, int]] = {}
        self.add = self._newer.__setitem__

    def get(self, lease_id: int) -> tuple[UUID, int] | None:
        """What it stood for; None where it is not, or no longer, known."""
        return self._newer.get(lease_id) or self._older.get(lease_id)

    def __contains__(self, lease_id: int) -> bool:
        return lease_id in self._newer or lease_id in self._older

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def forget_beyond(self, count: int) -> None:
        """Begins anew after so many, and forgets those before them."""
        if len(self._newer) >= count:
            self._older, self._newer = self._newer, {}
            self.add = self._newer.__setitem__


class Session:
    """One worker's presence. Lives in memory from its Hello until it ends, also while its stream is broken.

    Attributes:
        state: Of `lease/states.py`.
        link: Its stream; None while it has none.
        had_stream: Whether its stream was ever here, so that this server knows what was delivered on it.
        previous_token: Whether the token of the epoch before is still good: until the first frame of this one.
        heard_at: When its last frame came.
        leave_at: When its worker is to be asked to connect elsewhere.
        stays_at: When it is told by its silence about that that its worker found nowhere to go.
        claiming: Whether a claim for it is under way.
        isolated: How many isolated leases it holds.
    """

    def __init__(
        self,
        scope: Scope,
        id: int,
        epoch: int,
        name: str,
        ttl: timedelta,
        subscriptions: frozenset[tuple[str, str]],
        *,
        resumed: bool = False,
    ) -> None:
        self.scope = scope
        self.id = id
        self.epoch = epoch
        self.name = name
        self.ttl = ttl
        self.heartbeat_seconds = self.heartbeat_interval.total_seconds()
        self.subscriptions = subscriptions
        self.state = SessionState.OPENING
        self.link: Link | None = None
        self.had_stream = False
        self.previous_token = resumed
        self.heard_at = time.monotonic()
        self.leave_at = self.stays_at = math.inf
        self.capacity = Capacity()
        self.receipts = Receipts(self.heartbeat_seconds)
        self.claiming = False
        self.leases: dict[int, Lease] = {}
        self.lingering: dict[int, Lingering] = {}
        self.remembered = Remembered()
        self.isolated = 0
        self.bytes_held = 0
        self._most_held = 0
        self._on_room: Callable[[Session], None] | None = None
        self._counter = 0

    @property
    def heartbeat_interval(self) -> timedelta:
        """How often its worker is to be heard: ttl / 4, at most 5 s."""
        return min(self.ttl / 4, timedelta(seconds=5))

    # ---- its state

    def _on(self, event: SessionEvent) -> bool:
        """Takes in what happened. Returns whether that means anything in its state."""
        after = TABLE.get((self.state, event))
        if after is None:
            return False
        self.state = after
        return True

    def attach(self, link: Link, leave_at: float = math.inf) -> None:
        """Its stream is ready for deliveries; at `leave_at` that is too old."""
        if self._on(SessionEvent.ATTACHED):
            self.link = link
            self.had_stream = True
            self.heard_at = time.monotonic()
            self.leave_at = leave_at

    def drain(self) -> None:
        """Its worker stops: it takes no more jobs."""
        self._on(SessionEvent.DRAIN)

    def said_all(self) -> bool:
        """Its worker is done, and it is to end. Returns whether it was not about to already."""
        return self._on(SessionEvent.SAID_ALL)

    def too_old(self, stays_at: float) -> bool:
        """Its stream is too old; at `stays_at` its worker has found nowhere else to go. False: it is about to end."""
        self.leave_at, self.stays_at = math.inf, stays_at
        return self._on(SessionEvent.TOO_OLD)

    def stayed(self, leave_at: float) -> None:
        """Its worker found nowhere else to go: it goes on, until `leave_at`."""
        self.leave_at, self.stays_at = leave_at, math.inf
        self._on(SessionEvent.STAYED)

    def broken(self, link: Link | None) -> bool:
        """A stream of it is gone. Returns whether its silence counts from now: not where another one took its place."""
        if self.link is not link and self.state is not SessionState.OPENING:
            return False
        self.link = None
        return self._on(SessionEvent.BROKEN)

    def gone(self) -> None:
        """It has ended, or goes on elsewhere or in another epoch."""
        self.link = None
        self._on(SessionEvent.GONE)

    def void_previous_token(self) -> None:
        """The first frame of this epoch came."""
        self.previous_token = False

    def keep_previous_token(self) -> None:
        """That could not be written."""
        self.previous_token = True

    # ---- what it takes

    @property
    def takes_jobs(self) -> bool:
        """Whether it gets jobs, if it has room."""
        return self.state is _LIVE

    @property
    def free(self) -> int:
        """How many more leases it may be given: level, never counted up and down on its own, so nothing can leak."""
        if self.state is not _LIVE or self.receipts.wanted:
            return 0
        capacity = self.capacity
        if capacity.bytes and self.bytes_held + capacity.reserved_bytes >= capacity.bytes:
            return 0
        return capacity.slots - len(self.leases) - len(self.lingering) - capacity.reserved

    def free_for(self, kind: str) -> int:
        """As `free`, within the kind's own cap."""
        if kind not in self.capacity.by_kind:
            return self.free
        held = sum(1 for lease in self.leases.values() if lease.lane.kind == kind)
        lingering = sum(1 for lease in self.lingering.values() if lease.kind == kind)
        left = self.capacity.left_of(kind, held + lingering)
        return self.free if left is None else min(self.free, left)

    @property
    def bounded(self) -> bool:
        """Whether it bounds more than its slots: it is then claimed for alone, and each job is weighed."""
        return self.capacity.bounded

    def fits(self, size: int, beside: int = 0) -> bool:
        """Whether a payload of this size may come beside those it holds, and `beside`; one alone always may."""
        return self.capacity.fits(size, self.bytes_held + beside)

    def watch_room(self, on_room: Callable[[Session], None] | None) -> None:
        """Who deals is told when `free` may have grown."""
        self._on_room = on_room

    def has_room(self) -> None:
        """Tells whoever deals that `free` may have grown."""
        if self._on_room is not None:
            self._on_room(self)

    def reserve(self, kind: str, size: int, jobs: int = 1) -> None:
        """Keeps slots for jobs that are being stored; `size` is of all their payloads."""
        self.capacity.keep(jobs, kind, size)

    def unreserve(self, kind: str, size: int, jobs: int = 1) -> None:
        """Gives these slots back; a lease that came of one is counted by itself."""
        self.capacity.let_go(jobs, kind, size)
        self.has_room()

    def claim_begins(self, jobs: int) -> None:
        """Keeps slots for a claim."""
        self.capacity.keep(jobs)
        self.claiming = True

    def claim_ended(self, jobs: int) -> None:
        """Gives these slots back; the leases that the claim brought are counted by themselves."""
        self.capacity.let_go(jobs)
        self.claiming = False
        self.has_room()

    # ---- what it holds

    def next_lease_id(self) -> int:
        """Unique in the session: the epoch above, a counter below."""
        self._counter += 1
        return self.epoch << 32 | self._counter

    def next_lease_ids(self, count: int) -> range:
        """So many of them."""
        first = self.epoch << 32 | self._counter + 1
        self._counter += count
        return range(first, first + count)

    def add(self, lease: Lease) -> None:
        """Takes up a lease that was just committed."""
        self.add_all([lease])

    def add_all(self, leases: Sequence[Lease]) -> None:
        """Takes up leases that were just committed."""
        held, size = self.leases, 0
        for lease in leases:
            held[lease.lease_id] = lease
            size += lease.size
            if lease.terms.isolated:
                self.isolated += 1
        self.bytes_held += size
        self._most_held = max(self._most_held, len(self.leases))

    def drop(self, lease_id: int, *, linger: bool = False) -> Lease | None:
        """Forgets a lease; with `linger` its slot stays counted until a heartbeat no longer names it."""
        lease = self.leases.pop(lease_id, None)
        if lease is None:
            return None
        self.bytes_held -= lease.size
        if lease.terms.isolated:
            self._isolated_over(lease)
        if linger:
            self.linger(lease_id, Lingering(lease.job_id, lease.attempt, lease.lane.kind, lease.size))
        self.remember([lease])
        self.has_room()
        return lease

    def drop_all(self, leases: Iterable[Lease]) -> None:
        """Forgets leases that were settled, as `drop` does, at a third of its cost."""
        held, remembered = self.leases, self.remembered
        size = 0
        for lease in leases:
            lease_id = lease.lease_id
            if held.pop(lease_id, None) is not None:
                size += lease.size
                if lease.terms.isolated:
                    self._isolated_over(lease)
                remembered.add(lease_id, (lease.job_id, lease.terms.attempt))
        self.bytes_held -= size
        remembered.forget_beyond(self._worth_remembering)
        self.has_room()

    def _isolated_over(self, lease: Lease) -> None:
        self.isolated -= 1
        if self.receipts.over(lease):
            self._go_on()

    def linger(self, lease_id: int, lease: Lingering) -> None:
        """Counts a slot and its bytes for a lease that is over, until a heartbeat no longer names it."""
        if lease_id not in self.lingering:
            self.lingering[lease_id] = lease
            self.bytes_held += lease.size

    def inherit(self, earlier: Session) -> None:
        """Takes over from its earlier epoch on this server what that knew beside the leases."""
        self.remembered = earlier.remembered
        for lease_id, lease in earlier.lingering.items():
            self.linger(lease_id, lease)

    def remember(self, leases: Sequence[Lease | Named]) -> None:
        """Keeps what leases stood for that it no longer holds."""
        self._most_held = max(self._most_held, len(leases))
        for lease in leases:
            self.remembered.add(lease.lease_id, (lease.job_id, lease.attempt))
        self.remembered.forget_beyond(self._worth_remembering)

    @property
    def _worth_remembering(self) -> int:
        return max(REMEMBERED_LEASES, 2 * self._most_held)

    def find(self, job_id: UUID, attempt: int) -> Lease | None:
        """The lease on an attempt, by looking at each: cancels and timeouts are rare."""
        for lease in self.leases.values():
            if lease.job_id == job_id and lease.attempt == attempt:
                return lease
        return None

    # ---- what its worker has seen

    def heard(self, last_delivery: int) -> None:
        """Notes a frame of the worker, and the last delivery that it has seen."""
        self.heard_at = time.monotonic()
        if self.receipts.heard(last_delivery, self.heard_at, self._awaits_receipt):
            self._go_on()

    def _awaits_receipt(self, seen: int) -> bool:
        return self.link is not None and self.link.awaits_receipt(seen)

    def _go_on(self) -> None:
        """What waited for a receipt goes on."""
        if self.link is not None:
            self.link.go_on()
        self.has_room()

    def cancel(self, lease: Lease, asked: Asked) -> None:
        """Has its worker stop a job, if it has a stream."""
        lease.told()
        if self.link is not None:
            self.link.cancel([lease.lease_id], asked.reason, asked.grace)

    def go_away(self, reason: str, drain: timedelta | None, reconnect_after: timedelta = timedelta()) -> None:
        """Asks its worker to connect elsewhere, if it has a stream."""
        if self.link is not None:
            self.link.go_away(reason, drain, reconnect_after)

    def leave(self) -> None:
        """Ends its stream, if it has one, because the server leaves."""
        if self.link is not None:
            self.link.leave()

    def handed_over(self, leases: Sequence[Lease]) -> None:
        """Its link has leases whose receipt is to come."""
        self.receipts.handed_over(leases[0], isolated=leases[0].terms.isolated)

    def unseen_for(self, intervals: int) -> list[Lease]:
        """The leases that its worker is not known to have seen for so many heartbeat intervals.

        None of them where a receipt came meanwhile: a worker that reads slowly gets what is on its way.
        """
        before = time.monotonic() - intervals * self.heartbeat_seconds
        if self.receipts.since > before:
            return []
        return [
            lease
            for lease in self.leases.values()
            if self.receipts.unseen(lease) and lease.terms.since <= before and not lease.settling
        ]

    def unseen_without_stream(self) -> list[Lease]:
        """The leases that a worker without a stream is not known to have seen, and that need not wait for its end.

        An isolated job that was written waits for that: it may be what killed the worker, and is charged then.
        """
        if self.receipts.since == math.inf:
            return []
        unseen = [
            lease
            for lease in self.leases.values()
            if self.receipts.unseen(lease) and not lease.settling and self.end_of(lease) is not Event.LOST
        ]
        if not unseen:
            self.receipts.none_unseen()
        return unseen

    def end_of(self, lease: Lease) -> Event:
        """How a lease ends with its session, whose worker is lost.

        What was never written can have harmed no worker. What was written and has no receipt may be what killed it: it
        is counted, and where it was delivered by itself it is charged.
        """
        if not self.receipts.unseen(lease):
            return Event.LOST
        if lease.seq == 0:
            return Event.UNDELIVERED
        return Event.LOST if lease.terms.isolated else Event.UNSEEN

    def still_running(self, held: Iterable[int]) -> list[int]:
        """Takes in a heartbeat's list. Frees the slots of what stopped; returns the leases that are not its own.

        Their handlers run all the same, and so take up slots from now on.
        """
        named = set(held)
        for lease_id in [lease_id for lease_id in self.lingering if lease_id not in named]:
            self.bytes_held -= self.lingering.pop(lease_id).size
            self.has_room()
        unknown = [
            lease_id
            for lease_id in named
            if lease_id not in self.leases
            and lease_id not in self.lingering
            and lease_id not in self.remembered
        ]
        for lease_id in unknown:
            self.linger(lease_id, Lingering(None, 0, None, 0))
        return unknown
