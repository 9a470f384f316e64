"""What callers do with jobs: enqueue, read, wait, cancel, retry, delete."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

from ..errors import FieldInvalid, PageTokenInvalid
from ..model import (
    DEFAULT_WAIT,
    MAX_WAIT,
    Enqueued,
    EnqueuedBatch,
    Job,
    JobFilter,
    NewJob,
    NewJobs,
    Page,
    Ticket,
)
from ..scope import Scope
from ..store.operate.changes import ChangeStore, not_found
from ..store.query.reads import ReadStore
from . import tokens
from .events.ends import Ended, Ends
from .intake.enqueuer import Enqueuer
from .pages import page_position, page_size, page_token
from .waiters import Waiters

_ID_BYTES = 16


class JobService:
    """The calls of a producer and an operator.

    Args:
        enqueuer: Stores new jobs.
        reads: Reads jobs.
        changes: Cancels, retries and deletes them.
        waiters: Who waits for an end.
        ends: Told of the jobs that end at their caller's word.
        on_cancel: Tells the worker: (job id, session id, attempt, reason). Called again for a repeated cancel.
        on_ready: A job may be claimed now: (lane id, priority).

    Raises (every method): DatabaseAway, after which nothing is known of what a change did; DatabaseFull.
    """

    def __init__(
        self,
        enqueuer: Enqueuer,
        reads: ReadStore,
        changes: ChangeStore,
        waiters: Waiters,
        ends: Ends,
        *,
        on_cancel: Callable[[UUID, int, int, str], None],
        on_ready: Callable[[int, int], None],
    ) -> None:
        self._enqueuer = enqueuer
        self._reads = reads
        self._changes = changes
        self._waiters = waiters
        self._on_cancel = on_cancel
        self._on_ready = on_ready
        self._ends = ends

    async def enqueue(self, scope: Scope, new: NewJob) -> Enqueued:
        """Stores a job, or finds the one that its key stands for.

        Raises:
            KindUnknown, PayloadInvalid: The job can't be one.
            IdempotencyKeyReused: The key was used for another request.
            QueueFull: Too many enqueues wait.
        """
        return await self._enqueuer.enqueue(scope, new)

    def start(self, scope: Scope, jobs: Sequence[NewJobs], caller: str) -> Ticket | None:
        """Puts jobs in line without waiting for them, for the hot path; None where the other calls have more to do.

        Args:
            scope: Whose jobs they are.
            jobs: Without idempotency keys. They are stored together or not at all.
            caller: Who asks; the callers take turns.

        Raises:
            PayloadInvalid: One of them can't be a job.
        """
        return self._enqueuer.start(scope, jobs, caller)

    def check_room(self, jobs: int) -> None:
        """Before anything is read of jobs that would be refused.

        Raises:
            QueueFull: Too many enqueues wait.
        """
        self._enqueuer.check_room(jobs)

    async def batch_enqueue(self, scope: Scope, jobs: Sequence[NewJobs]) -> EnqueuedBatch:
        """Stores all jobs or none.

        Raises:
            KindUnknown, PayloadInvalid: One of the jobs can't be one.
            IdempotencyKeyReused: A key was used for another request.
            QueueFull: Too many enqueues wait.
        """
        return await self._enqueuer.enqueue_batch(scope, jobs)

    async def get(self, scope: Scope, job_id: UUID, *, full: bool = True) -> Job:
        """The job as it is now; `full` adds payload, output, headers and failed attempts.

        Raises:
            JobNotFound: There is none.
        """
        job = await self._reads.get(scope, job_id, full=full)
        if job is None:
            raise not_found(job_id)
        return job

    async def list(
        self, scope: Scope, wanted: JobFilter, *, size: int, token: str, full: bool = False
    ) -> Page:
        """A page of jobs, newest first. created_after is inclusive, created_before exclusive.

        Reads a bounded number of jobs and carries at most 3 MiB: a page may be short, even empty, and still have a
        next one.

        Raises:
            FieldInvalid: The page size is negative, or a text of the filter can't be in the database.
            PageTokenInvalid: The token is not one of this list with this filter.
        """
        _check(wanted)
        text = tokens.within(scope, _text(wanted))
        rows = page_size(size)
        position = page_position(text, token)
        if position is not None and len(position) != _ID_BYTES:
            raise PageTokenInvalid("page_token: not a token that this server gave; start again without it")
        before = None if position is None else UUID(bytes=position)
        scan = await self._reads.list(scope, wanted, size=rows, before=before, full=full)
        if scan.resume_before is None:
            return Page(scan.jobs)
        return Page(scan.jobs, page_token(text, scan.resume_before.bytes))

    async def cancel(self, scope: Scope, job_id: UUID, reason: str = "") -> tuple[Job, bool]:
        """Cancels a waiting job at once; asks a running one to stop, which is pending until its worker answers.

        Answers the job as this call left it, also where it has moved on since.

        Raises:
            JobTerminal: It has ended.
            JobNotFound: There is none.
        """
        cancelled = await self._changes.cancel(scope, job_id, reason)
        if cancelled.session_id is not None:
            self._on_cancel(job_id, cancelled.session_id, cancelled.attempt, reason)
        if not cancelled.pending:
            self._ends.tell([Ended((job_id,), cancelled.job.kind, "cancelled")])
        return cancelled.job, cancelled.pending

    async def retry(self, scope: Scope, job_id: UUID) -> Job:
        """Queues an ended job again, with its history and attempts, and its failures and losses forgotten.

        Answers the job as this call left it, also where it has moved on since.

        Raises:
            JobNotTerminal: It has not ended.
            JobNotFound: There is none.
        """
        retried = await self._changes.retry(scope, job_id)
        self._on_ready(retried.lane_id, retried.priority)
        return retried.job

    async def delete(self, scope: Scope, job_id: UUID) -> None:
        """Takes away an ended job with its history. A replay of its key answers only its id.

        Raises:
            JobNotTerminal: It has not ended.
            JobNotFound: There is none.
        """
        await self._changes.delete(scope, job_id)
        # Who waits for it learns that it is gone.
        self._ends.tell([Ended((job_id,))])

    async def wait(
        self, scope: Scope, job_id: UUID, timeout: timedelta = timedelta(), *, full: bool = True
    ) -> Job:
        """The job when it has ended, or as it is after `timeout`.

        Args:
            scope: Whose job it is.
            job_id: The job.
            timeout: 0 means 30 s; more than 60 s means 60 s.
            full: As in `get`.

        Raises:
            FieldInvalid: The timeout is negative.
            JobNotFound: There is none, or it was deleted meanwhile.
        """
        if timeout < timedelta():
            raise FieldInvalid.of("timeout", "must be from 0 (the default, 30 s) to 60 s")
        deadline = asyncio.get_running_loop().time() + min(timeout or DEFAULT_WAIT, MAX_WAIT).total_seconds()
        with self._waiters.waiting_for(job_id) as ended:
            job = await self.get(scope, job_id, full=full)
            in_time = True
            # A job that ended may have been queued again before it was read: then it is waited for anew.
            while in_time and not job.status.terminal:
                in_time = await _set_before(ended, deadline)
                ended.clear()
                job = await self.get(scope, job_id, full=full)
            return job


async def _set_before(event: asyncio.Event, deadline: float) -> bool:
    """Whether the event was set before the deadline, a time of the running loop."""
    try:
        async with asyncio.timeout_at(deadline):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _check(wanted: JobFilter) -> None:
    texts = {
        "queue": wanted.queue or "",
        "kind": wanted.kind or "",
        "labels": "".join(name + value for name, value in wanted.labels.items()),
    }
    for field, text in texts.items():
        if "\x00" in text:
            raise FieldInvalid.of(field, "holds a NUL character, which no job has")


def _text(wanted: JobFilter) -> str:
    """The list as a text that is the same for equal filters."""
    return json.dumps(
        [
            "jobs",
            wanted.queue,
            wanted.kind,
            sorted(wanted.statuses),
            sorted(wanted.labels.items()),
            wanted.created_after.isoformat() if wanted.created_after else None,
            wanted.created_before.isoformat() if wanted.created_before else None,
        ]
    )
