"""The parts that hold jobs back and let them go, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...metrics import Metrics
from ...store.stores import Stores
from ..catalog.room import CatalogRoom
from ..claim.room import ClaimRoom
from ..events.room import EventsRoom
from ..tuning import Tuning
from .admitter import Admitter
from .keeper import Keeper
from .keyed_ends import KeyedEnds
from .queue_keys import QueueKeyService
from .releaser import Releaser
from .turns import Turns


class PolicyRoom:
    """Its parts are its attributes."""

    def __init__(
        self,
        stores: Stores,
        catalog: CatalogRoom,
        events: EventsRoom,
        claim: ClaimRoom,
        metrics: Metrics,
        tuning: Tuning,
    ) -> None:
        store, wakes = stores.semaphores, events.wakes
        admitter = Admitter(
            store, catalog.catalog, wakes, claim.lines, Turns(claim.takers, tuning), metrics, tuning
        )
        self.releaser = Releaser(store, catalog.catalog, wakes, admitter, events.ends, tuning)
        self.keeper = Keeper(store, catalog.catalog, wakes, claim.lines, metrics, tuning)
        self.keyed_ends = KeyedEnds(
            stores.attempts, catalog.catalog, claim.offers, admitter, tuning.keys_admitted
        )
        self.queue_keys = QueueKeyService(
            stores.queue_keys, stores.catalog, catalog.catalog, wakes, claim.lines
        )

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {"keys": self.releaser.run, "audit of keys": self.keeper.run}
