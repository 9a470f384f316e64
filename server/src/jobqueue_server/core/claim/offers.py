"""Slots for jobs that are let in by their keys: who is let in takes one, where nothing in line goes before it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from ...errors import JobQueueError
from ...store.policy.semaphores import NO_SLOTS, Leased, Slots
from ..lease.lease import Lease
from ..lease.session import Session
from ..tuning import Tuning
from .activity import Activity
from .deal import deal
from .delivery import Delivery
from .lines import Lines
from .load import Load
from .takers import Takers
from .targets import Group

_log = logging.getLogger(__name__)


class Offer:
    """Slots that jobs may take which are let in now.

    Attributes:
        slots: As the statement wants them.
        leased: The jobs that took some.
    """

    def __init__(
        self,
        slots: Slots = NO_SLOTS,
        kept: Mapping[Session, int] | None = None,
        ending: Mapping[Session, int] | None = None,
    ) -> None:
        self.slots = slots
        self.leased: Sequence[Leased] = ()
        self._kept = kept or {}
        # Of these slots those whose leases end with the statement: until then they are counted by these.
        self._counted = {
            session: min(jobs, (ending or {}).get(session, 0)) for session, jobs in self._kept.items()
        }
        for session, jobs in self._kept.items():
            session.reserve(None, 0, jobs - self._counted[session])

    @property
    def sessions(self) -> dict[int, Session]:
        """Whose slots they are, by the sessions' ids."""
        return {session.id: session for session in self._kept}

    def taken(self, leased: Sequence[Leased]) -> None:
        """These jobs took slots. It is committed: what ended counts no longer."""
        self.leased = leased
        for session, jobs in self._counted.items():
            session.reserve(None, 0, jobs)
        self._counted = {}

    def end(self) -> None:
        """Gives the slots back. The leases that came of them are counted by themselves."""
        for session, jobs in self._kept.items():
            session.unreserve(None, 0, jobs - self._counted.get(session, 0))


class Offers:
    """Keeps slots for jobs that are let in, and delivers those that took one.

    Sessions that bound kinds or bytes are left out, since sizes are not known here: their jobs go through the lines.
    """

    def __init__(
        self,
        takers: Takers,
        lines: Lines,
        delivery: Delivery,
        activity: Activity,
        load: Load,
        tuning: Tuning,
    ) -> None:
        self._takers = takers
        self._lines = lines
        self._delivery = delivery
        self._activity = activity
        self._load = load
        self._tuning = tuning
        self._delivering: set[asyncio.Task[None]] = set()

    @contextmanager
    def offer(self, leases: Iterable[tuple[Session, Lease]]) -> Iterator[Offer]:
        """Around a statement that ends leases and lets jobs in. What took slots is delivered afterwards.

        Args:
            leases: What ends, and whose it is: as many slots are offered, of all sessions that take jobs of the queue.
                None for queues whose keys take turns: there the slot is not for the key whose job has ended.
        """
        with ExitStack() as kept:
            kept.enter_context(self._activity.handing_off())
            lanes = ((each, each[1].template.lane) for each in leases)
            offer = self._offer([each for each, lane in lanes if lane.limits and not lane.fair])
            kept.callback(self._end, offer)
            yield offer
            if offer.leased:
                delivering = asyncio.ensure_future(self._deliver(offer, kept.pop_all()))
                self._delivering.add(delivering)
                delivering.add_done_callback(self._delivering.discard)

    def _offer(self, leases: Sequence[tuple[Session, Lease]]) -> Offer:
        if self._activity.paused:
            return Offer()
        group_of: dict[int, Group] = {}
        shares: Counter[Group] = Counter()
        for queue_id, jobs in Counter(lease.template.lane.queue_id for _, lease in leases).items():
            # What takes several slots is claimed: there it is compared with what waits.
            lanes = [
                lane_id for lane_id in self._takers.lanes_of(queue_id) if self._takers.weight(lane_id) == 1
            ]
            found = {lane_id: self._group(lane_id) for lane_id in lanes}
            takers = {lane_id: group for lane_id, group in found.items() if group is not None}
            group_of |= takers
            shares.update(dict.fromkeys(takers.values(), jobs))
        # What ends counts as free already, as long as slots are dealt.
        ending = Counter(session for session, _ in leases)
        for session, jobs in ending.items():
            session.unreserve(None, 0, jobs)
        sessions: list[Session] = []
        places: dict[Group, tuple[int, int]] = {}
        for group, jobs in shares.items():
            left = group.slots_left(self._lines, jobs, self._tuning.most_claimed)
            dealt = deal(group.by_room(), left, whole=self._load.cpu_overcommitted)
            if dealt:
                places[group] = len(sessions), len(dealt)
                sessions += dealt
        for session, jobs in ending.items():
            session.reserve(None, 0, jobs)
        kept = Counter(sessions)
        slots = Slots(
            {lane_id: places[group] for lane_id, group in group_of.items() if group in places},
            [session.id for session in sessions],
            {session.id: session.epoch for session in kept},
        )
        return Offer(slots, kept, ending)

    def _group(self, lane_id: int) -> Group | None:
        """Of the groups that take jobs of a lane the one with the most credit."""
        groups = [group for group in self._takers.of_lane(lane_id) if not group.bounded]
        most = self._tuning.most_claimed
        return max(groups, key=lambda group: group.credit(most), default=None)

    def _end(self, offer: Offer) -> None:
        offer.end()
        if offer.slots.sessions:
            self._activity.wake()

    async def _deliver(self, offer: Offer, kept: ExitStack) -> None:
        with kept:
            try:
                await self._delivery.deliver(offer.leased, offer.sessions)
            except JobQueueError as error:
                # The claimer gives back what is leased and was not delivered.
                _log.warning("%d jobs that were let in are not delivered: %s", len(offer.leased), error)
                self._activity.wake()
