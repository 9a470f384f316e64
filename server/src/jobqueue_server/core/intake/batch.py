"""The jobs of one request as rows, from their making until they are stored."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from uuid import UUID

from ...errors import FieldViolation, KeyBacklogFull
from ...fair.owner import Owner
from ...fields import FIELDS, answer_key
from ...lifecycle import Status
from ...model import DEFAULT_MAX_ATTEMPTS, FirstJob, Job, NewJob
from ...store.intake.intake import Conflict, NewRows, Stored
from ...store.policy.semaphores import semaphore_of
from ..catalog.catalog import Lane
from ..catalog.waiting_limits import WaitingLimit
from .waiting import Waiting

#: When a caller whose key has a full backlog should try again: in about so long, each one at another time. No server
#: knows how fast the jobs of one key start.
BACKLOG_RETRY = timedelta(seconds=1)


class Batch:
    """Jobs that are stored together or not at all, with the lane of each row. In line it is a `model.Ticket`.

    Attributes:
        path: Where the jobs stand in the request: `job` for one job, `jobs[]` for a list.
        jobs: How many jobs the rows hold.
        size: The bytes of their payloads.
        owner: Whose share of the places of those that wait they take.
        backlogs: Of the queues that limit how many jobs wait, each with how many of the jobs go there.
        done: Ends when the jobs are stored, with the time by the database's clock, or with the error.
        room: What counts the jobs as waiting; None before they are in line, and once they wait no longer.
        taken: Whether an insert has them.
        lost_key: Whether the insert found that the key of its only row stands for another job, or its name is held.
        conflict: The job that holds the name of its only row, which was not stored.
        pressure: As in `model.Ticket`.
        has_keys: Whether one of the jobs has a key.
        limited: Whether the queue of one of the jobs limits its key.
        unique_key: Of a single job that is unique by a key: that key.
        instead: As in `model.Ticket`.
    """

    # What few batches have is the class's: to set all of it costs each call 0.5 us.
    instead: ClassVar[None] = None
    owner: Owner = None
    backlogs: Sequence[tuple[WaitingLimit, int]] = ()
    room: Waiting | None = None
    taken: bool = False
    lost_key: bool = False
    conflict: Conflict | None = None
    pressure: float = 0.0
    has_keys: bool = False
    limited: bool = False
    unique_key: str | None = None

    def __init__(self, rows: list[NewRows], lanes: list[Lane], path: str, jobs: int, size: int) -> None:
        self.rows = rows
        self.lanes = lanes
        self.path = path
        self.jobs = jobs
        self.size = size
        self.done: asyncio.Future[datetime] = asyncio.get_running_loop().create_future()

    @classmethod
    def of(
        cls,
        rows: list[NewRows],
        lanes: list[Lane],
        path: str,
        backlogs: Sequence[tuple[WaitingLimit, int]] = (),
        owner: Owner = None,
    ) -> Batch:
        """Counts the jobs and their bytes."""
        if len(rows) == 1:
            row = rows[0]
            payloads = row.payloads
            jobs = len(payloads)
            batch = cls(rows, lanes, path, jobs, len(payloads[0]) if jobs == 1 else sum(map(len, payloads)))
            if row.keys is not None:
                batch.has_keys, batch.limited = True, row.semaphore_ids is not None
            if row.name is not None:
                batch.unique_key = row.name.unique.key
        else:
            jobs = sum(len(row.ids) for row in rows)
            batch = cls(rows, lanes, path, jobs, sum(sum(map(len, row.payloads)) for row in rows))
            if any(row.keys is not None for row in rows):
                batch.has_keys = True
                batch.limited = any(row.semaphore_ids is not None for row in rows)
        if backlogs:
            batch.backlogs = backlogs
        if owner is not None:
            batch.owner = owner
        return batch

    @classmethod
    def joined(cls, batches: Iterable[Batch], path: str) -> Batch:
        """All of them as one."""
        batches = list(batches)
        rows = [row for batch in batches for row in batch.rows]
        return cls.of(rows, [lane for batch in batches for lane in batch.lanes], path)

    @property
    def backlog_full(self) -> bool:
        """Whether it was refused since a key has as many waiting jobs as its queue allows."""
        return (
            self.done.done()
            and not self.done.cancelled()
            and isinstance(self.done.exception(), KeyBacklogFull)
        )

    def jobs_of(self, semaphore_ids: Collection[int]) -> Counter[int]:
        """How many of the jobs are of each of these keys."""
        counts = Counter[int]()
        for row in self.rows:
            if row.semaphore_ids is not None:
                counts.update(
                    semaphore_id for semaphore_id in row.semaphore_ids if semaphore_id in semaphore_ids
                )
        return counts

    @property
    def keyed(self) -> bool:
        """Whether one of the jobs has an idempotency key."""
        return any(row.key_digest is not None for row in self.rows)

    @property
    def named(self) -> bool:
        """Whether one of the jobs is unique."""
        return any(row.name is not None for row in self.rows)

    @property
    def full_limit(self) -> WaitingLimit | None:
        """The first limit of these queues that is reached; None: there is room for the jobs."""
        for limit, _ in self.backlogs:
            if limit.full:
                return limit
        return None

    @property
    def ids(self) -> Sequence[UUID]:
        """The ids of the jobs, in the order of the request."""
        if len(self.rows) == 1:
            return self.rows[0].ids
        return [job_id for row in self.rows for job_id in row.ids]

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the first job."""
        return self.rows[0].new.headers

    def first(self, at: datetime) -> FirstJob:
        """The first job, as `model.Ticket` has it."""
        row = self.rows[0]
        new = row.new
        return FirstJob(
            row.ids[0],
            new.payload,
            new.idempotency_key,
            new.key,
            self.unique_key,
            new.headers,
            new.labels,
            at if new.run_at is None and new.delay is None else _starts(new, at),
            answer_key(self.lanes[0], row),
        )

    def place(self, index: int) -> str:
        """The path of the job with that index."""
        return place(self.path, index)

    def place_of(self, row: NewRows) -> str:
        """The path of the first job of one of its rows."""
        return self.place(sum(len(one.ids) for one in self.rows[: self.rows.index(row)]))

    def job(self, at: datetime) -> Job:
        """The first job as it was enqueued at that time. What followed since is read by GetJob."""
        row = self.rows[0]
        new = row.new
        return _as_asked(
            new,
            id=row.id,
            status=Status.QUEUED,
            attempts=0,
            failures=0,
            losses=0,
            max_attempts=row.max_attempts or DEFAULT_MAX_ATTEMPTS,
            run_at=_starts(new, at),
            created_at=_time_of(row.id),
            updated_at=at,
            timeout=None if row.timeout_ms is None else timedelta(milliseconds=row.timeout_ms),
            unique_key=None if row.name is None else row.name.unique.key,
        )

    # ---- what becomes of a batch in line

    def enter(self, room: Waiting) -> None:
        """The jobs are in line. `Waiting.check` or `has_room` goes before."""
        room.enter(self.owner, self.jobs)
        self.room = room
        for limit, jobs in self.backlogs:
            limit.enters(jobs)

    @contextmanager
    def counted_by_limits(self) -> Iterator[None]:
        """Around the storing of jobs that are in no line: limits of queues count them meanwhile."""
        for limit, jobs in self.backlogs:
            limit.enters(jobs)
        try:
            yield
        finally:
            for limit, jobs in self.backlogs:
                limit.leaves(jobs)

    def _leave(self) -> None:
        if self.room is not None:
            self.room.leave(self.owner, self.jobs)
            self.room = None
            for limit, jobs in self.backlogs:
                limit.leaves(jobs)

    def limit(self) -> None:
        """Gives jobs the semaphores of their keys whose queues limit keys since their rows were made."""
        for row, lane in zip(self.rows, self.lanes, strict=True):
            if row.keys is not None and row.semaphore_ids is None and lane.limits:
                row.of_keys(row.keys, [semaphore_of(lane.queue_id, key) for key in row.keys])
                self.limited = True

    def take(self) -> bool:
        """An insert takes the jobs. False where their caller has given up."""
        if self.done.done():
            self._leave()
            return False
        self.taken = True
        return True

    def give_up(self) -> None:
        """The caller has gone. Jobs that no insert has taken are dropped at once and never stored."""
        if not self.taken:
            self._leave()
            self.rows, self.lanes, self.jobs, self.size = [], [], 0, 0
            self.done.cancel()

    def succeed(self, stored: Stored, pressure: float) -> None:
        """The insert is committed. Its jobs may be told how near the server is to refusing more."""
        self._leave()
        self.lost_key = bool(stored.lost_keys) and self.rows[0].id in stored.lost_keys
        if stored.conflicts:
            self.conflict = stored.conflicts.get(self.rows[0].id)
        for limit, jobs in self.backlogs:
            if not self.lost_key:
                limit.came(jobs)
            pressure = max(pressure, limit.fill)
        self.pressure = pressure
        if self.done.done():
            return
        self.done.set_result(stored.at)

    def fail(self, error: Exception) -> None:
        """The insert failed."""
        self._leave()
        if not self.done.done():
            self.done.set_exception(error)
            # A caller that gave up meanwhile never looks at it.
            self.done.exception()


def backlog_full(batch: Batch, semaphore_ids: Collection[int]) -> KeyBacklogFull:
    """What a caller is told whose jobs would pass what their queue lets wait for these keys."""
    violations, first, keys = [], 0, set()
    description = "as many jobs as its queue allows wait for this key; try again once some have started"
    for row in batch.rows:
        for index, (semaphore_id, key) in enumerate(
            zip(row.semaphore_ids or (), row.keys or (), strict=True), first
        ):
            if semaphore_id in semaphore_ids:
                keys.add(key)
                violations.append(FieldViolation(f"{batch.place(index)}.key", description))
        first += len(row.ids)
    some = ", ".join(sorted(keys)[:3]) + (" and others" if len(keys) > 3 else "")
    return KeyBacklogFull(
        f"as many jobs as the queue allows wait for the key {some}; none of the call's jobs was stored",
        violations=violations[:100],
        retry_after=BACKLOG_RETRY * random.uniform(0.5, 1.5),
    )


def _starts(new: NewJob, at: datetime) -> datetime:
    """When a job may start that was enqueued at that time."""
    run_at = new.run_at if new.run_at is not None else at + (new.delay or timedelta())
    return max(run_at, at)


def place(path: str, index: int) -> str:
    """The path of a job in a request: `jobs[]` and 3 make `jobs[3]`."""
    return path.replace("[]", f"[{index}]")


def _compiled(*others: str) -> Callable[..., Job]:
    """Makes the function of a NewJob, and by name of these others, that answers the Job.

    Its text is made of the list of fields: all else that is asked for is shown as it was asked for.
    """
    same = [
        f"{field.name}=new.{field.name}"
        for field in FIELDS
        if field.asked and field.shown and field.name not in others
    ]
    given = ", ".join([*same, *(f"{name}={name}" for name in others)])
    made: Callable[..., Job] = eval(f"lambda new, *, {', '.join(others)}: Job({given})", {"Job": Job})
    return made


_as_asked = _compiled(
    "id",
    "status",
    "attempts",
    "failures",
    "losses",
    "max_attempts",
    "run_at",
    "created_at",
    "updated_at",
    "timeout",
    "unique_key",
)


def _time_of(job_id: UUID) -> datetime:
    return datetime.fromtimestamp((job_id.int >> 80) / 1000, tz=UTC)
