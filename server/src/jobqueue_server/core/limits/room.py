"""The parts that let jobs in by their key, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...metrics import Metrics
from ...store.stores import Stores
from ..catalog.room import CatalogRoom
from ..claim.room import ClaimRoom
from ..events.room import EventsRoom
from ..tuning import Tuning
from .keeper import Keeper
from .promoter import Promoter
from .queue_keys import QueueKeyService
from .turns import Turns


class LimitsRoom:
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
        store, key_calls = stores.semaphores, events.key_calls
        self.promoter = Promoter(
            store,
            catalog.catalog,
            key_calls,
            claim.lines,
            Turns(claim.takers, tuning),
            events.ends,
            metrics,
            tuning,
        )
        self.queue_keys = QueueKeyService(
            stores.queue_keys, stores.catalog, catalog.catalog, key_calls, claim.lines
        )
        self.keeper = Keeper(store, catalog.catalog, key_calls, claim.lines, metrics, tuning)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {"keys": self.promoter.run, "audit of keys": self.keeper.run}
