"""The jobs that callers are answered instead of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from uuid import UUID

from ...model import Job
from ...scope import Scope
from ...store.query.reads import ReadStore

#: So many jobs are read by one statement. Each may have a payload of 1 MiB.
MOST_TOGETHER = 64


class Holders:
    """Reads jobs, those of callers that come at once by one statement.

    Whose jobs share an insert are answered at once. One by one the reads take seven times as long as the insert.
    """

    def __init__(self, reads: ReadStore) -> None:
        self._reads = reads
        # What is read next, by the namespace.
        self._next: dict[int, dict[UUID, asyncio.Future[Job | None]]] = {}
        self._reading: set[asyncio.Task[None]] = set()

    async def get(self, scope: Scope, job_id: UUID) -> Job | None:
        """The job as it is now, or a moment later; None: it is gone.

        Raises:
            DatabaseAway: It could not be read.
        """
        gathering = self._next.get(scope.namespace)
        if gathering is None:
            gathering = self._next[scope.namespace] = {}
            asyncio.get_running_loop().call_soon(self._begin, scope.namespace)
        found = gathering.get(job_id)
        if found is None:
            found = gathering[job_id] = asyncio.get_running_loop().create_future()
        try:
            # One caller that goes away takes nothing from the others.
            return await asyncio.shield(found)
        finally:
            # An error has this frame in its traceback, and would hold itself by what it was read for.
            del found, gathering

    def _begin(self, namespace: int) -> None:
        asked = list(self._next.pop(namespace).items())
        for first in range(0, len(asked), MOST_TOGETHER):
            some = dict(asked[first : first + MOST_TOGETHER])
            task = asyncio.get_running_loop().create_task(self._read(namespace, some))
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)

    async def _read(self, namespace: int, asked: dict[UUID, asyncio.Future[Job | None]]) -> None:
        try:
            jobs = await self._reads.get_some(namespace, asked)
        except Exception as error:
            _tell(asked.values(), error)
            # As in `get`.
            asked.clear()
            return
        except asyncio.CancelledError:
            for waiting in asked.values():
                waiting.cancel()
            raise
        for job_id, waiting in asked.items():
            if not waiting.done():
                waiting.set_result(jobs.get(job_id))


def _tell(asked: Iterable[asyncio.Future[Job | None]], error: Exception) -> None:
    for waiting in asked:
        if not waiting.done():
            waiting.set_exception(error)
            # It is no mistake where all who asked are gone.
            waiting.exception()
