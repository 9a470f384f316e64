"""A worker's session as this server knows it: its state, what it takes, and the link to its stream."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

from ...errors import JobQueueError
from ...scope import Scope
from .capacity import Capacity
from .holding import Holding
from .lease import CancelRequest, Lease
from .states import TABLE, SessionEvent, SessionState

#: A worker is to be heard at least so often.
LONGEST_INTERVAL = timedelta(seconds=5)

_LIVE = SessionState.LIVE


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


class Session(Holding):
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
        kept: Of its reserved slots those that no job takes but one, for which they are still too few.
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
        drains: bool = False,
    ) -> None:
        #: On whose behalf its worker works. Its grants may change while it is open.
        self.scope = scope
        super().__init__(epoch, min(ttl / 4, LONGEST_INTERVAL))
        self.id = id
        self.name = name
        self.ttl = ttl
        self.subscriptions = subscriptions
        self.state = SessionState.OPENING
        self.link: Link | None = None
        self.had_stream = False
        self.previous_token = resumed
        self._drains = drains
        self.heard_at = time.monotonic()
        self.leave_at = self.stays_at = math.inf
        self.capacity = Capacity()
        self.claiming = False
        self.kept = 0
        self._on_room: Callable[[Session], None] | None = None

    # ---- its state

    def _on(self, event: SessionEvent) -> bool:
        """Applies an event to the state. Returns whether the state has a transition for it."""
        after = TABLE.get((self.state, event))
        if after is None:
            return False
        self.state = after
        return True

    def attach(self, link: Link, leave_at: float = math.inf) -> None:
        """The stream is ready for deliveries. At `leave_at` it is too old."""
        if self._on(SessionEvent.ATTACHED):
            self.link = link
            self.had_stream = True
            self.heard_at = time.monotonic()
            self.leave_at = leave_at
            if self._drains:
                self.withhold()

    def withhold(self) -> bool:
        """An operator drains the worker: it gets no more jobs. Returns whether it got some until now."""
        return self._on(SessionEvent.WITHHOLD)

    def drain(self) -> None:
        """The worker drains: it takes no more jobs."""
        self._on(SessionEvent.DRAIN)

    def said_all(self) -> bool:
        """The worker said goodbye, so the session is to end. Returns False if it was about to end already."""
        return self._on(SessionEvent.SAID_ALL)

    def act_as(self, scope: Scope) -> None:
        """The grants of its principal have changed, and are still for all that it subscribes to."""
        self.scope = scope

    def too_old(self, stays_at: float) -> bool:
        """Its stream is too old; at `stays_at` its worker has found nowhere else to go. False: it is about to end."""
        self.leave_at, self.stays_at = math.inf, stays_at
        return self._on(SessionEvent.TOO_OLD)

    def stayed(self, leave_at: float) -> None:
        """The worker found no other server: the session goes on here until `leave_at`."""
        self.leave_at, self.stays_at = leave_at, math.inf
        self._on(SessionEvent.STAYED)

    def broken(self, link: Link | None) -> bool:
        """A stream of it is gone. Returns whether its silence counts from now: not where another one took its place."""
        if self.link is not link and self.state is not SessionState.OPENING:
            return False
        self.link = None
        return self._on(SessionEvent.BROKEN)

    def gone(self) -> None:
        """The session has ended, or goes on elsewhere or in another epoch."""
        self.link = None
        self._on(SessionEvent.GONE)

    def void_previous_token(self) -> None:
        """The first frame of this epoch came."""
        self.previous_token = False

    def keep_previous_token(self) -> None:
        """The end could not be written."""
        self.previous_token = True

    # ---- what it takes

    @property
    def takes_jobs(self) -> bool:
        """Whether the session gets jobs, if it has free slots."""
        return self.state is _LIVE

    @property
    def free(self) -> int:
        """How many more leases of one slot it may be given: level, so nothing can leak."""
        if self.state is not _LIVE or self.receipts.wanted:
            return 0
        capacity = self.capacity
        left = capacity.slots - len(self.leases) - len(self.lingering) - self.extra_slots - capacity.reserved
        if capacity.bytes:
            if self.bytes_held + capacity.reserved_bytes >= capacity.bytes:
                return 0
            if capacity.jobs is not None:
                return min(left, capacity.jobs - len(self.leases) - capacity.reserved)
        return left

    def room(self) -> tuple[int, int]:
        """The slots that jobs of several slots may take, the kept ones included, and how many such jobs at most."""
        if self.receipts.wanted or self.state is not _LIVE:
            return 0, 0
        capacity = self.capacity
        if capacity.bytes and self.bytes_held + capacity.reserved_bytes >= capacity.bytes:
            return 0, 0
        others = capacity.reserved - self.kept
        slots = capacity.slots - len(self.leases) - len(self.lingering) - self.extra_slots - others
        jobs = slots if capacity.jobs is None else capacity.jobs - len(self.leases) - others
        return max(slots, 0), max(jobs, 0)

    def keep_free(self, slots: int) -> None:
        """Keeps so many slots, of those that are free or get free, for a job that takes as many; 0: no longer."""
        self.capacity.keep(slots - self.kept)
        self.kept = slots
        self.has_room()

    def free_for(self, kind: str) -> int:
        """As `free`, within the kind's own cap."""
        left = self.left_of(kind)
        return self.free if left is None else min(self.free, left)

    def left_of(self, kind: str) -> int | None:
        """How many more jobs the kind's own cap allows, whatever is free. None: it has none."""
        if kind not in self.capacity.by_kind:
            return None
        held = sum(1 for lease in self.leases.values() if lease.lane.kind == kind)
        lingering = sum(1 for lease in self.lingering.values() if lease.kind == kind)
        return self.capacity.left_of(kind, held + lingering)

    @property
    def bounded(self) -> bool:
        """Whether it bounds more than its slots: then it has claims of its own, and each job's size counts."""
        return self.capacity.bounded

    def fits(self, size: int, also: int = 0) -> bool:
        """Whether a payload of this size fits, with what it holds and `also` more bytes. A first one always fits."""
        return self.capacity.fits(size, self.bytes_held + also)

    def watch_room(self, on_room: Callable[[Session], None] | None) -> None:
        """Sets the group that is told when `free` may have grown."""
        self._on_room = on_room

    def has_room(self) -> None:
        """Tells the group, which deals jobs, that `free` may have grown."""
        if self._on_room is not None:
            self._on_room(self)

    def reserve(self, kind: str | None, size: int, jobs: int = 1) -> None:
        """Keeps slots for jobs that are being stored or let in; `size` is of all their payloads, where it is known."""
        self.capacity.keep(jobs, kind, size)

    def unreserve(self, kind: str | None, size: int, jobs: int = 1) -> None:
        """Gives these slots back; a lease that came of one is counted by itself."""
        self.capacity.let_go(jobs, kind, size)
        self.has_room()

    def claim_begins(self, slots: int) -> None:
        """Keeps slots for a claim."""
        self.capacity.keep(slots)
        self.claiming = True

    def claim_ended(self, slots: int) -> None:
        """Gives these slots back; the leases that the claim brought are counted by themselves."""
        self.capacity.let_go(slots)
        self.claiming = False
        self.has_room()

    # ---- what its worker has seen

    def heard(self, last_delivery: int) -> None:
        """Notes a frame of the worker, and the last delivery that it has seen."""
        self.heard_at = time.monotonic()
        if self.receipts.heard(last_delivery, self.heard_at, self._awaits_receipt):
            self.go_on()

    def _awaits_receipt(self, seen: int) -> bool:
        return self.link is not None and self.link.awaits_receipt(seen)

    def go_on(self) -> None:
        """The deliveries that waited for a receipt go on."""
        if self.link is not None:
            self.link.go_on()
        self.has_room()

    def cancel(self, lease: Lease, asked: CancelRequest) -> None:
        """Asks the worker to stop a job, if the session has a stream."""
        lease.told()
        if self.link is not None:
            self.link.cancel([lease.lease_id], asked.reason, asked.grace)

    def go_away(self, reason: str, drain: timedelta | None, reconnect_after: timedelta = timedelta()) -> None:
        """Asks the worker to connect elsewhere, if the session has a stream."""
        if self.link is not None:
            self.link.go_away(reason, drain, reconnect_after)

    def leave(self) -> None:
        """Ends the stream, if there is one, because the server drains."""
        if self.link is not None:
            self.link.leave()

    def handed_over(self, leases: Sequence[Lease]) -> None:
        """The link has these leases, and their receipt is to come."""
        self.receipts.handed_over(leases[0], isolated=leases[0].template.isolated)
