"""The sessions of this server that take jobs, in groups with the same subscriptions."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence

from ..catalog.catalog import Catalog, Lane
from ..events.database_state import DatabaseChange, DatabaseState
from ..lease.session import Session
from .activity import Activity
from .targets import Group, turns


class Takers:
    """The groups of sessions that take jobs, and the lanes that they take them from.

    Attributes:
        new_lanes: Set when there may be a lane that no session here took jobs from before.
    """

    def __init__(self, catalog: Catalog, activity: Activity, database: DatabaseState) -> None:
        self._catalog = catalog
        self._activity = activity
        self._groups: dict[object, Group] = {}
        self._group_of: dict[Session, object] = {}
        # The groups by what they take: namespace, queue and kind.
        self._taking: dict[tuple[int, str, str], dict[Group, None]] = {}
        self._by_lane: dict[int, list[Group]] = {}
        self._by_queue: dict[int, list[int]] = {}
        self._asking_turn = 0
        self.new_lanes = asyncio.Event()
        catalog.on_change.append(self._lanes_changed)
        database.subscribe(self._database_changed)

    def attach(self, session: Session) -> None:
        """A session takes jobs from now on, or takes more or fewer than before."""
        key: object = session.id if session.bounded else (session.scope.namespace, session.subscriptions)
        if self._group_of.get(session) == key:
            known = self._groups[key]
            known.resized(session)
            self._see_again(known)
            self._activity.wake()
            return
        self.detach(session)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(session.scope.namespace, session.subscriptions)
            for place in group.places:
                self._taking.setdefault(place, {})[group] = None
            self._see([group])
        group.add(session)
        self._group_of[session] = key
        self._see_again(group)
        self._activity.wake()

    def detach(self, session: Session) -> None:
        """A session takes no more jobs. Its leases stay."""
        key = self._group_of.pop(session, None)
        if key is None:
            return
        group = self._groups[key]
        group.discard(session)
        if not group.sessions:
            del self._groups[key]
            for place in group.places:
                groups = self._taking[place]
                del groups[group]
                if not groups:
                    del self._taking[place]
            self._place(group.lanes)
        else:
            self._see_again(group)

    def _see_again(self, group: Group) -> None:
        """Its sessions may be large enough for other jobs than before, or no longer for some."""
        if group.outdated:
            self._see([group])

    def __contains__(self, session: Session) -> bool:
        return session in self._group_of

    def _lanes_changed(self, lanes: Sequence[Lane]) -> None:
        groups = {
            group: None
            for lane in lanes
            for group in self._taking.get((lane.namespace, lane.queue, lane.kind), ())
        }
        if groups:
            self._see(groups)

    def _see(self, groups: Collection[Group]) -> None:
        """These groups take in the lanes that there are now."""
        before = [lane for group in groups for lane in group.lanes]
        for group in groups:
            group.see(self._catalog)
        self._place([*before, *(lane for group in groups for lane in group.lanes)])
        self.sweep_anew()

    def _place(self, lanes: Iterable[Lane]) -> None:
        """Finds anew who takes jobs of these lanes."""
        queues: dict[int, set[int]] = {}
        for lane in dict.fromkeys(lanes):
            of_lane = [
                group
                for group in self._taking.get((lane.namespace, lane.queue, lane.kind), ())
                if group.takes(lane)
            ]
            taken = queues.setdefault(lane.queue_id, set(self._by_queue.get(lane.queue_id, ())))
            if of_lane:
                self._by_lane[lane.id] = of_lane
                taken.add(lane.id)
            else:
                self._by_lane.pop(lane.id, None)
                taken.discard(lane.id)
        for queue_id, taken in queues.items():
            if taken:
                self._by_queue[queue_id] = sorted(taken)
            else:
                self._by_queue.pop(queue_id, None)

    async def _database_changed(self, change: DatabaseChange) -> None:
        if change is DatabaseChange.BACK:
            self.sweep_anew()

    def wake(self) -> None:
        """A session has more free slots than before."""
        self._activity.wake()

    def sweep_anew(self) -> None:
        """The sweep is to read every lane: there is a new one, or anything may have happened."""
        self.new_lanes.set()
        self._activity.wake()

    @property
    def groups(self) -> Collection[Group]:
        """All of them."""
        return self._groups.values()

    def turns(self) -> Iterator[Group]:
        """Each of them that there is now, unless it is gone when its turn comes."""
        for key in list(self._groups):
            group = self._groups.get(key)
            if group is not None:
                yield group

    def asking(self) -> list[Group]:
        """Those with lanes that limits hold, each the first one in its turn."""
        found = [group for group in self._groups.values() if group.asks]
        self._asking_turn += 1
        return turns(found, self._asking_turn)

    def of_lane(self, lane_id: int) -> list[Group]:
        """The groups that take jobs of a lane."""
        return self._by_lane.get(lane_id, [])

    def lanes_of(self, queue_id: int) -> Sequence[int]:
        """The lanes of a queue that a session here takes jobs from."""
        return self._by_queue.get(queue_id, ())

    def weight(self, lane_id: int) -> int:
        """How many slots a job of the lane takes."""
        lane = self._catalog.lane_by_id(lane_id)
        return 1 if lane is None else lane.weight

    def lanes(self) -> list[Lane]:
        """Every lane that a session here takes jobs from."""
        return [lane for lane_id in self._by_lane if (lane := self._catalog.lane_by_id(lane_id)) is not None]

    @property
    def any_lane(self) -> bool:
        """Whether there is a lane that a session here takes jobs from."""
        return bool(self._by_lane)

    def credit(self, enough: int) -> int:
        """The free credit of all sessions, as far as it matters."""
        return sum(group.credit(enough) for group in self._groups.values())
