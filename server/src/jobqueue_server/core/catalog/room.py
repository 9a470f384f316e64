"""The parts that know what queues and kinds there are, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...store.stores import Stores
from .catalog import Catalog
from .depths import Depths
from .queues import QueueService
from .undeclared import Undeclared


class CatalogRoom:
    """Its parts are its attributes."""

    def __init__(self, stores: Stores, *, kinds: str, most: int) -> None:
        open_kinds = kinds == "open"
        self.catalog = Catalog(stores.catalog, open_kinds=open_kinds, most_lanes=most)
        self.undeclared = Undeclared(self.catalog, stores.undeclared, open_kinds=open_kinds)
        self.depths = Depths(self.catalog, stores.catalog)
        self.queues = QueueService(self.catalog, stores.catalog)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {"catalog": self.catalog.run, "waiting jobs": self.catalog.backlogs.run}
