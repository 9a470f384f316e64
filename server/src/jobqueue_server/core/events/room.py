"""The parts by which rooms and servers tell each other, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...metrics import Metrics
from ...store.stores import Stores
from ..catalog.room import CatalogRoom
from ..tuning import Tuning
from .database_state import DatabaseChange, DatabaseState
from .ends import EndCounter, Ends
from .exchange import Exchange
from .flows import Flows
from .notices import Peers
from .this_server import ThisServer
from .wakes import Wakes


class EventsRoom:
    """Its parts are its attributes.

    Args:
        stores: With the connection to other servers.
        catalog: Knows the lanes that those name.
        metrics: Counts.
        tuning: How often notices go.
        exchanges: Whether servers tell each other anything.
    """

    def __init__(
        self, stores: Stores, catalog: CatalogRoom, metrics: Metrics, tuning: Tuning, *, exchanges: bool
    ) -> None:
        self.server = ThisServer()
        self.peers = Peers(self.server, tuning)
        self.database = DatabaseState()
        self.ends = Ends()
        self.wakes = Wakes()
        EndCounter(self.ends, metrics)
        self.flows = Flows(self.ends)
        self.exchange = Exchange(stores.notices, self.peers, self.server, catalog.catalog, metrics, tuning)
        self._exchanges = exchanges
        self._catalog = catalog.catalog
        self.database.subscribe(self._database_changed)

    async def _database_changed(self, change: DatabaseChange) -> None:
        if change is DatabaseChange.BACK:
            self._catalog.read_all_again()

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {"peers": self.exchange.run} if self._exchanges else {}
