"""Reads jobs: one, a page, and which of some have ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
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

# How many rows one statement of a list may read: some 50 ms.
MAX_SCANNED = 10_000
# So many rows a job of the page are read along the ids, before live jobs are looked for by their lines: where more than
# a twentieth of the jobs fit, the ids are the shorter way.
_ROWS_PER_JOB = 20
_FIRST_ID = UUID(int=0)
_LAST_ID = UUID(int=(1 << 128) - 1)
_FAILED_OR_CANCELLED = frozenset({Status.FAILED_PERMANENT, Status.CANCELLED})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Driver(IntEnum):
    """Which index a page is read along; the numbers are those of list_jobs.sql."""

    LIVE = 1
    NOT_SUCCEEDED = 2
    # That of labels, or of the lines of live jobs: the statement gets the ids that were found there.
    IDS = 3
    ALL = 4


@dataclass(frozen=True, slots=True)
class Scan:
    """Jobs, newest first.

    Attributes:
        jobs: Those that fit.
        resume_before: The id before which the next scan starts; None: this was the last.
        gave_up: Whether it has read as many rows as it may, so that there may be more of them for this page.
        size: The bytes that the jobs carry, about.
    """

    jobs: tuple[Job, ...]
    resume_before: UUID | None
    gave_up: bool = False
    size: int = 0


class _Page:
    """A page of a list, on the way from the index by which its jobs are found.

    Args:
        database: Where they are.
        scope: Whose jobs.
        wanted: Which of them.
        ids: From this id, and below that one.
        size: How many at most. One more is looked for, which tells whether there are more.
        full: As in `ReadStore.get`.
        most_bytes: What they may carry.
        max_scanned: How many rows a statement may read.
    """

    def __init__(
        self,
        database: Database,
        scope: Scope,
        wanted: JobFilter,
        ids: tuple[UUID, UUID],
        *,
        size: int,
        full: bool,
        most_bytes: int,
        max_scanned: int,
    ) -> None:
        self._database = database
        self._scope = scope
        self._wanted = wanted
        self._low, self._high = ids
        self._size = size
        self._full = full
        self._most_bytes = most_bytes
        self._max_scanned = max_scanned
        self._statuses = sorted(wanted.statuses) or None
        self._labels = json.dumps(dict(wanted.labels)) if wanted.labels else None
        self._readable = scope.grants.readable()

    async def read(self, *, again: bool) -> list[Record]:
        """Its rows; `again` as in `ReadStore.list`."""
        driver = driver_of(self._wanted)
        if driver is Driver.IDS and self._labels is not None:
            return await self._labelled(self._labels)
        if driver is Driver.LIVE and not again:
            return await self._live()
        return await self._along(driver)

    async def _labelled(self, labels: str) -> list[Record]:
        labelled = Labelled(self._database, labels, self._low, self._high)
        rows: list[Record] = []
        # Most often all that have the labels fit: then a page wants no more of them.
        for most in (min(self._size + 1, self._max_scanned), self._max_scanned):
            ids = await labelled.find(most)
            rows = await self._along(Driver.IDS, ids)
            if rows[0]["matched"] > self._size or len(ids) < most:
                break
        return rows

    async def _live(self) -> list[Record]:
        rows = await self._along(Driver.LIVE, scanned=min(self._size * _ROWS_PER_JOB, self._max_scanned))
        if rows[0]["edge"] is None:
            return rows
        found = await self._database.fetchrow(
            "live_ids",
            self._low,
            self._high,
            self._wanted.queue,
            self._wanted.kind,
            self._statuses,
            self._max_scanned,
            self._scope.namespace,
            *self._readable,
        )
        assert found is not None  # it is one row
        return rows if found["ids"] is None else await self._along(Driver.IDS, found["ids"])

    async def _along(
        self, driver: Driver, ids: Sequence[UUID] | None = None, scanned: int | None = None
    ) -> list[Record]:
        """What one statement reads of it along an index: so many rows at most; None: as many as any may read."""
        return await self._database.fetch(
            "list_jobs",
            int(driver),
            self._low,
            self._high,
            self._wanted.queue,
            self._wanted.kind,
            self._statuses,
            self._labels,
            self._size + 1,
            self._max_scanned if scanned is None else scanned,
            self._most_bytes,
            self._full,
            self._scope.namespace,
            *self._readable,
            ids,
        )


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

    async def get_some(self, namespace: int, ids: Collection[UUID], *, full: bool) -> Mapping[UUID, Job]:
        """Those of these jobs that are there, as they are now. `full`: as in `get`."""
        rows = await self._database.fetch("get_jobs", list(ids), full, namespace)
        return {row["id"]: job_of(row) for row in rows}

    async def list(
        self,
        scope: Scope,
        wanted: JobFilter,
        *,
        size: int,
        before: UUID | None,
        full: bool,
        most_bytes: int = MAX_PAGE_BYTES,
        again: bool = False,
    ) -> Scan:
        """At most `size` jobs with ids below `before`. It reads 10,000 rows at most by each of its statements.

        Args:
            scope: Whose jobs.
            wanted: Which of them.
            size: How many at most.
            before: Only those with ids below it.
            full: As in `get`.
            most_bytes: What they may carry; a single one may carry more.
            again: A scan of the same list gave up before this one, so that there are too many live jobs to find them by
                their lines.
        """
        low, high = id_range(wanted.created_after, wanted.created_before)
        high = high if before is None else min(high, before)
        page = _Page(
            self._database,
            scope,
            wanted,
            (low, high),
            size=size,
            full=full,
            most_bytes=most_bytes,
            max_scanned=self._max_scanned,
        )
        rows = await page.read(again=again)
        shown = [row for row in rows[:size] if row["id"] is not None]
        jobs = tuple(job_of(row) for row in shown)
        carried = int(shown[-1]["bytes"]) if shown else 0
        if rows[0]["matched"] > len(jobs):
            return Scan(jobs, jobs[-1].id, size=carried)
        edge = rows[0]["edge"]
        return Scan(jobs, edge, gave_up=edge is not None, size=carried)

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
        return Driver.IDS
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
