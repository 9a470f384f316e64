"""Those who wait for a job to end: woken in memory by this server's settlements, and by a query of the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

from ...errors import JobQueueError
from ...store.query.reads import ReadStore
from ..events.ends import Ended, Ends, ended_jobs

_log = logging.getLogger(__name__)

_LOOK_EVERY = timedelta(seconds=1)


class Waiters:
    """Who waits for which job."""

    def __init__(self, reads: ReadStore, ends: Ends, *, look_every: timedelta = _LOOK_EVERY) -> None:
        self._reads = reads
        self._ends = ends
        self._look_every = look_every.total_seconds()
        self._awaited: dict[UUID, set[asyncio.Event]] = {}
        self._has_callers = asyncio.Event()
        ends.subscribe(self._ended)

    @contextmanager
    def waiting_for(self, job_id: UUID) -> Iterator[asyncio.Event]:
        """Counts the caller among those who wait; the event, its own, is set when the job may have ended.

        Enter before you read the job: what ends between the read and the wait is then not missed.
        """
        ended = asyncio.Event()
        self._awaited.setdefault(job_id, set()).add(ended)
        self._has_callers.set()
        try:
            yield ended
        finally:
            waiting = self._awaited[job_id]
            waiting.remove(ended)
            if not waiting:
                del self._awaited[job_id]

    def _ended(self, ended: Sequence[Ended]) -> None:
        """Costs next to nothing while no caller waits."""
        if self._awaited:
            for job_id in ended_jobs(ended):
                for event in self._awaited.get(job_id, ()):
                    event.set()

    async def run(self) -> None:
        """Asks at most once a second, in one statement for all, for jobs that another server settled."""
        while True:
            await self._has_callers.wait()
            await asyncio.sleep(self._look_every)
            ids = list(self._awaited)
            if not ids:
                self._has_callers.clear()
                continue
            try:
                gone = await self._reads.not_live(ids)
                if gone:
                    self._ends.tell([Ended(gone)])
            except JobQueueError as error:
                _log.warning("could not ask for the ends of %d awaited jobs: %s", len(ids), error)
