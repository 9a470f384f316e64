"""The fire of schedules: what is due is locked, what became of it written, where its jobs are stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from ...lifecycle import Status
from ...model import NOTHING
from ..database import Database, Record, Session, UniqueViolation
from . import values
from .schedules import run_of, schedule_of
from .values import Cause, Run, Schedule

#: A server that is silent so long in the middle of a fire loses it: another one fires instead.
MOST_SILENT = timedelta(seconds=5)
_NEXT_NTH = -1


class TickDecidedBefore(Exception):
    """A tick has a run already, so that nothing of this transaction may be committed."""


@dataclass(frozen=True, slots=True)
class Soonest:
    """When there is something to do: the next tick of all schedules, and whether a tick waits for the end of a job."""

    next_at: datetime | None
    buffered: bool


@dataclass(frozen=True, slots=True)
class DueSchedules:
    """Schedules that are due and locked.

    Attributes:
        schedules: In the order of turns: the first of each principal, then the second of each.
        at: The time by the database's clock; None: there are none.
        unreadable: Those whose rows this server can't read, by their ids, with the error.
    """

    schedules: Sequence[Schedule]
    at: datetime | None = None
    unreadable: Mapping[int, Exception] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Advanced:
    """A schedule that was decided on, as it is to be, with what became of its ticks.

    Attributes:
        schedule: As it is now, but for `runs` and `fired`.
        runs: What became of its ticks, in order.
        enqueued: How many jobs it has enqueued now.
        paused_for: Why it is paused now; None: it is not, or was before.
        waited: Whether one of its ticks was waiting, which has a run already.
    """

    schedule: Schedule
    runs: Sequence[Run]
    enqueued: int
    paused_for: str | None = None
    waited: bool = False

    @property
    def plain(self) -> bool:
        """Whether one tick of its own fired, and there is nothing else to write down."""
        now, runs = self.schedule, self.runs
        if self.waited or now.buffered is not None or len(runs) != 1 or self.paused_for is not None:
            return False
        run = runs[0]
        return self.enqueued == 1 and not run.nth and run.tick == now.last_tick and not now.skipped_in_a_row


@dataclass(frozen=True, slots=True)
class Counts:
    """How many schedules there are, and those that were left out most often in a row: (namespace, name, how often)."""

    active: int
    paused: int
    skipped: Sequence[tuple[str, str, int]]


class FireStore:
    """What a server fires, in PostgreSQL.

    Raises (every method): DatabaseAway, DatabaseFull.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """A transaction that the database ends where this server is silent in it."""
        async with self._database.transaction(hot=True, most_silent=MOST_SILENT) as session:
            yield session

    async def soonest(self, apart: Collection[int] = ()) -> Soonest:
        """When there is something to do, but for the schedules that are fired or tried apart."""
        row = await self._database.fetchrow("soonest_schedule", list(apart), hot=True)
        assert row is not None
        return Soonest(row["next_at"], row["buffered"])

    async def due(
        self, session: Session, most: int, *, buffered: bool, apart: Collection[int] = ()
    ) -> DueSchedules:
        """Locks schedules that are due, and with `buffered` those whose tick need not wait any more.

        Principals take turns. Those that are fired or tried apart are left out.
        """
        rows = await session.fetch("due_schedules", most, list(apart))
        if buffered:
            known = {row["id"] for row in rows}
            freed = await session.fetch("freed_schedules", most, list(apart))
            rows += [row for row in freed if row["id"] not in known]
        return _due(rows)

    async def lock_due(self, session: Session, ids: Sequence[int]) -> DueSchedules:
        """Locks those of these schedules that are due still."""
        return _due(await session.fetch("lock_due_schedules", list(ids)))

    async def lock(self, session: Session, schedule_id: int) -> tuple[Schedule, datetime] | None:
        """Locks one schedule; None: it is gone."""
        row = await session.fetchrow("lock_schedule_by_id", schedule_id)
        return None if row is None else (schedule_of(row), row["at"])

    async def awaited(self, most: int) -> set[UUID]:
        """The jobs for whose end ticks wait."""
        rows = await self._database.fetch("awaited_jobs", most, hot=True)
        return {job_id for row in rows for job_id in row["open"]}

    async def open_jobs(self, session: Session, ids: Collection[UUID]) -> Mapping[UUID, Status | None]:
        """Of these jobs those that are there: None for one that has not ended, or how it did."""
        if not ids:
            return {}
        rows = await session.fetch("open_jobs", list(ids), min(ids), max(ids))
        # One that ends meanwhile may be in both: the second part has the same snapshot, so it is not.
        return {row["id"]: None if row["status"] is None else Status(row["status"]) for row in rows}

    async def run_of_request(self, session: Session, schedule_id: int, request_id: str) -> Run | None:
        """The run that a request has made before."""
        row = await session.fetchrow("run_of_request", schedule_id, request_id)
        return None if row is None else run_of(row)

    async def write(
        self,
        session: Session,
        advanced: Sequence[Advanced],
        time_zones: str,
        cause: Cause = Cause.BY_TIME,
        request_id: str | None = None,
    ) -> list[Run]:
        """Writes what became of the ticks of schedules that this transaction has locked, and moves these on.

        Args:
            session: The transaction.
            advanced: The schedules.
            time_zones: The version by which their next ticks were computed.
            cause: What the ticks come from that are not those of the schedules themselves.
            request_id: Of the one run by hand.

        Returns:
            The runs, but for those of schedules of which there is no more to say than that a tick of theirs fired.

        Raises:
            TickDecidedBefore: One of the ticks has a run already.
        """
        if plain := [each for each in advanced if each.plain]:
            try:
                await session.fetch("fire_schedules", *_columns_of_plain(plain), time_zones)
            except UniqueViolation as error:
                raise TickDecidedBefore from error
            advanced = [each for each in advanced if not each.plain]
            if not advanced:
                return []
        written: list[Run] = []
        rows = [
            (each.schedule.id, run, each.schedule.runs + number)
            for each in advanced
            for number, run in enumerate(each.runs, 1)
        ]
        if rows:
            found = await session.fetch(
                "write_runs",
                [schedule_id for schedule_id, _, _ in rows],
                [run.tick for _, run, _ in rows],
                [_NEXT_NTH if run.nth < 0 else run.nth for _, run, _ in rows],
                [number for _, _, number in rows],
                [int(run.outcome) for _, run, _ in rows],
                [run.job_id for _, run, _ in rows],
                [run.note for _, run, _ in rows],
                [run.ticks for _, run, _ in rows],
                # What it puts out of the buffer is not its own.
                [request_id if run.nth < 0 else None for _, run, _ in rows],
                [int(cause if run.nth < 0 else Cause.BY_TIME) for _, run, _ in rows],
            )
            if len(found) != len(rows):
                raise TickDecidedBefore
            written = [run_of(row) for row in found]
            places = {(row["schedule_id"], row["tick"], row["number"]): row["nth"] for row in found}
            advanced = [_placed(each, places) for each in advanced]
        await session.fetch("advance_schedules", *_columns(advanced), time_zones)
        return written

    async def retime(
        self, version: str, near: timedelta, most: int, session: Session
    ) -> list[tuple[Schedule, datetime]]:
        """Locks schedules whose next tick is by an older version of the time zones and not near."""
        rows = await session.fetch("retime_schedules", version, near, most)
        return [(schedule_of(row), row["at"]) for row in rows]

    async def set_next(
        self, session: Session, next_ticks: Mapping[int, datetime | None], version: str
    ) -> None:
        """Writes the next ticks of schedules by their numbers."""
        await session.fetch("set_next_ticks", list(next_ticks), list(next_ticks.values()), version)

    async def counts(self, most: int) -> Counts:
        """How many schedules there are, and at most so many of those that were left out most often in a row."""
        first, *rows = await self._database.fetch("count_schedules", most)
        return Counts(
            first["active"],
            first["paused"],
            [(row["namespace"], row["name"], row["skipped"]) for row in rows],
        )


def _due(rows: Sequence[Record]) -> DueSchedules:
    """What was locked, by turns. One row that can't be read keeps no other from its time."""
    turns: dict[tuple[int, str], int] = {}
    found: list[tuple[int, Schedule]] = []
    unreadable: dict[int, Exception] = {}
    for row in rows:
        try:
            schedule = _due_of(row)
        except (LookupError, TypeError, ValueError) as error:
            unreadable[row["id"]] = error
            continue
        whose = schedule.namespace, schedule.principal
        turns[whose] = nth = turns.get(whose, 0) + 1
        found.append((nth, schedule))
    if len(turns) > 1:
        found.sort(key=_nth)
    return DueSchedules([schedule for _, schedule in found], rows[0]["at"] if rows else None, unreadable)


def _nth(found: tuple[int, Schedule]) -> int:
    return found[0]


def _due_of(row: Record) -> Schedule:
    """A schedule that is due, without what its fire does not ask for."""
    return Schedule(
        row["id"],
        row["namespace_id"],
        row["name"],
        values.spec_from_json(row["spec"]),
        values.job_from_json(row["job"], row["queue"], row["kind"], row["payload"]),
        values.policy_from_json(row["policy"]),
        NOTHING,
        False,
        "",
        row["next_at"],
        row["last_tick"],
        tuple(row["open"]),
        row["buffered_at"],
        row["buffered_nth"],
        0,
        row["skipped_in_a_row"],
        row["failures_in_a_row"],
        row["runs"],
        principal=row["principal"],
        credential=row["credential"],
    )


def _placed(each: Advanced, places: Mapping[tuple[int, datetime, int], int]) -> Advanced:
    """The same, where the database has said which run of its tick waits."""
    schedule = each.schedule
    if schedule.buffered is None or schedule.buffered_nth >= 0:
        return each
    (number,) = [
        schedule.runs + number
        for number, run in enumerate(each.runs, 1)
        if run.nth < 0 and run.tick == schedule.buffered
    ]
    nth = places[schedule.id, schedule.buffered, number]
    return replace(each, schedule=replace(schedule, buffered_nth=nth))


def _columns_of_plain(advanced: Sequence[Advanced]) -> tuple[list[object], ...]:
    now = [each.schedule for each in advanced]
    return (
        [one.id for one in now],
        [one.last_tick for one in now],
        [each.runs[0].job_id for each in advanced],
        [one.next_at for one in now],
        ["{" + ",".join(map(str, one.open)) + "}" for one in now],
        [one.failures_in_a_row for one in now],
        [one.policy.keep_runs for one in now],
    )


def _columns(advanced: Sequence[Advanced]) -> tuple[list[object], ...]:
    now = [each.schedule for each in advanced]
    return (
        [one.id for one in now],
        [one.next_at for one in now],
        [one.last_tick for one in now],
        ["{" + ",".join(map(str, one.open)) + "}" for one in now],
        [one.buffered for one in now],
        [one.buffered_nth for one in now],
        [each.enqueued for each in advanced],
        [one.skipped_in_a_row for one in now],
        [one.failures_in_a_row for one in now],
        [one.runs + len(each.runs) for one, each in zip(now, advanced, strict=True)],
        [each.paused_for for each in advanced],
        [one.runs + len(each.runs) - one.policy.keep_runs for one, each in zip(now, advanced, strict=True)],
    )
