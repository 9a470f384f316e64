"""The parts of the statistics, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...metrics import Metrics
from ...store.stores import Stores
from ..catalog.room import CatalogRoom
from ..events.room import EventsRoom
from ..upkeep.room import UpkeepRoom
from .counting import JobCounts
from .history import Histories
from .roll_up import RollUp
from .slices import Slices


class StatsRoom:
    """Its parts are its attributes."""

    def __init__(
        self, stores: Stores, upkeep: UpkeepRoom, catalog: CatalogRoom, events: EventsRoom, metrics: Metrics
    ) -> None:
        lanes, clock = catalog.catalog, upkeep.clock
        self.slices = Slices(stores.slices, events.flows.tallies, clock, events.server, lanes, metrics)
        self.roll_up = RollUp(stores.slices)
        self.histories = Histories(stores.slices, lanes, clock)
        self.counts = JobCounts(stores.counts)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {"statistics": self.slices.run, "roll-up of statistics": self.roll_up.run}
