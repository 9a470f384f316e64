"""Reads jobs: one, a page, and which of some have ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from uuid import UUID

from ...fields import FIELDS, SCALARS, Type
from ...lifecycle import TERMINAL, Hold, Status
from ...model import MAX_PAGE_BYTES, FailedAttempt, Job, JobFilter, JobProgress, RetryPolicy
from ...scope import Scope
from ..database import Database, Record
from .labelled import Labelled

# How many rows a page may read before it ends short, with a token: some 50 ms.
MAX_SCANNED = 10_000
_FIRST_ID = UUID(int=0)
_LAST_ID = UUID(int=(1 << 128) - 1)
_FAILED_OR_CANCELLED = frozenset({Status.FAILED_PERMANENT, Status.CANCELLED})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Driver(IntEnum):
    """Which index a page is read along; the numbers are those of list_jobs.sql."""

    LIVE = 1
    NOT_SUCCEEDED = 2
    LABELS = 3
    ALL = 4


@dataclass(frozen=True, slots=True)
class Scan:
    """Jobs, newest first. `resume_before` is the id before which the next page starts; None: this was the last."""

    jobs: tuple[Job, ...]
    resume_before: UUID | None


class ReadStore:
    """Reads jobs from the primary.

    Raises (every method): DatabaseAway.
    """

    def __init__(self, database: Database, *, max_scanned: int = MAX_SCANNED) -> None:
        self._database = database
        self._max_scanned = max_scanned

    async def get(self, scope: Scope, job_id: UUID, *, full: bool = True) -> Job | None:
        """The job as it is now, or None. `full` adds payload, output, headers and failed attempts."""
        row = await self._database.fetchrow("get_job", job_id, full, scope.namespace)
        return None if row is None else job_of(row)

    async def get_some(self, namespace: int, ids: Collection[UUID]) -> Mapping[UUID, Job]:
        """Those of these jobs that are there, as they are now, with all that belongs to them."""
        rows = await self._database.fetch("get_jobs", list(ids), True, namespace)
        return {row["id"]: job_of(row) for row in rows}

    async def list(
        self, scope: Scope, wanted: JobFilter, *, size: int, before: UUID | None, full: bool
    ) -> Scan:
        """At most `size` jobs with ids below `before`, in one snapshot. It reads 10,000 rows at most."""
        low, high = id_range(wanted.created_after, wanted.created_before)
        high = high if before is None else min(high, before)
        driver = driver_of(wanted)
        labels = json.dumps(dict(wanted.labels)) if wanted.labels else None
        arguments = (
            int(driver),
            low,
            high,
            wanted.queue,
            wanted.kind,
            sorted(wanted.statuses) or None,
            labels,
            size + 1,
            self._max_scanned,
            MAX_PAGE_BYTES,
            full,
            scope.namespace,
            *scope.grants.readable(),
        )
        if driver is Driver.LABELS and labels is not None:
            labelled = Labelled(self._database, labels, low, high)
            # Most often all that have the labels fit: then a page wants no more of them.
            for most in (min(size + 1, self._max_scanned), self._max_scanned):
                ids = await labelled.find(most)
                rows = await self._database.fetch("list_jobs", *arguments, ids)
                if rows[0]["matched"] > size or len(ids) < most:
                    break
        else:
            rows = await self._database.fetch("list_jobs", *arguments, None)
        jobs = tuple(job_of(row) for row in rows[:size] if row["id"] is not None)
        if rows[0]["matched"] > len(jobs):
            return Scan(jobs, jobs[-1].id)
        return Scan(jobs, rows[0]["edge"])

    async def not_live(self, ids: Collection[UUID]) -> Collection[UUID]:
        """Those of `ids` that have ended, or are gone."""
        return [row["id"] for row in await self._database.fetch("not_live", list(ids))]


def id_range(created_after: datetime | None, created_before: datetime | None) -> tuple[UUID, UUID]:
    """The ids of jobs created at `created_after` or later, and before `created_before`: from this one, below that one.

    created_at has whole milliseconds, so both ends are raised to the next one.
    """
    low = _FIRST_ID if created_after is None else _smallest_id(created_after)
    high = _LAST_ID if created_before is None else _smallest_id(created_before)
    return low, high


def _smallest_id(moment: datetime) -> UUID:
    milliseconds = -((_EPOCH - moment) // _MILLISECOND)
    return UUID(int=max(0, milliseconds) << 80)


def driver_of(wanted: JobFilter) -> Driver:
    """By which index jobs that fit are found."""
    if wanted.statuses and not wanted.statuses & TERMINAL:
        return Driver.LIVE
    if wanted.labels:
        return Driver.LABELS
    if wanted.statuses and wanted.statuses <= _FAILED_OR_CANCELLED:
        return Driver.NOT_SUCCEEDED
    return Driver.ALL


def _compiled() -> Callable[..., Job]:
    """Makes the function of a row, and by name of what a Job has in another form, that answers the Job.

    Its text is made of the list of fields: a Job of a dict takes 1 us more, of 7.
    """
    as_stored = {*SCALARS, Type.UUID, Type.MOMENT, Type.JSON}
    shown = [field for field in FIELDS if field.shown]
    others = ", ".join(field.name for field in shown if field.type not in as_stored)
    values = (f"row[{field.name!r}]" if field.type in as_stored else field.name for field in shown)
    given = ", ".join(f"{field.name}={value}" for field, value in zip(shown, values, strict=True))
    made: Callable[..., Job] = eval(f"lambda row, *, {others}: Job({given})", {"Job": Job})
    return made


_job_of = _compiled()


def job_of(row: Record) -> Job:
    """The job in a row of get_job.sql and its like."""
    policy = None
    if row["min_backoff_ms"] is not None:
        policy = RetryPolicy(row["min_backoff_ms"] * _MILLISECOND, row["max_backoff_ms"] * _MILLISECOND)
    progress = None
    if row["progress_at"] is not None:
        progress = JobProgress(row["progress_fraction"], row["progress_message"], row["progress_at"])
    return _job_of(
        row,
        status=Status(row["status"]),
        hold=None if row["hold"] is None else Hold(row["hold"]),
        unique_key=json.loads(row["unique_name"]).get("key") if row["unique_name"] else None,
        timeout=None if row["timeout_ms"] is None else row["timeout_ms"] * _MILLISECOND,
        retry_policy=policy,
        labels=json.loads(row["labels"]) if row["labels"] else {},
        headers=json.loads(row["headers"]) if row["headers"] else {},
        failed_attempts=tuple(_failed_attempt(attempt) for attempt in row["failed_attempts"] or ()),
        progress=progress,
    )


def _failed_attempt(row: Record) -> FailedAttempt:
    attempt, reason, error_type, message, worker, started_at, ended_at = row
    return FailedAttempt(
        attempt, reason or "", error_type or "", message or "", worker or "", started_at, ended_at
    )
