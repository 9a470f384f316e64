"""Where new jobs go: to slots that were reserved for them, or to the lines of those that wait."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import cast
from uuid import UUID

from ...fields import terms_of
from ...metrics import Metrics
from ...store.intake.intake import NewRows, Stored
from ..catalog.catalog import Lane
from ..claim.handoff import HandOff, SlotReservation
from ..lease.lease import Lease, LeaseTemplate
from ..lease.session import Session
from ..upkeep.clock import Clock
from .batch import Batch


class Placement:
    """Reserves slots before an insert. After its commit, delivers the jobs in them and tells the lines of the rest."""

    def __init__(self, hand_off: HandOff, clock: Clock, metrics: Metrics) -> None:
        self._hand_off = hand_off
        self._clock = clock
        self._metrics = metrics

    def reserve(self, rows: Sequence[NewRows], lanes: Sequence[Lane], kept: list[SlotReservation]) -> None:
        """Keeps slots for the jobs that may start at once, and notes them in their rows.

        Args:
            rows: What is about to be inserted.
            lanes: The lane of each.
            kept: Gets the slots. The caller releases them once the insert is answered, also when this raises.
        """
        wanted: dict[tuple[Lane, int], list[NewRows]] = defaultdict(list)
        for row, lane in zip(rows, lanes, strict=True):
            # An insert that failed may have noted some.
            row.slots.clear()
            new = row.new
            if new.delay is None and new.run_at is None and new.hold is None:
                wanted[lane, new.priority].append(row)
        for (lane, priority), some in sorted(wanted.items(), key=lambda entry: -entry[0][1]):
            sizes = [len(payload) for row in some for payload in row.payloads]
            slots = self._hand_off.reserve(lane, priority, sizes)
            kept.append(slots)
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

    def stored(self, rows: Sequence[NewRows], lanes: Sequence[Lane], stored: Stored) -> None:
        """The insert is committed."""
        given: dict[Session, list[Lease]] = defaultdict(list)
        counts: dict[Lane, int] = defaultdict(int)
        ready: set[tuple[int, int]] = set()
        lost, refused = stored.lost_keys, stored.refused
        for row, lane in zip(rows, lanes, strict=True):
            if lost and row.id in lost:
                continue
            counts[lane] += len(row.ids)
            first = 0
            if row.slots:
                first, whole = self._lease(row, lane, stored, refused, given)
                if not whole:
                    ready.add((lane.id, row.new.priority))
            if first == len(row.ids):
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

    def _lease(
        self,
        row: NewRows,
        lane: Lane,
        stored: Stored,
        refused: Collection[UUID],
        given: dict[Session, list[Lease]],
    ) -> tuple[int, bool]:
        """Makes the leases of a row's jobs that have slots: how many these are, and whether none was refused."""
        ids, payloads = row.ids, row.payloads
        template = LeaseTemplate(lane, 1, 0, stored.at, terms_of(row))
        first, whole = 0, True
        for holder, count in row.slots:
            session, end = cast(Session, holder), first + count
            leases = [
                Lease(lease_id, job_id, template, payload)
                for lease_id, job_id, payload in zip(
                    session.next_lease_ids(count), ids[first:end], payloads[first:end], strict=True
                )
                if not (refused and job_id in refused)
            ]
            if leases:
                given[session] += leases
                self._metrics.waited_not(lane.kind, len(leases))
            if len(leases) < count:
                whole = False
            first = end
        return first, whole

    def announce(self, batch: Batch, replays: Collection[UUID]) -> None:
        """A batch that was stored without slots is committed: tells the lines of its jobs.

        Args:
            batch: Its rows.
            replays: The ids of the rows that were not stored, because their key stands for another job.
        """
        for row, lane in zip(batch.rows, batch.lanes, strict=True):
            if row.id not in replays:
                self._waits(row, lane)
                self._metrics.enqueued(lane.kind, len(row.ids))

    def _waits(self, row: NewRows, lane: Lane) -> None:
        new, lines = row.new, self._hand_off.lines
        if new.hold is not None:
            return
        if new.run_at is not None:
            lines.due_at(lane.id, new.priority, new.run_at)
        elif new.delay is not None:
            lines.due_at(lane.id, new.priority, self._clock.now() + new.delay)
        else:
            lines.ready(lane.id, new.priority)
