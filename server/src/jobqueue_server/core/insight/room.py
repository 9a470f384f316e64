"""The parts that say why jobs wait, what queues want and how they are doing, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...store.stores import Stores
from ..catalog.room import CatalogRoom
from ..events.room import EventsRoom
from ..query.room import QueryRoom
from ..session.room import SessionRoom
from ..stats.room import StatsRoom
from ..upkeep.room import UpkeepRoom
from .demand import Demands
from .explain import Explain
from .overviews import Overviews
from .scaling import Scaling
from .snapshot import Snapshots
from .worker_list import WorkerList
from .workers import Fleet


class InsightRoom:
    """Its parts are its attributes."""

    def __init__(
        self,
        stores: Stores,
        upkeep: UpkeepRoom,
        catalog: CatalogRoom,
        events: EventsRoom,
        query: QueryRoom,
        stats: StatsRoom,
        session: SessionRoom,
    ) -> None:
        self.fleet = Fleet(stores.insight, session.loads.now, events.server)
        self.explain = Explain(stores.insight, catalog.catalog, self.fleet, upkeep.standstill)
        self.demands = Demands(
            stores.insight, stores.catalog, catalog.catalog, self.fleet, upkeep.clock, upkeep.standstill
        )
        snapshots = Snapshots(
            stores.insight,
            stores.slices,
            stats.slices,
            catalog.catalog,
            catalog.depths,
            self.fleet,
            upkeep.standstill,
        )
        self.overviews = Overviews(snapshots, query.watch_limit)
        self.scaling = Scaling(self.demands)
        self.workers = WorkerList(stores.workers, catalog.catalog, session.sessions, session.drains)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {"overview": self.overviews.run}
