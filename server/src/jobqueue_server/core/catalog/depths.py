"""How many jobs have not ended, by lane: counted once, for metrics and the overview together."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ...lifecycle import Hold, Status
from ...model import OnKeyFailure
from ...store.catalog.catalog import CatalogStore, LaneDepth
from .catalog import Catalog, Lane

MAX_COUNTED_PER_LANE = 10_000
# Over all lanes of one answer, so that a thousand deep lanes do not run into the statement timeout.
_MAX_COUNTED = 200_000
_MIN_COUNTED_PER_LANE = 100
_MAX_COUNTED_RUNNING = 100_000
# So many lanes are counted by one statement: 50 ms where each has a few jobs.
_LANES_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class DepthsRead:
    """What was counted.

    Attributes:
        waiting: (lane, status, jobs, capped, oldest age in seconds) of every lane and status of jobs that have not
            ended, where there are some. The age is since the job was due, or since its attempt began.
        held: (lane, hold, jobs) of every lane and hold that a job is in.
        blocked: How many keys are blocked in each queue that holds keys after a failure, by a lane of it.
    """

    waiting: Sequence[tuple[Lane, Status, int, bool, float]] = ()
    held: Sequence[tuple[Lane, Hold, int]] = ()
    blocked: Sequence[tuple[Lane, int]] = ()


class Depths:
    """Keeps the depths of queues.

    Attributes:
        latest: As they were counted last. Without any lane before they were counted at all.
    """

    def __init__(self, catalog: Catalog, store: CatalogStore) -> None:
        self._catalog = catalog
        self._store = store
        self.latest = DepthsRead()

    async def read(self) -> DepthsRead:
        """Counts them.

        Raises:
            DatabaseAway: What was counted last stays.
        """
        waiting = []
        held = []
        for depth in await all_depths(self._store):
            lane = self._catalog.lane_by_id(depth.lane_id)
            if lane is None:
                continue
            if depth.hold is not None:
                held.append((lane, depth.hold, depth.jobs))
            elif depth.status is not None:
                age = depth.oldest_age.total_seconds() if depth.oldest_age is not None else 0.0
                waiting.append((lane, depth.status, depth.jobs, depth.capped, age))
        self.latest = DepthsRead(waiting, held, await self._blocked())
        return self.latest

    async def _blocked(self) -> list[tuple[Lane, int]]:
        queues = {
            lane.queue_id: lane
            for lane in self._catalog.limiting()
            if lane.keys is not None and lane.keys.on_failure is OnKeyFailure.HOLD
        }
        if not queues:
            return []
        blocked = await self._store.blocked_keys(MAX_COUNTED_PER_LANE)
        return [(lane, blocked.get(queue_id, 0)) for queue_id, lane in queues.items()]


async def lane_depths(store: CatalogStore, lane_ids: Collection[int]) -> list[LaneDepth]:
    """Bounded counts of these lanes by status and by hold, without those that are zero."""
    wanted = frozenset(lane_ids)
    running = await store.running_depths(_MAX_COUNTED_RUNNING)
    waiting = await _waiting(store, list(lane_ids))
    return [*waiting, *(depth for depth in running if depth.lane_id in wanted)]


async def all_depths(store: CatalogStore) -> list[LaneDepth]:
    """The same of all lanes. One without jobs costs nothing."""
    waiting = await _waiting(store, await waiting_lanes(store))
    return [*waiting, *await store.running_depths(_MAX_COUNTED_RUNNING)]


async def waiting_lanes(store: CatalogStore) -> list[int]:
    """The lanes in which a job waits, by number, of all namespaces."""
    ids, after = list[int](), 0
    while page := await store.waiting_lanes(after, _LANES_AT_ONCE):
        ids += page
        after = page[-1]
    return ids


async def _waiting(store: CatalogStore, lane_ids: Sequence[int]) -> list[LaneDepth]:
    per_lane = max(_MIN_COUNTED_PER_LANE, min(MAX_COUNTED_PER_LANE, _MAX_COUNTED // max(1, len(lane_ids))))
    depths: list[LaneDepth] = []
    for start in range(0, len(lane_ids), _LANES_AT_ONCE):
        ids = lane_ids[start : start + _LANES_AT_ONCE]
        depths += await store.waiting_depths(ids, per_lane=per_lane)
    return depths
