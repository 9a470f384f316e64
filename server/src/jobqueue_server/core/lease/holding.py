"""What a session holds: its leases, those that are over as far as they matter, and what its worker has seen of them."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

from ...lifecycle import Event
from .lease import Lease, Lingering, Named, Remembered
from .receipts import Receipts

#: How many settled leases a session remembers at least, so that it can tell a repeated settlement from a
#: stale one. It remembers twice as many as it ever held at once: those may be unanswered, and no others.
REMEMBERED_LEASES = 256


class Holding(ABC):
    """The leases of one epoch of a session.

    Attributes:
        epoch: Which one.
        heartbeat_interval, heartbeat_seconds: How often its worker is to be heard.
        leases: What it holds, by number.
        lingering: What is over, and whose handlers still run.
        remembered: What is over.
        receipts: What its worker has seen.
        isolated: How many isolated leases it holds.
        bytes_held: Bytes of the payloads of what it holds and of what lingers.
        extra_slots: The slots that these take beyond one each.
    """

    def __init__(self, epoch: int, heartbeat_interval: timedelta) -> None:
        self.epoch = epoch
        self.heartbeat_interval = heartbeat_interval
        self.heartbeat_seconds = heartbeat_interval.total_seconds()
        self.receipts = Receipts(self.heartbeat_seconds)
        self.leases: dict[int, Lease] = {}
        self.lingering: dict[int, Lingering] = {}
        self.remembered = Remembered()
        self.isolated = 0
        self.bytes_held = 0
        self.extra_slots = 0
        self._most_held = 0
        self._counter = 0

    @abstractmethod
    def has_room(self) -> None:
        """The session may take more than before."""

    @abstractmethod
    def go_on(self) -> None:
        """The deliveries that waited for a receipt go on."""

    def next_lease_id(self) -> int:
        """Unique in the session: the epoch above, a counter below."""
        self._counter += 1
        return self.epoch << 32 | self._counter

    def next_lease_ids(self, count: int) -> range:
        """As `next_lease_id`, for so many leases."""
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
            template = lease.template
            if template.isolated:
                self.isolated += 1
            if template.weight > 1:
                self.extra_slots += template.weight - 1
        self.bytes_held += size
        self._most_held = max(self._most_held, len(self.leases))

    def drop(self, lease_id: int, *, linger: bool = False) -> Lease | None:
        """Forgets a lease; with `linger` its slot stays counted until a heartbeat no longer names it."""
        lease = self.leases.pop(lease_id, None)
        if lease is None:
            return None
        self.bytes_held -= lease.size
        template = lease.template
        self.extra_slots -= template.weight - 1
        if template.isolated:
            self._isolated_over(lease)
        if linger:
            over = Lingering(lease.job_id, lease.attempt, lease.lane.kind, lease.size, template.weight)
            self.linger(lease_id, over)
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
                template = lease.template
                if template.isolated:
                    self._isolated_over(lease)
                if template.weight > 1:
                    self.extra_slots -= template.weight - 1
                remembered.add(lease_id, (lease.job_id, template.attempt))
        self.bytes_held -= size
        remembered.forget_beyond(self._worth_remembering)
        self.has_room()

    def _isolated_over(self, lease: Lease) -> None:
        self.isolated -= 1
        if self.receipts.over(lease):
            self.go_on()

    def linger(self, lease_id: int, lease: Lingering) -> None:
        """Counts slots and bytes for a lease that is over, until a heartbeat no longer names it."""
        if lease_id not in self.lingering:
            self.lingering[lease_id] = lease
            self.bytes_held += lease.size
            self.extra_slots += lease.weight - 1

    def inherit(self, earlier: Holding) -> None:
        """Takes over what its earlier epoch on this server knew, leases aside."""
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
        """The lease on an attempt. It reads all leases: cancels and timeouts are rare."""
        for lease in self.leases.values():
            if lease.job_id == job_id and lease.attempt == attempt:
                return lease
        return None

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
            if self.receipts.unseen(lease) and lease.template.since <= before and not lease.settling
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
        return Event.LOST if lease.template.isolated else Event.UNSEEN

    def still_running(self, held: Iterable[int]) -> list[int]:
        """Takes in a heartbeat's list. Frees the slots of what stopped; returns the leases that are not its own.

        Their handlers run all the same, and so take up slots from now on.
        """
        named = set(held)
        for lease_id in [lease_id for lease_id in self.lingering if lease_id not in named]:
            stopped = self.lingering.pop(lease_id)
            self.bytes_held -= stopped.size
            self.extra_slots -= stopped.weight - 1
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
