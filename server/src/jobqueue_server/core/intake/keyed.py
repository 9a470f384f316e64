"""Jobs with idempotency keys: what a key stands for already is answered instead of stored."""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial
from uuid import UUID

from ...errors import FieldViolation, IdempotencyKeyReused, Internal
from ...grants import Permission
from ...model import Enqueued, EnqueuedBatch, Job, NewJob, NewJobs
from ...scope import Scope
from ...store.database import Session
from ...store.intake.intake import IntakeStore, NewRows
from ...store.query.reads import ReadStore
from ..tuning import Tuning
from .batch import Batch
from .batcher import Batcher
from .callers import CALLER
from .intake import Intake
from .keyed_ticket import KeyedTicket
from .placement import Placement
from .waiting import Waiting


class KeyVanished(Exception):
    """A key that was taken a moment ago is free now."""


class KeyedJobs:
    """Single jobs with keys. They share inserts, in which each key stands once."""

    def __init__(
        self,
        intake: Intake,
        batcher: Batcher,
        store: IntakeStore,
        reads: ReadStore,
        waiting: Waiting,
        tuning: Tuning,
    ) -> None:
        self._intake = intake
        self._batcher = batcher
        self._store = store
        self._reads = reads
        self._waiting = waiting
        self._tries = tuning.key_tries
        # What is being stored, by the key's digest.
        self._pending: dict[bytes, asyncio.Future[datetime]] = {}

    async def enqueue(self, scope: Scope, new: NewJob) -> Enqueued:
        """Stores a job with a key, or answers the job that the key stands for.

        Raises:
            PayloadInvalid, KindUnknown: It does not fit.
            ServersDiffer: It is to be held back, and an older server runs.
            IdempotencyKeyReused: Its key stands for another request.
            QueueFull: Too many wait to be stored.
            DatabaseAway: It may have been stored or not.
        """
        for _ in range(self._tries):
            batch = await self._intake.rows_in_new_lanes(scope, [NewJobs.of(new)], "job", self._waiting)
            pending = self._pending.get(digest_of(batch.rows[0]))
            if pending is not None:
                # The same key is being stored right now: what comes of it decides about this one.
                await asyncio.wait([pending])
            else:
                self._note_pending(batch)
                at = await self._batcher.stored(batch)
                if not batch.lost_key:
                    return Enqueued(batch.rows[0].id, False, batch.job(at))
            replay = await self._replay(scope, batch)
            if replay is not None:
                return replay
        raise Internal("the idempotency key changed hands too often; try again")

    def stores_key_of(self, batch: Batch) -> bool:
        """Whether the key of a batch is being stored right now. `enqueue` can wait for it."""
        return digest_of(batch.rows[0]) in self._pending

    def start(self, scope: Scope, batch: Batch, caller: str) -> KeyedTicket:
        """Puts a job in line whose key is not being stored, without waiting for it.

        Args:
            scope: Whose job it is.
            batch: The job. There is room for it.
            caller: As in `Batcher.put`.
        """
        self._batcher.put(batch, caller)
        self._note_pending(batch)
        return KeyedTicket(batch, partial(self._replay_or_enqueue, scope, batch, caller))

    async def _replay_or_enqueue(self, scope: Scope, batch: Batch, caller: str) -> Enqueued:
        CALLER.set(caller)
        return await self._replay(scope, batch) or await self.enqueue(scope, batch.rows[0].new)

    async def _replay(self, scope: Scope, batch: Batch) -> Enqueued | None:
        """The job that the key stands for; None where the key is free."""
        row = batch.rows[0]
        digest = digest_of(row)
        winner = (await self._store.find_keys(scope, [digest])).get(digest)
        if winner is None:
            return None
        check_same_request(winner, row, f"{batch.path}.idempotency_key")
        return Enqueued(winner[0], True, await self._replayed(scope, row.new, winner[0]))

    async def _replayed(self, scope: Scope, new: NewJob, job_id: UUID) -> Job | None:
        """The job of a replay as it is now, for a principal that may read it; a producer is told its id alone."""
        seen = Permission.READ | Permission.PAYLOADS
        return await self._reads.get(scope, job_id) if scope.grants.may(seen, new.queue, new.kind) else None

    def _note_pending(self, batch: Batch) -> None:
        digest = digest_of(batch.rows[0])
        self._pending[digest] = batch.done
        batch.done.add_done_callback(partial(self._no_longer_pending, digest))

    def _no_longer_pending(self, digest: bytes, _: asyncio.Future[datetime]) -> None:
        del self._pending[digest]


class KeyedBatches:
    """Batches in which a job has a key. Each has a transaction of its own, and its jobs all go to the backlog."""

    def __init__(self, store: IntakeStore, placement: Placement, waiting: Waiting, tuning: Tuning) -> None:
        self._store = store
        self._placement = placement
        self._waiting = waiting
        self._tries = tuning.key_tries
        self._turns = asyncio.Semaphore(tuning.keyed_batches)

    async def enqueue(self, scope: Scope, batch: Batch) -> EnqueuedBatch:
        """Stores a batch; no key stands twice in it.

        Raises:
            IdempotencyKeyReused: A key stands for another request.
            QueueFull: Too many wait to be stored.
            DatabaseAway: It may have been stored or not.
        """
        with self._waiting.held(batch.jobs):
            async with self._turns:
                for _ in range(self._tries):
                    try:
                        async with self._store.transaction() as session:
                            replays = await self.store_within(scope, session, batch)
                    except KeyVanished:
                        continue
                    self._placement.announce(batch, replays)
                    return EnqueuedBatch(
                        [replays.get(job_id, job_id) for job_id in batch.ids], frozenset(replays.values())
                    )
        raise Internal("the idempotency keys changed hands too often; try again")

    async def store_within(self, scope: Scope, session: Session, batch: Batch) -> dict[UUID, UUID]:
        """Stores a batch within a transaction that is open, none of it handed off.

        Args:
            scope: That of the jobs that have keys.
            session: The transaction.
            batch: Its jobs.

        Returns:
            The rows that were not stored because their key stands for a job already: id of the row -> that job.

        Raises:
            KeyVanished: A key was taken and is free now; try again in a new transaction.
            IdempotencyKeyReused: A key stands for another request.
        """
        keyed = [row for row in batch.rows if row.key_digest is not None]
        plain = [row for row in batch.rows if row.key_digest is None]
        replays: dict[UUID, UUID] = {}
        if keyed:
            stored = await self._store.enqueue(keyed, session)
            lost = [row for row in keyed if row.id in stored.lost_keys]
            winners = (
                await self._store.find_keys(scope, [digest_of(row) for row in lost], session) if lost else {}
            )
            for row in lost:
                winner = winners.get(digest_of(row))
                if winner is None:
                    raise KeyVanished
                index = sum(len(one.ids) for one in batch.rows[: batch.rows.index(row)])
                check_same_request(winner, row, f"{batch.place(index)}.idempotency_key")
                replays[row.id] = winner[0]
        if plain:
            await self._store.enqueue(plain, session)
        return replays


def digest_of(row: NewRows) -> bytes:
    """The digest of the key of a row that has one."""
    assert row.key_digest is not None
    return row.key_digest


def check_same_request(winner: tuple[UUID, bytes], row: NewRows, path: str) -> None:
    """Compares a request with the one whose job its key stands for.

    Args:
        winner: That job, and the digest of its request.
        row: The request.
        path: Where the key stands in it.

    Raises:
        IdempotencyKeyReused: They differ.
    """
    job_id, digest = winner
    if digest != row.request_digest:
        message = (
            f"the key was used for another request, whose job is {job_id}; choose a new key for this one"
        )
        raise IdempotencyKeyReused(
            message, metadata={"job_id": str(job_id)}, violations=[FieldViolation(path, message)]
        )
