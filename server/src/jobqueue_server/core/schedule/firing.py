"""The fire: one transaction locks what is due, stores the jobs, and writes what became of the ticks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from ... import logs
from ...errors import DatabaseAway, DatabaseFull
from ...lifecycle import Status
from ...store.database import Session
from ...store.schedule.fires import Advanced, FireStore, TickDecidedBefore
from ...store.schedule.values import Cause, Outcome, Overlap, Run, Schedule
from ..intake.names import KeyVanished
from . import zones
from .decisions import (
    MOST_BYTES,
    Decision,
    Due,
    decide,
    decide_by_hand,
    due_ticks,
    kept_open,
    leave_out,
    skipped_where_refused,
)
from .jobs import APART, Fired, JobMaker, Planned
from .zones import ZoneUnknown

_log = logs.get(__name__)

#: So many schedules are fired by one transaction.
MOST_TOGETHER = 200
#: Above so many with lines of cron their ticks are computed beside the event loop: a line takes ten times as long.
_COMPUTED_HERE = 10
#: A note of a run has so many characters at most.
MOST_NOTE_CHARS = 1024
#: So often a fire is tried: with all of its jobs, with one after the other, and without those that do not fit. One more
#: is for names that changed hands.
TRIES = 4


@dataclass(slots=True)
class Round:
    """What a round did: how many schedules it found, and which of them are to be fired alone."""

    found: int = 0
    alone: list[int] = field(default_factory=list)

    def finds(self, ids: Iterable[int]) -> None:
        """These are due. Until it is known which can go together, each goes alone."""
        self.alone = list(ids)
        self.found = len(self.alone)

    def leaves(self, alone: list[int], decided: int) -> None:
        """The others have fired. What could not be decided here counts as not found."""
        self.alone = alone
        self.found = decided


class Firing:
    """Fires schedules.

    Args:
        store: Locks what is due, and writes what became of it.
        jobs: Makes the jobs, and stores them by the one intake.

    Raises (every method): DatabaseAway, DatabaseFull.
    """

    def __init__(self, store: FireStore, jobs: JobMaker) -> None:
        self._store = store
        self._jobs = jobs

    async def round(self, *, buffered: bool) -> int:
        """Fires what is due now: how many schedules that were, MOST_TOGETHER or so at most.

        Args:
            buffered: Whether there are ticks that wait for the end of a job.
        """
        found = Round()
        try:
            await self._together(found, buffered=buffered)
        except (DatabaseAway, DatabaseFull):
            raise
        except (*APART, KeyVanished, TickDecidedBefore) as error:
            # One of them is to blame, and each is fired alone.
            _log.debug("schedules are fired one by one", cause=str(error))
        for schedule_id in found.alone:
            await self.alone(schedule_id)
        return found.found

    async def _together(self, found: Round, *, buffered: bool) -> None:
        async with self._store.transaction() as session:
            rows = await self._store.due(session, MOST_TOGETHER, buffered=buffered)
            found.finds(schedule.id for schedule, _ in rows)
            if not rows:
                return
            at = rows[0][1]
            open_ids = {job_id for schedule, _ in rows for job_id in schedule.open}
            jobs = await self._store.open_jobs(session, open_ids)
            decisions = await _decisions([schedule for schedule, _ in rows], jobs, at)
            planned = _fitting([(decision, self._jobs.plan(decision)) for decision in decisions])
            together = [(decision, plans) for decision, plans in planned if plans is not None]
            alone = [decision.schedule.id for decision, plans in planned if plans is None]
            fired = await self._jobs.store(session, [plan for _, plans in together for plan in plans or ()])
            advanced = [_advanced(decision, plans or (), fired) for decision, plans in together]
            await self._store.write(session, advanced, zones.VERSION)
        found.leaves(alone, len(together) + len(alone))
        self._jobs.announce(fired)
        self._tell(advanced, at)

    async def alone(self, schedule_id: int) -> None:
        """Fires one schedule, by a transaction of its own. Where its job does not fit, its ticks are refused."""
        refused, one_by_one = "", False
        for _ in range(TRIES):
            try:
                await self._fire_alone(schedule_id, refused, one_by_one=one_by_one)
                return
            except KeyVanished:
                continue
            except (DatabaseAway, DatabaseFull):
                raise
            except APART as error:
                if one_by_one:
                    refused = self._jobs.why(error)
                one_by_one = True
            except TickDecidedBefore:
                _log.error("a tick was decided twice, and was not fired again", schedule=schedule_id)
                return
        _log.warning("a schedule could not be fired, and is tried again", schedule=schedule_id, cause=refused)

    async def _fire_alone(self, schedule_id: int, refused: str, *, one_by_one: bool) -> None:
        prepared = refused
        if not refused:
            # What its job needs is made before its row is locked.
            async with self._store.transaction() as session:
                row = await self._store.lock(session, schedule_id)
            if row is None:
                return
            prepared = await self._jobs.prepare(row[0])
        async with self._store.transaction() as session:
            row = await self._store.lock(session, schedule_id)
            if row is None or row[0].paused:
                return
            schedule, at = row
            jobs = await self._store.open_jobs(session, schedule.open)
            decision = next(iter(await _decisions([schedule], jobs, at, refused=bool(prepared))), None)
            if decision is None or not (decision.fires or decision.runs):
                return
            plans = self._jobs.plan_alone(decision, prepared)
            fired = await self._stored(session, plans, one_by_one=one_by_one)
            advanced = [_advanced(decision, plans, fired)]
            await self._store.write(session, advanced, zones.VERSION)
        self._jobs.announce(fired)
        self._tell(advanced, at)

    async def leave_out(self, schedule_id: int, why: str) -> None:
        """Leaves out the ticks of a schedule that are due. A run says why."""
        async with self._store.transaction() as session:
            row = await self._store.lock(session, schedule_id)
            if row is None or row[0].paused:
                return
            schedule, at = row
            try:
                due = await asyncio.to_thread(_due, schedule, at)
            except ZoneUnknown:
                # Which ticks it has is for a server to say that knows its time zone.
                return
            advanced = [_advanced(leave_out(schedule, due, at, why), (), Fired())]
            await self._store.write(session, advanced, zones.VERSION)
        self._tell(advanced, at)

    async def by_hand(
        self,
        session: Session,
        schedule: Schedule,
        ticks: Sequence[datetime],
        overlap: Overlap | None,
        refused: str,
        cause: Cause,
        request_id: str | None = None,
        *,
        one_by_one: bool = False,
    ) -> tuple[list[Run], Fired]:
        """Fires ticks within a transaction that has locked the schedule.

        Args:
            session: The transaction.
            schedule: The schedule.
            ticks: When.
            overlap: As in `decide_by_hand`.
            refused: Why its job does not fit; empty: it does, as far as is known.
            cause: What they come from.
            request_id: That of the request, of one tick.
            one_by_one: Whether those that find no room are to be refused, and no others.

        Returns:
            What became of them, and what `announced` is to be called with after the commit.
        """
        jobs = await self._store.open_jobs(session, schedule.open)
        decision = decide_by_hand(schedule, ticks, jobs, overlap, refused=bool(refused))
        plans = self._jobs.plan_alone(decision, refused)
        fired = await self._stored(session, plans, one_by_one=one_by_one)
        runs = await self._store.write(
            session, [_advanced(decision, plans, fired)], zones.VERSION, cause, request_id
        )
        return runs, fired

    async def _stored(self, session: Session, plans: Sequence[Planned], *, one_by_one: bool) -> Fired:
        store = self._jobs.store_one_by_one if one_by_one else self._jobs.store
        return await store(session, plans)

    def announced(self, fired: Fired, runs: Sequence[Run]) -> None:
        """What `by_hand` did is committed."""
        self._jobs.announce(fired)
        self._jobs.count(runs, None)

    def _tell(self, advanced: Sequence[Advanced], at: datetime) -> None:
        for each in advanced:
            self._jobs.count(each.runs, at)
            if each.paused_for is not None:
                _log.warning("a schedule is paused", schedule=each.schedule.name, cause=each.paused_for)


async def _decisions(
    schedules: Sequence[Schedule], jobs: Mapping[UUID, Status | None], at: datetime, *, refused: bool = False
) -> list[Decision]:
    """What becomes of each; computed beside the event loop where that may take milliseconds.

    One whose time zone this server does not know is left out: another server that knows it made the schedule.
    """

    def decided() -> list[Decision]:
        found = []
        for each in schedules:
            try:
                due = _due(each, at)
            except ZoneUnknown as error:
                _log.warning(
                    "a schedule has a time zone that is not known here", schedule=each.name, zone=str(error)
                )
                continue
            found.append(decide(each, due, jobs, at, refused=refused))
        return found

    late = any(each.next_at is not None and (at - each.next_at).total_seconds() > 1 for each in schedules)
    lines = sum([bool(each.spec.cron) for each in schedules])
    return await asyncio.to_thread(decided) if late or lines > _COMPUTED_HERE else decided()


def _due(schedule: Schedule, at: datetime) -> Due:
    """The ticks of a schedule that are due."""
    return due_ticks(schedule.spec, schedule.next_at, schedule.last_tick, at, schedule.policy.catch_up_window)


def _fitting(
    planned: Sequence[tuple[Decision, list[Planned] | None]],
) -> Sequence[tuple[Decision, list[Planned] | None]]:
    """The first of them, as many as one statement may carry; the others are due still."""
    size = 0
    for count, (decision, plans) in enumerate(planned):
        size += len(decision.schedule.job.payload) * len(plans or ())
        if count and size > MOST_BYTES:
            return planned[:count]
    return planned


def _advanced(decision: Decision, plans: Sequence[Planned], fired: Fired) -> Advanced:
    """The schedule once the jobs of its ticks are stored."""
    schedule = decision.schedule
    runs = list(decision.runs)
    open_ids = list(schedule.open)
    enqueued = 0
    for plan in plans:
        if plan.refused:
            runs.append(Run(plan.tick, Outcome.REFUSED, plan.nth, note=plan.refused[:MOST_NOTE_CHARS]))
            continue
        job_id, note = fired.job_of(plan)
        runs.append(Run(plan.tick, Outcome.FIRED, plan.nth, job_id, note))
        if not note:
            open_ids.append(job_id)
            enqueued += 1
    schedule.opens(kept_open(open_ids))
    if len(runs) > 1:
        runs.sort(key=lambda run: run.tick)
    if any(plan.refused for plan in plans):
        schedule.skips(skipped_where_refused(decision, runs))
    return Advanced(schedule, runs, enqueued, decision.paused_for, decision.waited)
