"""Keeps the partitions of the audit log ahead of time, and drops those whose retention has ended."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from ... import logs
from ...errors import DatabaseAway, DatabaseFull
from ...store.upkeep.audit_partitions import AuditPartitionStore
from ...store.upkeep.retention import LocksBusy
from .retention import partition_width, patiently

log = logs.get(__name__)

# A partition of the least retention, 30 days, is a day wide.
EVERY = timedelta(hours=1)
AGAIN = timedelta(minutes=1)
BEHIND, AHEAD = 1, 2


class AuditPartitions:
    """Whole partitions come and go, so no row is looked at.

    Args:
        store: The statements, which know the retention. A row is kept for up to a 28th of it more.
    """

    def __init__(self, store: AuditPartitionStore) -> None:
        self._store = store
        self._width = partition_width(store.retention)

    async def ensure(self) -> None:
        """Makes the partitions of now and of the time ahead; before the first call, and every hour.

        Raises:
            LocksBusy: A lock was not to be had in five tries; the partitions made before still serve.
            DatabaseAway, DatabaseFull: PostgreSQL does not answer, or has no room.
        """
        made = await patiently(lambda: self._store.ensure(self._width, behind=BEHIND, ahead=AHEAD))
        if made:
            log.info("partitions of the audit log made", partitions=made)

    async def drop(self) -> None:
        """Drops the partitions whose rows are all older than the retention.

        Raises:
            LocksBusy, DatabaseAway, DatabaseFull: As in `ensure`.
        """
        while (name := await patiently(self._store.drop)) is not None:
            log.info("partition of the audit log dropped", partition=name)

    async def run(self) -> None:
        """Ensures and drops, once an hour until cancelled."""
        while True:
            pause = EVERY
            try:
                await self.ensure()
                await self.drop()
            except (LocksBusy, DatabaseAway, DatabaseFull) as error:
                log.warning("could not make or drop partitions of the audit log", error=error)
                pause = AGAIN
            await asyncio.sleep(pause.total_seconds())
