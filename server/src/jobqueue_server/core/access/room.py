"""The parts that know who calls, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from ...store.stores import Stores
from ..upkeep.room import UpkeepRoom
from .access import Access
from .admin import AccessAdmin


class OtherServers(Protocol):
    """The other servers on this database, as far as keys are concerned."""

    def hear_access_changed(self, listener: Callable[[], object]) -> None:
        """One of them has changed a key or a namespace."""

    def tell_access_changed(self) -> None:
        """This one has."""


class AccessRoom:
    """Its parts are its attributes.

    Args:
        stores: The database.
        upkeep: Has the clock by which keys end, and knows whether older servers run.
        servers: How many servers there are, between which rates are divided.
        others: Told of what this server changes, and heard of what they do.
        used: Whether callers have to show who they are. If not, nothing is read and nothing runs.
    """

    def __init__(
        self,
        stores: Stores,
        upkeep: UpkeepRoom,
        servers: Callable[[], int],
        others: OtherServers,
        *,
        used: bool,
    ) -> None:
        self.access = Access(stores.access, upkeep.clock, servers)
        self.admin = AccessAdmin(stores.access, stores.catalog, self.access, upkeep.levels)
        others.hear_access_changed(self.access.changed_elsewhere)
        self.admin.hear_change(others.tell_access_changed)
        self.used = used

    async def load(self) -> None:
        """Reads all keys, before the first call."""
        if self.used:
            await self.access.load()

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {"access": self.access.run} if self.used else {}
