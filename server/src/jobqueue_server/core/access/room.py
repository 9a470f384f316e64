"""The parts that know who calls, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...store.stores import Stores
from ..upkeep.room import UpkeepRoom
from .access import Access


class AccessRoom:
    """Its parts are its attributes.

    Args:
        stores: The database.
        upkeep: Has the clock by which keys end.
        servers: How many servers there are, between which rates are divided.
        used: Whether callers have to show who they are. If not, nothing is read and nothing runs.
    """

    def __init__(self, stores: Stores, upkeep: UpkeepRoom, servers: Callable[[], int], *, used: bool) -> None:
        self.access = Access(stores.access, upkeep.clock, servers)
        self.used = used

    async def load(self) -> None:
        """Reads all keys, before the first call."""
        if self.used:
            await self.access.load()

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {"access": self.access.run} if self.used else {}
