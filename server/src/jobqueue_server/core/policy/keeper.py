"""Walks through all semaphores: after a change of a limit, and all the time to see that they count what is there."""

from __future__ import annotations

import asyncio
import logging

from ...errors import JobQueueError
from ...metrics import Metrics
from ...store.policy.semaphores import SemaphoreStore, Walked
from ..catalog.catalog import Catalog
from ..claim.lines import Lines
from ..events.wakes import Wakes
from ..tuning import Tuning

_log = logging.getLogger(__name__)

#: Before every semaphore.
BEGINNING = -(2**63)


class Keeper:
    """Each server walks by itself, in small steps, and what one did another one finds done.

    So a change of a limit needs no owner: a server that dies on its way leaves the rest to the others.
    """

    def __init__(
        self,
        store: SemaphoreStore,
        catalog: Catalog,
        wakes: Wakes,
        lines: Lines,
        metrics: Metrics,
        tuning: Tuning,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._wakes = wakes
        self._lines = lines
        self._metrics = metrics
        self._tuning = tuning
        self._changed = asyncio.Event()
        # Up to which change of a policy all keys were asked whether they may let one in now.
        self._walked = 0
        self._after = BEGINNING
        # Of the walk that is under way: by queue and state, how many keys, and their tokens.
        self._counts: dict[tuple[int, str], tuple[int, int]] = {}
        catalog.on_change.append(lambda _: self._changed.set())

    async def run(self) -> None:
        """Walks until cancelled. While the database is away it waits."""
        while True:
            try:
                await self.follow()
                await self.audit()
            except JobQueueError as error:
                _log.debug("the audit of keys waits: %s", error)
            try:
                async with asyncio.timeout(self._tuning.keys_audit_every):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()

    async def follow(self) -> None:
        """If a queue's limits have changed since the last time, lets the keys call that may let one in now.

        Raises:
            DatabaseAway: The next time begins anew.
        """
        policies = self._catalog.policies
        if policies == self._walked:
            return
        after: int | None = BEGINNING
        while after is not None:
            after = (await self._call(after, self._tuning.keys_called)).last
        self._walked = policies

    async def _call(self, after: int, most: int) -> Walked:
        """A step of a walk: who may let one in calls, and pauses of keys that are over before their time end."""
        walked = await self._store.call_keys(after, most)
        self._wakes.keys_ready(walked.calling)
        if walked.over:
            calling, due = await self._store.end_pauses(walked.over)
            self._wakes.keys_ready(calling)
            for each in due:
                self._lines.moved(each.lane_id, each.priority, each.run_at, isolated=each.isolated)
        return walked

    async def audit(self) -> None:
        """A step of the audit: some semaphores are compared, those of keys without jobs forgotten.

        What has drifted is counted anew. It never should: each statement that moves a token changes the count.

        Raises:
            DatabaseAway: The next step begins at the same place.
        """
        after = self._after
        await self._call(after, self._tuning.keys_audited)
        walked = await self._store.audit_keys(
            after, self._tuning.keys_audited, self._tuning.keys_rows_counted
        )
        self._after = BEGINNING if walked.last is None else walked.last
        for each in walked.counted:
            keys, tokens = self._counts.get((each.queue_id, each.state), (0, 0))
            self._counts[each.queue_id, each.state] = keys + each.keys, tokens + each.tokens
        if walked.last is None:
            self._tell()
        for semaphore_id, queue_id in walked.drifted:
            queue = self._queue(queue_id) or ""
            _log.error(
                "the semaphore %d of queue %s did not count what is there; it is counted anew",
                semaphore_id,
                queue,
            )
            self._metrics.drifted(queue)
            await self._store.recount(semaphore_id)
            self._wakes.keys_ready([semaphore_id])

    def _queue(self, queue_id: int) -> str | None:
        lane = self._catalog.lane_of_queue(queue_id)
        return None if lane is None else lane.queue

    def _tell(self) -> None:
        """A walk is over: the metrics show what it counted."""
        self._metrics.keys(
            (queue, state, keys, tokens)
            for (queue_id, state), (keys, tokens) in self._counts.items()
            if (queue := self._queue(queue_id)) is not None
        )
        self._counts = {}
