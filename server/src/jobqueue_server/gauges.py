"""What the gauges of the metrics show, each read when it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from datetime import timedelta

from .chain import Chain
from .core.catalog.depths import Depths
from .core.insight.room import InsightRoom
from .core.query.watch_limit import WatchLimit
from .core.session.registry import Sessions
from .core.upkeep.clock import Clock
from .core.upkeep.duty_cycle import DutyCycle
from .errors import JobQueueError
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
        depths: Depths,
        clock: Clock,
    ) -> None:
        self._depths = depths
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
                self._backlogs = [
                    Backlog(
                        lane.queue,
                        lane.kind,
                        status.name.lower(),
                        jobs,
                        timedelta(seconds=age),
                        lane.namespace_name,
                    )
                    for lane, status, jobs, _, age in depths.waiting
                ]
                self._held = [
                    Held(lane.queue, lane.kind, hold.name.lower(), jobs, lane.namespace_name)
                    for lane, hold, jobs in depths.held
                ]
                self._blocked = [
                    Blocked(lane.queue, keys, lane.namespace_name) for lane, keys in depths.blocked
                ]
                # What is old is not told to who comes back later.
                lately = time.monotonic() - self._scraped_at < SCRAPED_LATELY
                self._wanted = await self._wants() if lately else []
            await asyncio.sleep(pace.left)

    async def _wants(self) -> list[Wanted]:
        return [
            Wanted(queue.name, queue.runnable, queue.wanted_slots, queue.namespace_name)
            for queue in await self._demands.of_all_queues()
        ]
