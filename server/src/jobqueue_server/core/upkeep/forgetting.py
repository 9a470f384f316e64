"""Lets go of lanes in which no job is left, with the queues and kinds of which nothing is said."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from ... import logs
from ...store.upkeep.forgetting import ForgettingStore
from ...store.upkeep.retention import Partition

log = logs.get(__name__)

# So often it is looked for them.
_EVERY = timedelta(minutes=10)
# A lane is used for a day at most after a server made sure of it; the hour is for the clocks that mint ids.
_USED_FOR = timedelta(days=1, hours=1)
# Jobs that outlive the retention are read through, in partitions of so many bytes together.
_MOST_BYTES = 256 << 20

#: Runs batches with rests, for as long as there is time; how many rows.
Paced = Callable[[AsyncGenerator[int, None]], Awaitable[int]]


class Forgetting:
    """Forgets a lane once no job of its can be left, and then its queue and its kind if nothing was ever said of them.

    Every job of a lane has an id of before `used_at` and a day, so it is in a partition of before then. Partitions
    within the retention are all younger, and the others are read through.

    Args:
        store: The statements.
        every: How often.
    """

    def __init__(self, store: ForgettingStore, every: timedelta = _EVERY) -> None:
        self._store = store
        self._every = every.total_seconds()
        self._again_at = 0.0

    async def sweep(self, partitions: Sequence[Partition], retention: timedelta, paced: Paced) -> None:
        """Forgets what there is to forget, if it is time.

        Args:
            partitions: All, oldest first.
            retention: How long a job is kept after its end.
            paced: Runs the batches.

        Raises:
            DatabaseAway, DatabaseFull: PostgreSQL does not answer, or has no room.
        """
        await paced(self._store.sweep_catalog_changes())
        if time.monotonic() < self._again_at:
            return
        self._again_at = time.monotonic() + self._every
        expired = [each for each in partitions if each.ended_at <= each.read_at - retention]
        within = [each for each in partitions if each not in expired]
        if not within:
            return
        since = _begin(within[0]) - _USED_FOR
        lanes = 0
        if await self._store.idle_lanes(since):
            if sum(each.bytes for each in expired) > _MOST_BYTES:
                log.warning(
                    "no queue is forgotten: the jobs that outlive the retention are too many to look through"
                )
                return
            kept: set[int] = set()
            for each in expired:
                kept |= await self._store.lanes_of_jobs(each.from_id, each.to_id)
            lanes = await paced(self._store.forget_lanes(since, kept))
        queues = await paced(self._store.forget_queues(since))
        kinds = await paced(self._store.forget_kinds(since))
        if lanes or queues or kinds:
            log.info("unused queues and kinds were forgotten", lanes=lanes, queues=queues, kinds=kinds)


def _begin(partition: Partition) -> datetime:
    """The time of its first id."""
    return datetime.fromtimestamp((partition.from_id.int >> 80) / 1000, UTC)
