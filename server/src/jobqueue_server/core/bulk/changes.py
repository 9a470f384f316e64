"""Cancels, retries, releases and deletes, each of one job."""

from __future__ import annotations

from uuid import UUID

from ...errors import JobNotFound
from ...grants import Permission
from ...model import Job
from ...scope import Scope
from ...store.bulk.changes import ChangeStore
from ...store.query.reads import ReadStore
from ..access.views import require_on_job, shown
from .effects import Effects


class JobChanges:
    """Changes jobs for callers.

    Raises (every method): DatabaseAway, after which nothing is known of what the change did; DatabaseFull.
    """

    def __init__(self, store: ChangeStore, reads: ReadStore, effects: Effects) -> None:
        self._store = store
        self._reads = reads
        self._effects = effects

    async def cancel(self, scope: Scope, job_id: UUID, reason: str = "") -> tuple[Job, bool]:
        """Cancels a waiting job at once; asks a running one to stop, which is pending until its worker answers.

        Answers the job as this call left it, also where it has moved on since.

        Raises:
            JobTerminal: It has ended.
            JobNotFound: There is none, or the principal may neither do this nor read it.
            NotAllowed: The principal may read it, and not do this.
        """
        await self._require(scope, Permission.OPERATE | Permission.ENQUEUE, job_id, "cancel the job")
        job, cancelled = await self._store.cancel(scope, job_id, reason)
        self._effects.cancelled([cancelled], reason)
        return shown(scope, job), cancelled.pending

    async def retry(self, scope: Scope, job_id: UUID, *, respect_unique: bool = False) -> Job:
        """Queues an ended job again, with its history and attempts, and its failures and losses forgotten.

        Answers the job as this call left it, also where it has moved on since.

        Args:
            scope: Whose job it is.
            job_id: The job.
            respect_unique: A unique job takes its name again, or is not retried.

        Raises:
            JobNotTerminal: It has not ended.
            Duplicate: Another job holds its name, which is to be respected.
            JobNotFound: There is none, or the principal may neither do this nor read it.
            NotAllowed: The principal may read it, and not do this; or the name, which is to be respected, reaches
                beyond what it operates.
        """
        await self._require(scope, Permission.OPERATE, job_id, "retry the job")
        job, retried = await self._store.retry(scope, job_id, respect_unique=respect_unique)
        self._effects.retried([retried])
        return shown(scope, job)

    async def release(self, scope: Scope, job_id: UUID) -> Job:
        """Puts a job that is held back by hand at the end of its line, where it waits for its run_at and a worker.

        Answers the job as this call left it, also where it has moved on since.

        Raises:
            JobNotHeld: It is not held back by hand.
            JobNotFound: There is none, or the principal may neither do this nor read it.
            NotAllowed: The principal may read it, and not do this.
        """
        await self._require(scope, Permission.OPERATE, job_id, "release the job")
        job, released = await self._store.release(scope, job_id)
        self._effects.released(released)
        return shown(scope, job)

    async def delete(self, scope: Scope, job_id: UUID) -> None:
        """Takes away an ended job with its history. A replay of its key answers only its id.

        Raises:
            JobNotTerminal: It has not ended.
            JobNotFound: There is none, or the principal may neither do this nor read it.
            NotAllowed: The principal may read it, and not do this.
        """
        await self._require(scope, Permission.OPERATE, job_id, "delete the job")
        await self._store.delete(scope, job_id)
        self._effects.deleted([job_id])

    async def _require(self, scope: Scope, any_of: Permission, job_id: UUID, doing: str) -> None:
        """A job stays in its queue and of its kind, so what is allowed now is so when the job is changed."""
        if scope.grants.unbounded:
            return
        job = await self._reads.get(scope, job_id, full=False)
        if job is None:
            raise JobNotFound.of(job_id)
        require_on_job(scope, any_of, job, doing)
