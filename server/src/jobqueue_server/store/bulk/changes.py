"""What a caller may change of a stored job: cancel, retry, release, delete."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ...errors import (
    Duplicate,
    Internal,
    JobNotFound,
    JobNotHeld,
    JobNotTerminal,
    JobQueueError,
    JobTerminal,
    NotAllowed,
)
from ...lifecycle import TERMINAL, Status
from ...model import Job
from ...scope import Scope
from ..access.audit import audited
from ..database import Database, Session
from ..query.reads import job_of
from . import verbs
from .names import take_again
from .verbs import Cancelled, Retried

# A job may move between its live row and its end while we read. Then we read it again. Each turn of that needs a
# settlement and a retry of the same job in between.
_TURNS = 10


_LIVE = sorted(set(Status) - TERMINAL)
_ENDED = sorted(TERMINAL)


@dataclass(frozen=True, slots=True)
class Released:
    """Where a job waits after its release by hand, and from when on it may start. Held: as in `Retried`."""

    lane_id: int
    priority: int
    held: bool
    isolated: bool
    run_at: datetime


class ChangeStore:
    """Changes one job as its caller asks, and reads it in the same transaction, before it can move on.

    The audit log tells of each change, in that transaction too.

    Raises (every method): JobNotFound, DatabaseAway, DatabaseFull.
    """

    def __init__(self, database: Database, *, cancel_grace: timedelta) -> None:
        self._database = database
        self._cancel_grace = cancel_grace

    async def cancel(self, scope: Scope, job_id: UUID, reason: str = "") -> tuple[Job, Cancelled]:
        """Ends a waiting job as cancelled, or asks a running one to stop. Asking again changes nothing.

        Raises:
            JobTerminal: It has ended.
        """
        for _ in range(_TURNS):
            async with audited(self._database) as transaction:
                done = await verbs.cancel(
                    transaction, scope.namespace, [job_id], _LIVE, grace=self._cancel_grace, reason=reason
                )
                if done:
                    job = await _changed(scope, transaction, job_id)
                    await transaction.tell(
                        scope,
                        "CancelJob",
                        f"job:{job_id}",
                        reason=reason,
                        details={**_of(job), "running": "yes" if done[0].pending else None},
                    )
                    return job, done[0]
                status = await _terminal_status(scope, transaction, job_id)
            if status is not None:
                raise JobTerminal(
                    f"job is already in terminal state {status.name}",
                    metadata={"job_id": str(job_id), "status": status.name},
                )
        raise _restless(job_id)

    async def retry(self, scope: Scope, job_id: UUID, *, respect_unique: bool = False) -> tuple[Job, Retried]:
        """Queues an ended job again.

        Raises:
            JobNotTerminal: It has not ended.
            Duplicate: Another job holds its name, which is to be respected.
            NotAllowed: Its name, which is to be respected, reaches beyond what the caller operates.
        """
        async with audited(self._database) as transaction:
            refused = (
                await take_again(transaction, scope.namespace, [job_id], scope.grants)
                if respect_unique
                else {}
            )
            await _lock_finished(scope, transaction, job_id)
            if job_id in refused:
                raise _name_refused(refused[job_id])
            done = await verbs.retry(transaction, [job_id])
            if not done:
                raise JobNotFound.of(job_id)
            job = await _changed(scope, transaction, job_id)
            await transaction.tell(scope, "RetryJob", f"job:{job_id}", details=_of(job))
            return job, done[0]

    async def release(self, scope: Scope, job_id: UUID) -> tuple[Job, Released]:
        """Puts a job that is held back by hand at the end of its line.

        Raises:
            JobNotHeld: It is not held back by hand.
        """
        async with audited(self._database) as transaction:
            row = await transaction.fetchrow("release_job", job_id, scope.namespace)
            if row is None:
                found = await transaction.fetchrow("get_job", job_id, False, scope.namespace)
                if found is None:
                    raise JobNotFound.of(job_id)
                status = Status(found["status"]).name
                raise JobNotHeld(
                    f"job is {status} and not held back: it was released before, or enqueued without `hold`",
                    metadata={"job_id": str(job_id), "status": status},
                )
            job = await _changed(scope, transaction, job_id)
            await transaction.tell(scope, "ReleaseJob", f"job:{job_id}", details=_of(job))
            return job, Released(row["lane_id"], row["priority"], row["held"], row["isolated"], row["run_at"])

    async def delete(self, scope: Scope, job_id: UUID) -> None:
        """Takes away an ended job with its history.

        Raises:
            JobNotTerminal: It has not ended.
        """
        async with audited(self._database) as transaction:
            await _lock_finished(scope, transaction, job_id)
            done = await verbs.delete(transaction, [job_id])
            details = {"queue": done[0].queue, "kind": done[0].kind} if done else None
            await transaction.tell(scope, "DeleteJob", f"job:{job_id}", details=details)


def _of(job: Job) -> dict[str, object]:
    return {"queue": job.queue, "kind": job.kind}


async def _changed(scope: Scope, transaction: Session, job_id: UUID) -> Job:
    """The job that this transaction has changed; its lock keeps others from it until the commit.

    Raises:
        JobNotFound: Its body is gone, so the change is rolled back.
    """
    row = await transaction.fetchrow("get_job", job_id, True, scope.namespace)
    if row is None:
        raise JobNotFound.of(job_id)
    return job_of(row)


async def _lock_finished(scope: Scope, transaction: Session, job_id: UUID) -> None:
    for _ in range(_TURNS):
        if await verbs.lock_finished(transaction, scope.namespace, [job_id], _ENDED):
            return
        if await _terminal_status(scope, transaction, job_id) is None:
            raise JobNotTerminal(
                "job has not ended; wait for it or cancel it first", metadata={"job_id": str(job_id)}
            )
    raise _restless(job_id)


async def _terminal_status(scope: Scope, session: Session, job_id: UUID) -> Status | None:
    """The status of a job that has ended; None if it is live.

    Raises:
        JobNotFound: It is neither.
    """
    row = await session.fetchrow("find_job", job_id, scope.namespace)
    if row is None:
        raise JobNotFound.of(job_id)
    return None if row["live"] else Status(row["status"])


def _name_refused(holder: UUID | None) -> JobQueueError:
    """Why a job is not retried that is to take its name again; None: the name is not the caller's to take."""
    if holder is None:
        return NotAllowed(
            "the name of this job stands among jobs that these credentials may not operate, so they can't take it "
            "again; retry the job without `respect_unique`",
            metadata={"permission": "OPERATE"},
        )
    return Duplicate(
        f"the job {holder} holds the name of this one; retry it without `respect_unique`, or once that one has let go",
        metadata={"job_id": str(holder)},
    )


def _restless(job_id: UUID) -> Internal:
    return Internal(f"job {job_id} changed its place {_TURNS} times while it was read")
