"""Lanes in memory: as they were read last, found by number and by names, with what all of them come to."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ...model import DEFAULT_NAMESPACE_NAME, KeyPolicy, Rate
from ...store.catalog.catalog import LaneRow
from .waiting_limits import WaitingLimit, WaitingLimits

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
# A lane is made sure of again this long after the last time, and the hour that its number says: statements refuse it
# after a day (in_use in enqueue.sql). So not all of them fall due at once.
_SURE_FOR_HOURS, _SPREAD_HOURS = 12, 8
# Lanes that fall due are marked so many at once, which takes half a millisecond.
_MARKED = 5_000
# So many of the oldest lanes are named each by itself, also while they have no jobs (labels.py).
_NAMED_APART = 2_000


@dataclass(slots=True, eq=False)
class Lane:
    """A queue and a kind together. There is one object for each, changed in place, so compare by identity."""

    id: int
    queue_id: int
    kind_id: int
    queue: str
    kind: str
    closed: bool
    namespace: int
    namespace_name: str = DEFAULT_NAMESPACE_NAME
    #: What its queue allows of the jobs of one key, and the revision of the queue that says so. None: nothing is said.
    keys: KeyPolicy | None = None
    revision: int = 1
    #: How many jobs may wait in its queue. None: any number.
    backlog: WaitingLimit | None = None
    #: Whether its jobs may have to wait for their key.
    limits: bool = False
    paused: bool = False
    #: How many jobs of its queue may run. None: any number.
    max_running: int | None = None
    #: How many jobs of its queue may start in a time. None: any number.
    rate: Rate | None = None
    #: The same of its kind, over all queues of its namespace.
    kind_max_running: int | None = None
    kind_rate: Rate | None = None
    #: How many slots of a worker a job of its kind takes.
    weight: int = 1
    #: When a server last made sure of it, and whether it may be used until one does so again.
    used_at: datetime = _LONG_AGO
    in_use: bool = True
    #: Whether it is no more: no job is in it, and none will be.
    forgotten: bool = False

    @classmethod
    def of(cls, row: LaneRow, backlog: WaitingLimit | None) -> Lane:
        """The lane as it is stored."""
        return cls(
            row.id,
            row.queue_id,
            row.kind_id,
            row.queue,
            row.kind,
            row.closed,
            row.namespace,
            row.namespace_name,
            row.keys,
            row.revision,
            backlog,
            row.limits_keys,
            row.paused,
            row.max_running,
            row.rate,
            row.kind_max_running,
            row.kind_rate,
            row.weight,
        )

    @property
    def fair(self) -> bool:
        """Whether its keys take turns."""
        return self.keys is not None and self.keys.fair

    @property
    def counted(self) -> bool:
        """Whether its jobs are leased by the statements alone that ask how many may run and start."""
        limited = self.max_running is not None or self.rate is not None or self.kind_limited
        return limited and not self.paused

    @property
    def asks_queue(self) -> bool:
        """Whether its queue limits how many of its jobs run or start, and its kind does not: an enqueue may ask it."""
        return self.closed and self.counted and not self.kind_limited

    @property
    def kind_limited(self) -> bool:
        """Whether its kind limits how many of its jobs run or start."""
        return self.kind_max_running is not None or self.kind_rate is not None

    @property
    def due_hour(self) -> int:
        """The hour of the database's clock, from 1970, after which it is not in use until a server makes sure of it."""
        return int(self.used_at.timestamp()) // 3600 + _SURE_FOR_HOURS + self.id % _SPREAD_HOURS

    def take(self, row: LaneRow, backlog: WaitingLimit | None) -> bool:
        """What may change of its queue, as stored now. Whether that is news."""
        known = self.closed, self.paused, self.revision, self.limits, self.kind_limited, self.weight
        self.closed, self.paused, self.limits = row.closed, row.paused, row.limits_keys
        self.max_running, self.rate = row.max_running, row.rate
        self.kind_max_running, self.kind_rate, self.weight = row.kind_max_running, row.kind_rate, row.weight
        news = known != (
            row.closed,
            row.paused,
            row.revision,
            row.limits_keys,
            self.kind_limited,
            row.weight,
        )
        if self.revision != row.revision:
            self.keys, self.revision = row.keys, row.revision
        self.backlog = backlog
        return news

    def made_sure_of(self, at: datetime, hour: int) -> bool:
        """A server made sure of it then. Whether it may be used therefore, in this hour of the database's clock."""
        self.used_at = at
        self.in_use = self.due_hour >= hour
        return self.in_use

    def fall_due(self) -> None:
        """It may not be used until a server makes sure of it."""
        self.in_use = False

    def forget(self) -> None:
        """It is no more."""
        self.forgotten, self.in_use = True, False


class LaneTable:
    """Nothing here that is done each second, or for each lane that changes, may take a step for every lane.

    Args:
        backlogs: How many jobs may wait in which queues.

    Attributes:
        limits: Whether a queue limits the jobs of one key.
        fair: Whether the keys of a queue take turns.
        policies: Grows whenever a queue has another revision than was known, or is new and has one.
        backlogs: As above.
    """

    def __init__(self, backlogs: WaitingLimits) -> None:
        self.backlogs = backlogs
        self.limits = self.fair = False
        self.policies = 0
        # By the database's clock, when changes were read last.
        self._now = _LONG_AGO
        self._lanes: dict[int, Lane] = {}
        # By namespace, queue and kind; those of a queue, by its number and by its name; how many lanes and queues there
        # are, by namespace.
        self._at: dict[tuple[int, str, str], Lane] = {}
        self._of_queue: dict[int, list[Lane]] = {}
        self._of_name: dict[tuple[int, str], list[Lane]] = {}
        self._count: Counter[int] = Counter()
        self._queues: Counter[int] = Counter()
        # By number: lanes whose jobs may have to wait for their key, whose keys take turns, whose queue has retentions.
        self._limiting: set[int] = set()
        self._taking_turns: set[int] = set()
        self._retentions: dict[int, timedelta] = {}
        self._paused: dict[int, Lane] = {}
        # Those of the smallest numbers; None: they are to be found again.
        self._oldest: list[Lane] | None = None
        # Lanes by the hour in which they fall due.
        self._due: dict[int, list[Lane]] = {}

    def _take_lanes(self, rows: Iterable[LaneRow]) -> list[Lane]:
        """Takes in what is stored of these lanes now. Answers those with news."""
        changed = []
        for row in rows:
            backlog = self.backlogs.take(row)
            lane = self._lanes.get(row.id)
            if lane is None:
                lane = self._added(Lane.of(row, backlog))
                changed.append(lane)
            else:
                self.policies += lane.revision != row.revision
                if lane.take(row, backlog):
                    changed.append(lane)
            if lane.used_at != row.used_at and lane.made_sure_of(row.used_at, self._hour):
                self._due.setdefault(lane.due_hour, []).append(lane)
            self._sum(lane, row.shortest_retention)
        self._summed()
        return changed

    def _added(self, lane: Lane) -> Lane:
        if lane.queue_id not in self._of_queue:
            self.policies += lane.revision > 1
            of_queue: list[Lane] = []
            self._of_queue[lane.queue_id] = self._of_name[lane.namespace, lane.queue] = of_queue
            self._queues[lane.namespace] += 1
        self._of_queue[lane.queue_id].append(lane)
        self._lanes[lane.id] = self._at[lane.namespace, lane.queue, lane.kind] = lane
        self._count[lane.namespace] += 1
        oldest = self._oldest
        if oldest is not None and (len(oldest) < _NAMED_APART or lane.id < oldest[-1].id):
            self._oldest = None
        return lane

    def _forget_lanes(self, ids: Iterable[int]) -> list[Lane]:
        """Forgets those of these that are known, and answers them."""
        forgotten = [lane for lane_id in ids if (lane := self._lanes.pop(lane_id, None)) is not None]
        for lane in forgotten:
            lane.forget()
            self._count[lane.namespace] -= 1
            place = lane.namespace, lane.queue, lane.kind
            # It may have been made anew since, with its queue.
            if self._at.get(place) is lane:
                del self._at[place]
            of_queue = self._of_queue[lane.queue_id]
            of_queue.remove(lane)
            if not of_queue:
                del self._of_queue[lane.queue_id]
                self._queues[lane.namespace] -= 1
                if self._of_name.get((lane.namespace, lane.queue)) is of_queue:
                    del self._of_name[lane.namespace, lane.queue]
            self._limiting.discard(lane.id)
            self._taking_turns.discard(lane.id)
            self._retentions.pop(lane.id, None)
            self._paused.pop(lane.id, None)
            if self._oldest is not None and lane.id <= self._oldest[-1].id:
                self._oldest = None
        self._summed()
        return forgotten

    def _sum(self, lane: Lane, shortest_retention: timedelta | None) -> None:
        if lane.paused:
            self._paused[lane.id] = lane
        else:
            self._paused.pop(lane.id, None)
        for has, those in ((lane.limits, self._limiting), (lane.fair, self._taking_turns)):
            if has:
                those.add(lane.id)
            else:
                those.discard(lane.id)
        if shortest_retention is not None:
            self._retentions[lane.id] = shortest_retention
        else:
            self._retentions.pop(lane.id, None)

    def _summed(self) -> None:
        self.limits, self.fair = bool(self._limiting), bool(self._taking_turns)

    @property
    def shortest_retention(self) -> timedelta | None:
        """The shortest that a queue has for one of its statuses; None: none says so."""
        return min(self._retentions.values(), default=None)

    @property
    def _hour(self) -> int:
        return int(self._now.timestamp()) // 3600

    def _mark_due(self) -> None:
        """Lanes that fell due are not in use: who wants to use one makes sure of it first."""
        left, hour = _MARKED, self._hour
        for due in [each for each in self._due if each < hour]:
            lanes = self._due[due]
            while lanes and left:
                lane = lanes.pop()
                left -= 1
                # It may have been made sure of since, and stands in another hour then.
                if lane.due_hour < hour:
                    lane.fall_due()
            if not lanes:
                del self._due[due]

    def lane_by_id(self, lane_id: int) -> Lane | None:
        """The lane with this number, if this server has seen it."""
        return self._lanes.get(lane_id)

    def lane_at(self, namespace: int, queue: str, kind: str) -> Lane | None:
        """The lane of this queue and kind, if this server has seen it, also where the kind may not be enqueued."""
        return self._at.get((namespace, queue, kind))

    def lanes(self) -> Collection[Lane]:
        """Every lane that this server has seen."""
        return self._lanes.values()

    def oldest(self) -> Sequence[Lane]:
        """The 2,000 lanes that were made first, by number. Any thread may ask."""
        oldest = self._oldest
        if oldest is None:
            ids = heapq.nsmallest(_NAMED_APART, list(self._lanes))
            oldest = [lane for lane_id in ids if (lane := self._lanes.get(lane_id)) is not None]
            self._oldest = oldest or None
        return oldest

    def paused(self) -> Collection[Lane]:
        """The lanes of queues that are paused."""
        return self._paused.values()

    def limiting(self) -> Iterable[Lane]:
        """The lanes whose jobs may have to wait for their key."""
        return (self._lanes[lane_id] for lane_id in self._limiting)

    def queues_in(self, namespace: int) -> int:
        """How many queues of a namespace this server has seen."""
        return self._queues[namespace]

    def lanes_of(self, namespace: int, queue: str) -> Sequence[Lane]:
        """The lanes of a queue that this server has seen."""
        return self._of_name.get((namespace, queue), ())

    def lane_of_queue(self, queue_id: int) -> Lane | None:
        """One of the lanes of the queue with this number: it tells of the queue."""
        lanes = self._of_queue.get(queue_id)
        return lanes[0] if lanes else None
