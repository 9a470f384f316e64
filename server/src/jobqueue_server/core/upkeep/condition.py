"""Reads the condition of the database, as long as it is asked for."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import asdict
from datetime import timedelta

from ...condition import Condition
from ...errors import JobQueueError
from ...store.upkeep.condition import ConditionStore
from .duty_cycle import DutyCycle
from .snapshots import SnapshotAges

_log = logging.getLogger(__name__)

EVERY = 15.0
#: It is read for so many seconds after it was asked for.
ASKED_LATELY = 120.0


class ConditionReader:
    """Reads it every 15 s while it is asked for. Where it is not, it costs nothing.

    Args:
        store: The statements.
        width: Of how much time a partition holds the jobs.
        known_migration: The newest migration that this server knows.
        every: Seconds between two readings.
    """

    def __init__(
        self, store: ConditionStore, *, width: timedelta, known_migration: int, every: float = EVERY
    ) -> None:
        self._store = store
        self._width = width.total_seconds()
        self._known_migration = known_migration
        self._every = every
        self._ages = SnapshotAges()
        self._asked_at = -ASKED_LATELY
        self._latest: Condition | None = None

    def asked(self) -> Condition | None:
        """As it was read last. The thread of metrics may call it."""
        self._asked_at = time.monotonic()
        return self._latest

    async def run(self) -> None:
        """Reads until cancelled. What can't be read now stays as it was; what is not asked for is forgotten."""
        cycle = DutyCycle(self._every)
        while True:
            if time.monotonic() - self._asked_at < ASKED_LATELY:
                try:
                    with cycle.done():
                        self._latest = await self.read()
                except JobQueueError as error:
                    _log.debug("the condition of the database was not read: %s", error)
                await asyncio.sleep(cycle.left)
            else:
                self._latest = None
                await asyncio.sleep(min(self._every, 1.0))

    async def read(self) -> Condition:
        """Reads it now.

        Raises:
            DatabaseAway: Nothing is known of it.
        """
        store = self._store
        holder = await store.oldest_holder()
        now = time.monotonic()
        self._ages.note(now, holder.next_xid)
        return Condition(
            snapshot_seconds=self._ages.age(now, holder.oldest_xid, holder.seconds),
            slot_bytes=await store.slot_bytes(),
            dead_rows=await store.dead_rows(),
            partitions=asdict(await store.partition_counts()),
            partition_seconds=self._width,
            retention_lag_seconds=await store.retention_lag(),
            migration=await store.newest_migration(),
            known_migration=self._known_migration,
        )
