"""How many slots a queue wants."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from ...errors import QueueNotFound
from ...grants import Permission
from ...model import MAX_RUNNING_OF_A_KIND
from ...scope import Scope
from ...store.catalog.catalog import CatalogStore
from ...store.database import Record
from ...store.insight.insight import InsightStore
from ..cached import Cached
from ..catalog.catalog import Catalog, Lane
from ..catalog.depths import waiting_lanes
from ..events.flows import SPAN
from ..names import is_name
from ..session.load import Workers
from ..upkeep.clock import Clock
from ..upkeep.standstill import Standstill
from .expected import Expected
from .gathered import Gathered
from .words import counted
from .workers import AllWorkers, Fleet

READ_EVERY = 1.0
#: The queues of which metrics tell, those that want most first.
MOST_QUEUES = 1_000
#: How many due jobs of a lane are counted, and how many that are due later or held back.
MOST_DUE = 10_000
MOST_WAITING = 1_000
#: How many running jobs are counted, of all queues together.
MOST_RUNNING = 100_000
#: How many lanes one statement counts: with MOST_DUE jobs in each it takes a tenth of the statement timeout.
MOST_LANES = 100


# A namespace, a queue, and those of its lanes that count.
_Key = tuple[int, str, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Demand:
    """What a queue wants. The fields are those of the contract."""

    runnable: int
    capped: bool
    running: int
    held: int
    held_by_key: int
    later: int
    paused: int
    beyond_limit: int
    workers: Workers
    oldest_runnable_age: timedelta | None
    more_workers_would_help: bool
    why: str
    read_at: datetime
    unknown: tuple[str, ...]
    arrivals_per_second: float
    ends_per_second: float

    #: What its jobs take that run and that could: never below what runs, as a worker that keeps up is not idle.
    wanted_slots: int


@dataclass(frozen=True, slots=True)
class QueueWants:
    """What a queue of any namespace wants, for metrics."""

    namespace_name: str
    name: str
    runnable: int
    wanted_slots: int


class Demands:
    """Answers the demand of queues, each read at most once a second.

    What is paused and what a queue lets run is as the catalog has it: a change of it is answered once it is there.
    """

    def __init__(
        self,
        store: InsightStore,
        queues: CatalogStore,
        catalog: Catalog,
        fleet: Fleet,
        clock: Clock,
        standstill: Standstill,
    ) -> None:
        self._store = store
        self._queues = queues
        self._catalog = catalog
        self._fleet = fleet
        self._clock = clock
        self._standstill = standstill
        self._answers: Cached[Demand] = Cached(READ_EVERY)
        # Autoscalers ask for each queue once in a while, for many of them one after another.
        self._expected: Expected[_Key, Demand] = Expected(READ_EVERY, most=MOST_LANES)
        self._running: Cached[Mapping[int, int]] = Cached(READ_EVERY)
        self._waiting: Gathered[int, Record] = Gathered(self._read_waiting, most=MOST_LANES)

    async def of_queue(
        self,
        scope: Scope,
        name: str,
        kinds: frozenset[str] = frozenset(),
        *,
        max_age: float | None = None,
    ) -> Demand:
        """What the queue wants, as far as the principal may read its jobs.

        Args:
            scope: Who asks.
            name: The queue.
            kinds: Its jobs of these kinds alone; none: all.
            max_age: How old the answer may be, in seconds. None: READ_EVERY.

        Raises:
            QueueNotFound: It was never used, or the principal may read none of its jobs.
            DatabaseAway: It can't be read now.
        """
        lanes = {
            lane.id: lane.kind
            for lane in self._catalog.lanes_of(scope.namespace, name)
            if (not kinds or lane.kind in kinds) and scope.grants.may(Permission.READ, name, lane.kind)
        }
        if not is_name(name) or not scope.grants.sees_queue(name):
            raise QueueNotFound.of(name, "queue")
        key = (scope.namespace, name, frozenset(lanes))
        self._expected.asked(key, partial(self._read, scope, name, lanes))

        def read() -> Coroutine[Any, Any, Demand]:
            # Those whose turn is next in a second share one statement with this one.
            for soon, ahead in self._expected.soon():
                self._answers.begin(soon, ahead)
            return self._read(scope, name, lanes)

        return await self._answers.get(key, read, max_age=max_age)

    async def of_all_queues(self) -> list[QueueWants]:
        """What the queues of all namespaces want; of more than MOST_QUEUES those that want most.

        Raises:
            DatabaseAway: It can't be read now.
        """
        running = await self._running_now()
        waiting = await waiting_lanes(self._queues)
        # Also some that have none: theirs are told to be zero.
        lanes = {lane.id: lane for lane in self._catalog.oldest()}
        for lane_id in (*waiting, *running):
            if (lane := self._catalog.lane_by_id(lane_id)) is not None:
                lanes[lane_id] = lane
        rows = (await self._read_waiting(list(lanes), most_waiting=0)).values()
        left = await self._left_of_kinds(lanes.values(), running)
        found: dict[tuple[str, str], _Wants] = {}
        for row in rows:
            lane = lanes[row["lane_id"]]
            of = found.setdefault((lane.namespace_name, lane.queue), _Wants())
            due = (
                0
                if lane.paused or self._standstill.since is not None
                else min(row["due"], left.get(lane.id, row["due"]))
            )
            of.start(due, lane.weight)
            of.run(running.get(lane.id, 0), lane.weight)
        queues = {(lane.namespace_name, lane.queue): lane for lane in lanes.values()}
        starts = await self._starts(queues.values())
        wants = [
            QueueWants(*place, runnable, of.slots(runnable))
            for place, of in found.items()
            for runnable in [_within(queues[place], starts, of)]
        ]
        return sorted(wants, key=lambda queue: queue.wanted_slots, reverse=True)[:MOST_QUEUES]

    async def _starts(self, lanes: Collection[Lane]) -> Mapping[int, int]:
        """How many jobs may start now, by queue, of those of these lanes that have a rate."""
        rated = {lane.queue_id for lane in lanes if lane.rate is not None}
        return await self._store.queue_starts(list(rated)) if rated else {}

    async def _left_of_kinds(self, lanes: Collection[Lane], running: Mapping[int, int]) -> Mapping[int, int]:
        """How many jobs the limits of their kind let start now, by lane, of those of these lanes that have some.

        Each of the lanes of a kind has all that is left of it.
        """
        limited = [lane for lane in lanes if lane.kind_limited]
        if not limited:
            return {}
        rated = {lane.kind_id for lane in limited if lane.kind_rate is not None}
        starts = await self._store.kind_starts(list(rated)) if rated else {}
        runs: Counter[int] = Counter()
        for lane_id, jobs in running.items():
            if (lane := self._catalog.lane_by_id(lane_id)) is not None:
                runs[lane.kind_id] += jobs
        left: dict[int, int] = {}
        for lane in limited:
            most = starts.get(lane.kind_id, MAX_RUNNING_OF_A_KIND)
            if lane.kind_max_running is not None:
                most = min(most, max(lane.kind_max_running - runs[lane.kind_id], 0))
            left[lane.id] = most
        return left

    async def _running_now(self) -> Mapping[int, int]:
        """How many jobs run, by lane, read once for all who ask."""
        return await self._running.get(None, lambda: self._store.running(MOST_RUNNING))

    async def _read_waiting(self, lanes: list[int], most_waiting: int = MOST_WAITING) -> Mapping[int, Record]:
        """What waits in these lanes. Most have few jobs, which is read in a fifth of the time."""
        found = {row["lane_id"]: row for row in await self._store.queue_demand_few(lanes)}
        rest = [lane for lane in lanes if lane not in found]
        if rest:
            rows = await self._store.queue_demand(rest, most=MOST_DUE, most_waiting=most_waiting)
            found |= {row["lane_id"]: row for row in rows}
        return found

    def _stands(self, name: str, *, paused: bool) -> str:
        """What keeps all jobs of a queue from being handed out, in words; empty: nothing does."""
        if self._standstill.since is not None:
            return "nothing is handed out"
        return f"the queue {name} is paused" if paused else ""

    async def _read(self, scope: Scope, name: str, lanes: Mapping[int, str]) -> Demand:
        of_queue = self._catalog.lanes_of(scope.namespace, name)
        if of_queue:
            paused, max_running = of_queue[0].paused, of_queue[0].max_running
        else:
            queue = await self._queues.get_queue(scope, name)
            if queue is None:
                raise QueueNotFound.of(name, "queue")
            paused, max_running = queue.paused, queue.max_running
        workers = await self._fleet.now()
        rows = await self._waiting.get(lanes) if lanes else []
        running = await self._running_now()
        # They may come of two statements. What the later one has found due may have come after the earlier one.
        now = max((row["now"] for row in rows), default=None) or self._clock.now()
        # Those that the principal may not read count too in what the queue lets run.
        all_running = sum(running.get(lane.id, 0) for lane in of_queue)
        runs = None if max_running is None else max(max_running - all_running, 0)
        known = [lane for lane in of_queue if lane.id in lanes]
        starts = min((await self._starts(known)).values(), default=None)
        left = await self._left_of_kinds(known, running)
        weights = {lane.id: lane.weight for lane in known}
        wants = _Wants()
        for lane_id in lanes:
            wants.run(running.get(lane_id, 0), weights.get(lane_id, 1))
        waiting = [
            _Waiting(
                row,
                min(row["due"], left.get(row["lane_id"], row["due"])),
                workers.of(scope.namespace, name, lanes[row["lane_id"]]),
                weights.get(row["lane_id"], 1),
            )
            for row in rows
        ]
        return _demand(
            name,
            self._stands(name, paused=paused),
            waiting,
            wants,
            workers,
            workers.of(scope.namespace, name),
            now,
            runs,
            starts,
        )


class _Waiting(NamedTuple):
    """What waits in a lane, how many of the due jobs its kind lets start, and who takes them."""

    row: Record
    may: int
    takers: Workers
    weight: int

    @property
    def short(self) -> bool:
        """Whether none of these has room for one."""
        return not self.takers.free or self.weight > max(self.takers.most_free, 1)


@dataclass(slots=True)
class _Wants:
    """Jobs of a queue that could start and that run, and the slots that they take."""

    may: int = 0
    may_slots: int = 0
    running: int = 0
    running_slots: int = 0

    def start(self, jobs: int, weight: int) -> None:
        """Counts jobs that could start."""
        self.may += jobs
        self.may_slots += jobs * weight

    def run(self, jobs: int, weight: int) -> None:
        """Counts jobs that run."""
        self.running += jobs
        self.running_slots += jobs * weight

    def slots(self, runnable: int) -> int:
        """The slots of what runs, and of so many of those that could start, each as heavy as all of them on average."""
        return self.running_slots + (math.ceil(runnable * self.may_slots / self.may) if self.may else 0)


def _within(queue: Lane, starts: Mapping[int, int], wants: _Wants) -> int:
    """How many jobs of a lane's queue could start, within what it lets run and start."""
    runnable = wants.may
    if queue.max_running is not None:
        runnable = min(runnable, max(queue.max_running - wants.running, 0))
    return min(runnable, starts.get(queue.queue_id, runnable))


def _demand(
    name: str,
    paused: str,
    lanes: Sequence[_Waiting],
    wants: _Wants,
    known: AllWorkers,
    workers: Workers,
    now: datetime,
    runs: int | None,
    starts: int | None,
) -> Demand:
    rows = [lane.row for lane in lanes]
    due = sum(row["due"] for row in rows)
    may = sum(lane.may for lane in lanes)
    runnable = 0 if paused else min(most for most in (may, runs, starts) if most is not None)
    held_by_key = sum(row["held_by_key"] for row in rows)
    since = min((row["due_since"] for row in rows if row["due_since"] is not None), default=None)
    # Of a kind whose workers are full; others may have room in vain.
    short = min(runnable, sum(lane.may for lane in lanes if lane.short))
    for lane in lanes:
        wants.start(lane.may, lane.weight)
    return Demand(
        runnable=runnable,
        capped=not paused and any(row["due"] >= MOST_DUE for row in rows),
        running=wants.running,
        held=sum(row["held"] for row in rows),
        held_by_key=held_by_key,
        later=sum(row["later"] for row in rows),
        paused=due if paused else 0,
        beyond_limit=0 if paused else due - runnable,
        workers=workers,
        oldest_runnable_age=now - since if runnable and since is not None else None,
        more_workers_would_help=short > 0,
        why=_why(
            name,
            paused,
            due,
            runnable,
            short,
            held_by_key,
            workers,
            all_run=runs == 0,
            none_starts=starts == 0,
            none_of_kinds=may == 0,
        ),
        read_at=now,
        unknown=known.unknown,
        arrivals_per_second=sum(lane.takers.arrived for lane in lanes) / SPAN,
        ends_per_second=sum(lane.takers.ended for lane in lanes) / SPAN,
        wanted_slots=wants.slots(runnable),
    )


def _why(
    name: str,
    paused: str,
    due: int,
    runnable: int,
    short: int,
    held_by_key: int,
    workers: Workers,
    *,
    all_run: bool,
    none_starts: bool,
    none_of_kinds: bool,
) -> str:
    none_helps = "more workers would not help"
    are_due = f"{counted(due, 'is', 'are')} due"
    if paused:
        jobs = counted(due, "job that is", "jobs that are")
        return f"{paused}, with {jobs} due: {none_helps}"
    if not runnable:
        if all_run and due:
            return f"as many jobs run as the queue {name} lets run, and {are_due}: {none_helps}"
        if none_starts and due:
            return f"the rate of the queue {name} lets no job start now, and {are_due}: {none_helps}"
        if none_of_kinds and due:
            return f"the limits of their kinds let no job start now, and {are_due}: {none_helps}"
        if held_by_key:
            return f"{_waiting_for_keys(held_by_key)} and none for a slot: {none_helps}"
        return "no job waits for a slot"
    beside = f"; {_waiting_for_keys(held_by_key)}, not for a slot" if held_by_key else ""
    if not short:
        they = "it is" if runnable == 1 else "they are"
        return f"{runnable} runnable, {counted(workers.free, 'slot')} free: {they} about to start{beside}"
    if not workers.sessions:
        return f"{runnable} runnable, and no worker takes jobs of the queue {name}{beside}"
    of_them = "it" if runnable == 1 else f"{short} of them"
    return f"{runnable} runnable, and no slot is free for {of_them}{beside}"


def _waiting_for_keys(held_by_key: int) -> str:
    return counted(held_by_key, "job waits for its key", "jobs wait for their keys")
