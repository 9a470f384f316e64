"""Admits jobs that wait for their key, and tells the lines of those that were admitted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from ...metrics import Metrics
from ...store.policy.semaphores import Admitted, SemaphoreStore, semaphore_of
from ..catalog.catalog import Catalog
from ..claim.lines import Lines
from ..events.wakes import Wakes
from ..tuning import Tuning
from .turns import Turns


class Admitter:
    """Gives permits to jobs that wait for them."""

    def __init__(
        self,
        store: SemaphoreStore,
        catalog: Catalog,
        wakes: Wakes,
        lines: Lines,
        turns: Turns,
        metrics: Metrics,
        tuning: Tuning,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._wakes = wakes
        self._lines = lines
        self._turns = turns
        self._metrics = metrics
        self._tuning = tuning

    async def admit(self, semaphore_ids: Sequence[int], in_line: int = 1) -> None:
        """Admits what these keys have permits for. `in_line`: of keys that take turns so many stand in line at most.

        Raises:
            DatabaseAway: The sweep of some server does it later.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        admitted = await self._store.admit(semaphore_ids, self._tuning.keys_admitted, in_line=in_line)
        self._metrics.observe_batch("promote", loop.time() - started, admitted.jobs)
        if admitted.again and not admitted.jobs:
            # A cancel has locked these jobs, or they no longer exist.
            self._wakes.sweep_within(timedelta(seconds=self._tuning.keys_again_after))
            admitted = replace(admitted, again=())
        self.tell(admitted)

    async def take_turns(self, queue_id: int, keys: Sequence[str]) -> None:
        """Jobs of these keys have started: the next ones of each stand in line.

        Raises:
            DatabaseAway: The sweep of some server does it later.
        """
        places = self._turns.places(queue_id, keys)
        semaphore_ids = sorted({semaphore_of(queue_id, key) for key in keys})
        for first in range(0, len(semaphore_ids), self._tuning.keys_called):
            await self.admit(semaphore_ids[first : first + self._tuning.keys_called], places)

    def tell(self, admitted: Admitted) -> None:
        """Jobs were admitted, here or by a settlement. It is committed."""
        counts = Counter(("lease", each[1]) for each in admitted.leased)
        for lane_id, priority, isolated, jobs in admitted.lines:
            counts["line", lane_id] += jobs
            self._lines.ready(lane_id, priority, isolated=isolated)
        for (into, lane_id), jobs in counts.items():
            lane = self._catalog.lane_by_id(lane_id)
            if lane is not None:
                self._metrics.promoted(lane.queue, into, jobs)
        # More than one statement takes, or what came while it waited for a lock.
        self._wakes.keys_ready(admitted.again)
        self._wakes.sweep_within(admitted.next_call)
