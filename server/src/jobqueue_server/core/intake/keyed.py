"""Batches in which jobs have idempotency keys or names: what these stand for already is answered instead of stored."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from uuid import UUID

from ...errors import FieldViolation, IdempotencyKeyReused, Internal
from ...fair.owner import Owner
from ...fair.turns import Turns
from ...metrics import Metrics
from ...model import Enqueued
from ...scope import Scope
from ...store.database import Deadlock, Session
from ...store.intake.intake import BacklogOfKeys, IntakeStore, KeyHolder, NewRows
from ..tuning import Tuning
from .batch import Batch, backlog_full
from .digest import key_digest, lane_key_digest
from .names import KeyVanished, Taken, UniqueNames, refusal
from .placement import Placement, StoredWithin
from .waiting import Waiting


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
        self._turns = Turns(tuning.keyed_batches)

    async def enqueue(self, scope: Scope, batch: Batch) -> Enqueued:
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
        with self._waiting.held(batch.owner, batch.jobs):
            self._waiting.storing_begins()
            try:
                return await self._enqueue(scope, batch)
            finally:
                self._waiting.storing_ends()

    async def _enqueue(self, scope: Scope, batch: Batch) -> Enqueued:
        async with self.turn(batch.owner):
            return await self._stored(scope, batch)

    async def _stored(self, scope: Scope, batch: Batch) -> Enqueued:
        loop = asyncio.get_running_loop()
        for _ in range(self._tries):
            started = loop.time()
            try:
                await self.check_limits(scope, batch)
                with batch.counted_by_limits():
                    async with self._store.transaction() as session:
                        how = await self.store_within(scope, session, batch)
            except Deadlock:
                continue
            except KeyVanished as vanished:
                await self.again(vanished)
                continue
            except BacklogOfKeys as error:
                raise self._waiting.refused(backlog_full(batch, error.semaphore_ids)) from error
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
            return Enqueued(
                [instead.get(job_id, job_id) for job_id in batch.ids],
                frozenset(replays.values()),
                {
                    index: conflict.action
                    for index, job_id in enumerate(batch.ids)
                    if (conflict := conflicts.get(job_id)) is not None and conflict.action is not None
                },
                pressure,
            )
        raise Internal("the idempotency keys changed hands too often; try again")

    def turn(self, owner: Owner) -> AbstractAsyncContextManager[None]:
        """Around a transaction of a principal that stores jobs with keys or names."""
        return self._turns.place(owner)

    async def check_limits(self, scope: Scope, batch: Batch) -> None:
        """Refuses a batch of which a job is new and goes into a queue that is at its limit.

        A job is not new if its idempotency key stands for a job, or if another job holds its name: of these nothing is
        stored. Both are asked of a full queue alone.

        Raises:
            QueueBacklogFull: Too many wait in the queue of a job that is new.
            KeyVanished: The key of a job is another principal's.
        """
        if batch.full_limit is None:
            return
        full = [
            (row, lane.backlog)
            for row, lane in zip(batch.rows, batch.lanes, strict=True)
            if lane.backlog is not None and lane.backlog.full
        ]
        keyed = {row.key_digest: row for row, _ in full if row.key_digest is not None}
        known = await self._store.find_keys(scope, list(keyed)) if keyed else {}
        foreign = {keyed[key]: winner for key, winner in known.items() if is_foreign(winner, keyed[key])}
        if foreign:
            raise KeyVanished(foreign)
        unknown = [(row, limit) for row, limit in full if row.key_digest not in known]
        names = {row.name.digest for row, _ in unknown if row.name is not None}
        _, held = await self._store.held_names(list(names)) if names else (None, {})
        for row, limit in unknown:
            if row.name is None or row.name.digest not in held:
                raise self._waiting.refusal(limit)

    async def again(self, vanished: KeyVanished) -> None:
        """Before the next try of a batch, once the transaction of the one before has ended."""
        if vanished.foreign:
            await step_aside(self._store, vanished.foreign)

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
            KeyVanished: A key was taken and is free now, or the other way round, or is another principal's; try again
                in a new transaction, after `again`.
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
            # In one statement: two of a transaction would lock semaphores in any order.
            stored = await self._store.enqueue_limited(batch.rows, session, later=later)
            kept, calling, plain = stored.kept, stored.calling, []
        elif keyed:
            stored = await self._store.enqueue(keyed, session)
        if keyed:
            lost = [row for row in keyed if row.id in stored.lost_keys]
            winners = (
                await self._store.find_keys(scope, [digest_of(row) for row in lost], session) if lost else {}
            )
            found = {row: winners[digest_of(row)] for row in lost if digest_of(row) in winners}
            if len(found) < len(lost):
                raise KeyVanished
            replays = _replays(batch, found)
        if plain:
            await self._store.enqueue(plain, session)
        return StoredWithin(replays, {}, kept, calling, later)

    async def _store_named(
        self, session: Session, batch: Batch, taken: Taken, *, later: bool
    ) -> StoredWithin:
        """Keys first, then names. A key whose job was not stored, since its name is held, stands for the holder."""
        replays = _replays(batch, {row: taken.known[row.id] for row in batch.rows if row.id in taken.known})
        judgement = await self._names.judge(session, taken)
        conflicts = judgement.conflicts
        for row, lane in zip(batch.rows, batch.lanes, strict=True):
            if (conflict := conflicts.get(row.id)) is not None and conflict.action is None:
                self._metrics.duplicate(lane.kind, None)
                raise refusal(conflict, f"{batch.place_of(row)}.unique")
        done = await self._names.store(session, taken, judgement, later=later)
        return StoredWithin(replays, conflicts, done.kept, done.calling, later, taken.at, done.changed)


def digest_of(row: NewRows) -> bytes:
    """The digest of the key of a row that has one."""
    assert row.key_digest is not None
    return row.key_digest


def _replays(batch: Batch, found: Mapping[NewRows, KeyHolder]) -> dict[UUID, UUID]:
    """The jobs that stand for others of a batch, by their idempotency keys.

    Raises:
        KeyVanished: Keys are other principals'.
        IdempotencyKeyReused: One is for another request.
    """
    foreign = {row: winner for row, winner in found.items() if is_foreign(winner, row)}
    if foreign:
        raise KeyVanished(foreign)
    for row, winner in found.items():
        check_same_request(winner, row, f"{batch.place_of(row)}.idempotency_key")
    return {row.id: winner.job_id for row, winner in found.items()}


def is_foreign(winner: KeyHolder, row: NewRows) -> bool:
    """Whether a key stands for a request of another principal, which this row's is not to meet.

    The same request is met: its callers may all enqueue into its queue and of its kind. And so is any request where
    the key is one of that queue and kind.
    """
    return (
        winner.request_digest != row.request_digest
        and winner.owner != row.owner
        and row.key_digest == key_digest(*_key_of(row))
    )


async def step_aside(store: IntakeStore, foreign: Mapping[NewRows, KeyHolder]) -> None:
    """Gives rows whose keys are other principals' the digests of these keys in their queues and kinds.

    First the keys of the others are made to stand longer than those of these rows will. Else such a key would be free
    for a later request of the same principal, whose own key is in the other place.

    Raises:
        DatabaseAway: Nothing is stored.
    """
    by_digest = {digest_of(row): row for row in foreign}
    (namespace,) = {_key_of(row)[0] for row in foreign}
    prolonged = await store.prolong_keys(
        namespace, {digest_of(row): winner.job_id for row, winner in foreign.items()}
    )
    for digest in prolonged:
        row = by_digest[digest]
        row.place_key(lane_key_digest(namespace, row.new.queue, row.new.kind, _key_of(row)[1]))


def _key_of(row: NewRows) -> tuple[int, str]:
    """The namespace and the key of a row that has one."""
    assert row.namespace is not None
    assert row.new.idempotency_key is not None
    return row.namespace, row.new.idempotency_key


def check_same_request(winner: KeyHolder, row: NewRows, path: str) -> None:
    """Compares a request with the one whose job its key stands for.

    Args:
        winner: What the key stands for.
        row: The request.
        path: Where the key stands in it.

    Raises:
        IdempotencyKeyReused: They differ.
    """
    job_id = winner.job_id
    if winner.request_digest != row.request_digest:
        message = (
            f"the key was used for another request, whose job is {job_id}; choose a new key for this one"
        )
        raise IdempotencyKeyReused(
            message, metadata={"job_id": str(job_id)}, violations=[FieldViolation(path, message)]
        )
