"""Levels: what a server can do as one number, so that a capability is not used while an older server would break it."""

from __future__ import annotations

import asyncio
import logging

from ...errors import ServersDiffer
from ...store.database import Record
from ...store.upkeep.levels import LevelStore, LevelTooLow

_log = logging.getLogger(__name__)

# One more in each version that writes what servers of before would break. 1: SHA-256 digests and cell bits.
# 2: namespaces beside `default`. 3: jobs that are held back. 4: what queues allow of the jobs of one key.
# 5: strict order, what queues and kinds allow of all their jobs, what is said of one key. 6: unique jobs.
# 7: jobs that take several slots of a worker; backfills of schedules, operations that servers of before would not know.
# 8: workers that are drained; changes of jobs that wait, operations that servers of before would not know.
# 9: a standstill, in which nothing is handed out.
# 10: how long queues keep jobs that ended.
# 11: changes of what is named of a kind, which servers of before would take for the whole of it.
# 12: pauses of keys by workers, during which servers of before would let jobs in.
# 13: lanes that are forgotten, which servers of before would go on using. Nothing requires it: while an older one is
# heard, no lane is forgotten (store/upkeep/forgetting.py).
LEVEL = 13
#: Since this level servers keep to what is named at 5.
LIMITS_LEVEL = 5
#: Since this level servers count how many slots a job takes.
WEIGHT_LEVEL = 7
#: Since this level servers know of backfills.
BACKFILL_LEVEL = 7
#: Since this level servers give no jobs to workers that are drained.
DRAIN_LEVEL = 8
#: Since this level servers know of changes of jobs that wait.
UPDATE_LEVEL = 8
#: Since this level servers hand out nothing in a standstill.
STANDSTILL_LEVEL = 9
#: Since this level servers keep jobs that ended as long as their queue says.
RETENTION_LEVEL = 10
#: Since this level servers leave of a kind what a mask does not name.
MASK_LEVEL = 11
#: Since this level servers let none of a key in that a worker has paused.
PAUSE_LEVEL = 12


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
