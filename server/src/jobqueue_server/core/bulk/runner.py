"""Works on operations: takes those that no living server works on, and does their steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from ... import logs
from ...errors import DatabaseAway, DatabaseFull, JobQueueError
from ...metrics import Metrics
from ...store.bulk.jobs import BulkStore, Step
from ...store.bulk.operations import Operation, OperationStore, State
from ...store.bulk.requests import Verb
from ..events.this_server import ThisServer
from ..schedule.runs import ScheduleRuns
from ..upkeep.duty_cycle import DutyCycle
from .effects import Effects
from .operations import name_of
from .pace import Pace
from .preview import Previews

_log = logs.get(__name__)

#: How many operations a server works on at once.
MOST_AT_ONCE = 4
#: How often a server looks for operations that other servers made or left.
LOOK_EVERY = 1.0
COUNT_EVERY = 5.0
#: How often the owner says that it works on one, while it rests. Another server takes it after 10 s.
RENEW_EVERY = 3.0
#: While enqueues wait, steps do, and look so often.
_YIELD_FOR = 0.05
_TRY_AGAIN_AFTER = 1.0
#: A step that fails so often in a row, for another reason than that the database is away, ends its operation.
MOST_FAULTS = 5


class Runner:
    """Does the steps of operations.

    Args:
        store: Where operations are.
        jobs: What the steps change.
        previews: Counts what matches, before the first step.
        backfills: Does the steps of those that fire schedules.
        effects: What is told of a step.
        server: Owns operations.
        crowded: Whether enqueues wait; steps wait for them.
        metrics: Counts operations.
    """

    def __init__(
        self,
        store: OperationStore,
        jobs: BulkStore,
        previews: Previews,
        backfills: ScheduleRuns,
        effects: Effects,
        server: ThisServer,
        crowded: Callable[[], bool],
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._previews = previews
        self._backfills = backfills
        self._effects = effects
        self._server = server
        self._crowded = crowded
        self._metrics = metrics
        self._counts = DutyCycle(COUNT_EVERY)
        self._counts.soon()
        self._awake = asyncio.Event()
        self._working: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """There is an operation that waits."""
        self._awake.set()

    async def run(self) -> None:
        """Takes operations and works on them until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    await self._take(group)
                    await self._count()
                except JobQueueError as error:
                    _log.debug("operations wait", cause=str(error))
                try:
                    async with asyncio.timeout(LOOK_EVERY):
                        await self._awake.wait()
                except TimeoutError:
                    pass
                self._awake.clear()

    async def _take(self, group: asyncio.TaskGroup) -> None:
        room = MOST_AT_ONCE - len(self._working)
        # Before its first heartbeat it has no number.
        if room <= 0 or not self._server.id:
            return
        owner = self._server.id
        for operation in await self._store.claim(owner, room):
            if operation.looked:
                _log.info("an operation is taken over", operation=name_of(operation.id))
            task = group.create_task(self._work(operation, owner))
            self._working.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        self.wake()

    async def _count(self) -> None:
        if self._counts.left:
            return
        with self._counts.done():
            counts = await self._store.counts()
        for verb in Verb:
            for state in State:
                self._metrics.operations(verb.label, state.name.lower(), counts.get((verb, state), 0))

    async def _work(self, operation: Operation, owner: int) -> None:
        """Does steps until the operation is done, or another server's."""
        pace = Pace(operation.request.per_second, time.monotonic())
        faults = 0
        while True:
            try:
                if operation.estimate is None and not operation.looked:
                    operation = await self._estimated(operation, owner)
                began = time.monotonic()
                step = await self._step(operation, owner, pace)
            except (DatabaseAway, DatabaseFull) as error:
                _log.warning("an operation waits", operation=name_of(operation.id), cause=str(error))
                if not await self._rested(operation, owner, _TRY_AGAIN_AFTER):
                    return
                continue
            except Exception:
                faults += 1
                _log.exception("a step of an operation failed", operation=name_of(operation.id))
                if faults >= MOST_FAULTS:
                    await self._fail(operation, owner)
                    return
                if not await self._rested(operation, owner, _TRY_AGAIN_AFTER):
                    return
                continue
            if step is None:
                return
            faults = 0
            self._effects.tell(step)
            operation = step.operation
            if operation.state.ended:
                _log.info(
                    "an operation is done",
                    operation=name_of(operation.id),
                    verb=operation.verb.method,
                    state=operation.state.name,
                    changed=operation.changed,
                )
                return
            pace.stepped(step.changed + step.skipped, began, time.monotonic())
            if not await self._rested(operation, owner, pace.wait(time.monotonic())):
                return

    async def _step(self, operation: Operation, owner: int, pace: Pace) -> Step | None:
        if operation.verb is Verb.BACKFILL:
            return await self._backfills.step(operation, owner, pace.most)
        return await self._jobs.step(operation.id, owner, most=pace.most, window=pace.window)

    async def _estimated(self, operation: Operation, owner: int) -> Operation:
        if operation.request.backfill is not None:
            counted = await self._backfills.count(operation.request.backfill, operation.request.max_jobs)
            await self._store.estimate(operation.id, owner, counted.ticks, counted.capped, ())
            return replace(operation, estimate=counted.ticks)
        found = await self._previews.count(
            operation.namespace, operation.grants, operation.verb, operation.request, operation.id
        )
        await self._store.estimate(operation.id, owner, found.jobs, found.capped, found.sample)
        return replace(operation, estimate=found.jobs)

    async def _rested(self, operation: Operation, owner: int, seconds: float) -> bool:
        """Rests, and as long as enqueues wait. Whether the operation is still this server's."""
        until = time.monotonic() + seconds
        renewed = time.monotonic()
        while True:
            now = time.monotonic()
            left = max(until - now, _YIELD_FOR if self._crowded() else 0.0)
            if left <= 0:
                return True
            await asyncio.sleep(min(left, RENEW_EVERY))
            if time.monotonic() - renewed >= RENEW_EVERY:
                renewed = time.monotonic()
                try:
                    to_cancel = await self._store.renew(operation.id, owner)
                except JobQueueError:
                    continue
                if to_cancel is None:
                    return False
                if to_cancel:
                    return True

    async def _fail(self, operation: Operation, owner: int) -> None:
        try:
            await self._jobs.fail(operation.id, owner, "a step failed again and again: see the server's log")
        except Exception:
            # Another server takes it over, and tries.
            _log.exception("an operation could not be ended", operation=name_of(operation.id))
