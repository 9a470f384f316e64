"""Levels: what a server can do as one number, so that a capability is not used while an older server would break it."""

from __future__ import annotations

import asyncio
import logging

from ...errors import ServersDiffer
from ...store.database import Record
from ...store.upkeep.levels import LevelStore, LevelTooLow

_log = logging.getLogger(__name__)

#: One more in each version that writes what servers of before would break. The list of them is in docs/upgrades.md.
LEVEL = 1


class Levels:
    """What this server is able to do, and what the database requires of all servers.

    Attributes:
        own: The level of this server.
        required: The lowest level that may run, as last heard.
    """

    def __init__(self, store: LevelStore, own: int = LEVEL) -> None:
        self._store = store
        self.own = own
        self.required = 0
        # By their level, the raises under way.
        self._raises: dict[int, asyncio.Task[list[Record]]] = {}

    def registered(self, required: int) -> None:
        """Takes what a registration read.

        Raises:
            LevelTooLow: This server is too old to run.
        """
        self.required = 0
        self.heard(required)

    def heard(self, required: int) -> None:
        """Takes what a heartbeat read: before a raise that has ended meanwhile it may have been less.

        Raises:
            LevelTooLow: This server is too old to run.
        """
        self.required = max(self.required, required)
        if required > self.own:
            raise LevelTooLow(
                f"the database requires servers of level {required} or higher, and this one has level {self.own}: "
                "a newer server uses what this one would break. Upgrade this server"
            )

    def allows(self, level: int) -> bool:
        """Whether no server below this level can run any longer, as last heard."""
        return level <= self.required

    async def require(self, level: int, capability: str) -> None:
        """Returns once no server below this level runs, or will: to be called before a capability is first used.

        It costs nothing once the requirement was heard, which is never lowered. Callers that come at once share one
        raise: one after the other they would wait for each other's commits.

        Args:
            level: The level since which servers know the capability; this server's at most.
            capability: What it is called, for the error.

        Raises:
            ServersDiffer: An older server was heard within the last minute. Nothing has changed.
            DatabaseAway: The database does not answer; the requirement may be raised.
        """
        assert level <= self.own, "a server knows what it uses"
        if self.allows(level):
            return
        older = await self._raised(level)
        if older:
            names = ", ".join(row["name"] for row in older)
            raise ServersDiffer(
                f"{capability} can be used once all servers have level {level}, and these are older: {names}. "
                "Upgrade or stop them, and try again a minute later at most",
                metadata={"servers": names, "level": str(level)},
            )
        if not self.allows(level):
            self.required = level
            _log.info(
                "servers below level %d can no longer run on this database: %s is used", level, capability
            )

    async def _raised(self, level: int) -> list[Record]:
        raising = self._raises.get(level)
        if raising is None:
            raising = self._raises[level] = asyncio.create_task(self._store.raise_requirement(level))
            raising.add_done_callback(lambda done: self._over(level, done))
        # A caller that hangs up does not end it for the others.
        return await asyncio.shield(raising)

    def _over(self, level: int, raising: asyncio.Task[list[Record]]) -> None:
        del self._raises[level]
        if not raising.cancelled():
            # An error is looked at also where all callers have hung up.
            raising.exception()
