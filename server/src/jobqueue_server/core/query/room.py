"""The parts that tell callers of jobs, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from ...metrics import Metrics
from ...store.stores import Stores
from ..catalog.room import CatalogRoom
from ..events.room import EventsRoom
from ..upkeep.room import UpkeepRoom
from .reads import JobReads
from .shared_reads import SharedReads
from .waiters import Waiters
from .watch import Watches
from .watch_limit import WatchLimit


class QueryRoom:
    """Its parts are its attributes."""

    def __init__(
        self,
        stores: Stores,
        upkeep: UpkeepRoom,
        catalog: CatalogRoom,
        events: EventsRoom,
        metrics: Metrics,
        *,
        most_watches: int,
        retention: timedelta,
    ) -> None:
        ends = events.ends
        self.waiters = Waiters(stores.reads, ends)
        self.shared_reads = SharedReads(stores.reads)
        self.reads = JobReads(stores.reads, self.shared_reads, self.waiters)
        self.watch_limit = WatchLimit(most_watches)
        self.watches = Watches(
            stores.watch,
            upkeep.clock,
            metrics,
            ends,
            limit=self.watch_limit,
            kept_for=lambda: min(retention, catalog.catalog.shortest_retention or retention),
        )

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {"waiters": self.waiters.run}
