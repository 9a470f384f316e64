"""What the overviews of all callers are made of: read once for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

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
        lanes: Every lane.
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
    lanes: Sequence[Lane]
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
        lanes = list(self._catalog.lanes())
        until = floor(state["now"] - WRITTEN_WITHIN, WIDTH)
        pauses = {}
        if any(lane.paused for lane in lanes):
            pauses = {
                queue_id: Paused(row["paused_at"], row["paused_by"] or "", row["pause_reason"] or "")
                for queue_id, row in (await self._store.paused_queues()).items()
            }
        return Snapshot(
            state["now"],
            lanes,
            await self._slices.recent(until - WINDOW, until),
            self._depths.latest,
            await self._fleet.now(),
            pauses,
            dict(zip(state["silent_of"] or (), state["silent"] or (), strict=True)),
            await self._lost.get(None, self._read_lost),
            state["snapshot_age"],
            self._written.behind,
            self._standstill.since,
        )

    async def _read_lost(self) -> Mapping[int, Lost]:
        rows = await self._slices.lost_lately()
        return {row["lane_id"]: Lost(row["lost"], row["since"], row["last"]) for row in rows}
