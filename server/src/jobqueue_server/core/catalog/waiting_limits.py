"""Queues that limit how many of their jobs may wait: counted each second, with what came and went since."""

from __future__ import annotations

import asyncio
import logging

from ...errors import JobQueueError, QueueBacklogFull
from ...store.catalog.catalog import CatalogStore, LaneRow
from ..pace import Pace
from ..upkeep.duty_cycle import DutyCycle

_log = logging.getLogger(__name__)

_COUNT_EVERY = 1.0
# The part of the limit that is free when those come back who were refused.
_ROOM_PART = 4


class WaitingLimit:
    """How many jobs wait in a queue, as this server knows it, and how many may.

    What other servers store and claim is known by the next count.

    Args:
        queue: The queue's name.
        most: How many may wait.
        pace: How fast they leave; tests have one with a clock of theirs.

    Attributes:
        most: As above, or as it was last allowed.
    """

    def __init__(self, queue: str, most: int, pace: Pace | None = None) -> None:
        self.most = most
        self._queue = queue
        self._pace = pace or Pace()
        self._counted = 0
        # Accepted and not stored yet.
        self._in_line = 0
        # Stored, and given to workers, since the count began.
        self._came = self._went = 0
        # What of these was before the count that is under way.
        self._came_before = self._went_before = 0

    def allow(self, most: int) -> None:
        """So many may wait from now on."""
        self.most = most

    @property
    def waiting(self) -> int:
        """How many wait."""
        return max(self._counted + self._in_line + self._came - self._went, 0)

    @property
    def full(self) -> bool:
        """Whether no more may come. Below the limit a batch is let in whole, however many jobs it has."""
        return self.waiting >= self.most

    @property
    def fill(self) -> float:
        """The part of the limit that waits, 0 to 1."""
        return min(self.waiting / self.most, 1.0)

    def refusal(self) -> QueueBacklogFull:
        """The error for who is refused."""
        waiting, most = self.waiting, self.most
        return QueueBacklogFull(
            f"{waiting} jobs wait in the queue {self._queue!r}, and it lets {most} wait",
            metadata={"queue": self._queue, "waiting": str(waiting), "limit": str(most)},
            retry_after=self._pace.room_in(max(waiting - most, 0) + max(most // _ROOM_PART, 1)),
        )

    # ---- what becomes of its jobs

    def enters(self, jobs: int) -> None:
        """So many were let in, and wait to be stored."""
        self._in_line += jobs

    def leaves(self, jobs: int) -> None:
        """They wait no longer to be stored."""
        self._in_line -= jobs

    def came(self, jobs: int) -> None:
        """So many were stored."""
        self._came += jobs

    def went(self, jobs: int) -> None:
        """So many of those that were stored went to workers."""
        self._went += jobs

    # ---- counts

    def count_begins(self) -> None:
        """What comes and goes from now on is not in the count."""
        self._came_before, self._went_before = self._came, self._went

    def count_ended(self, jobs: int) -> None:
        """So many were counted."""
        left = max(self._went_before, self._counted + self._came_before - jobs)
        if not self._counted or not jobs:
            # It ran empty: how fast jobs leave says how fast they come.
            self._pace.begins()
        elif left > 0:
            self._pace.left(left)
        self._counted = jobs
        self._came -= self._came_before
        self._went -= self._went_before


class WaitingLimits:
    """The limits of all queues that have one. Counts the jobs of these, and of no other."""

    def __init__(self, store: CatalogStore) -> None:
        self._store = store
        # By the numbers of the queues.
        self._limits: dict[int, WaitingLimit] = {}
        self._pace = DutyCycle(_COUNT_EVERY)
        # Of two counts at once one would take away what the other has added.
        self._counting = asyncio.Lock()

    def take(self, row: LaneRow) -> WaitingLimit | None:
        """The limit of a lane's queue as it is stored now; None: it has none. What was counted stays."""
        if row.max_waiting is None:
            self._limits.pop(row.queue_id, None)
            return None
        limit = self._limits.get(row.queue_id)
        if limit is None:
            limit = self._limits[row.queue_id] = WaitingLimit(row.queue, row.max_waiting)
        limit.allow(row.max_waiting)
        return limit

    async def run(self) -> None:
        """Counts about once a second, and less often where that takes long, until cancelled."""
        while True:
            try:
                with self._pace.done():
                    await self.count()
            except JobQueueError as error:
                _log.warning("the jobs that wait in queues with a limit were not counted: %s", error)
            await asyncio.sleep(self._pace.left)

    async def count(self) -> None:
        """Counts now.

        Raises:
            DatabaseAway: What was counted before stays.
        """
        async with self._counting:
            limits = list(self._limits.items())
            if not limits:
                return
            for _, limit in limits:
                limit.count_begins()
            counts = await self._store.waiting_counts(
                {queue_id: limit.most + limit.most // _ROOM_PART + 1 for queue_id, limit in limits}
            )
            for queue_id, limit in limits:
                limit.count_ended(counts.get(queue_id, 0))
