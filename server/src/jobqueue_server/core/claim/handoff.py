"""The hand-off: reserves slots for jobs that are being stored, so that they are stored as leased."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from contextlib import AbstractContextManager

from ..catalog.catalog import Lane
from ..lease.session import Session
from ..tuning import Tuning
from .activity import Activity
from .deal import deal_chunks
from .delivery import Delivery
from .full import FullLimits
from .insert_pacing import InsertPacing
from .lines import Line, Lines
from .load import Load
from .takers import Takers


class SlotReservation:
    """Slots that are kept for jobs of one lane while they are stored, first come first.

    Attributes:
        sessions: Whose they are: each for that many of the next jobs.
        count: How many there are.
    """

    def __init__(self, kind: str) -> None:
        self.sessions: list[tuple[Session, int]] = []
        self.count = 0
        self._kind = kind
        self._sizes: list[int] = []

    def keep(self, session: Session, size: int, jobs: int) -> None:
        """Keeps slots of a session for that many jobs, whose payloads have `size` bytes together."""
        session.reserve(self._kind, size, jobs)
        self.sessions.append((session, jobs))
        self._sizes.append(size)
        self.count += jobs

    def release(self) -> None:
        """Gives the slots back. The insert was answered, and its leases count by themselves now."""
        for (session, jobs), size in zip(self.sessions, self._sizes, strict=True):
            session.unreserve(self._kind, size, jobs)
        self.sessions, self._sizes = [], []


class HandOff:
    """What intake needs of claims: when an insert may go, which sessions take its jobs, and their delivery.

    Attributes:
        lines: Told of the jobs that wait.
    """

    def __init__(
        self,
        takers: Takers,
        lines: Lines,
        insert_pacing: InsertPacing,
        delivery: Delivery,
        activity: Activity,
        load: Load,
        full: FullLimits,
        tuning: Tuning | None = None,
    ) -> None:
        self._takers = takers
        self._full = full
        self._activity = activity
        self._load = load
        self._most_claimed = (tuning or Tuning()).most_claimed
        self.lines = lines
        self.room_for_insert = insert_pacing.room
        self.brought = insert_pacing.brought
        self.hand_over = delivery.hand_over

    def handing_off(self) -> AbstractContextManager[None]:
        """Around an insert that keeps slots."""
        return self._activity.handing_off()

    def reserve(
        self, lane: Lane, priority: int, sizes: Sequence[int], *, asks: bool = False
    ) -> SlotReservation:
        """Reserves slots for new jobs of a lane, in their order. Jobs beyond the reserved slots go to the backlog.

        If jobs wait that go before the new ones, it reserves only slots that the next claim can't use. Over a backlog
        it reserves none. The caller releases the slots once its insert is answered. `sizes` are the payloads' bytes.
        `asks`: the insert asks the lane's queue how many of its jobs may start. Else it reserves none where a queue is
        to be asked.
        """
        reserved = SlotReservation(lane.kind)
        groups = self._takers.of_lane(lane.id)
        # What takes several slots is claimed: there it is compared with what waits.
        if not groups or lane.weight > 1 or self._activity.paused:
            return reserved
        if lane.closed and not (asks and lane.asks_queue and not self._full.holds(lane)):
            return reserved
        before = self._before(lane, priority)
        if before:
            if any(line.saturated or line.lane.weight > 1 for line in before):
                return reserved
            # Nor does it know here what their claim leaves of what the queue allows.
            if lane.closed and not self._activity.claims:
                return reserved
            # A few jobs wait, as when another server tells of some: new jobs need not wait for their claim. A claim
            # that is under way has its slots already.
            kept = 0 if self._activity.claims else self._most_claimed
            spare = sum(group.credit(kept + len(sizes)) for group in groups) - kept
            if spare <= 0:
                return reserved
            sizes = sizes[:spare]
        # What a claim under way brings to a bounded session is not known yet.
        sessions = (
            session
            for session in heapq.merge(
                *(group.by_room() for group in groups), key=lambda session: session.free, reverse=True
            )
            if not (session.bounded and session.claiming)
        )
        for session, chunk in deal_chunks(sessions, len(sizes), whole=self._load.cpu_overcommitted):
            given = reserved.count
            if not session.bounded:
                reserved.keep(session, sum(sizes[given : given + chunk]), chunk)
                continue
            for _ in range(chunk):
                size = sizes[reserved.count]
                if session.free_for(lane.kind) > 0 and session.fits(size):
                    reserved.keep(session, size, 1)
        return reserved

    def _before(self, lane: Lane, priority: int) -> list[Line]:
        """The lines whose jobs go before new ones of this lane at this priority."""
        return [
            line
            for line in self.lines.of_queue(lane.queue_id)
            if line.ready
            and line.priority >= priority
            and self._takers.of_lane(line.lane.id)
            and (
                not line.lane.closed
                or (lane.closed and line.lane.counted and not self._full.holds(line.lane))
            )
        ]
