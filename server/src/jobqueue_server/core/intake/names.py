"""Names that one job at a time holds, so that the same work is enqueued once."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from uuid import UUID

from ...errors import Duplicate, FieldInvalid, FieldViolation, Internal, JobQueueError
from ...model import OnConflict, UniqueAction, UniqueField
from ...scope import Scope
from ...store.database import Deadlock, Locked, Session
from ...store.intake.intake import (
    Changed,
    Conflict,
    IntakeStore,
    KeyHolder,
    Name,
    NameHolder,
    NewRows,
    Stored,
    wanted_names,
)


class KeyVanished(Exception):
    """A key that was taken a moment ago is free now, or one that was free is taken.

    Or a key stands for a request of another principal: `foreign` has the rows of such keys, with what these stand for.
    """

    def __init__(self, foreign: Mapping[NewRows, KeyHolder] = MappingProxyType({})) -> None:
        super().__init__()
        self.foreign = foreign


#: For how many seconds the ways do without a statement that met a lock.
_LEFT_OUT_FOR = 5.0
#: How often single jobs are stored again whose idempotency keys change hands.
_TRIES = 5
_ACTIONS = {OnConflict.REPLACE: UniqueAction.REPLACED, OnConflict.DEBOUNCE: UniqueAction.DEBOUNCED}


@dataclass(frozen=True, slots=True)
class Taken:
    """Names that a transaction has locked.

    Attributes:
        at: When the transaction began.
        rows: The jobs that want them, in their order.
        wanted: By the digest of the name, the first job that wants it.
        free: The names that were free.
        known: What the idempotency keys of jobs stand for that have one which is known. These jobs want no name.
    """

    at: datetime
    rows: Sequence[NewRows]
    wanted: Mapping[bytes, NewRows]
    free: frozenset[bytes]
    known: Mapping[UUID, KeyHolder]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of jobs that want names.

    Attributes:
        conflicts: Those that are not to be stored, as another one holds their name.
        changes: For each job that is to be changed, and each field, the job that it comes from: the last one.
    """

    conflicts: Mapping[UUID, Conflict]
    changes: Mapping[UUID, Mapping[UniqueField, NewRows]]


@dataclass(frozen=True, slots=True)
class StoredNames:
    """What was stored of jobs that want names; as the attributes of `Stored` of these names."""

    kept: frozenset[UUID]
    calling: Sequence[int]
    changed: Sequence[Changed]


@dataclass(frozen=True, slots=True)
class Parted:
    """What one way of storing jobs did.

    Attributes:
        stored: Of the jobs that it stored or answered; None: there are none.
        left: The jobs that it left to the next way.
    """

    stored: Stored | None
    left: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class Way:
    """A way of storing jobs.

    Attributes:
        store: Stores or answers jobs, each the only one of its row, with a patience as in `IntakeStore.enqueue`.
        hands_off: Whether what it stores may be handed to workers in the same statement.
        asks: Whether that goes for queues too that limit how many of their jobs run or start: these are asked.
    """

    store: Callable[[Sequence[NewRows], timedelta | None], Awaitable[Parted]]
    hands_off: bool = False
    asks: bool = False


class UniqueNames:
    """Decides which jobs get the names that they want.

    Single jobs whose names are free take them in the statement that stores them (`ways`). Else a name is first locked
    and then judged, by two statements: the second one sees what those had stored for whose end the first one waited.
    Names lock in the order of their digests, before all else that a transaction locks and waits for. Of jobs with the
    same name in one transaction the first one counts. None of them is handed off, so the first one still waits when
    the others are answered. Jobs that are to be changed lock after names, in the order of their ids, and before
    idempotency keys and semaphores.
    """

    def __init__(self, store: IntakeStore) -> None:
        self._store = store
        self._mostly_held = False
        self._free_from = 0.0

    async def take(
        self, scope: Scope, session: Session, rows: Sequence[NewRows], settling: UUID | None = None
    ) -> Taken:
        """Locks the names of jobs, except of those whose idempotency key is known.

        Args:
            scope: Whose jobs they are.
            session: The transaction.
            rows: The jobs.
            settling: A job that the transaction is going to settle.
        """
        digests = [row.key_digest for row in rows if row.key_digest is not None]
        standing = await self._store.standing_keys(scope, digests, session) if digests else {}
        known = {
            row.id: standing[row.key_digest]
            for row in rows
            if row.key_digest is not None and row.key_digest in standing
        }
        taken = await self._take(session, [row for row in rows if row.id not in known], known)
        if settling is not None and (changing := _changing(taken)):
            await self._store.lock_holders(changing, settling, session)
        return taken

    async def _take(
        self, session: Session, rows: Sequence[NewRows], known: Mapping[UUID, KeyHolder]
    ) -> Taken:
        wanted = wanted_names(rows)
        at, free = await self._store.take_names(wanted, session)
        return Taken(at, rows, wanted, free, known)

    async def judge(self, session: Session, taken: Taken) -> Judgement:
        """Which jobs are not to be stored, and what is to be changed of those that hold their names."""
        asked = {digest: row for digest, row in taken.wanted.items() if digest not in taken.free}
        holders = await self._store.judge_names(asked, _changing(taken), session) if asked else {}
        conflicts: dict[UUID, Conflict] = {}
        changes: defaultdict[UUID, dict[UniqueField, NewRows]] = defaultdict(dict)
        for row in taken.rows:
            if row.name is None:
                continue
            holder = holders.get(row.name.digest)
            if holder is None:
                first = taken.wanted[row.name.digest]
                if first is row:
                    continue
                holder = NameHolder(first.id, True, first.lane_id, first.new.key)
            conflict = conflicts[row.id] = _conflict(row, row.name, holder)
            if conflict.action in _ACTIONS.values():
                changes[holder.job_id].update(dict.fromkeys(row.name.unique.replace, row))
                if row.name.unique.on_conflict is OnConflict.DEBOUNCE:
                    changes[holder.job_id][UniqueField.RUN_AT] = row
        return Judgement(conflicts, changes)

    async def _change(self, session: Session, judgement: Judgement) -> Sequence[Changed]:
        """Changes the jobs that hold names, once those that take them now are stored."""
        return await self._store.change_jobs(judgement.changes, session) if judgement.changes else ()

    async def store(
        self, session: Session, taken: Taken, judgement: Judgement, *, later: bool = False
    ) -> StoredNames:
        """Stores the jobs that may stand. The idempotency keys of the others stand for the jobs that hold the names.

        Args:
            session: The transaction that has locked the names.
            taken: What it has locked. Jobs whose key is known are in it no more.
            judgement: Which jobs are not to be stored.
            later: As in `IntakeStore.enqueue_limited`.

        Raises:
            KeyVanished: A key was taken meanwhile.
            BacklogOfKeys: As `IntakeStore.enqueue_limited`.
        """
        conflicts = judgement.conflicts
        kept_keys = [
            row
            for row in taken.rows
            if row.key_digest is not None
            and (held := conflicts.get(row.id)) is not None
            and held.action is not None
        ]
        if kept_keys and not await self._store.keep_keys(
            kept_keys, [conflicts[row.id].job_id for row in kept_keys], session
        ):
            raise KeyVanished
        left = [row for row in taken.rows if row.id not in conflicts]
        kept: frozenset[UUID] = frozenset()
        calling: Sequence[int] = ()
        if any(row.semaphore_ids is not None for row in left):
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
        return StoredNames(kept, calling, await self._change(session, judgement))

    def ways(self, *, limited: bool = False) -> Sequence[Way]:
        """The ways in which single jobs are stored; each takes what the one before it left.

        Mostly one is enough: one statement stores those whose names are free. Where most names of the call before were
        held, those that are held are looked for first. Those with idempotency keys are left to the last way.

        Args:
            limited: Whether the queue of one of the jobs limits its key.
        """
        ways = (Way(self._answer_held), Way(self._store_locked))
        if limited or self._mostly_held or time.monotonic() < self._free_from:
            return ways
        return (Way(self._store_free, hands_off=True), *ways)

    async def _store_free(self, rows: Sequence[NewRows], patience: timedelta | None) -> Parted:
        """Stores those whose names are free.

        Where that waits for a name that another server has locked, slots are kept meanwhile. So it is left out for a
        while once it had to.
        """
        some = [row for row in rows if row.key_digest is None]
        with_keys = frozenset(row.id for row in rows if row.key_digest is not None)
        if not some:
            return Parted(None, with_keys)
        try:
            stored, left = await self._store.enqueue_named(some, patience=patience)
        except Locked:
            self._free_from = time.monotonic() + _LEFT_OUT_FOR
            raise
        self._mostly_held = 2 * len(left) > len(some)
        return Parted(stored if len(left) < len(some) else None, left | with_keys)

    async def _answer_held(self, rows: Sequence[NewRows], _: timedelta | None) -> Parted:
        """Answers those whose names are held, and that change nothing then, without a lock.

        They are answered jobs that held the names after their callers came.
        """
        wanted = [(row.id, name_of(row)) for row in rows if row.key_digest is None]
        some = [(job_id, name) for job_id, name in wanted if not name.unique.on_conflict.changes]
        at, holders = (
            await self._store.held_names(list({name.digest for _, name in some})) if some else (None, {})
        )
        held = {
            job_id: _unchanged(name, holders[name.digest]) for job_id, name in some if name.digest in holders
        }
        if 2 * len(held) <= len(wanted):
            self._mostly_held = False
        left = frozenset(row.id for row in rows if row.id not in held)
        if at is None:
            return Parted(None, left)
        return Parted(Stored(at, frozenset(held), frozenset(), conflicts=held), left)

    async def _store_locked(self, rows: Sequence[NewRows], patience: timedelta | None) -> Parted:
        """Locks their names, looks at who holds them, and stores or answers all, in a transaction of their own.

        Raises:
            BacklogOfKeys: As `IntakeStore.enqueue_limited`.
        """
        for _ in range(_TRIES):
            try:
                async with self._store.transaction(patience) as session:
                    return Parted(await self._store_judged(session, rows))
            except (KeyVanished, Deadlock):
                continue
        raise Internal("the idempotency keys changed hands too often; try again")

    async def _store_judged(self, session: Session, rows: Sequence[NewRows]) -> Stored:
        """Jobs whose idempotency key is known count as those that lost it: their callers are answered its job."""
        keyed = [row for row in rows if row.key_digest is not None]
        known: frozenset[UUID] = frozenset()
        if keyed:
            standing = await self._store.standing_keys_of(keyed, session)
            known = frozenset(row.id for row in keyed if row.key_digest in standing)
        taken = await self._take(session, [row for row in rows if row.id not in known], {})
        judgement = await self.judge(session, taken)
        done = await self.store(session, taken, judgement)
        conflicts = judgement.conflicts
        return Stored(
            taken.at, known | conflicts.keys(), frozenset(), done.kept, done.calling, conflicts, done.changed
        )


def _changing(taken: Taken) -> list[bytes]:
    """The names that others hold whose jobs are to be changed."""
    names = {
        row.name.digest for row in taken.rows if row.name is not None and row.name.unique.on_conflict.changes
    }
    return sorted(names - taken.free)


def _unchanged(name: Name, holder: UUID) -> Conflict:
    """What becomes of a job beside the one that holds its name and stays as it is."""
    return Conflict(holder, None if name.unique.on_conflict is OnConflict.REJECT else UniqueAction.KEPT)


def _conflict(row: NewRows, name: Name, holder: NameHolder) -> Conflict:
    if not name.unique.on_conflict.changes or not holder.waits:
        return _unchanged(name, holder.job_id)
    if (holder.lane_id, holder.key) != (row.lane_id, row.new.key):
        return Conflict(holder.job_id, None, apart=True)
    return Conflict(holder.job_id, _ACTIONS[name.unique.on_conflict])


def name_of(row: NewRows) -> Name:
    """The name that the one job of a row wants."""
    assert row.name is not None
    return row.name


def refusal(conflict: Conflict, path: str) -> JobQueueError:
    """What a caller is told whose job is not to be stored beside the one that holds its name.

    Args:
        conflict: That job, with no action.
        path: Where the name stands in the request.
    """
    if conflict.apart:
        return FieldInvalid.of(
            f"{path}.on_conflict",
            f"must be KEEP or REJECT here: the job {conflict.job_id} holds this name in another queue or with "
            "another `key`, and a job never changes these; with `scope` QUEUE_AND_KIND each queue has names of its own",
        )
    message = (
        f"the job {conflict.job_id} holds this name; it is to be done once, "
        "and this one asked to be rejected then"
    )
    return Duplicate(
        f"{path}: {message}",
        metadata={"job_id": str(conflict.job_id)},
        violations=[FieldViolation(path, message)],
    )
