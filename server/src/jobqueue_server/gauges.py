"""What the gauges of the metrics show, each read when it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

from .chain import Chain
from .core.catalog.catalog import Catalog
from .core.query.watch import Watches
from .core.session.registry import Sessions
from .core.upkeep.clock import Clock
from .core.upkeep.duty_cycle import DutyCycle
from .errors import JobQueueError
from .metrics import Backlog, Held, Metrics

DEPTHS_EVERY = 5.0


class Gauges:
    """Sessions, streams, credit, leases, calls, the depths of queues, and the clock."""

    def __init__(
        self,
        metrics: Metrics,
        chain: Chain,
        sessions: Sessions,
        watches: Watches,
        catalog: Catalog,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._backlogs: list[Backlog] = []
        metrics.watch_clock(lambda: clock.host_ahead.total_seconds())
        self._held: list[Held] = []
        metrics.watch_backlogs(lambda: self._backlogs, lambda: self._held)
        metrics.watch(
            {
                "sessions": lambda: len(sessions),
                "streams": lambda: chain.open_streams - len(watches),
                "watches": lambda: len(watches),
                "credit": lambda: sum(max(session.free, 0) for session in sessions.all()),
                "leases": lambda: sum(len(session.leases) for session in sessions.all()),
                "calls_in_flight": lambda: chain.in_flight,
            }
        )

    async def run(self) -> None:
        """Counts the depths of queues until cancelled."""
        pace = DutyCycle(DEPTHS_EVERY)
        while True:
            with contextlib.suppress(JobQueueError), pace.done():
                depths, held = await self._catalog.depths()
                self._backlogs = [
                    Backlog(
                        lane.queue,
                        lane.kind,
                        status.name.lower(),
                        jobs,
                        timedelta(seconds=age),
                        lane.namespace_name,
                    )
                    for lane, status, jobs, _, age in depths
                ]
                self._held = [
                    Held(lane.queue, lane.kind, hold.name.lower(), jobs, lane.namespace_name)
                    for lane, hold, jobs in held
                ]
            await asyncio.sleep(pace.left)
