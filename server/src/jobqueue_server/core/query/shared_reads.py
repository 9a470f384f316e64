"""Jobs that callers are answered, read together where they come at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from uuid import UUID

from ...fair.owner import Owner
from ...model import Job
from ...scope import Scope
from ...store.query.reads import ReadStore

#: So many jobs are read by one statement. Each may have a payload of 1 MiB.
MOST_TOGETHER = 64
# What calls have in common whose jobs one statement reads: namespace, whose share of connections it uses, and `full`.
_Alike = tuple[int, Owner, bool]


class SharedReads:
    """Reads jobs, those of calls of a principal that come at once by one statement.

    Unique jobs that share an insert are answered at once, and thousands may wait for jobs. One by one their reads take
    seven times as long as the insert.
    """

    def __init__(self, reads: ReadStore) -> None:
        self._reads = reads
        # What is read next.
        self._next: dict[_Alike, dict[UUID, asyncio.Future[Job | None]]] = {}
        self._reading: set[asyncio.Task[None]] = set()

    async def get(self, scope: Scope, job_id: UUID, *, full: bool = True) -> Job | None:
        """The job as it is now, or a moment later; None: it is gone. `full`: as in `ReadStore.get`.

        Raises:
            DatabaseAway: It could not be read.
        """
        alike = (scope.namespace, scope.owner, full)
        gathering = self._next.get(alike)
        if gathering is None:
            gathering = self._next[alike] = {}
            asyncio.get_running_loop().call_soon(self._begin, alike)
        found = gathering.get(job_id)
        if found is None:
            found = gathering[job_id] = asyncio.get_running_loop().create_future()
        try:
            # One caller that goes away takes nothing from the others.
            return await asyncio.shield(found)
        finally:
            # An error has this frame in its traceback, and would hold itself by what it was read for.
            del found, gathering

    def _begin(self, alike: _Alike) -> None:
        asked = list(self._next.pop(alike).items())
        for first in range(0, len(asked), MOST_TOGETHER):
            some = dict(asked[first : first + MOST_TOGETHER])
            task = asyncio.get_running_loop().create_task(self._read(alike, some))
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)

    async def _read(self, alike: _Alike, asked: dict[UUID, asyncio.Future[Job | None]]) -> None:
        try:
            namespace, _, full = alike
            jobs = await self._reads.get_some(namespace, asked, full=full)
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
