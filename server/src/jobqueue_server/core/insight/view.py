"""The overview of one caller: of a snapshot, what it may read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ...grants import Permission
from ...lifecycle import Status
from ...scope import Scope
from ..catalog.catalog import Lane
from ..events.tallies import COUNTS
from ..session.load import Workers
from . import warnings
from .snapshot import WINDOW, Lost, Paused, Snapshot
from .warnings import Warning
from .workers import ServerSeen

MOST_QUEUES = 200


@dataclass(slots=True)
class DepthOf:
    """How many jobs have not ended. `due_for`: how long the first of them has been due."""

    queued: int = 0
    retrying: int = 0
    running: int = 0
    held: int = 0
    capped: bool = False
    due_for: timedelta = timedelta()

    def counted(self, status: Status, jobs: int, capped: bool, due_for: timedelta) -> None:
        """Counts these too."""
        if status is Status.RUNNING:
            self.running += jobs
        else:
            if status is Status.QUEUED:
                self.queued += jobs
            else:
                self.retrying += jobs
            self.due_for = max(self.due_for, due_for)
        self.capped = self.capped or capped

    def holds(self, jobs: int) -> None:
        """So many of them are held back."""
        self.held += jobs

    def add(self, other: DepthOf) -> None:
        """Counts these too."""
        self.queued += other.queued
        self.retrying += other.retrying
        self.running += other.running
        self.held += other.held
        self.capped = self.capped or other.capped
        self.due_for = max(self.due_for, other.due_for)

    @property
    def waiting(self) -> int:
        """Those that do not run."""
        return self.queued + self.retrying


@dataclass(slots=True)
class QueueView:
    """How a queue is doing. `flow`: numbers within the window, in the order of COUNTS."""

    name: str
    paused: bool = False
    pause: Paused | None = None
    depth: DepthOf = field(default_factory=DepthOf)
    flow: list[int] = field(default_factory=lambda: [0] * len(COUNTS))
    workers: Workers = field(default_factory=Workers)
    unserved: set[str] = field(default_factory=set)
    lost: Lost | None = None
    blocked_keys: int = 0

    def is_of(self, lane: Lane, pause: Paused | None) -> None:
        """What a lane says of it."""
        self.paused, self.pause = lane.paused, pause

    def flows(self, row: Sequence[int]) -> None:
        """This happened too."""
        self.flow = [mine + more for mine, more in zip(self.flow, row, strict=True)]

    def loses(self, lost: Lost) -> None:
        """Attempts were lost."""
        self.lost = lost if self.lost is None else self.lost.and_also(lost)

    def blocks(self, keys: int) -> None:
        """So many of its keys are blocked."""
        self.blocked_keys = keys


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The overview. The fields are those of the contract; `flow` as of QueueView."""

    read_at: datetime
    window: timedelta
    flow: Sequence[int]
    depth: DepthOf
    queues: Sequence[QueueView]
    queues_left_out: int
    workers: Workers
    silent: int
    servers: Sequence[ServerSeen]
    warnings: Sequence[Warning]
    namespace: int


def view_of(snapshot: Snapshot, scope: Scope) -> View:
    """What a caller may see of a snapshot."""
    may, namespace = scope.grants.may, scope.namespace
    lanes = {
        lane.id: lane
        for lane in snapshot.lanes
        if lane.namespace == namespace and may(Permission.READ, lane.queue, lane.kind)
    }
    queues: dict[str, QueueView] = {}
    for lane in lanes.values():
        if lane.queue not in queues:
            queues[lane.queue] = QueueView(lane.queue)
            queues[lane.queue].is_of(lane, snapshot.pauses.get(lane.queue_id))
            if scope.grants.may_queue(Permission.READ, lane.queue):
                queues[lane.queue].workers.add(snapshot.workers.of(namespace, lane.queue))
        if not scope.grants.may_queue(Permission.READ, lane.queue):
            queues[lane.queue].workers.add(snapshot.workers.of(namespace, lane.queue, lane.kind))
        if (row := snapshot.flows.get(lane.id)) is not None:
            queues[lane.queue].flows([row[name] for name in COUNTS])
        if (lost := snapshot.lost.get(lane.id)) is not None:
            queues[lane.queue].loses(lost)
    _count(snapshot, lanes, queues)
    ranked = sorted(queues.values(), key=lambda each: (-each.depth.due_for, -each.depth.waiting, each.name))
    total, flow = DepthOf(), [0] * len(COUNTS)
    for queue in ranked:
        total.add(queue.depth)
        flow = [mine + more for mine, more in zip(flow, queue.flow, strict=True)]
    all_of_it = may(Permission.READ, "*", "*")
    workers = Workers()
    for each in [snapshot.workers.of(namespace, "")] if all_of_it else [queue.workers for queue in ranked]:
        workers.add(each)
    return View(
        snapshot.read_at,
        WINDOW,
        flow,
        total,
        ranked[:MOST_QUEUES],
        max(0, (snapshot.queues(namespace) if all_of_it else len(ranked)) - MOST_QUEUES),
        workers,
        snapshot.silent.get(namespace, 0) if all_of_it else 0,
        snapshot.workers.servers_for(scope),
        warnings.sorted_by_weight(_warnings(snapshot, ranked, all_of_it=all_of_it)),
        namespace,
    )


def _count(snapshot: Snapshot, lanes: dict[int, Lane], queues: dict[str, QueueView]) -> None:
    """How many jobs the queues have, and which kinds are due that no worker takes."""
    workers = snapshot.workers
    for lane, status, jobs, capped, age in snapshot.depths.waiting:
        if lane.id in lanes:
            queue = queues[lane.queue]
            queue.depth.counted(status, jobs, capped, timedelta(seconds=age))
            due = status is not Status.RUNNING and age > 0 and not lane.paused
            if due and not workers.of(lane.namespace, lane.queue, lane.kind).sessions:
                queue.unserved.add(lane.kind)
    for lane, _, jobs in snapshot.depths.held:
        if lane.id in lanes:
            queues[lane.queue].depth.holds(jobs)
    seen = {lane.queue_id for lane in lanes.values()}
    for lane, keys in snapshot.depths.blocked:
        if lane.queue_id in seen:
            queues[lane.queue].blocks(keys)


def _warnings(snapshot: Snapshot, queues: Sequence[QueueView], *, all_of_it: bool) -> Iterator[Warning]:
    if snapshot.standing_since is not None:
        yield warnings.standstill(snapshot.standing_since)
    for queue in queues:
        depth = queue.depth
        due_since = snapshot.read_at - depth.due_for
        if queue.paused and depth.waiting:
            pause = queue.pause
            since, by = (pause.since, pause.by) if pause is not None else (None, "")
            yield warnings.paused(queue.name, depth.waiting, depth.capped, since, by)
        if queue.unserved:
            yield warnings.no_worker(queue.name, queue.unserved, due_since)
        elif (
            depth.due_for >= warnings.CREDIT_AFTER
            and not queue.paused
            and queue.workers.sessions
            and not queue.workers.free
        ):
            yield warnings.no_credit(queue.name, queue.workers.slots, due_since)
        if queue.blocked_keys:
            yield warnings.keys_blocked(queue.name, queue.blocked_keys)
        lost = queue.lost
        if lost is not None and warnings.goes_on(lost.since, lost.last, snapshot.read_at):
            yield warnings.workers_lost(queue.name, lost.attempts, lost.since)
    yield from warnings.of_servers(snapshot.workers.servers)
    age = snapshot.snapshot_age
    if all_of_it and age is not None and age >= warnings.LONG_SNAPSHOT:
        yield warnings.long_snapshot(age, snapshot.read_at)
    if snapshot.stats_behind:
        yield warnings.stats_behind()
