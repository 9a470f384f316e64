"""The jobs of ticks: made of a schedule, and stored by the one intake within the transaction of a fire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from ... import logs
from ...errors import (
    DatabaseAway,
    DatabaseFull,
    Duplicate,
    FieldInvalid,
    JobQueueError,
    KindUnknown,
    NotAllowed,
    PayloadInvalid,
    PayloadTooLarge,
    QueueBacklogFull,
    QueuesFull,
    ServersDiffer,
)
from ...metrics import Metrics
from ...model import NewJob, NewJobs
from ...scope import Scope
from ...store.database import DataError, Session
from ...store.intake.intake import BacklogOfKeys
from ...store.schedule.values import Run, Schedule
from ..access.principals import Principals
from ..intake.batch import Batch
from ..intake.intake import Intake
from ..intake.keyed import KeyedBatches
from ..intake.placement import Placement, StoredWithin
from .decisions import Decision
from .ticks import spread
from .zones import ZoneUnknown, zone

_log = logs.get(__name__)

NAME_HEADER, TICK_HEADER = "x-schedule", "x-schedule-tick"
#: Labels have an index, and every list and filter of jobs takes them.
NAME_LABEL = "jobqueue/schedule"
_PATH = "job"
_SCHEDULES = "schedules"
#: What says that a job does not fit.
REFUSALS = (
    Duplicate,
    FieldInvalid,
    KindUnknown,
    NotAllowed,
    PayloadInvalid,
    PayloadTooLarge,
    QueueBacklogFull,
    QueuesFull,
    ServersDiffer,
)
#: Why a job can't be stored beside others, in a transaction that is rolled back then.
APART = (BacklogOfKeys, JobQueueError, *DataError)


@dataclass(slots=True, eq=False)
class Planned:
    """A tick that fires: with its job, or with the reason why that does not fit."""

    tick: datetime
    nth: int
    batch: Batch | None = None
    refused: str = ""

    def refuse(self, why: str) -> None:
        """Its job is not to be stored."""
        self.batch, self.refused = None, self.refused or why


@dataclass(frozen=True, slots=True)
class Fired:
    """What was stored, in a transaction that is still open: batches, and what became of each."""

    parts: Sequence[tuple[Batch, StoredWithin]] = ()

    def job_of(self, plan: Planned) -> tuple[UUID, str]:
        """The job of a tick, and a note where it is not a new one."""
        assert plan.batch is not None
        row_id = plan.batch.rows[0].id
        for _, how in self.parts:
            if (conflict := how.conflicts.get(row_id)) is not None:
                action = "KEPT" if conflict.action is None else conflict.action.name
                note = f"{action}: this job holds the name of the work, and nothing was enqueued"
                return conflict.job_id, note
        return row_id, ""


class JobMaker:
    """Makes and stores the jobs of ticks."""

    def __init__(
        self,
        intake: Intake,
        keyed_batches: KeyedBatches,
        placement: Placement,
        principals: Principals,
        metrics: Metrics,
    ) -> None:
        self._intake = intake
        self._keyed_batches = keyed_batches
        self._placement = placement
        self._principals = principals
        self._metrics = metrics

    async def check(self, scope: Scope, job: NewJob, path: str) -> None:
        """Checks a job as an enqueue by this caller does, and makes what it needs: its lane, and the level of servers.

        Raises:
            NotAllowed: The principal may not enqueue it.
            FieldInvalid, PayloadInvalid, KindUnknown: It does not fit.
        """
        await self._intake.rows_in_new_lanes(scope, [NewJobs.of(job)], path)

    async def prepare(self, schedule: Schedule) -> str:
        """Makes what the job of a schedule needs. Why it does not fit; empty: it does."""
        try:
            await self.check(self._scope_of(schedule), schedule.job, _PATH)
        except REFUSALS as error:
            return self.why(error)
        return ""

    def plan(self, decision: Decision) -> list[Planned] | None:
        """The jobs of ticks that can be stored together with those of other schedules; None: they can't."""
        plans = [self._planned(decision.schedule, tick, nth) for tick, nth in decision.fires]
        if any(plan is None or (plan.batch is not None and plan.batch.named) for plan in plans):
            return None
        return [plan for plan in plans if plan is not None]

    def plan_alone(self, decision: Decision, refused: str) -> list[Planned]:
        """The jobs of ticks that are stored alone. Where `refused` says why the job does not fit, none of them is."""
        made = []
        for tick, nth in decision.fires:
            plan = None if refused else self._planned(decision.schedule, tick, nth)
            made.append(plan or Planned(tick, nth, refused=refused or "its kind is not known here yet"))
        return made

    def _planned(self, schedule: Schedule, tick: datetime, nth: int) -> Planned | None:
        """None: something has to be made for the job first."""
        try:
            job = job_of(schedule, tick, spreads=not nth)
            batch = self._intake.rows(self._scope_of(schedule), [NewJobs.of(job)], _PATH)
        except REFUSALS as error:
            return Planned(tick, nth, refused=self.why(error))
        if batch is not None and (full := batch.full_limit) is not None:
            return Planned(tick, nth, refused=full.refusal().message)
        return None if batch is None else Planned(tick, nth, batch)

    async def store(self, session: Session, plans: Sequence[Planned]) -> Fired:
        """Stores the jobs within a transaction.

        Raises:
            BacklogOfKeys: A key has as many waiting jobs as its queue allows.
            Duplicate, FieldInvalid: The name of a job is held, and it can't stand beside that.
            KeyVanished: A name changed hands; to be tried again in a new transaction.
        """
        batches = [plan.batch for plan in plans if plan.batch is not None]
        if not batches:
            return Fired()
        batch = Batch.joined(batches, _PATH)
        return Fired([(batch, await self._keyed_batches.store_within(_NO_CALLER, session, batch))])

    async def store_one_by_one(self, session: Session, plans: Sequence[Planned]) -> Fired:
        """As `store`, for the ticks of one schedule: their jobs are alike, and have one name and one key.

        The jobs of the first ticks may leave no room for that of the next one. That one and those after it are refused.

        Raises:
            As `store`: there is no room for the first one either.
        """
        parts: list[tuple[Batch, StoredWithin]] = []
        for index, plan in enumerate(plans):
            try:
                async with session.savepoint():
                    parts += (await self.store(session, [plan])).parts
            except (DatabaseAway, DatabaseFull):
                raise
            except APART as error:
                if not parts:
                    raise
                why = self.why(error)
                for each in plans[index:]:
                    each.refuse(why)
                break
        return Fired(parts)

    def announce(self, fired: Fired) -> None:
        """What was stored is committed."""
        for batch, how in fired.parts:
            self._placement.announce(batch, how)
            for row, lane in zip(batch.rows, batch.lanes, strict=True):
                if (conflict := how.conflicts.get(row.id)) is not None:
                    self._metrics.duplicate(lane.kind, conflict.action)
                elif lane.backlog is not None:
                    lane.backlog.came(len(row.ids))

    def count(self, runs: Sequence[Run], at: datetime | None) -> None:
        """Counts what became of ticks; `at` is when they were decided, of those of schedules themselves."""
        for run in runs:
            late = None if at is None or run.nth else (at - run.tick).total_seconds()
            self._metrics.schedule_fired(run.outcome.name.lower(), run.ticks, late)

    @staticmethod
    def why(error: Exception) -> str:
        """Why a job does not fit, for people."""
        if isinstance(error, BacklogOfKeys):
            return "as many jobs as the queue allows wait for its key"
        if isinstance(error, JobQueueError):
            return error.message
        _log.error("the job of a schedule can't be stored", error=error)
        if isinstance(error, DataError):
            return f"the database refused its job ({type(error).__name__}): see the server's log"
        return f"its job could not be made ({type(error).__name__}): see the server's log"

    def _scope_of(self, schedule: Schedule) -> Scope:
        """In which scope its job is enqueued.

        Who made the schedule was asked for permissions then, and keys keep theirs. An identity may permit less by now.
        """
        if schedule.credential and (grants := self._principals.grants(schedule.maker)) is not None:
            return Scope(schedule.namespace, _SCHEDULES, grants)
        return _scope(schedule.namespace)


def job_of(schedule: Schedule, tick: datetime, *, spreads: bool) -> NewJob:
    """The job of a tick; `spreads`: its start is drawn from the jitter."""
    job, jitter = schedule.job, schedule.spec.jitter
    try:
        local = tick.astimezone(zone(schedule.spec.time_zone))
    except ZoneUnknown:
        # By hand, on a server with older time zones.
        local = tick
    headers = {**job.headers, NAME_HEADER: schedule.name, TICK_HEADER: local.isoformat()}
    labels = {**job.labels, NAME_LABEL: schedule.name}
    run_at = tick + spread(schedule.id, tick, jitter) if jitter and spreads else None
    return NewJob(
        job.kind, job.payload, job.queue, job.priority, run_at, job.delay, job.max_attempts, job.timeout,
        job.retry_policy, job.idempotency_key, labels, headers, job.hold, job.key, job.unique,
    )  # fmt: skip


@lru_cache(maxsize=1024)
def _scope(namespace: int) -> Scope:
    """That of all schedules there."""
    return Scope(namespace, _SCHEDULES)


#: Scopes are for idempotency keys, which jobs of schedules don't have.
_NO_CALLER = Scope(0, _SCHEDULES)
