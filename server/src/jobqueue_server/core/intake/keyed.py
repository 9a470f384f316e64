"""Jobs with idempotency keys: what a key stands for already is answered instead of stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from ...errors import FieldViolation, IdempotencyKeyReused, Internal
from ...grants import Permission
from ...metrics import Metrics
from ...model import Enqueued, EnqueuedBatch, Job, NewJob, NewJobs
from ...scope import Scope
from ...store.database import Session
from ...store.intake.intake import BacklogOfKeys, IntakeStore, NewRows
from ...store.query.reads import ReadStore
from ..tuning import Tuning
from .batch import Batch, backlog_full
from .batcher import Batchers
from .callers import CALLER
from .intake import Intake
from .keyed_ticket import KeyedTicket
from .names import Taken, UniqueNames, refusal
from .placement import Placement, StoredWithin
from .waiting import Waiting


class KeyVanished(Exception):
    """A key that was taken a moment ago is free now, or one that was free is taken."""


class KeyedJobs:
    """Single jobs with keys. They share inserts, in which each key stands once."""

    def __init__(
        self,
        intake: Intake,
        batchers: Batchers,
        store: IntakeStore,
        reads: ReadStore,
        waiting: Waiting,
        tuning: Tuning,
    ) -> None:
        self._intake = intake
        self._batchers = batchers
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
            ServersDiffer: It is to be held back or unique, and an older server runs.
            IdempotencyKeyReused: Its key stands for another request.
            QueueFull: Too many wait to be stored.
            QueueBacklogFull: Too many wait in its queue, and its key stands for no job.
            DatabaseAway: It may have been stored or not.
        """
        for _ in range(self._tries):
            batch = await self._intake.rows_in_new_lanes(scope, [NewJobs.of(new)], "job", self._waiting)
            pending = self._pending.get(digest_of(batch.rows[0]))
            if pending is not None:
                # The same key is being stored right now: what comes of it decides about this one.
                await asyncio.wait([pending])
            elif (full := batch.full_limit) is not None:
                replay = await self._replay(scope, batch)
                if replay is None:
                    raise self._waiting.refusal(full)
                return replay
            else:
                self._note_pending(batch)
                at = await self._batchers.of(batch).stored(batch)
                if not batch.lost_key:
                    return Enqueued(batch.rows[0].id, False, batch.job(at), batch.pressure)
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
        self._batchers.of(batch).put(batch, caller)
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
        return Enqueued(winner[0], True, await self._replayed(scope, row.new, winner[0]), batch.pressure)

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
    """Batches in which a job has a key or is unique. Each has a transaction of its own, and all go to the backlog."""

    def __init__(
        self,
        store: IntakeStore,
        names: UniqueNames,
        placement: Placement,
        waiting: Waiting,
        metrics: Metrics,
        tuning: Tuning,
    ) -> None:
        self._store = store
        self._names = names
        self._placement = placement
        self._waiting = waiting
        self._metrics = metrics
        self._tries = tuning.key_tries
        self._turns = asyncio.Semaphore(tuning.keyed_batches)

    async def enqueue(self, scope: Scope, batch: Batch) -> EnqueuedBatch:
        """Stores a batch; no key stands twice in it.

        Raises:
            IdempotencyKeyReused: A key stands for another request.
            Duplicate: A name is held, and its job asked to be refused then.
            FieldInvalid: A name is held by a job that can't be changed as was asked.
            KeyBacklogFull: As many jobs as its queue allows wait for a key.
            QueueFull: Too many wait to be stored.
            QueueBacklogFull: Too many wait in the queue of a job that is new.
            DatabaseAway: It may have been stored or not.
        """
        with self._waiting.held(batch.jobs):
            self._waiting.storing_begins()
            try:
                return await self._enqueue(scope, batch)
            finally:
                self._waiting.storing_ends()

    async def _enqueue(self, scope: Scope, batch: Batch) -> EnqueuedBatch:
        loop = asyncio.get_running_loop()
        async with self._turns:
            await self.check_limits(scope, batch)
            for _ in range(self._tries):
                started = loop.time()
                try:
                    async with self._store.transaction() as session:
                        how = await self.store_within(scope, session, batch)
                except KeyVanished:
                    continue
                except BacklogOfKeys as error:
                    raise self._waiting.refused(backlog_full(batch, error.stiles)) from error
                pressure = self._waiting.stored(batch.jobs, loop.time() - started)
                self._placement.announce(batch, how)
                replays, conflicts = how.replays, how.conflicts
                for row, lane in zip(batch.rows, batch.lanes, strict=True):
                    if (conflict := conflicts.get(row.id)) is not None:
                        self._metrics.duplicate(lane.kind, conflict.action)
                    elif lane.backlog is not None and row.id not in replays:
                        lane.backlog.came(len(row.ids))
                        pressure = max(pressure, lane.backlog.fill)
                instead = {**replays, **{row_id: conflict.job_id for row_id, conflict in conflicts.items()}}
                return EnqueuedBatch(
                    [instead.get(job_id, job_id) for job_id in batch.ids],
                    frozenset(replays.values()),
                    pressure,
                    {
                        index: conflict.action
                        for index, job_id in enumerate(batch.ids)
                        if (conflict := conflicts.get(job_id)) is not None and conflict.action is not None
                    },
                    how.at,
                )
        raise Internal("the idempotency keys changed hands too often; try again")

    async def check_limits(self, scope: Scope, batch: Batch) -> None:
        """Refuses a batch of which a job is new and goes into a queue that is at its limit.

        A job is not new if its idempotency key stands for a job, or if another job holds its name: of these nothing is
        stored. Both are asked of a full queue alone.

        Raises:
            QueueBacklogFull: Too many wait in the queue of a job that is new.
        """
        if batch.full_limit is None:
            return
        full = [
            (row, lane.backlog)
            for row, lane in zip(batch.rows, batch.lanes, strict=True)
            if lane.backlog is not None and lane.backlog.full
        ]
        digests = [row.key_digest for row, _ in full if row.key_digest is not None]
        known = await self._store.find_keys(scope, digests) if digests else {}
        unknown = [(row, limit) for row, limit in full if row.key_digest not in known]
        names = {row.name.digest for row, _ in unknown if row.name is not None}
        _, held = await self._store.held_names(list(names)) if names else (None, {})
        for row, limit in unknown:
            if row.name is None or row.name.digest not in held:
                raise self._waiting.refusal(limit)

    async def take_names(
        self, scope: Scope, session: Session, batch: Batch, settling: UUID | None = None
    ) -> Taken | None:
        """Locks the names of a batch, before anything else that its transaction does; None: it has none.

        Args:
            scope: Whose jobs they are.
            session: The transaction.
            batch: The jobs.
            settling: As in `UniqueNames.take`.
        """
        return await self._names.take(scope, session, batch.rows, settling) if batch.named else None

    async def store_within(
        self,
        scope: Scope,
        session: Session,
        batch: Batch,
        *,
        later: bool = False,
        taken: Taken | None = None,
    ) -> StoredWithin:
        """Stores a batch within a transaction that is open, none of it handed off.

        Args:
            scope: That of the jobs that have keys.
            session: The transaction.
            batch: Its jobs.
            later: As in `IntakeStore.enqueue_limited`.
            taken: What `take_names` has answered in this transaction.

        Raises:
            KeyVanished: A key was taken and is free now, or the other way round; try again in a new transaction.
            IdempotencyKeyReused: A key stands for another request.
            Duplicate: A name is held, and its job asked to be refused then.
            FieldInvalid: A name is held by a job that can't be changed as was asked.
        """
        batch.limit()
        if taken is not None or (taken := await self.take_names(scope, session, batch)) is not None:
            return await self._store_named(session, batch, taken, later=later)
        keyed = [row for row in batch.rows if row.key_digest is not None]
        plain = [row for row in batch.rows if row.key_digest is None]
        replays: dict[UUID, UUID] = {}
        kept: frozenset[UUID] = frozenset()
        calling: Sequence[int] = ()
        if batch.limited:
            # In one statement: two of a transaction would lock turnstiles in any order.
            stored = await self._store.enqueue_limited(batch.rows, session, later=later)
            kept, calling, plain = stored.kept, stored.calling, []
        elif keyed:
            stored = await self._store.enqueue(keyed, session)
        if keyed:
            lost = [row for row in keyed if row.id in stored.lost_keys]
            winners = (
                await self._store.find_keys(scope, [digest_of(row) for row in lost], session) if lost else {}
            )
            for row in lost:
                winner = winners.get(digest_of(row))
                if winner is None:
                    raise KeyVanished
                check_same_request(winner, row, f"{batch.place_of(row)}.idempotency_key")
                replays[row.id] = winner[0]
        if plain:
            await self._store.enqueue(plain, session)
        return StoredWithin(replays, {}, kept, calling, later)

    async def _store_named(
        self, session: Session, batch: Batch, taken: Taken, *, later: bool
    ) -> StoredWithin:
        """Keys first, then names. A key whose job was not stored, since its name is held, stands for the holder."""
        replays: dict[UUID, UUID] = {}
        for row in batch.rows:
            if (winner := taken.known.get(row.id)) is not None:
                check_same_request(winner, row, f"{batch.place_of(row)}.idempotency_key")
                replays[row.id] = winner[0]
        judgement = await self._names.judge(session, taken)
        conflicts = judgement.conflicts
        for row, lane in zip(batch.rows, batch.lanes, strict=True):
            if (conflict := conflicts.get(row.id)) is not None and conflict.action is None:
                self._metrics.duplicate(lane.kind, None)
                raise refusal(conflict, f"{batch.place_of(row)}.unique")
        kept_keys = [row for row in batch.rows if row.id in conflicts and row.key_digest is not None]
        if kept_keys and not await self._store.keep_keys(
            kept_keys, [conflicts[row.id].job_id for row in kept_keys], session
        ):
            raise KeyVanished
        left = [row for row in taken.rows if row.id not in conflicts]
        kept: frozenset[UUID] = frozenset()
        calling: Sequence[int] = ()
        if any(row.stiles is not None for row in left):
            stored = await self._store.enqueue_limited(left, session, later=later)
            if stored.lost_keys.intersection(row.id for row in left if row.key_digest is not None):
                raise KeyVanished
            kept, calling = stored.kept, stored.calling
        else:
            for some in (
                [row for row in left if row.key_digest is not None],
                [row for row in left if row.key_digest is None],
            ):
                if some and (await self._store.enqueue(some, session)).lost_keys:
                    raise KeyVanished
        changed = await self._names.change(session, judgement)
        return StoredWithin(replays, conflicts, kept, calling, later, taken.at, changed)


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
