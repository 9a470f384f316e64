"""A worker's session as this server knows it: what it takes, what it holds, and the link to its stream."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from ..errors import JobQueueError
from ..lifecycle import Event
from ..scope import Scope
from .catalog import Lane

#: How many settled leases a session remembers at least, so that the same settlement again can be told apart from a
#: stale one. It remembers twice as many as it ever held at once: those may be unanswered, and no others.
REMEMBERED_LEASES = 256


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
    """One worker's presence. Lives in memory from its Hello until it ends, also while its stream is broken."""

    def __init__(
        self,
        scope: Scope,
        id: int,
        epoch: int,
        name: str,
        ttl: timedelta,
        subscriptions: frozenset[tuple[str, str]],
    ) -> None:
        self.scope = scope
        self.id = id
        self.epoch = epoch
        self.name = name
        self.ttl = ttl
        self.heartbeat_seconds = self.heartbeat_interval.total_seconds()
        self.subscriptions = subscriptions
        self.slots = 0
        self.slots_by_kind: Mapping[str, int] = {}
        self.bytes_limit = 0
        self.leases: dict[int, Lease] = {}
        self.lingering: dict[int, Lingering] = {}
        self.remembered = Remembered()
        self._most_held = 0
        self.reserved = 0
        self.reserved_kinds: Counter[str] = Counter()
        self.bytes_reserved = 0
        self.claiming = False
        self.isolated = 0
        # The isolated lease whose receipt has not come; nothing is delivered after it until then.
        self.isolated_unseen: Lease | None = None
        # Since when receipts stand still while something is unseen.
        self.unseen_since = math.inf
        # Whether it gets no more jobs before its next receipt.
        self.must_receipt = False
        self.bytes_held = 0
        self.draining = False
        self.confirmed = True
        self.opening = True
        self.broken = False
        self.ending = False
        self.silence_written = False
        self.unseen_returned = False
        self.seen = 0
        self.heard_at = time.monotonic()
        self.leave_at = math.inf
        self.stays_at = math.inf
        self.link: Link | None = None
        self.on_room: Callable[[Session], None] | None = None
        self._counter = 0

    @property
    def heartbeat_interval(self) -> timedelta:
        """How often its worker is to be heard: ttl / 4, at most 5 s."""
        return min(self.ttl / 4, timedelta(seconds=5))

    @property
    def free(self) -> int:
        """How many more leases it may be given: level, never counted up and down on its own, so nothing can leak."""
        if self.link is None or self.draining or self.must_receipt:
            return 0
        if self.bytes_limit and self.bytes_held + self.bytes_reserved >= self.bytes_limit:
            return 0
        return self.slots - len(self.leases) - len(self.lingering) - self.reserved

    def has_room(self) -> None:
        """Tells whoever deals that `free` may have grown."""
        if self.on_room is not None:
            self.on_room(self)

    def free_for(self, kind: str) -> int:
        """As `free`, within the kind's own cap."""
        cap = self.slots_by_kind.get(kind)
        if cap is None:
            return self.free
        held = sum(1 for lease in self.leases.values() if lease.lane.kind == kind)
        lingering = sum(1 for lease in self.lingering.values() if lease.kind == kind)
        return min(self.free, cap - held - lingering - self.reserved_kinds[kind])

    @property
    def bounded(self) -> bool:
        """Whether it bounds more than its slots: it is then claimed for alone, and each job is weighed."""
        return bool(self.slots_by_kind) or self.bytes_limit > 0

    def fits(self, size: int, beside: int = 0) -> bool:
        """Whether a payload of this size may come beside those it holds, and `beside`; one alone always may."""
        held = self.bytes_held + self.bytes_reserved + beside
        return not self.bytes_limit or held == 0 or held + size <= self.bytes_limit

    def reserve(self, kind: str, size: int, jobs: int = 1) -> None:
        """Keeps slots for jobs that are being stored; `size` is of all their payloads."""
        self.reserved += jobs
        self.reserved_kinds[kind] += jobs
        self.bytes_reserved += size

    def unreserve(self, kind: str, size: int, jobs: int = 1) -> None:
        """Gives these slots back; a lease that came of one is counted by itself."""
        self.reserved -= jobs
        self.reserved_kinds[kind] -= jobs
        self.bytes_reserved -= size
        self.has_room()

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
            self.isolated -= 1
            self._isolated_gone(lease)
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
                    self.isolated -= 1
                    self._isolated_gone(lease)
                remembered.add(lease_id, (lease.job_id, lease.terms.attempt))
        self.bytes_held -= size
        remembered.forget_beyond(self._worth_remembering)
        self.has_room()

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

    def heard(self, last_delivery: int) -> None:
        """Notes a frame of the worker, and the last delivery that it has seen."""
        self.heard_at = time.monotonic()
        if last_delivery > self.seen:
            self.seen = last_delivery
            link = self.link
            awaits = link is not None and link.awaits_receipt(last_delivery)
            self.unseen_since = self.heard_at if awaits else math.inf
            if self.must_receipt:
                self._receipt()
        elif self.must_receipt and self.link is not None and not self.link.awaits_receipt(self.seen):
            # What it had not seen went back before it was written.
            self.unseen_since = math.inf
            self._receipt()

    def handed_over(self, leases: Sequence[Lease]) -> None:
        """Its link has leases whose receipt is to come. After an isolated one it gets no more before that."""
        if self.unseen_since == math.inf:
            self.unseen_since = time.monotonic()
        if leases[0].terms.isolated:
            self.isolated_unseen = leases[0]
            self.must_receipt = True

    def _receipt(self) -> None:
        lease = self.isolated_unseen
        if lease is None:
            self.must_receipt = False
            self.has_room()
        elif not self.undelivered(lease):
            self._isolated_gone(lease)

    def _isolated_gone(self, lease: Lease) -> None:
        """An isolated lease was seen, or is over: what waited for its receipt goes on."""
        if self.isolated_unseen is lease:
            self.isolated_unseen = None
            self.must_receipt = self.deaf
            if self.link is not None:
                self.link.go_on()
            self.has_room()

    @property
    def deaf(self) -> bool:
        """Whether its receipts have stood still for more than a heartbeat interval while something is unseen."""
        return time.monotonic() - self.unseen_since > self.heartbeat_seconds

    def unseen_for(self, intervals: int) -> list[Lease]:
        """The leases that its worker is not known to have seen for so many heartbeat intervals.

        None of them where a receipt came meanwhile: a worker that reads slowly gets what is on its way.
        """
        before = time.monotonic() - intervals * self.heartbeat_seconds
        if self.unseen_since > before:
            return []
        return [
            lease
            for lease in self.leases.values()
            if self.undelivered(lease) and lease.terms.since <= before and not lease.settling
        ]

    def undelivered(self, lease: Lease) -> bool:
        """Whether the worker is known not to have seen it: a write is not a delivery, a receipt is."""
        return lease.seq == 0 or lease.seq > self.seen

    def end_of(self, lease: Lease) -> Event:
        """How a lease ends with its session, whose worker is lost.

        What was never written can have harmed no worker. What was written and has no receipt may be what killed it: it
        is counted, and where it was delivered by itself it is charged.
        """
        if not self.undelivered(lease):
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
