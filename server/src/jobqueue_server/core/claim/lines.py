"""What this server knows of the lines of ready jobs: where a job waits, and where a claim starts to read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from ..catalog.catalog import Catalog, Lane
from ..events.database_state import DatabaseChange, DatabaseState
from ..events.ends import Ended, Ends
from ..events.notices import Peers
from ..upkeep.clock import Clock
from .activity import Activity

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

# A row that commits later than this after its run_at is passed over by the claims, and found by the next sweep.
CLAIM_FLOOR = timedelta(milliseconds=100)
# Bounds what may still commit late: twice the statement timeout.
SWEEP_FLOOR = timedelta(seconds=10)
# Timers further off than this are left to the sweeps, which read the head of each line once a second.
TIMER_HORIZON = timedelta(seconds=5)
# The clock is an estimate; a claim that comes too early finds nothing.
TIMER_MARGIN = 0.003
TIMER_BUCKETS_PER_SECOND = 100


class Line:
    """The ready jobs of one lane at one priority, in the order of run_at.

    Attributes:
        ready: Whether a job may be waiting. False is only said after a claim found no more.
        mark: Counts the reasons to claim again, so that one that comes during a claim is not lost with its answer.
        saturated: Whether the last claim found as many as it asked for.
        newest: The newest run_at claimed from here by this server.
        floor: Where the next claim starts.
    """

    __slots__ = ("floor", "lane", "mark", "newest", "priority", "ready", "saturated")

    def __init__(self, lane: Lane, priority: int) -> None:
        self.lane = lane
        self.priority = priority
        self.ready = False
        self.mark = 0
        self.saturated = False
        self.newest = BEGINNING
        self.floor = BEGINNING

    def has_job(self) -> None:
        """A job may be waiting."""
        self.ready = True
        self.mark += 1

    def read(self, found: int, wanted: int, mark: int, *, cut_off: bool) -> None:
        """A claim has read this line.

        Args:
            found: How many jobs it took from here.
            wanted: How many it had asked for.
            mark: What `mark` was before.
            cut_off: Whether more may be here, which the claim had no room for.
        """
        self.saturated = found >= wanted
        if not cut_off and found < wanted and self.mark == mark:
            self.ready = False

    def claimed(self, run_at: datetime) -> None:
        """Raises the floor behind the newest row of a claim, over the dead entries of what was claimed before.

        Of that claim: after a sweep found jobs that were left behind, the next ones start behind these.
        """
        if run_at > self.newest:
            self.newest = run_at
        self.floor = max(self.floor, run_at - CLAIM_FLOOR)

    def found(self, run_at: datetime) -> None:
        """A sweep saw a job at `run_at`: the next claim must not start above it."""
        self.floor = min(self.floor, run_at)

    @property
    def sweep_floor(self) -> datetime:
        """Where a sweep starts to read."""
        return max(BEGINNING, self.newest - SWEEP_FLOOR) if self.newest > BEGINNING else BEGINNING

    def forget(self) -> None:
        """After an error or a peer's death: anything may have happened, so the next claim reads from the beginning."""
        self.newest = self.floor = BEGINNING


class Lines:
    """All lines by (lane id, priority), and the timers of jobs that become ready soon.

    What this server did to a line (`ready`, `due_at`, an end) is told to the others; what it saw or heard is not.
    """

    def __init__(
        self,
        catalog: Catalog,
        clock: Clock,
        activity: Activity,
        ends: Ends,
        peers: Peers,
        database: DatabaseState,
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._activity = activity
        self._peers = peers
        self._lines: dict[tuple[int, int], Line] = {}
        self._by_queue: dict[int, dict[tuple[int, int], Line]] = {}
        self._timers: set[tuple[int, int, bool, bool, int]] = set()
        self.isolated: dict[int, int] = {}
        catalog.on_change.append(self._lanes_changed)
        ends.subscribe(self._ended)
        peers.hear_ready(self.seen)
        database.subscribe(self._database_changed)

    def line(self, lane: Lane, priority: int) -> Line:
        """The line, made at its first mention."""
        key = (lane.id, priority)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(lane, priority)
            self._by_queue.setdefault(lane.queue_id, {})[key] = line
        return line

    def _lanes_changed(self, lanes: Sequence[Lane]) -> None:
        """Lines of lanes that were forgotten are, too."""
        for lane in lanes:
            if lane.forgotten:
                self.isolated.pop(lane.id, None)
                of_queue = self._by_queue.get(lane.queue_id, {})
                for key in [key for key in of_queue if key[0] == lane.id]:
                    del of_queue[key], self._lines[key]
                if not of_queue:
                    self._by_queue.pop(lane.queue_id, None)

    def of_queue(self, queue_id: int) -> Iterable[Line]:
        """Every line known in a queue."""
        return self._by_queue.get(queue_id, {}).values()

    def ready(self, lane_id: int, priority: int, *, isolated: bool = False) -> None:
        """A job was made ready here: the lines know, and the other servers are told."""
        self._fire(lane_id, priority, isolated=isolated, told=False)

    def seen(self, lane_id: int, priority: int, isolated: bool = False) -> None:
        """A job is ready, as a sweep saw or another server said. `isolated`: one that is to run isolated."""
        lane = self._catalog.lane_by_id(lane_id)
        if lane is None:
            return
        if isolated:
            # The number counts as `Line.mark` does.
            self.isolated[lane_id] = self.isolated.get(lane_id, 0) + 1
        else:
            self.line(lane, priority).has_job()
        self._activity.wake()

    def none_isolated(self, marks: Mapping[int, int]) -> None:
        """A claim of jobs that run isolated left none in these lanes, as of the number that each had before."""
        for lane_id, mark in marks.items():
            if self.isolated.get(lane_id) == mark:
                del self.isolated[lane_id]

    def due_at(self, lane_id: int, priority: int, run_at: datetime, *, isolated: bool = False) -> None:
        """A job that was put here becomes ready at `run_at`, by the database's clock."""
        self._at(lane_id, priority, run_at, isolated, told=False)

    def moved(self, lane_id: int, priority: int, run_at: datetime, *, isolated: bool = False) -> None:
        """A job was changed here, and waits there now. Claims that ran meanwhile have passed it by."""
        lane = self._catalog.lane_by_id(lane_id)
        if lane is not None and not isolated:
            self.line(lane, priority).found(run_at)
        self.due_at(lane_id, priority, run_at, isolated=isolated)

    def seen_at(self, lane_id: int, priority: int, run_at: datetime, *, isolated: bool = False) -> None:
        """A sweep saw a job that becomes ready at `run_at`."""
        self._at(lane_id, priority, run_at, isolated, told=True)

    def _at(self, lane_id: int, priority: int, run_at: datetime, isolated: bool, told: bool) -> None:
        """Fires now, at a timer, or leaves it to a later sweep."""
        wait = run_at - self._clock.now()
        if wait > TIMER_HORIZON:
            return
        if wait <= timedelta():
            self._fire(lane_id, priority, isolated, told)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + wait.total_seconds() + TIMER_MARGIN
        bucket = int(due * TIMER_BUCKETS_PER_SECOND) + 1
        key = (lane_id, priority, isolated, told, bucket)
        if key not in self._timers:
            self._timers.add(key)
            loop.call_at(bucket / TIMER_BUCKETS_PER_SECOND, self._timer, key)

    def _timer(self, key: tuple[int, int, bool, bool, int]) -> None:
        self._timers.discard(key)
        self._fire(*key[:4])

    def _fire(self, lane_id: int, priority: int, isolated: bool, told: bool) -> None:
        self.seen(lane_id, priority, isolated)
        if not told:
            self._peers.tell_ready(lane_id, priority, isolated)

    def _ended(self, ended: Sequence[Ended]) -> None:
        """Jobs went back to their lines, by a retry, snooze, release or loss."""
        for each in ended:
            if each.waits is not None and not each.waits.held:
                lane_id, priority, isolated, run_at, _ = each.waits
                self.due_at(lane_id, priority, run_at, isolated=isolated)

    async def _database_changed(self, change: DatabaseChange) -> None:
        if change is DatabaseChange.BACK:
            self.forget()

    def forget(self) -> None:
        """The next claims read every line from its beginning."""
        for line in self._lines.values():
            line.forget()
