"""What running attempts say of themselves: the latest of each, written together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

from ...errors import JobQueueError
from ...store.attempt.attempts import AttemptStore, Report
from .lease import Lease
from .session import Session

_log = logging.getLogger(__name__)

EVERY = 0.2
BATCH = 1000
# Of checkpoints in one statement.
BATCH_BYTES = 8 << 20


class ProgressReports:
    """Gathers reports and writes them five times a second. A lost one is followed by the next.

    A checkpoint is more than that: the next attempt goes on from it. So it is written before its attempt leaves
    RUNNING (`before_end`), and the latest one stays in line when it can't be written.
    """

    def __init__(self, store: AttemptStore) -> None:
        self._store = store
        self._latest: dict[UUID, Report] = {}
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()

    def report(
        self,
        session: Session,
        lease: Lease,
        fraction: float | None,
        message: str,
        checkpoint: bytes | None = None,
    ) -> None:
        """Takes a report. `fraction` or `checkpoint` None: unchanged."""
        if fraction is not None:
            lease.progressed(fraction)
        before = self._latest.get(lease.job_id)
        if checkpoint is None and before is not None and before.attempt == lease.attempt:
            checkpoint = before.checkpoint
        self._latest[lease.job_id] = Report(
            lease.job_id, lease.attempt, session.id, lease.fraction, message, checkpoint
        )
        self._wake.set()

    async def before_end(self, job_ids: Iterable[UUID]) -> None:
        """Writes the checkpoints of these jobs that are not written yet. Costs nothing where there are none.

        Raises:
            DatabaseAway, DatabaseFull: They are not written.
        """
        if not self._latest and not self._writing.locked():
            return
        # What another task has taken out of the line may not be committed yet.
        async with self._writing:
            taken = [
                self._latest.pop(job_id)
                for job_id in job_ids
                if job_id in self._latest and self._latest[job_id].checkpoint is not None
            ]
            await self._write(taken)

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            async with self._writing:
                latest, self._latest = self._latest, {}
                try:
                    await self._write(list(latest.values()))
                except JobQueueError as error:
                    _log.debug("progress is not written: %s", error)
            await asyncio.sleep(EVERY)

    async def _write(self, reports: list[Report]) -> None:
        reports.sort(key=lambda report: report.job_id)
        while reports:
            batch = _first(reports)
            try:
                await self._store.report_progress(batch)
            except JobQueueError:
                self._keep(reports)
                raise
            del reports[: len(batch)]

    def _keep(self, reports: list[Report]) -> None:
        """Puts checkpoints that could not be written back in line, behind nothing that came since."""
        for report in reports:
            since = self._latest.get(report.job_id)
            if since is None and report.checkpoint is not None:
                self._latest[report.job_id] = report
            elif since is not None and since.attempt == report.attempt and since.checkpoint is None:
                self._latest[report.job_id] = replace(since, checkpoint=report.checkpoint)
        if self._latest:
            self._wake.set()


def _first(reports: list[Report]) -> list[Report]:
    """As many as go into one statement, and at least one."""
    size = 0
    for index, report in enumerate(reports[:BATCH]):
        size += len(report.checkpoint or b"")
        if index and size > BATCH_BYTES:
            return reports[:index]
    return reports[:BATCH]
