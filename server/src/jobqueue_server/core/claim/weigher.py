"""Claims where jobs wait that take several slots: who gets which of the next jobs, and what is kept free for whom.

A claim leases jobs of one weight, so each of them fits where one of them was to go, also if another server has leased
some meanwhile. A job that goes before others and fits nowhere gets a session that keeps slots free for it. So no later
job can keep it waiting for ever: it waits for what ran before.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...store.claim.claims import ClaimStore, ClaimTarget, Waiting
from ..catalog.catalog import Lane
from ..lease.session import Session
from .activity import Activity
from .lines import Line, Lines
from .plan import Plan
from .targets import Group

#: So many jobs are looked at for one claim.
MOST_WEIGHED = 200


@dataclass(slots=True)
class _Room:
    """What a session may be given: so many slots, and so many jobs."""

    session: Session
    slots: int
    jobs: int

    @property
    def most(self) -> int:
        return min(self.slots, self.jobs)

    def give(self, weight: int) -> None:
        self.slots -= weight
        self.jobs -= 1


@dataclass(frozen=True, slots=True)
class _Dealt:
    """What became of the next jobs: of each weight the lines and sessions of those that fit, and who keeps slots."""

    placed: Mapping[int, Sequence[tuple[Waiting, Session]]]
    keeps: Mapping[Session, int]


class Weigher:
    """Plans such claims, and lets sessions keep slots free. What no group asks for in a round is kept no longer."""

    def __init__(self, store: ClaimStore, lines: Lines, activity: Activity) -> None:
        self._store = store
        self._lines = lines
        self._activity = activity
        # For whom each session keeps slots, and which of them were asked for in this round.
        self._keeps: dict[Session, Hashable] = {}
        self._asked: set[Session] = set()

    async def plan(self, group: Group) -> Plan | None:
        """The next claim of a group where a job of several slots may be waiting. None: none can be made now.

        It looks at the next jobs in the order of claims. Each is dealt to the session with the most room. One that fits
        nowhere lets a session keep slots, and the jobs after it get the rest.
        """
        while True:
            # As for a claim of several lines: it must not pass over rows that another one has locked.
            while self._activity.claims:
                await self._activity.progress()
            if self._activity.paused:
                return None
            most = sum(room.most for room in self._rooms(group, group))
            targets, lines = group.every_target(self._lines, min(most or 1, MOST_WEIGHED))
            if not targets:
                return None
            if not most:
                self._keep_one(group, lines)
                return None
            marks = [line.mark for line in lines]
            waiting = await self._store.waiting(targets, min(most, MOST_WEIGHED), sizes=group.bounded)
            if not self._activity.claims:
                break
        if len(waiting) < min(most, MOST_WEIGHED):
            _used_up(targets, lines, marks, waiting)
        lanes = {line.lane.id: line.lane for line in lines}
        dealt = self._deal(waiting, lanes, self._rooms(group, group), group)
        self._keep_all(group, dealt.keeps)
        return _plan(dealt, targets, lines)

    async def slots(self, group: Group, lanes: list[Lane], most: int) -> list[Session]:
        """Who gets the next jobs of these lanes, which ask limits: one entry for each, none where slots are kept first.

        Such jobs are not compared with others by their order.
        """
        owner, weight = (group, lanes[0].id), lanes[0].weight
        rooms = self._rooms(group, owner)
        found = [room.session for room in rooms for _ in range(min(room.slots // weight, room.jobs))][:most]
        if found:
            self._keep_all(owner, {})
            return found
        targets, lines = group.targets(self._lines, 1, lanes)
        marks = [line.mark for line in lines]
        waiting = await self._store.waiting(targets, 1, sizes=False)
        if waiting:
            self._keep_any(group, weight, owner, self._rooms(group, owner))
        else:
            # No claim will find that out, as none can be made.
            _used_up(targets, lines, marks, waiting)
        return []

    async def each(self, group: Group, lanes: list[Lane], sessions: Collection[Session]) -> list[Session]:
        """As `slots`, of these sessions each once, for jobs that run isolated."""
        owner, weight = (group, lanes[0].id, "isolated"), lanes[0].weight
        rooms = [self._room(session, owner) for session in sessions]
        found = [room.session for room in rooms if room.slots >= weight and room.jobs > 0]
        if found:
            self._keep_all(owner, {})
            return found
        if not rooms:
            # Each holds a job that runs isolated: slots would be kept in vain.
            return []
        marks = {lane.id: self._lines.isolated[lane.id] for lane in lanes}
        if await self._store.heads_isolated(list(marks)):
            keeper = self._keeper(rooms, weight, owner)
            self._keep_all(owner, {} if keeper is None else {keeper: weight})
        else:
            self._lines.none_isolated(marks)
        return []

    def round_ended(self) -> None:
        """Each group had its claims. Slots for which no group asked are free again."""
        for session in [session for session in self._keeps if session not in self._asked]:
            self._free(session)
        self._asked.clear()

    # ---- who has room

    def _rooms(self, group: Group, owner: Hashable) -> list[_Room]:
        """The sessions with free slots, those included that keep some for this owner, until these are enough."""
        own = [
            session for session, whose in self._keeps.items() if whose == owner and session in group.sessions
        ]
        rooms = [self._room(session, owner) for session in own]
        found = sum(room.most for room in rooms)
        for session in group.by_room():
            if found >= MOST_WEIGHED:
                break
            if self._keeps.get(session) != owner:
                room = self._room(session, owner)
                rooms.append(room)
                found += room.most
        return rooms

    def _room(self, session: Session, owner: Hashable) -> _Room:
        if self._keeps.get(session, owner) == owner:
            return _Room(session, *session.room())
        left = max(session.free, 0)
        return _Room(session, left, left)

    def _deal(
        self,
        waiting: Sequence[Waiting],
        lanes: Mapping[int, Lane],
        rooms: Sequence[_Room],
        owner: Hashable,
    ) -> _Dealt:
        placed: dict[int, list[tuple[Waiting, Session]]] = defaultdict(list)
        keeps: dict[Session, int] = {}
        sizes: Counter[Session] = Counter()
        free = [(-room.slots, number, room) for number, room in enumerate(rooms) if room.most]
        heapq.heapify(free)
        for job in waiting:
            if not free:
                break
            weight = lanes[job.lane_id].weight
            _, number, room = free[0]
            if room.slots < weight:
                keeper = self._keeper([room for room in rooms if room.session not in keeps], weight, owner)
                if keeper is not None:
                    keeps[keeper] = weight
                    free = [entry for entry in free if entry[2].session is not keeper]
                    heapq.heapify(free)
                continue
            if not room.session.fits(job.size, also=sizes[room.session]):
                break
            heapq.heappop(free)
            room.give(weight)
            sizes[room.session] += job.size
            placed[weight].append((job, room.session))
            if room.most:
                heapq.heappush(free, (-room.slots, number, room))
        return _Dealt(placed, keeps)

    # ---- what is kept

    def _keeper(self, rooms: Collection[_Room], weight: int, owner: Hashable) -> Session | None:
        """Of the sessions that are large enough the one with the most room; of equals, one that keeps slots already."""
        large = [
            room
            for room in rooms
            if room.session.capacity.slots >= weight and self._keeps.get(room.session, owner) == owner
        ]
        best = max(large, key=lambda room: (room.slots, room.session in self._keeps), default=None)
        return None if best is None else best.session

    def _keep_one(self, group: Group, lines: Collection[Line]) -> None:
        """No slot is free, and none was looked at: what gets free first is not for jobs that are handed off."""
        weight = max(line.lane.weight for line in lines)
        if weight > 1:
            self._keep_any(group, weight, group, self._rooms(group, group))

    def _keep_any(self, group: Group, weight: int, owner: Hashable, rooms: Collection[_Room]) -> None:
        keeper = self._keeper(rooms, weight, owner)
        if keeper is None:
            others = (
                session for session in group.sessions if session not in self._keeps and session.takes_jobs
            )
            keeper = next((session for session in others if session.capacity.slots >= weight), None)
        self._keep_all(owner, {} if keeper is None else {keeper: weight})

    def _keep_all(self, owner: Hashable, keeps: Mapping[Session, int]) -> None:
        """These sessions keep so many slots each for this owner, and no others do."""
        for session in [session for session, whose in self._keeps.items() if whose == owner]:
            if session not in keeps:
                self._free(session)
        for session, slots in keeps.items():
            self._keeps[session] = owner
            self._asked.add(session)
            if session.kept != slots:
                session.keep_free(slots)

    def _free(self, session: Session) -> None:
        del self._keeps[session]
        self._asked.discard(session)
        session.keep_free(0)
        self._activity.wake()


def _used_up(
    targets: Sequence[ClaimTarget], lines: Sequence[Line], marks: Sequence[int], waiting: Sequence[Waiting]
) -> None:
    """All that waits was looked at: the lines of which there is none have no more."""
    found = {(job.lane_id, job.priority) for job in waiting}
    for target, line, mark in zip(targets, lines, marks, strict=True):
        if (target.lane_id, target.priority) not in found:
            line.read(0, target.take, mark, cut_off=False)


def _plan(dealt: _Dealt, targets: Sequence[ClaimTarget], lines: Sequence[Line]) -> Plan | None:
    """The claim of the jobs that weigh as much as the first one that fits."""
    for weight, placed in dealt.placed.items():
        takes = Counter((job.lane_id, job.priority) for job, _ in placed)
        chosen = [
            (replace(target, take=takes[target.lane_id, target.priority]), line)
            for target, line in zip(targets, lines, strict=True)
            if (target.lane_id, target.priority) in takes
        ]
        slots = [session for _, session in placed]
        return Plan.of(slots, [target for target, _ in chosen], [line for _, line in chosen], weight)
    return None
