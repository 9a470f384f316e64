"""What callers and operations do to jobs that are there, one or many at a time: cancel, retry, delete.

Each function changes jobs in a transaction, in the order of their ids, and answers those that it changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ..database import Session

_AT_ONCE = timedelta()


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What a cancel did to a job.

    Pending: the job runs, and the session that holds its lease must be told. `calling` is its key, where another of its
    jobs may be admitted now.
    """

    job_id: UUID
    lane_id: int
    pending: bool
    session_id: int | None
    attempt: int
    calling: int | None


@dataclass(frozen=True, slots=True)
class Retried:
    """Where a job waits after its retry. Held: it is in no line, until its time comes and its key admits it."""

    lane_id: int
    priority: int
    run_at: datetime
    held: bool


@dataclass(frozen=True, slots=True)
class Deleted:
    """A job that is gone with its history."""

    job_id: UUID
    queue: str
    kind: str


async def cancel(
    session: Session,
    namespace: int,
    ids: Sequence[UUID],
    statuses: Sequence[int],
    *,
    grace: timedelta,
    reason: str,
) -> list[Cancelled]:
    """Ends waiting jobs as cancelled, and asks running ones to stop. Asking again changes nothing.

    Args:
        session: The transaction.
        namespace: Whose jobs they are; others are not answered.
        ids: The jobs.
        statuses: Those that may change.
        grace: How long a worker may take to answer, before the server decides.
        reason: What the worker is told; empty: nothing.
    """
    rows = await session.fetch("cancel", ids, grace, reason or None, statuses, namespace)
    return [
        Cancelled(
            row["id"], row["lane_id"], row["pending"], row["session_id"], row["attempts"], row["calling"]
        )
        for row in rows
    ]


async def lock_finished(
    session: Session, namespace: int, ids: Sequence[UUID], statuses: Sequence[int]
) -> list[UUID]:
    """Locks those of the jobs that have ended with one of the statuses. `ids`: in their order."""
    rows = await session.fetch("lock_finished_jobs", ids, ids[0], ids[-1], statuses, namespace)
    return [row["id"] for row in rows]


async def retry(
    session: Session,
    locked: Sequence[UUID],
    *,
    run_at: datetime | None = None,
    delay: timedelta = _AT_ONCE,
    spread: timedelta = _AT_ONCE,
    reset_checkpoint: bool = False,
) -> list[Retried]:
    """Queues ended jobs again, with their history and attempts, and their failures and losses forgotten.

    Args:
        session: The transaction.
        locked: The jobs that `lock_finished` has locked in it.
        run_at: Their earliest start; None: `delay` from now on.
        delay: That.
        spread: Each starts at a moment that is drawn evenly from that start on, within this time.
        reset_checkpoint: Each begins anew, not only those that succeeded.
    """
    rows = await session.fetch(
        "retry_jobs", locked, locked[0], locked[-1], spread, run_at, delay, reset_checkpoint
    )
    held = [row["id"] for row in rows if row["held"]]
    # Jobs that block their keys have their permits back at once, and wait for the end of a pause of these keys.
    freed = await session.fetch("unblock_retried", held) if held else ()
    back: dict[UUID, datetime] = {row["id"]: row["run_at"] for row in freed}
    return [
        Retried(
            row["lane_id"],
            row["priority"],
            back.get(row["id"], row["run_at"]),
            row["held"] and row["id"] not in back,
        )
        for row in rows
    ]


async def delete(session: Session, locked: Sequence[UUID]) -> list[Deleted]:
    """Takes away ended jobs with their history. `locked`: as for `retry`."""
    rows = await session.fetch("delete_jobs", locked, locked[0], locked[-1])
    blocking = [row for row in rows if row["semaphore_id"] is not None]
    if blocking:
        semaphore_ids = sorted({row["semaphore_id"] for row in blocking})
        await session.fetch("unblock_deleted", semaphore_ids, [row["id"] for row in blocking])
    return [Deleted(row["id"], row["queue"], row["kind"]) for row in rows]
