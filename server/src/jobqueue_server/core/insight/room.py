"""The parts that say why jobs wait and what queues want, put together."""

from __future__ import annotations

from ...store.stores import Stores
from ..catalog.room import CatalogRoom
from ..events.room import EventsRoom
from ..session.room import SessionRoom
from ..upkeep.room import UpkeepRoom
from .demand import Demands
from .explain import Explain
from .scaling import Scaling
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
        session: SessionRoom,
    ) -> None:
        self.fleet = Fleet(stores.insight, session.load, events.server)
        self.explain = Explain(stores.insight, catalog.catalog, self.fleet)
        self.demands = Demands(stores.insight, stores.catalog, catalog.catalog, self.fleet, upkeep.clock)
        self.scaling = Scaling(self.demands)
        self.workers = WorkerList(
            stores.workers, catalog.catalog, session.sessions, session.drains, upkeep.levels
        )
