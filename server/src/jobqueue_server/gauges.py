"""What the gauges of the metrics show, each read when it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from .chain import Chain
from .core.catalog.depths import DepthsRead
from .core.catalog.room import CatalogRoom
from .core.insight.room import InsightRoom
from .core.query.watch_limit import WatchLimit
from .core.session.registry import Sessions
from .core.upkeep.clock import Clock
from .core.upkeep.duty_cycle import DutyCycle
from .errors import JobQueueError
from .labels import LaneLabels
from .lifecycle import Status
from .metrics import Backlog, Blocked, Held, Metrics, Wanted

DEPTHS_EVERY = 5.0
#: What queues want is read while metrics are: for so many seconds after each scrape.
SCRAPED_LATELY = 120.0


class Gauges:
    """Sessions, streams, credit, leases, calls, the depths of queues, and the clock."""

    def __init__(
        self,
        metrics: Metrics,
        chain: Chain,
        sessions: Sessions,
        watches: WatchLimit,
        insight: InsightRoom,
        catalog: CatalogRoom,
        clock: Clock,
    ) -> None:
        self._depths = catalog.depths
        self._catalog = catalog.catalog
        self._backlogs: list[Backlog] = []
        metrics.watch_clock(lambda: clock.host_ahead.total_seconds())
        self._held: list[Held] = []
        self._blocked: list[Blocked] = []
        self._demands = insight.demands
        scaling = insight.scaling
        self._wanted: list[Wanted] = []
        self._scraped_at = -SCRAPED_LATELY
        metrics.watch_wanted(self._scraped)
        metrics.watch_backlogs(lambda: self._backlogs, lambda: self._held, lambda: self._blocked)
        metrics.watch(
            {
                "sessions": lambda: len(sessions),
                "streams": lambda: chain.open_streams - len(watches) - len(scaling),
                "watches": lambda: len(watches),
                "credit": lambda: sum(max(session.free, 0) for session in sessions.all()),
                "leases": lambda: sum(len(session.leases) for session in sessions.all()),
                "calls_in_flight": lambda: chain.in_flight,
            }
        )

    def _scraped(self) -> Sequence[Wanted]:
        self._scraped_at = time.monotonic()
        return self._wanted

    async def run(self) -> None:
        """Counts the depths of queues until cancelled, and what they want where Prometheus reads that."""
        pace = DutyCycle(DEPTHS_EVERY)
        while True:
            with contextlib.suppress(JobQueueError), pace.done():
                depths = await self._depths.read()
                self._take(depths)
                # What is old is not told to who comes back later.
                lately = time.monotonic() - self._scraped_at < SCRAPED_LATELY
                self._wanted = await self._wants() if lately else []
            await asyncio.sleep(pace.left)

    def _take(self, depths: DepthsRead) -> None:
        labels = LaneLabels(self._catalog)
        # Zeros are told of each lane that has labels of its own, and of the others together.
        waiting: dict[tuple[str, ...], tuple[int, float]] = {
            (*labels.of(lane), status.name.lower()): (0, 0.0)
            for lane in self._catalog.oldest()
            for status in (Status.QUEUED, Status.RETRYING, Status.RUNNING)
        }
        for lane, status, jobs, _, age in depths.waiting:
            key = (*labels.of(lane), status.name.lower())
            others, oldest = waiting.get(key, (0, 0.0))
            waiting[key] = others + jobs, max(oldest, age)
        self._backlogs = [
            Backlog(queue, kind, status, jobs, timedelta(seconds=age), namespace)
            for (queue, kind, namespace, status), (jobs, age) in waiting.items()
        ]
        held = _summed((*labels.of(lane), hold.name.lower(), jobs) for lane, hold, jobs in depths.held)
        self._held = [
            Held(queue, kind, hold, jobs, namespace) for (queue, kind, namespace, hold), jobs in held
        ]
        blocked = _summed((labels.of(lane)[0], labels.of(lane)[2], keys) for lane, keys in depths.blocked)
        self._blocked = [Blocked(queue, keys, namespace) for (queue, namespace), keys in blocked]

    async def _wants(self) -> list[Wanted]:
        return [
            Wanted(queue.name, queue.runnable, queue.wanted_slots, queue.namespace_name)
            for queue in await self._demands.of_all_queues()
        ]


def _summed(rows: Iterable[tuple[Any, ...]]) -> Iterable[tuple[tuple[Any, ...], int]]:
    """The last of each row, summed over those whose others are equal."""
    found: Counter[tuple[Any, ...]] = Counter()
    for *labels, number in rows:
        found[tuple(labels)] += number
    return found.items()
