"""Where new jobs go: to slots that were reserved for them, or to the lines of those that wait."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast
from uuid import UUID

from ...fields import terms_of
from ...lifecycle import Hold
from ...metrics import Metrics
from ...store.intake.intake import Changed, Conflict, NewRows, Stored
from ..catalog.catalog import Lane
from ..claim.handoff import HandOff, SlotReservation
from ..events.flows import Flows
from ..events.wakes import Wakes
from ..lease.lease import Lease, LeaseTemplate
from ..lease.session import Session
from ..upkeep.clock import Clock
from .batch import Batch


@dataclass(frozen=True, slots=True)
class StoredWithin:
    """What was stored within a transaction of others.

    Attributes:
        replays: The rows that were not stored because their key stands for a job already: id of the row -> that job.
        conflicts: The rows that were not stored because a job holds their name.
        kept: The jobs that wait for their key.
        calling: The keys that may let one in now.
        later: Whether jobs that are limited have not asked for their key yet.
        at: When it was stored; None where that was not asked for.
        changed: Jobs that got what later ones of their name brought.
    """

    replays: Mapping[UUID, UUID] = field(default_factory=dict)
    conflicts: Mapping[UUID, Conflict] = field(default_factory=dict)
    kept: Collection[UUID] = ()
    calling: Sequence[int] = ()
    later: bool = False
    at: datetime | None = None
    changed: Sequence[Changed] = ()


class Placement:
    """Reserves slots before an insert. After its commit, delivers the jobs in them and tells the lines of the rest."""

    def __init__(self, hand_off: HandOff, clock: Clock, wakes: Wakes, metrics: Metrics, flows: Flows) -> None:
        self._hand_off = hand_off
        self._wakes = wakes
        self._clock = clock
        self._metrics = metrics
        self._flows = flows

    def reserve(
        self,
        rows: Sequence[NewRows],
        lanes: Sequence[Lane],
        kept: list[SlotReservation],
        *,
        asks: bool = False,
    ) -> Sequence[int]:
        """Keeps slots for the jobs that may start at once, and notes them in their rows.

        Args:
            rows: What is about to be inserted.
            lanes: The lane of each.
            kept: Gets the slots. The caller releases them once the insert is answered, also when this raises.
            asks: Whether the insert can ask queues how many of their jobs may start.

        Returns:
            The queues that it has to ask.
        """
        asked: set[int] = set()
        wanted: dict[tuple[Lane, int], list[NewRows]] = defaultdict(list)
        for row, lane in zip(rows, lanes, strict=True):
            # An insert that failed may have noted some.
            row.slots.clear()
            new = row.new
            # No calls here: each would cost a single enqueue 0.3 us.
            if new.delay is None and new.run_at is None and new.hold is None:
                if row.semaphore_ids is not None and _waits_for_rate(lane):
                    continue
                wanted[lane, new.priority].append(row)
        for (lane, priority), some in sorted(wanted.items(), key=lambda entry: -entry[0][1]):
            sizes = [len(payload) for row in some for payload in row.payloads]
            slots = self._hand_off.reserve(lane, priority, sizes, asks=asks)
            kept.append(slots)
            if lane.closed and slots.count:
                asked.add(lane.queue_id)
            takers = iter(some)
            row, room = next(takers), len(some[0].ids)
            for session, count in slots.sessions:
                while count:
                    if not room:
                        row = next(takers)
                        room = len(row.ids)
                    part = min(room, count)
                    row.slots.append((session, part))
                    room -= part
                    count -= part
        return sorted(asked)

    def stored(self, rows: Sequence[NewRows], lanes: Sequence[Lane], stored: Stored) -> None:
        """The insert is committed."""
        given: dict[Session, list[Lease]] = defaultdict(list)
        counts: dict[Lane, int] = defaultdict(int)
        handed_off: dict[Lane, int] = defaultdict(int)
        ready: set[tuple[int, int]] = set()
        lost, kept = stored.lost_keys, stored.kept
        # Neither has a lease.
        refused = stored.refused | kept if kept else stored.refused
        self._wakes.keys_ready(stored.calling)
        self._changed(stored.changed)
        for row, lane in zip(rows, lanes, strict=True):
            if lost and row.id in lost:
                continue
            counts[lane] += len(row.ids)
            first = 0
            if row.slots:
                first, whole, leased = self._lease(row, lane, stored, refused, given)
                handed_off[lane] += leased
                if lane.backlog is not None:
                    lane.backlog.went(first)
                if not whole and not _all_kept(row, kept):
                    ready.add((lane.id, row.new.priority))
            if first == len(row.ids) or _all_kept(row, kept):
                continue
            if row.new.run_at is None and row.new.delay is None and row.new.hold is None:
                ready.add((lane.id, row.new.priority))
            else:
                self._waits(row, lane)
        for session, leases in given.items():
            self._hand_off.hand_over(session, leases)
        for lane_id, priority in ready:
            self._hand_off.lines.ready(lane_id, priority)
        for lane, count in counts.items():
            self._metrics.enqueued(lane.kind, count)
            self._flows.arrived(lane.id, count)
        for lane, count in handed_off.items():
            self._metrics.waited_not(lane.kind, count)
            self._flows.handed_off(lane.id, count)

    def _lease(
        self,
        row: NewRows,
        lane: Lane,
        stored: Stored,
        refused: Collection[UUID],
        given: dict[Session, list[Lease]],
    ) -> tuple[int, bool, int]:
        """Makes the leases of a row's jobs that have slots: how many these are, whether none was refused, and how many
        leases there are.
        """
        ids, payloads, keys = row.ids, row.payloads, row.keys
        template = LeaseTemplate(lane, 1, 0, stored.at, terms_of(row), keyed=keys is not None)
        first, whole, leased = 0, True, 0
        for holder, count in row.slots:
            session, end = cast(Session, holder), first + count
            leases = [
                Lease(lease_id, job_id, template, payload)
                for lease_id, job_id, payload in zip(
                    session.next_lease_ids(count), ids[first:end], payloads[first:end], strict=True
                )
            ]
            if keys is not None:
                for lease, key in zip(leases, keys[first:end], strict=True):
                    lease.has_key(key)
            if refused:
                leases = [lease for lease in leases if lease.job_id not in refused]
            if leases:
                given[session] += leases
                leased += len(leases)
            if len(leases) < count:
                whole = False
            first = end
        return first, whole, leased

    def announce(self, batch: Batch, how: StoredWithin) -> None:
        """A batch that was stored without slots is committed: tells the lines of its jobs."""
        self._wakes.keys_ready(how.calling)
        self._changed(how.changed)
        if how.later and batch.limited:
            self._wakes.due()
        counts: dict[Lane, int] = defaultdict(int)
        ready: set[tuple[int, int]] = set()
        for row, lane in zip(batch.rows, batch.lanes, strict=True):
            if row.id in how.replays or row.id in how.conflicts:
                continue
            counts[lane] += len(row.ids)
            if (how.later and row.semaphore_ids is not None) or _all_kept(row, how.kept):
                continue
            if row.new.run_at is None and row.new.delay is None and row.new.hold is None:
                ready.add((lane.id, row.new.priority))
            else:
                self._waits(row, lane)
        for lane_id, priority in ready:
            self._hand_off.lines.ready(lane_id, priority)
        for lane, count in counts.items():
            self._metrics.enqueued(lane.kind, count)
            self._flows.arrived(lane.id, count)

    def _changed(self, jobs: Sequence[Changed]) -> None:
        """Jobs were changed by later ones of their names, and may start at another time."""
        for job in jobs:
            if job.hold is None:
                self._hand_off.lines.moved(job.lane_id, job.priority, job.run_at, isolated=job.isolated)
            elif job.hold is Hold.TIME:
                self._wakes.due()

    def _waits(self, row: NewRows, lane: Lane) -> None:
        new, lines = row.new, self._hand_off.lines
        if new.hold is not None:
            return
        if row.semaphore_ids is not None and (new.run_at is not None or new.delay is not None):
            # It asks for its key at its time, which the sweep of the keys finds.
            return
        if new.run_at is not None:
            lines.due_at(lane.id, new.priority, new.run_at)
        elif new.delay is not None:
            lines.due_at(lane.id, new.priority, self._clock.now() + new.delay)


def _waits_for_rate(lane: Lane) -> bool:
    """Whether jobs with a key wait for it in any case: the rate of a key is looked after where jobs are let in."""
    return lane.keys is not None and lane.keys.rate is not None


def _all_kept(row: NewRows, kept: Collection[UUID]) -> bool:
    """Whether each of its jobs waits for its key."""
    return bool(kept) and all(job_id in kept for job_id in row.ids)
