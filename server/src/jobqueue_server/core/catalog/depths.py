"""How many jobs have not ended, by lane: counted once, for metrics and the overview together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...lifecycle import Hold, Status
from ...model import OnKeyFailure
from ...store.catalog.catalog import CatalogStore
from .catalog import MAX_COUNTED_PER_LANE, Catalog, Lane


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
        for depth in await self._catalog.all_depths():
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
