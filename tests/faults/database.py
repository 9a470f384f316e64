"""What a database says of a case: read in the end for the checker, and meanwhile for every job that ends."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from typing import Any

import asyncpg

from jobqueue_server.lifecycle import Event as Exit
from jobqueue_server.lifecycle import Status

from .frames import token_of
from .history import History, StoredAttempt, StoredJob, StoredSession
from .journal import Event, Journal

LOOK_EVERY = 0.5
# It rests for so many times as long as a look took.
REST = 5

_JOBS = """
select
    j.id::text, j.payload, l.state, f.status, coalesce(f.attempts, l.attempts, 0) as attempts,
    coalesce(f.session_id, l.session_id) as session_id, f.reason,
    extract(epoch from coalesce(f.started_at, case when l.state = 2 then l.changed_at end))::float8 as started_at,
    extract(epoch from f.finished_at)::float8 as finished_at,
    extract(epoch from now() - l.changed_at)::float8 as leased_for
from job j
left join live_job l on l.id = j.id
left join finished_job f on f.id = j.id
where l.id is not null or f.id is not null
"""
_ATTEMPTS = """
select job_id::text, attempt, session_id, outcome,
    extract(epoch from started_at)::float8 as started_at, extract(epoch from ended_at)::float8 as ended_at
from attempt
"""
_SESSIONS = """
select id, extract(epoch from ttl)::float8 as ttl, extract(epoch from ended_at)::float8 as ended_at
from worker_session
"""
_ENDED = """
select id::text, status, reason, attempts, extract(epoch from finished_at)::float8 as finished_at
from finished_job
"""


async def read_history(
    dsn: str, events: Iterable[Event], *, explained: Iterable[Exit] = (), all_over: bool = True
) -> History:
    """The history of a case: its journals, and the database as it is now, in one snapshot."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            jobs = [_job(row) for row in await connection.fetch(_JOBS)]
            attempts = [_attempt(row) for row in await connection.fetch(_ATTEMPTS)]
            sessions = [StoredSession(*row.values()) for row in await connection.fetch(_SESSIONS)]
    finally:
        await connection.close()
    return History(
        events=list(events),
        jobs={job.id: job for job in jobs},
        attempts={(row.id, row.attempt): row for row in attempts},
        sessions={session.id: session for session in sessions},
        explained=frozenset(explained),
        all_over=all_over,
    )


def _job(row: Any) -> StoredJob:
    if row["status"] is not None:
        status = Status(row["status"])
    else:
        status = Status.RUNNING if row["state"] == 2 else Status.QUEUED
    return StoredJob(
        id=row["id"],
        token=token_of(row["payload"]),
        status=status,
        attempts=row["attempts"],
        session=row["session_id"],
        reason=row["reason"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        leased_for=row["leased_for"] if status is Status.RUNNING else None,
    )


def _attempt(row: Any) -> StoredAttempt:
    return StoredAttempt(
        row["job_id"],
        row["attempt"],
        row["session_id"],
        Exit(row["outcome"]),
        row["started_at"],
        row["ended_at"],
    )


class EndWatch:
    """Looks twice a second at the jobs that have ended, and notes each end that is new or another than before."""

    def __init__(self, dsn: str, journal: Journal) -> None:
        self._dsn = dsn
        self._journal = journal
        self._seen: dict[str, list[object]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Looks from now on."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Looks no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            # The case may have taken the database away.
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection = await asyncpg.connect(self._dsn, timeout=5)
                try:
                    while True:
                        began = time.monotonic()
                        self._note(await connection.fetch(_ENDED, timeout=15))
                        # Of hundreds of thousands of jobs a look takes seconds, in which the case does nothing else.
                        took = time.monotonic() - began
                        await asyncio.sleep(max(LOOK_EVERY, REST * took))
                finally:
                    connection.terminate()
            await asyncio.sleep(LOOK_EVERY)

    def _note(self, rows: Iterable[Any]) -> None:
        news = []
        for row in rows:
            last = [row["status"], row["reason"], row["attempts"], row["finished_at"]]
            if self._seen.get(row["id"]) != last:
                self._seen[row["id"]] = last
                news.append(("terminal", {"id": row["id"], "last": last}))
        self._journal.note_all(news)
