"""The parts that turn rows into leases, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...metrics import Metrics
from ...store.stores import Stores
from ..catalog.room import CatalogRoom
from ..events.room import EventsRoom
from ..lease.room import LeaseRoom
from ..tuning import Tuning
from ..upkeep.room import UpkeepRoom
from .activity import Activity
from .claimer import Claimer
from .delivery import Delivery
from .full import FullLimits
from .handoff import HandOff
from .insert_pacing import InsertPacing
from .lines import Lines
from .load import Load
from .offers import Offers
from .sweep import Sweep
from .takers import Takers
from .taking import Taking
from .weigher import Weigher


class ClaimRoom:
    """Its parts are its attributes."""

    def __init__(
        self,
        stores: Stores,
        upkeep: UpkeepRoom,
        catalog: CatalogRoom,
        events: EventsRoom,
        lease: LeaseRoom,
        metrics: Metrics,
        tuning: Tuning,
    ) -> None:
        store, database = stores.claims, events.database
        self.load = load = Load()
        self.activity = activity = Activity()
        upkeep.standstill.subscribe(activity.stand)
        self.takers = takers = Takers(catalog.catalog, activity, database)
        self.lines = lines = Lines(
            catalog.catalog, upkeep.clock, activity, events.ends, events.peers, database
        )
        self.delivery = Delivery(
            store,
            catalog.catalog,
            takers,
            activity,
            lease.attempts,
            lease.early_cancels,
            events.wakes,
            metrics,
            events.flows,
        )
        self.full = full = FullLimits(activity, events.ends, metrics)
        self.insert_pacing = InsertPacing(takers, lines, activity, load, full, tuning)
        self.hand_off = HandOff(
            takers, lines, self.insert_pacing, self.delivery, activity, load, full, tuning
        )
        self.offers = Offers(takers, lines, self.delivery, activity, load, tuning)
        weigher = Weigher(store, lines, activity)
        taking = Taking(self.delivery, activity, metrics, tuning)
        self.claimer = Claimer(
            store, takers, lines, self.delivery, activity, load, full, weigher, taking, tuning
        )
        self.sweep = Sweep(store, takers, lines, tuning)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {"claims": self.claimer.run, "sweep": self.sweep.run}
