"""Lets in the jobs that wait for their key: after what made room, when a rate allows it, and what a crash left."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from ...errors import JobQueueError
from ...metrics import Metrics
from ...store.limits.semaphores import LetIn, SemaphoreStore, semaphore_of
from ..catalog.catalog import Catalog
from ..claim.lines import Lines
from ..events.ends import Ended, Ends
from ..events.key_calls import KeyCalls
from ..tuning import Tuning
from .turns import Turns

_log = logging.getLogger(__name__)


class Promoter:
    """One promote at a time. What is told meanwhile gathers for the next.

    Every server sweeps: so the keys of one that died after it gave tokens back wait no longer than a sweep.
    """

    def __init__(
        self,
        store: SemaphoreStore,
        catalog: Catalog,
        key_calls: KeyCalls,
        lines: Lines,
        turns: Turns,
        ends: Ends,
        metrics: Metrics,
        tuning: Tuning,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._key_calls = key_calls
        self._lines = lines
        self._turns = turns
        self._ends = ends
        self._metrics = metrics
        self._tuning = tuning
        self._sweep_at = 0.0

    async def run(self) -> None:
        """Lets jobs in until cancelled. What it can't do while the database is away the sweeps do later."""
        while True:
            try:
                await self.turn()
            except JobQueueError as error:
                _log.debug("keys wait: %s", error)
                self._sweep_at = 0.0
                await asyncio.sleep(self._tuning.keys_sweep_every)
            await self._until_more()

    async def _until_more(self) -> None:
        """Returns once something was told, or the next sweep is due."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(max(self._sweep_at, loop.time())):
                await self._key_calls.wake.wait()
        except TimeoutError:
            pass

    async def turn(self) -> None:
        """Does what was told, and a sweep if one is due.

        Raises:
            DatabaseAway: The sweep of some server does it later.
        """
        loop = asyncio.get_running_loop()
        self._key_calls.wake.clear()
        swept = loop.time() >= self._sweep_at
        if swept:
            # Where no queue limits its keys, only jobs from before are found.
            limits, tuning = self._catalog.limits, self._tuning
            self._sweep_at = loop.time() + (
                tuning.keys_sweep_every if limits else tuning.keys_sweep_unlimited
            )
        if self._key_calls.take_ripe() or swept:
            await self._ripen()
        if swept:
            calling, next_call, cancels = await self._store.calling(self._tuning.keys_called)
            self._key_calls.may_let_in(calling)
            if cancels:
                await self._cancel_rest()
            # There may be more than were read.
            self._at(timedelta() if len(calling) == self._tuning.keys_called else next_call)
        while semaphore_ids := self._key_calls.take(self._tuning.keys_called):
            await self._promote(semaphore_ids)
        for queue_id, keys in self._key_calls.take_started().items():
            await self._take_turns(queue_id, keys)

    async def _ripen(self) -> None:
        most = self._tuning.keys_let_in
        moved = most
        while moved == most:
            moved, calling = await self._store.ripen(most)
            self._key_calls.may_let_in(calling)

    async def _cancel_rest(self) -> None:
        """A step of the cancels that failures bring. One of a sweep, so that others are let in between."""
        rest = await self._store.cancel_rest(self._tuning.keys_let_in)
        self._key_calls.may_let_in(rest.calling)
        ended: defaultdict[int, list[UUID]] = defaultdict(list)
        for job_id, lane_id in rest.jobs:
            ended[lane_id].append(job_id)
        self._ends.tell([self._cancelled(lane_id, ids) for lane_id, ids in ended.items()])
        if rest.more:
            # Where none was cancelled, another cancel has them now.
            self._at(timedelta(seconds=0 if rest.jobs else self._tuning.keys_again_after))

    def _cancelled(self, lane_id: int, ids: list[UUID]) -> Ended:
        lane = self._catalog.lane_by_id(lane_id)
        return Ended(ids, None if lane is None else lane.kind, "cancelled", lane_id=lane_id)

    async def _take_turns(self, queue_id: int, keys: Sequence[str]) -> None:
        """Jobs of these keys have started: the next ones of each stand in line."""
        places = self._turns.places(queue_id, keys)
        semaphore_ids = sorted({semaphore_of(queue_id, key) for key in keys})
        for first in range(0, len(semaphore_ids), self._tuning.keys_called):
            await self._promote(semaphore_ids[first : first + self._tuning.keys_called], places)

    async def _promote(self, semaphore_ids: Sequence[int], in_line: int = 1) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        let_in = await self._store.admit(semaphore_ids, self._tuning.keys_let_in, in_line=in_line)
        self._metrics.observe_batch("promote", loop.time() - started, let_in.jobs)
        if let_in.again and not let_in.jobs:
            # A cancel has locked these jobs, or they no longer exist.
            self._at(timedelta(seconds=self._tuning.keys_again_after))
            let_in = replace(let_in, again=())
        self.let_in(let_in)

    def let_in(self, let_in: LetIn) -> None:
        """Jobs were let in, here or by a settlement. It is committed."""
        counts = Counter(("lease", each[1]) for each in let_in.leased)
        for lane_id, priority, isolated, jobs in let_in.lines:
            counts["line", lane_id] += jobs
            self._lines.ready(lane_id, priority, isolated=isolated)
        for (into, lane_id), jobs in counts.items():
            lane = self._catalog.lane_by_id(lane_id)
            if lane is not None:
                self._metrics.promoted(lane.queue, into, jobs)
        # More than one statement takes, or what came while it waited for a lock.
        self._key_calls.may_let_in(let_in.again)
        if self._at(let_in.next_call):
            self._key_calls.wake.set()

    def _at(self, wait: timedelta | None) -> bool:
        """The next sweep comes after that time, if not before. Returns whether that is sooner than it was."""
        if wait is None:
            return False
        before = self._sweep_at
        self._sweep_at = min(before, asyncio.get_running_loop().time() + wait.total_seconds())
        return self._sweep_at < before
