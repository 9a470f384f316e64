"""What running attempts say of themselves: the latest of each, written together."""

from __future__ import annotations

import asyncio
import logging
from uuid import UUID

from ..errors import JobQueueError
from ..store.jobs import JobStore
from .session import Lease, Session

_log = logging.getLogger(__name__)

EVERY = 0.2
BATCH = 1000


class ProgressReports:
    """Gathers reports and writes them five times a second. A lost one is followed by the next."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._latest: dict[UUID, tuple[UUID, int, int, float, str]] = {}
        self._wake = asyncio.Event()

    def report(self, session: Session, lease: Lease, fraction: float | None, message: str) -> None:
        """Takes a report. `fraction` None: unchanged."""
        if fraction is not None:
            lease.fraction = fraction
        self._latest[lease.job_id] = (lease.job_id, lease.attempt, session.id, lease.fraction, message)
        self._wake.set()

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            latest, self._latest = self._latest, {}
            reports = sorted(latest.values())
            for start in range(0, len(reports), BATCH):
                try:
                    await self._store.report_progress(reports[start : start + BATCH])
                except JobQueueError as error:
                    _log.debug("progress is not written: %s", error)
            await asyncio.sleep(EVERY)
