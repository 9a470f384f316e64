"""Schedules that are fired by their callers: now, or at all the ticks that they had in a span of the past."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

from ...errors import DatabaseAway, DatabaseFull, Internal, ScheduleNotFound
from ...grants import Permission
from ...scope import Scope
from ...store.bulk import operations
from ...store.bulk.jobs import Step
from ...store.bulk.operations import Operation, State
from ...store.bulk.requests import Backfill
from ...store.database import Session
from ...store.schedule.fires import FireStore
from ...store.schedule.schedules import ScheduleStore
from ...store.schedule.values import Cause, Outcome, Overlap, Run, Schedule
from ..intake.names import KeyVanished
from .decisions import fitting
from .firing import TRIES, Firing
from .jobs import APART, Fired, JobMaker
from .schedules import ScheduleService
from .ticks import ticks
from .zones import ZoneUnknown

#: Ticks of a backfill are counted up to here, and for so many seconds.
MOST_COUNTED = 100_000
_MOST_SECONDS = 2.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ANY = Permission.OPERATE | Permission.ENQUEUE


@dataclass(frozen=True, slots=True)
class TickCount:
    """How many ticks a backfill has, and whether counting ended at its bound."""

    ticks: int
    capped: bool


class ScheduleRuns:
    """Fires schedules for their callers.

    Args:
        schedules: Finds them for callers.
        store: Where they are.
        fires: Writes what became of them.
        firing: Fires ticks.
        jobs: Makes what their jobs need.

    Raises (every method): DatabaseAway, DatabaseFull.
    """

    def __init__(
        self,
        schedules: ScheduleService,
        store: ScheduleStore,
        fires: FireStore,
        firing: Firing,
        jobs: JobMaker,
    ) -> None:
        self._schedules = schedules
        self._store = store
        self._fires = fires
        self._firing = firing
        self._jobs = jobs

    async def run(self, scope: Scope, name: str, overlap: Overlap | None, request_id: str | None) -> Run:
        """Fires a schedule now: what became of it, or of an earlier request with this id.

        Raises:
            ScheduleNotFound: There is none, or the principal may not read its jobs.
            NotAllowed: The principal may read its jobs, and not do this.
        """
        found = await self._schedules.find(scope, name, _ANY, "run the schedule")
        refused = await self._jobs.prepare(found)
        one_by_one = False
        for _ in range(TRIES):
            try:
                return await self._run(scope, name, overlap, request_id, refused, one_by_one=one_by_one)
            except KeyVanished:
                continue
            except (DatabaseAway, DatabaseFull, ScheduleNotFound):
                raise
            except APART as error:
                if one_by_one:
                    refused = self._jobs.why(error)
                one_by_one = True
        raise Internal("the name of the job changed hands too often; try again")

    async def _run(
        self,
        scope: Scope,
        name: str,
        overlap: Overlap | None,
        request_id: str | None,
        refused: str,
        *,
        one_by_one: bool,
    ) -> Run:
        async with self._store.locked(scope, name) as locked:
            if locked is None:
                raise ScheduleNotFound.of(name)
            schedule, session = locked.schedule, locked.transaction
            if request_id is not None:
                known = await self._fires.run_of_request(session, schedule.id, request_id)
                if known is not None:
                    return known
            runs, fired = await self._firing.by_hand(
                session,
                schedule,
                [locked.at],
                overlap,
                refused,
                Cause.BY_HAND,
                request_id,
                one_by_one=one_by_one,
            )
            (run,) = [one for one in runs if one.tick == locked.at and one.nth]
            await session.tell(
                scope, "RunSchedule", f"schedule:{name}", details={"outcome": run.outcome.name}
            )
        self._firing.announced(fired, runs)
        return run

    # ---- backfills

    async def backfill(
        self, scope: Scope, name: str, start: datetime, end: datetime, overlap: Overlap
    ) -> Backfill:
        """What an operation is to do that fires the ticks of a span.

        Raises:
            ScheduleNotFound: There is no such schedule, or the principal may neither do this nor read its jobs.
            NotAllowed: The principal may read its jobs, and not do this.
        """
        found = await self._schedules.find(scope, name, Permission.OPERATE, "backfill the schedule")
        return Backfill(found.id, name, start, end, int(overlap))

    async def check(self, scope: Scope, name: str) -> None:
        """Lets a principal pass that may backfill a schedule.

        Raises:
            ScheduleNotFound, NotAllowed: As `backfill`.
        """
        await self._schedules.find(scope, name, Permission.OPERATE, "backfill the schedule")

    async def count(self, backfill: Backfill, most: int) -> TickCount:
        """How many ticks a backfill has, `most` of them at most; 0 as `most`: all."""
        async with self._fires.transaction() as session:
            row = await self._fires.lock(session, backfill.schedule_id)
        if row is None:
            return TickCount(0, False)

        def counted() -> TickCount:
            until = time.monotonic() + _MOST_SECONDS
            bound = min(most or MOST_COUNTED, MOST_COUNTED)
            jobs = 0
            for tick in ticks(row[0].spec, backfill.start - _MICROSECOND):
                if tick >= backfill.end or jobs == most > 0:
                    return TickCount(jobs, False)
                if jobs == bound or time.monotonic() > until:
                    return TickCount(jobs, True)
                jobs += 1
            return TickCount(jobs, False)

        try:
            return await asyncio.to_thread(counted)
        except ZoneUnknown:
            return TickCount(0, True)

    async def step(self, operation: Operation, server_id: int, most: int) -> Step | None:
        """Fires the next ticks of a backfill and moves it on, in one transaction.

        Args:
            operation: The backfill.
            server_id: This server, which owns it.
            most: How many ticks, at most.

        Returns:
            What was done; None: the operation is not this server's any more, and nothing was done.
        """
        try:
            return await self._step(operation.id, server_id, most, "")
        except (DatabaseAway, DatabaseFull):
            raise
        except (*APART, KeyVanished) as error:
            refused = self._jobs.why(error)
        # One of them is to blame, or this one: then it is refused. A tick that waited may fire with it.
        try:
            return await self._step(operation.id, server_id, 1, "", one_by_one=True)
        except (DatabaseAway, DatabaseFull):
            raise
        except (*APART, KeyVanished) as error:
            refused = self._jobs.why(error)
        return await self._step(operation.id, server_id, 1, refused)

    async def _step(
        self, operation_id: UUID, server_id: int, most: int, refused: str, *, one_by_one: bool = False
    ) -> Step | None:
        fired = Fired()
        runs: Sequence[Run] = ()
        async with self._fires.transaction() as session:
            operation = await operations.lock(session, operation_id, server_id)
            if operation is None:
                return None
            backfill = operation.request.backfill
            assert backfill is not None, "a backfill has its span"
            row = await self._fires.lock(session, backfill.schedule_id)
            if operation.to_cancel or row is None:
                return await _ended(
                    session, operation, server_id, None if row else "the schedule was deleted"
                )
            most = fitting(row[0], most)
            if operation.request.max_jobs:
                most = min(most, operation.request.max_jobs - operation.looked)
            try:
                some, more = await asyncio.to_thread(_ticks, row[0], operation, backfill, most)
            except ZoneUnknown as error:
                why = f"the time zone {error} is not known to the server that worked on it: upgrade it"
                return await _ended(session, operation, server_id, why)
            if some:
                refused = refused or await self._jobs.prepare(row[0])
                overlap = Overlap(backfill.overlap)
                runs, fired = await self._firing.by_hand(
                    session, row[0], some, overlap, refused, Cause.BY_BACKFILL, one_by_one=one_by_one
                )
            # A tick that waited may have fired with them: it is none of these.
            changed = sum(run.outcome is Outcome.FIRED and run.cause is Cause.BY_BACKFILL for run in runs)
            looked = operation.looked + len(some)
            enough = operation.request.max_jobs and looked >= operation.request.max_jobs
            now = await operations.advance(
                session,
                operation_id,
                server_id,
                _position(some[-1]) if some else None,
                looked=len(some),
                changed=changed,
                skipped=len(some) - changed,
                state=State.RUNNING if more and not enough else State.SUCCEEDED,
            )
            assert now is not None, "a locked operation stays this server's"
        self._firing.announced(fired, runs)
        return Step(now, changed, len(some) - changed, len(some))


def last_tick(operation: Operation) -> datetime | None:
    """The last tick of a backfill that was decided."""
    return None if operation.position is None else _EPOCH + operation.position.int * _MICROSECOND


def _position(tick: datetime) -> UUID:
    """Where a backfill goes on, in the form in which operations keep it."""
    return UUID(int=(tick - _EPOCH) // _MICROSECOND)


def _ticks(
    schedule: Schedule, operation: Operation, backfill: Backfill, most: int
) -> tuple[list[datetime], bool]:
    """The next ticks, and whether there may be more behind them."""
    after = last_tick(operation) or backfill.start - _MICROSECOND
    some = list(islice(ticks(schedule.spec, after), most + 1))
    within = [tick for tick in some if tick < backfill.end]
    return within[:most], len(within) > most


async def _ended(session: Session, operation: Operation, server_id: int, failed: str | None) -> Step | None:
    ended = await operations.advance(
        session,
        operation.id,
        server_id,
        None,
        state=State.FAILED if failed else State.CANCELLED,
        error=failed,
    )
    return None if ended is None else Step(ended)
