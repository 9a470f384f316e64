"""One job, a page of jobs, and a job once it has ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from ...errors import FieldInvalid, JobNotFound, PageTokenInvalid
from ...fair.owner import Owner
from ...fair.turns import Turns
from ...grants import Permission
from ...model import DEFAULT_WAIT, MAX_PAGE_BYTES, MAX_WAIT, Job, JobFilter, Page
from ...scope import Scope
from ...store.query.reads import ReadStore, Scan
from .. import tokens
from ..access.views import require_on_job, shown
from ..pages import page_position, page_size, page_token
from .shared_reads import SharedReads
from .waiters import Waiters

#: For how long a list looks for jobs before it answers those that it has, where its caller waits for so long.
LOOKS_FOR = timedelta(seconds=5)
# Connections that all lists together may use after their first scan: the other calls need some too. They take turns, a
# scan each, and a principal has two at most.
_LONG_AT_ONCE = 3

_ID_BYTES = 16
# Of an id, below its time: the version, 12 bits, the variant, 62 bits.
_RANDOM_BITS = 80


class JobReads:
    """Reads jobs for callers.

    Raises (every method): DatabaseAway, DatabaseFull.
    """

    def __init__(self, store: ReadStore, shared: SharedReads, waiters: Waiters) -> None:
        self._store = store
        self._shared = shared
        self._waiters = waiters
        self._long = Turns(_LONG_AT_ONCE)

    async def get(self, scope: Scope, job_id: UUID, *, full: bool = True) -> Job:
        """The job as it is now; `full` adds payload, output, headers and failed attempts.

        Raises:
            JobNotFound: There is none that the principal may read.
        """
        return _readable(scope, job_id, await self._store.get(scope, job_id, full=full))

    async def list(
        self,
        scope: Scope,
        wanted: JobFilter,
        *,
        size: int,
        token: str,
        full: bool = False,
        patience: timedelta = LOOKS_FOR,
    ) -> Page:
        """A page of jobs, newest first. created_after is inclusive, created_before exclusive.

        Goes on until the page is full, carries 3 MiB, or its time is over: then it may be short, even empty, and still
        have a next one.

        Args:
            scope: Whose jobs.
            wanted: Which of them.
            size: How many at most; 0 means 50.
            token: Of the page before; empty: the first page.
            full: As in `get`.
            patience: For how long it may look, 5 s at most. It reads some 10,000 jobs at least, 50 ms or so.

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
        until = asyncio.get_running_loop().time() + min(patience, LOOKS_FOR).total_seconds()
        scan = await self._scan(scope, wanted, rows, before, full, until)
        jobs = tuple(shown(scope, job) for job in scan.jobs)
        if scan.resume_before is None:
            return Page(jobs)
        return Page(jobs, page_token(text, _hidden(scan.resume_before, jobs, before).bytes))

    async def _scan(
        self, scope: Scope, wanted: JobFilter, size: int, before: UUID | None, full: bool, until: float
    ) -> Scan:
        """Scans until there are so many jobs, none is left, or `until`, a time of the running loop.

        Each scan is a statement of its own, and holds no connection for the next one.
        """
        scan = await self._store.list(scope, wanted, size=size, before=before, full=full)
        while scan.gave_up and len(scan.jobs) < size:
            if not await _taken_before(self._long, scope.owner, until):
                break
            try:
                more = await self._store.list(
                    scope,
                    wanted,
                    size=size - len(scan.jobs),
                    before=scan.resume_before,
                    full=full,
                    most_bytes=MAX_PAGE_BYTES - scan.size,
                    again=True,
                )
            finally:
                self._long.give_back(scope.owner)
            carried = scan.size + more.size
            if scan.jobs and carried > MAX_PAGE_BYTES:
                # Its first job alone is too large for what is left: it is the first one of the next page.
                break
            scan = replace(more, jobs=scan.jobs + more.jobs, size=carried)
        return scan

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
            job = _readable(scope, job_id, await self._shared.get(scope, job_id, full=full))
            in_time = True
            # A job that ended may have been queued again before it was read: then it is waited for anew.
            while in_time and not job.status.terminal:
                in_time = await _set_before(ended, deadline)
                ended.clear()
                job = _readable(scope, job_id, await self._shared.get(scope, job_id, full=full))
            return job


def _readable(scope: Scope, job_id: UUID, job: Job | None) -> Job:
    if job is None:
        raise JobNotFound.of(job_id)
    require_on_job(scope, Permission.READ, job, "read the job")
    return shown(scope, job)


def _hidden(edge: UUID, jobs: Sequence[Job], before: UUID | None) -> UUID:
    """An id from which the next page can start, which is not that of a job that the caller may not see.

    Args:
        edge: The last id that was looked at, whosever its job is.
        jobs: Those of this page, newest first.
        before: Where this page started.

    Returns:
        An id not below `edge`, and not above the last of `jobs`: a few rows are looked at again.
    """
    if jobs and jobs[-1].id == edge:
        return edge
    above = UUID(int=edge.int | ((1 << _RANDOM_BITS) - 1))
    if jobs:
        above = min(above, jobs[-1].id)
    # A whole scan within one millisecond: to go on matters more.
    return edge if before is not None and above >= before else above


async def _taken_before(turns: Turns, owner: Owner, deadline: float) -> bool:
    """Takes a turn. False: there was none before the deadline, a time of the running loop."""
    if asyncio.get_running_loop().time() >= deadline:
        return False
    try:
        async with asyncio.timeout_at(deadline):
            await turns.take(owner)
    except TimeoutError:
        return False
    return True


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
