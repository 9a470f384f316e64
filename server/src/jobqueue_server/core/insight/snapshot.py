"""What the overviews of all callers are made of: read once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from ...store.database import Record
from ...store.insight.insight import InsightStore
from ...store.stats.slices import SliceStore
from ..cached import Cached
from ..catalog.catalog import Catalog, Lane
from ..catalog.depths import Depths, DepthsRead
from ..stats.slices import WIDTH, Slices, floor
from ..upkeep.standstill import Standstill
from .workers import AllWorkers, Fleet

#: Whole slices that flows are taken of, and how long after its end a slice is there, of whatever server.
SLICES = 2
WRITTEN_WITHIN = timedelta(seconds=3)
#: The losses of an hour change slowly.
_LOST_EVERY = 30.0


@dataclass(frozen=True, slots=True)
class Paused:
    """Who paused a queue."""

    since: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """How many attempts were lost with their workers in the last hour; the slices of the first and the last of them."""

    attempts: int
    since: datetime
    last: datetime

    def and_also(self, other: Lost) -> Lost:
        """These and others."""
        return Lost(self.attempts + other.attempts, min(self.since, other.since), max(self.last, other.last))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Of all namespaces, at one time.

    Attributes:
        read_at: When.
        lanes: Those that have jobs, had some lately or are paused, and the oldest of the others: up to some thousands.
        queues: How many there are, by namespace.
        flows: What happened within WINDOW, by lane.
        depths: How many jobs have not ended.
        workers: Those of all servers, and the servers.
        pauses: Of the queues that are paused.
        silent: How many sessions are silent, by namespace.
        lost: What was lost in the last hour, by lane.
        snapshot_age: Of the oldest transaction that keeps deleted rows; None: there is none.
        stats_behind: Whether this server lost statistics lately.
        standing_since: Since when nothing is handed out; None: it is.
    """

    read_at: datetime
    lanes: Collection[Lane]
    queues: Callable[[int], int]
    flows: Mapping[int, Record]
    depths: DepthsRead
    workers: AllWorkers
    pauses: Mapping[int, Paused]
    silent: Mapping[int, int]
    lost: Mapping[int, Lost]
    snapshot_age: timedelta | None
    stats_behind: bool
    standing_since: datetime | None


WINDOW = SLICES * WIDTH


class Snapshots:
    """Reads them. No table of jobs is read here: what is counted of those, `Depths` counts for the metrics anyway."""

    def __init__(
        self,
        store: InsightStore,
        slices: SliceStore,
        written: Slices,
        catalog: Catalog,
        depths: Depths,
        fleet: Fleet,
        standstill: Standstill,
    ) -> None:
        self._store = store
        self._slices = slices
        self._written = written
        self._catalog = catalog
        self._depths = depths
        self._fleet = fleet
        self._standstill = standstill
        self._lost: Cached[Mapping[int, Lost]] = Cached(_LOST_EVERY)

    async def read(self) -> Snapshot:
        """How it is now.

        Raises:
            DatabaseAway: It can't be read.
        """
        state = await self._store.overview_state()
        until = floor(state["now"] - WRITTEN_WITHIN, WIDTH)
        pauses = {}
        if self._catalog.paused():
            pauses = {
                queue_id: Paused(row["paused_at"], row["paused_by"] or "", row["pause_reason"] or "")
                for queue_id, row in (await self._store.paused_queues()).items()
            }
        flows = await self._slices.recent(until - WINDOW, until)
        lost = await self._lost.get(None, self._read_lost)
        return Snapshot(
            state["now"],
            self._shown(self._depths.latest, flows, lost),
            self._catalog.queues_in,
            flows,
            self._depths.latest,
            await self._fleet.now(),
            pauses,
            dict(zip(state["silent_of"] or (), state["silent"] or (), strict=True)),
            lost,
            state["snapshot_age"],
            self._written.behind,
            self._standstill.since,
        )

    def _shown(self, depths: DepthsRead, *happened: Mapping[int, object]) -> Collection[Lane]:
        shown = {lane.id: lane for lane in self._catalog.oldest()}
        shown.update((each[0].id, each[0]) for each in depths.waiting)
        shown.update((each[0].id, each[0]) for each in depths.held)
        shown.update((each[0].id, each[0]) for each in depths.blocked)
        shown.update((lane.id, lane) for lane in self._catalog.paused())
        for lane_id in chain.from_iterable(happened):
            if (lane := self._catalog.lane_by_id(lane_id)) is not None:
                shown[lane_id] = lane
        return [lane for lane in shown.values() if not lane.forgotten]

    async def _read_lost(self) -> Mapping[int, Lost]:
        rows = await self._slices.lost_lately()
        return {row["lane_id"]: Lost(row["lost"], row["since"], row["last"]) for row in rows}
