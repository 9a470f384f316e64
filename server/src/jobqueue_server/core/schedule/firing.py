"""The fire: one transaction locks what is due, stores the jobs, and writes what became of the ticks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from ... import logs
from ...errors import DatabaseAway, DatabaseFull, JobQueueError
from ...lifecycle import Status
from ...store.database import Session
from ...store.intake.intake import BacklogOfKeys
from ...store.schedule.fires import Advanced, FireStore, TickDecidedBefore
from ...store.schedule.values import Cause, Outcome, Overlap, Run, Schedule
from ..intake.names import KeyVanished
from . import zones
from .apart import Apart, Whose
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
from .jobs import Fired, JobMaker, Planned
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


#: Of a round so many seconds are spent on computing ticks. Who missed many takes 50 ms; the rest is for the next round.
_MOST_COMPUTING = 0.1


@dataclass(slots=True)
class Round:
    """What a round did: how many schedules it found, and which of them are to be fired apart."""

    found: int = 0
    apart: dict[Whose, list[int]] = field(default_factory=dict)

    def finds(self, schedules: Iterable[Schedule]) -> None:
        """These are due. Until it is known which can go together, all go apart."""
        self.apart = {}
        self.found = 0
        for each in schedules:
            self.found += 1
            self.apart.setdefault((each.namespace, each.principal), []).append(each.id)

    def leaves(self, alone: Iterable[Schedule], decided: int) -> None:
        """The others have fired. What could not be decided here counts as not found."""
        self.finds(alone)
        self.found = decided


class Firing:
    """Fires schedules.

    Args:
        store: Locks what is due, and writes what became of it.
        jobs: Makes the jobs, and stores them by the one intake.
        apart: Who is fired apart from rounds.

    Raises (every method): DatabaseAway, DatabaseFull.
    """

    def __init__(self, store: FireStore, jobs: JobMaker, apart: Apart) -> None:
        self._store = store
        self._jobs = jobs
        self._apart = apart

    async def round(self, *, buffered: bool) -> int:
        """Fires what is due now, but for what has to be fired apart: how many schedules that were.

        MOST_TOGETHER at most; half as many or more: there may be others.

        Args:
            buffered: Whether there are ticks that wait for the end of a job.
        """
        found = Round()
        try:
            await self._together(found, buffered=buffered)
            groups = [(whose, [each]) for whose, ids in found.apart.items() for each in ids]
        except (DatabaseAway, DatabaseFull):
            raise
        except Exception as error:
            if not found.found:
                raise
            # One of them is to blame: those of each principal are tried apart from the others.
            _log.debug("schedules are fired apart", cause=str(error))
            groups = list(found.apart.items())
        no_room = sum([len(ids) for whose, ids in groups if not self._apart.add(whose, ids)])
        return found.found - no_room

    async def group(self, whose: Whose, ids: Sequence[int]) -> None:
        """Fires schedules apart from all others: together, or alone if it is one."""
        again: list[Sequence[int]] = []
        try:
            if len(ids) == 1:
                await self._judged(ids[0])
            else:
                found = Round()
                await self._together(found, buffered=True, ids=ids)
                again = [[each] for some in found.apart.values() for each in some]
        except (DatabaseAway, DatabaseFull):
            raise
        except Exception as error:
            if len(ids) == 1:
                self._sets_aside(ids[0], error)
                return
            _log.debug("schedules are fired by halves", cause=str(error))
            middle = len(ids) // 2
            again = [ids[:middle], ids[middle:]]
        finally:
            self._apart.done(ids)
        for some in again:
            self._apart.add(whose, some)

    async def _together(self, found: Round, *, buffered: bool, ids: Sequence[int] | None = None) -> None:
        async with self._store.transaction() as session:
            if ids is None:
                due = await self._store.due(
                    session, MOST_TOGETHER, buffered=buffered, apart=self._apart.left_out()
                )
            else:
                due = await self._store.lock_due(session, ids)
            for schedule_id, error in due.unreadable.items():
                self._passes_over(schedule_id, error)
            at = due.at
            alone = [each for each in due.schedules if self._apart.was_refused(each.id)]
            schedules = [each for each in due.schedules if not self._apart.was_refused(each.id)]
            found.finds(due.schedules)
            if not schedules or at is None:
                found.leaves(alone, len(alone))
                return
            open_ids = {job_id for schedule in schedules for job_id in schedule.open}
            jobs = await self._store.open_jobs(session, open_ids)
            decisions = await _decisions(schedules, jobs, at)
            planned = _fitting([(decision, self._jobs.plan(decision)) for decision in decisions])
            together = [(decision, plans) for decision, plans in planned if plans is not None]
            alone += [decision.schedule for decision, plans in planned if plans is None]
            fired = await self._jobs.store(session, [plan for _, plans in together for plan in plans or ()])
            advanced = [_advanced(decision, plans or (), fired) for decision, plans in together]
            await self._store.write(session, advanced, zones.VERSION)
        found.leaves(alone, len(together) + len(alone))
        self._jobs.announce(fired)
        self._tell(advanced, at)

    def _passes_over(self, schedule_id: int, error: Exception) -> None:
        """A schedule that this server can't read, such as one that a newer server has changed."""
        pause = self._apart.failed(schedule_id)
        _log.warning(
            "a schedule can't be read here, and is passed over",
            schedule=schedule_id,
            cause=f"{type(error).__name__}: {error}",
            again_in=pause,
        )

    async def _judged(self, schedule_id: int) -> None:
        """Fires one schedule alone, and remembers what that says of its next tick."""
        error = await self.alone(schedule_id)
        if error is None:
            self._apart.fired(schedule_id)
        elif isinstance(error, (JobQueueError, BacklogOfKeys)):
            self._apart.refused(schedule_id)
        else:
            self._sets_aside(schedule_id, error)

    def _sets_aside(self, schedule_id: int, error: Exception) -> None:
        """A schedule failed for no reason of its job: it is tried again after a pause, which grows."""
        pause = self._apart.failed(schedule_id)
        _log.warning(
            "a schedule failed, and is set aside",
            schedule=schedule_id,
            cause=f"{type(error).__name__}: {error}",
            again_in=pause,
        )

    async def alone(self, schedule_id: int) -> Exception | None:
        """Fires one schedule, by a transaction of its own. Where its job does not fit, its ticks are refused.

        Returns:
            Why its job could not be stored; None: it was, or there was none.
        """
        refused, one_by_one = "", False
        last: Exception | None = None
        for _ in range(TRIES):
            try:
                await self._fire_alone(schedule_id, refused, one_by_one=one_by_one)
                return last if refused else None
            except KeyVanished as error:
                last = error
            except (DatabaseAway, DatabaseFull):
                raise
            except TickDecidedBefore as error:
                _log.error("a tick was decided twice, and was not fired again", schedule=schedule_id)
                return error
            except Exception as error:
                last = error
                if one_by_one:
                    refused = self._jobs.why(error)
                one_by_one = True
        _log.warning("a schedule could not be fired, and is tried again", schedule=schedule_id, cause=refused)
        return last

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

    One whose time zone this server does not know is left out: another server that knows it made the schedule. So are
    the last ones, where it takes long: they are due still.
    """

    def decided() -> list[Decision]:
        found: list[Decision] = []
        until = time.monotonic() + _MOST_COMPUTING
        for each in schedules:
            if found and time.monotonic() > until:
                break
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
