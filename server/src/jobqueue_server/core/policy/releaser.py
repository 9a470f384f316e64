"""Lets jobs go on that are held: those whose time has come, whose key may admit them, and what a crash left."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from datetime import timedelta
from uuid import UUID

from ...errors import JobQueueError
from ...store.policy.semaphores import SemaphoreStore
from ..catalog.catalog import Catalog
from ..events.ends import Ended, Ends
from ..events.wakes import Wakes
from ..tuning import Tuning
from .admitter import Admitter

_log = logging.getLogger(__name__)


class Releaser:
    """One statement at a time. What is told meanwhile gathers for the next.

    Every server sweeps: so what one that died did not tell waits no longer than a sweep.
    """

    def __init__(
        self,
        store: SemaphoreStore,
        catalog: Catalog,
        wakes: Wakes,
        admitter: Admitter,
        ends: Ends,
        tuning: Tuning,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._wakes = wakes
        self._admitter = admitter
        self._ends = ends
        self._tuning = tuning

    async def run(self) -> None:
        """Lets jobs go on until cancelled. What it can't do while the database is away the sweeps do later."""
        while True:
            try:
                await self.turn()
            except JobQueueError as error:
                _log.debug("keys wait: %s", error)
                self._wakes.sweep_within(timedelta())
                await asyncio.sleep(self._tuning.keys_sweep_every)
            await self._wakes.told()

    async def turn(self) -> None:
        """Does what was told, and a sweep if one is due.

        Raises:
            DatabaseAway: The sweep of some server does it later.
        """
        tuning = self._tuning
        # Where no queue limits its keys, only jobs from before are found.
        swept = self._wakes.take_sweep(
            tuning.keys_sweep_every if self._catalog.limits else tuning.keys_sweep_unlimited
        )
        if self._wakes.take_due() or swept:
            await self._release_due()
        if swept:
            calling, next_call, cancels = await self._store.calling(tuning.keys_called)
            self._wakes.keys_ready(calling)
            if cancels:
                await self._cancel_rest()
            # There may be more than were read.
            self._wakes.sweep_within(timedelta() if len(calling) == tuning.keys_called else next_call)
        while semaphore_ids := self._wakes.take_keys(tuning.keys_called):
            await self._admitter.admit(semaphore_ids)
        for queue_id, keys in self._wakes.take_started().items():
            await self._admitter.take_turns(queue_id, keys)

    async def _release_due(self) -> None:
        most = self._tuning.keys_admitted
        moved = most
        while moved == most:
            moved, calling = await self._store.release_due(most)
            self._wakes.keys_ready(calling)

    async def _cancel_rest(self) -> None:
        """A step of the cancels that failures bring. One of a sweep, so that others are admitted in between."""
        rest = await self._store.cancel_rest(self._tuning.keys_admitted)
        self._wakes.keys_ready(rest.calling)
        ended: defaultdict[int, list[UUID]] = defaultdict(list)
        for job_id, lane_id in rest.jobs:
            ended[lane_id].append(job_id)
        self._ends.tell([self._cancelled(lane_id, ids) for lane_id, ids in ended.items()])
        if rest.more:
            # Where none was cancelled, another cancel has them now.
            self._wakes.sweep_within(timedelta(seconds=0 if rest.jobs else self._tuning.keys_again_after))

    def _cancelled(self, lane_id: int, ids: list[UUID]) -> Ended:
        lane = self._catalog.lane_by_id(lane_id)
        return Ended(ids, None if lane is None else lane.kind, "cancelled", lane_id=lane_id)
