"""Works on operations: takes those that no living server works on, and does their steps."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from uuid import UUID

from ... import logs
from ...errors import DatabaseAway, DatabaseFull, JobQueueError
from ...metrics import Metrics
from ...store.bulk.jobs import BulkStore, Step
from ...store.bulk.operations import Operation, OperationStore, State
from ...store.bulk.requests import Verb
from ..access.principals import Principals
from ..events.this_server import ThisServer
from ..schedule.runs import ScheduleRuns
from ..upkeep.duty_cycle import DutyCycle
from .effects import Effects
from .operations import NEEDED, name_of
from .pace import MOST_CHANGED, Pace
from .preview import Previews
from .rests import GRANTS_NARROWED

_log = logs.get(__name__)

#: How many steps of operations a server does at once; of one principal, while another waits and while none does: so
#: the next principal finds a place.
MOST_AT_ONCE = 4
MOST_OF_ONE = (2, 3)
#: How often a server looks for operations that other servers made, left, or gave back.
LOOK_EVERY = 1.0
COUNT_EVERY = 5.0
#: While enqueues wait, steps do, and look so often.
_YIELD_FOR = 0.05
_TRY_AGAIN_AFTER = timedelta(seconds=1)
#: A step that fails so often in a row, for another reason than that the database is away, ends its operation.
MOST_FAULTS = 5
_MOST_REMEMBERED = 10_000


@dataclass(slots=True)
class _Remembered:
    """What this server knows of an operation between two of its steps: how far a step looks, and how many failed."""

    window: int = MOST_CHANGED
    faults: int = 0

    def did(self) -> None:
        """A step was done, so that none has failed in a row."""
        self.faults = 0

    def failed(self) -> None:
        """One more step has failed in a row."""
        self.faults += 1

    def looks(self, window: int) -> None:
        """The next step looks so far."""
        self.window = window


class Runner:
    """Does the steps of operations, each time of whose turn it is.

    An operation is this server's for one step, and is given back then: one that rests for its pace takes no place.

    Args:
        store: Where operations are.
        jobs: What the steps change.
        previews: Counts what matches, before the first step.
        backfills: Does the steps of those that fire schedules.
        principals: Knows what who made an operation may do now.
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
        principals: Principals,
        effects: Effects,
        server: ThisServer,
        crowded: Callable[[], bool],
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._previews = previews
        self._backfills = backfills
        self._principals = principals
        self._effects = effects
        self._server = server
        self._crowded = crowded
        self._metrics = metrics
        self._counts = DutyCycle(COUNT_EVERY)
        self._counts.soon()
        self._awake = asyncio.Event()
        self._working: dict[UUID, asyncio.Task[None]] = {}
        self._remembered: dict[UUID, _Remembered] = {}
        # When operations that this server gave back may have their next steps.
        self._due: list[float] = []

    def wake(self) -> None:
        """There is an operation that waits."""
        self._awake.set()

    async def run(self) -> None:
        """Takes operations and works on them until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                left = LOOK_EVERY
                try:
                    left = await self._take(group)
                    await self._count()
                except JobQueueError as error:
                    _log.debug("operations wait", cause=str(error))
                try:
                    async with asyncio.timeout(left):
                        await self._awake.wait()
                except TimeoutError:
                    pass
                self._awake.clear()

    async def _take(self, group: asyncio.TaskGroup) -> float:
        """Begins steps where there is a place. Seconds until it is to look again."""
        if self._crowded():
            return _YIELD_FOR
        room = MOST_AT_ONCE - len(self._working)
        owner = self._server.id
        # Before its first heartbeat it has no number. The end of a step wakes it.
        if room <= 0 or not owner:
            return LOOK_EVERY
        now = time.monotonic()
        while self._due and self._due[0] <= now:
            heapq.heappop(self._due)
        for claimed in await self._store.claim(owner, room, list(self._working), of_one=MOST_OF_ONE):
            operation = claimed.operation
            if claimed.taken_over:
                _log.info("an operation is taken over", operation=name_of(operation.id))
            task = group.create_task(self._work(operation, owner, claimed.late.total_seconds()))
            self._working[operation.id] = task
            task.add_done_callback(partial(self._done, operation.id))
        return min(LOOK_EVERY, max(0.0, self._due[0] - time.monotonic())) if self._due else LOOK_EVERY

    def _done(self, operation_id: UUID, _: asyncio.Task[None]) -> None:
        del self._working[operation_id]
        self.wake()

    async def _count(self) -> None:
        if self._counts.left:
            return
        with self._counts.done():
            counts = await self._store.counts()
        for verb in Verb:
            for state in State:
                self._metrics.operations(verb.label, state.name.lower(), counts.get((verb, state), 0))

    async def _work(self, operation: Operation, owner: int, late: float) -> None:
        """Does one step, and gives the operation back if it is not done then."""
        known = self._known(operation.id)
        pace = Pace(operation.request.per_second, time.monotonic(), late, known.window)
        rests = _TRY_AGAIN_AFTER
        try:
            if self._narrowed(operation):
                await self._store.rest(operation.id, owner, GRANTS_NARROWED)
                return
            if operation.estimate is None and not operation.looked:
                operation = await self._estimated(operation, owner)
            began = time.monotonic()
            step = await self._step(operation, owner, pace)
            if step is None:
                return
            known.did()
            self._tell(step)
            operation = step.operation
            if operation.state.ended:
                self._remembered.pop(operation.id, None)
                _log.info(
                    "an operation is done",
                    operation=name_of(operation.id),
                    verb=operation.verb.method,
                    state=operation.state.name,
                    changed=operation.changed,
                )
                return
            now = time.monotonic()
            pace.stepped(step.changed + step.skipped, began, now)
            known.looks(pace.window)
            rests = timedelta(seconds=pace.wait(now))
        except (DatabaseAway, DatabaseFull) as error:
            _log.warning("an operation waits", operation=name_of(operation.id), cause=str(error))
        except Exception:
            known.failed()
            _log.exception("a step of an operation failed", operation=name_of(operation.id))
            if known.faults >= MOST_FAULTS:
                await self._fail(operation, owner)
                return
        await self._give_back(operation, owner, rests)

    def _tell(self, step: Step) -> None:
        """It is committed."""
        operation = step.operation
        self._effects.retried(step.retried)
        self._effects.updated(step.updated)
        self._effects.cancelled(step.cancelled, operation.request.reason)
        self._effects.deleted(step.deleted)
        self._metrics.bulk_jobs(operation.verb.label, "changed", step.changed)
        self._metrics.bulk_jobs(operation.verb.label, "skipped", step.skipped)

    async def _give_back(self, operation: Operation, owner: int, rests: timedelta) -> None:
        try:
            await self._store.release(operation.id, owner, rests)
        except JobQueueError as error:
            # It is this server's still, which finds it again.
            _log.warning("an operation waits", operation=name_of(operation.id), cause=str(error))
        # After the answer: so it is not before the time that the database has.
        heapq.heappush(self._due, time.monotonic() + rests.total_seconds())

    def _known(self, operation_id: UUID) -> _Remembered:
        known = self._remembered.get(operation_id)
        if known is None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            known = self._remembered[operation_id] = _Remembered()
        return known

    def _narrowed(self, operation: Operation) -> bool:
        """Whether its principal may not do any more what it could when it made the operation."""
        now = self._principals.grants(operation.maker)
        return now is not None and not now.cover(operation.grants.only(NEEDED)) and not operation.to_cancel

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

    async def _fail(self, operation: Operation, owner: int) -> None:
        try:
            await self._jobs.fail(operation.id, owner, "a step failed again and again: see the server's log")
        except Exception:
            # Another server takes it over, and tries.
            _log.exception("an operation could not be ended", operation=name_of(operation.id))
