"""Whether the database can be reached: told by the heartbeat to all who subscribed when they were made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum


class DatabaseChange(Enum):
    """What changed."""

    AWAY = "it can't be reached"
    LONG_AWAY = "it could not be reached for so long that sessions are about to be lost"
    BACK = "it can be reached again"


class DatabaseState:
    """What the heartbeat found last.

    Attributes:
        away: Why it can't be reached, in the words that callers are told; empty where it can.
    """

    def __init__(self) -> None:
        self.away = ""
        self._listeners: list[Callable[[DatabaseChange], Awaitable[None]]] = []

    def subscribe(self, listener: Callable[[DatabaseChange], Awaitable[None]]) -> None:
        """Adds a listener. A part calls it in its constructor."""
        self._listeners.append(listener)

    async def went_away(self, why: str) -> None:
        """The database can't be reached."""
        self.away = why
        await self._tell(DatabaseChange.AWAY)

    async def is_long_away(self) -> None:
        """The database still can't be reached."""
        await self._tell(DatabaseChange.LONG_AWAY)

    async def is_back(self) -> None:
        """The database can be reached again, and anything may have happened."""
        self.away = ""
        await self._tell(DatabaseChange.BACK)

    async def _tell(self, change: DatabaseChange) -> None:
        for listener in self._listeners:
            await listener(change)
