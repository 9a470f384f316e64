"""The overview for all who ask or watch: one reading each 2 s, while there is one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Hashable
from typing import Any

from ...errors import Draining, JobQueueError
from ...scope import Scope
from ..cached import Cached
from ..query.watch_limit import WatchLimit
from .snapshot import Snapshot, Snapshots
from .view import View, view_of

READ_EVERY = 2.0


class Overviews:
    """Deals each reading to all callers, and one view to all that may read the same.

    Args:
        snapshots: What it reads.
        limit: How many watches there may be, with those of jobs.
    """

    def __init__(self, snapshots: Snapshots, limit: WatchLimit) -> None:
        self._snapshots = snapshots
        self._limit = limit
        self._read: Cached[Snapshot] = Cached(READ_EVERY)
        # What watchers wait for; a new one for each reading. None: none waits.
        self._next: asyncio.Future[Snapshot] | None = None
        self._asked = asyncio.Event()
        self._viewed: Snapshot | None = None
        self._views: dict[Hashable, View] = {}

    async def get(self, scope: Scope) -> View:
        """How the queues are doing, as far as the principal may read them; at most READ_EVERY old.

        Raises:
            DatabaseAway: It can't be read now.
        """
        return self._view(await self._read.get(None, self._snapshots.read), scope)

    async def watch(self, scope: Scope) -> AsyncGenerator[View, None]:
        """The same now, and after each reading, for ever.

        Raises:
            TooManyWatches: This server has as many watches as it may.
            DatabaseAway: It can't be read now.
            Draining: The server leaves.
        """
        with self._limit.taken(scope.owner):
            yield await self.get(scope)
            while True:
                yield self._view(await self._coming(), scope)

    async def run(self) -> None:
        """Reads while there are watchers, until cancelled."""
        while True:
            await self._asked.wait()
            await asyncio.sleep(READ_EVERY)
            self._asked.clear()
            coming, self._next = self._next, None
            if coming is None:
                continue
            try:
                coming.set_result(await self._read.get(None, self._snapshots.read))
            except JobQueueError as error:
                coming.set_exception(error)
                # Where none watches any longer, it is not asked for.
                with contextlib.suppress(JobQueueError):
                    coming.result()

    async def _coming(self) -> Snapshot:
        """The next reading."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            self._asked.set()
        coming = self._next
        leaving = asyncio.ensure_future(self._limit.leaving.wait())
        both: set[asyncio.Future[Any]] = {coming, leaving}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
        if coming.done():
            return coming.result()
        raise Draining("this server is leaving; watch on another server")

    def _view(self, snapshot: Snapshot, scope: Scope) -> View:
        if self._viewed is not snapshot:
            self._viewed, self._views = snapshot, {}
        key = scope.namespace, scope.grants
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = view_of(snapshot, scope)
        return view
