"""Schedules as callers make, read and change them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...scope import Scope
from ..access.audit import AuditedSession, audited
from ..database import Database, Record
from . import values
from .values import Cause, Outcome, Run, Schedule

#: How many schedules a namespace may have.
MOST_SCHEDULES = 100_000


class ScheduleRevisionDiffers(Exception):
    """The schedule has another revision than was asked for. `revision`: the one it has; 0: there is none."""

    def __init__(self, revision: int) -> None:
        super().__init__(revision)
        self.revision = revision


@dataclass(frozen=True, slots=True)
class ScheduleFilter:
    """Which schedules to list. A schedule must match all that is given."""

    kind: str | None = None
    queue: str | None = None
    paused: bool | None = None
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Locked:
    """A schedule whose row a transaction has locked, and the time by the database's clock."""

    schedule: Schedule
    at: datetime
    transaction: AuditedSession


class ScheduleStore:
    """Schedules in PostgreSQL.

    Raises (every method): DatabaseAway, DatabaseFull.
    """

    def __init__(self, database: Database, *, most: int = MOST_SCHEDULES) -> None:
        self._database = database
        self._most = most

    async def create(
        self, scope: Scope, schedule: Schedule, time_zones: str, action: str
    ) -> tuple[bool, bool]:
        """Makes a schedule.

        Args:
            scope: Whose it is.
            schedule: What it is to be. Its number, times and counts are passed over.
            time_zones: The version by which its next tick was computed.
            action: The method, for the audit log.

        Returns:
            Whether it was made, and else whether there is room for it: then there is one of its name.
        """
        job = schedule.job
        async with audited(self._database) as transaction:
            await transaction.fetchrow("lock_namespace", scope.namespace)
            row = await transaction.fetchrow(
                "insert_schedule",
                scope.namespace,
                schedule.name,
                job.queue,
                job.kind,
                values.spec_to_json(schedule.spec),
                values.job_to_json(job),
                job.payload,
                values.policy_to_json(schedule.policy),
                json.dumps(dict(schedule.labels)),
                time_zones,
                schedule.next_at,
                schedule.paused,
                self._most,
                scope.principal,
                scope.maker.credential,
            )
            if row is None:
                found = await transaction.fetchrow("get_schedule", scope.namespace, schedule.name)
                return False, found is not None
            await transaction.tell(scope, action, _object(schedule.name), details=_details(schedule))
        return True, True

    async def get(self, scope: Scope, name: str) -> Schedule | None:
        """The schedule with its last run; None: there is none of this name."""
        row = await self._database.fetchrow("get_schedule", scope.namespace, name)
        return None if row is None else schedule_of(row)

    async def page(self, scope: Scope, wanted: ScheduleFilter, after: str, size: int) -> list[Schedule]:
        """At most `size` schedules with names above `after`, without their payloads."""
        rows = await self._database.fetch(
            "list_schedules",
            scope.namespace,
            after,
            size,
            wanted.kind,
            wanted.queue,
            wanted.paused,
            json.dumps(dict(wanted.labels)) if wanted.labels else None,
            *scope.grants.readable(),
        )
        return [schedule_of(row) for row in rows]

    @asynccontextmanager
    async def locked(self, scope: Scope, name: str) -> AsyncIterator[Locked | None]:
        """A transaction that has locked the row of a schedule; None: there is none of this name."""
        async with audited(self._database) as transaction:
            row = await transaction.fetchrow("lock_schedule", scope.namespace, name)
            yield None if row is None else Locked(schedule_of(row), row["at"], transaction)

    async def update(
        self,
        scope: Scope,
        name: str,
        change: Callable[[Schedule, datetime], Schedule],
        time_zones: str,
        *,
        revision: int | None,
    ) -> bool:
        """Changes a schedule. Whether there is one of this name.

        One that is so already is not written, and keeps its revision.

        Args:
            scope: Whose it is.
            name: Its name.
            change: Answers what it is to be, of what it is and the time by the database's clock.
            time_zones: The version by which `change` computes its next tick.
            revision: The one that it must have; None: any.

        Raises:
            ScheduleRevisionDiffers: It has another one.
        """
        async with self.locked(scope, name) as locked:
            if locked is None:
                if revision is not None:
                    raise ScheduleRevisionDiffers(0)
                return False
            if revision is not None and locked.schedule.revision != revision:
                raise ScheduleRevisionDiffers(locked.schedule.revision)
            changed = change(locked.schedule, locked.at)
            if changed == locked.schedule:
                return True
            job = changed.job
            await locked.transaction.fetchrow(
                "update_schedule",
                changed.id,
                job.queue,
                job.kind,
                values.spec_to_json(changed.spec),
                values.job_to_json(job),
                job.payload,
                values.policy_to_json(changed.policy),
                json.dumps(dict(changed.labels)),
                time_zones,
                changed.next_at,
                changed.principal,
                changed.credential,
            )
            details = _details(changed) | _taken_over(locked.schedule, changed.principal)
            await locked.transaction.tell(scope, "UpdateSchedule", _object(name), details=details)
        return True

    async def set_paused(
        self,
        scope: Scope,
        name: str,
        *,
        note: str | None,
        taken_over: bool,
        next_at: Callable[[Schedule, datetime], datetime | None],
    ) -> bool:
        """Pauses a schedule with a note, or resumes it where there is None. Whether there is one of this name.

        Args:
            scope: Whose it is.
            name: Its name.
            note: Why it is paused.
            taken_over: Whether it is that of the caller's principal from now on.
            next_at: Answers its next tick, of what it is and the time by the database's clock.
        """
        async with self.locked(scope, name) as locked:
            if locked is None:
                return False
            pausing = note is not None
            if pausing or locked.schedule.paused:
                following = next_at(locked.schedule, locked.at)
                await locked.transaction.fetchrow(
                    "set_schedule_paused",
                    locked.schedule.id,
                    pausing,
                    note,
                    following,
                    scope.principal if taken_over else None,
                    scope.maker.credential if taken_over else None,
                )
            action = "PauseSchedule" if pausing else "ResumeSchedule"
            details = _taken_over(locked.schedule, scope.principal) if taken_over else {}
            await locked.transaction.tell(scope, action, _object(name), reason=note or "", details=details)
        return True

    async def delete(self, scope: Scope, name: str, *, revision: int | None) -> bool:
        """Takes away a schedule with its runs. Whether there was one of this name.

        Raises:
            ScheduleRevisionDiffers: It has another revision.
        """
        async with self.locked(scope, name) as locked:
            if locked is None:
                return False
            if revision is not None and locked.schedule.revision != revision:
                raise ScheduleRevisionDiffers(locked.schedule.revision)
            await locked.transaction.fetchrow("delete_schedule", locked.schedule.id)
            await locked.transaction.tell(scope, "DeleteSchedule", _object(name))
        return True

    async def list_runs(self, schedule: Schedule, below: int, size: int) -> list[Run]:
        """At most `size` runs with numbers below, the newest first."""
        rows = await self._database.fetch("list_schedule_runs", schedule.id, below, size)
        return [run_of(row) for row in rows]


def schedule_of(row: Record) -> Schedule:
    """A row of the table `schedule`, with the last run where the statement has read it."""
    last = None
    if "run_outcome" in row.keys() and row["run_outcome"] is not None:  # noqa: SIM118 (a record is no mapping)
        last = Run(
            row["run_tick"],
            Outcome(row["run_outcome"]),
            row["run_nth"],
            row["run_job_id"],
            row["run_note"],
            row["run_ticks"],
            row["run_decided_at"],
            row["run_number"],
            Cause(row["run_cause"]),
        )
    paused = row["paused_at"] is not None
    return Schedule(
        row["id"],
        row["namespace_id"],
        row["name"],
        values.spec_from_json(row["spec"]),
        values.job_from_json(row["job"], row["queue"], row["kind"], row["payload"]),
        values.policy_from_json(row["policy"]),
        json.loads(row["labels"]),
        paused,
        row["pause_note"],
        row["next_at"],
        row["last_tick"],
        tuple(row["open"]),
        row["buffered_at"],
        row["buffered_nth"],
        row["fired"],
        row["skipped_in_a_row"],
        row["failures_in_a_row"],
        row["runs"],
        row["revision"],
        row["created_at"],
        row["updated_at"],
        last,
        row["principal"],
        row["credential"],
    )


def run_of(row: Record) -> Run:
    """A row of the table `schedule_run`."""
    return Run(
        row["tick"],
        Outcome(row["outcome"]),
        row["nth"],
        row["job_id"],
        row["note"],
        row["ticks"],
        row["decided_at"],
        row["number"],
        Cause(row["cause"]),
    )


def _object(name: str) -> str:
    return f"schedule:{name}"


def _taken_over(before: Schedule, principal: str) -> dict[str, Any]:
    """What the audit log says of a schedule that was another principal's."""
    return {"taken_over_from": before.principal} if before.principal not in ("", principal) else {}


def _details(schedule: Schedule) -> dict[str, Any]:
    spec = schedule.spec
    return {
        "queue": schedule.job.queue,
        "kind": schedule.job.kind,
        "cron": "; ".join(spec.cron),
        "every": None if spec.every is None else f"{spec.every.total_seconds():g} s",
        "time_zone": spec.time_zone if spec.cron else None,
    }
