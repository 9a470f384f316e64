"""The jobs of operations: found by a filter in the order of ids, and changed many at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from uuid import UUID

from ...grants import Grants, Permission
from ...lifecycle import TERMINAL, Status
from ..database import Database, Record, Session
from ..query.reads import id_range
from . import operations, verbs
from .names import take_again
from .operations import Operation, State
from .requests import Selection, Verb
from .updates import Updated, update
from .verbs import Cancelled, Retried

FIRST_ID = UUID(int=0)
_FAILED_OR_CANCELLED = frozenset({Status.FAILED_PERMANENT, Status.CANCELLED})


class _Driver(IntEnum):
    """What the scan goes along; the numbers are those of match_jobs.sql."""

    LIVE = 1
    NOT_SUCCEEDED = 2
    FINISHED = 3
    IDS = 4


@dataclass(frozen=True, slots=True)
class Match:
    """Jobs that match, in the order of ids.

    Attributes:
        ids: The jobs.
        looked: How many candidates were looked at.
        position: The last of these; None: there was none.
        more: Whether there may be more behind it.
    """

    ids: Sequence[UUID]
    looked: int
    position: UUID | None
    more: bool


@dataclass(frozen=True, slots=True)
class _Done:
    """What a step did to jobs; all but one are empty."""

    retried: Sequence[Retried] = ()
    cancelled: Sequence[Cancelled] = ()
    deleted: Sequence[UUID] = ()
    updated: Sequence[Updated] = ()

    @property
    def jobs(self) -> int:
        return len(self.retried) + len(self.cancelled) + len(self.deleted) + len(self.updated)

    def step(self, operation: Operation, skipped: int, looked: int) -> Step:
        return Step(
            operation, self.jobs, skipped, looked, self.retried, self.cancelled, self.deleted, self.updated
        )


@dataclass(frozen=True, slots=True)
class Step:
    """What a step did, which is committed.

    Attributes:
        operation: As it is now.
        changed: How many jobs were changed.
        skipped: How many were changed by another caller first, or may not hold their name.
        looked: How many candidates were looked at.
        retried: Of a retry: where the jobs wait now.
        cancelled: Of a cancel: what it did to each job.
        deleted: Of a delete: the jobs that are gone.
        updated: Of an update: where the jobs wait now.
    """

    operation: Operation
    changed: int = 0
    skipped: int = 0
    looked: int = 0
    retried: Sequence[Retried] = ()
    cancelled: Sequence[Cancelled] = ()
    deleted: Sequence[UUID] = ()
    updated: Sequence[Updated] = ()


class BulkStore:
    """Finds and changes the jobs of operations.

    Raises (every method): DatabaseAway, DatabaseFull.
    """

    def __init__(self, database: Database, *, cancel_grace: timedelta) -> None:
        self._database = database
        self._cancel_grace = cancel_grace

    async def match(
        self,
        namespace: int,
        grants: Grants,
        verb: Verb,
        selection: Selection,
        *,
        after: UUID,
        before: UUID,
        most: int,
        window: int,
    ) -> Match:
        """At most `most` jobs between the two ids, of at most `window` candidates."""
        row = await self._database.fetchrow(
            "match_jobs", *_arguments(namespace, grants, verb, selection, after, before, most, window)
        )
        return _match(row)

    async def step(self, operation_id: UUID, server_id: int, *, most: int, window: int) -> Step | None:
        """Changes the next jobs of an operation and moves it on, in one transaction.

        Args:
            operation_id: Which one.
            server_id: This server, which owns it.
            most: How many jobs to change, at most.
            window: How many candidates to look at, at most.

        Returns:
            What was done; None: the operation is not this server's any more, and nothing was changed.
        """
        async with self._database.transaction() as session:
            operation = await operations.lock(session, operation_id, server_id)
            if operation is None:
                return None
            if operation.to_cancel:
                ended = await operations.advance(
                    session, operation_id, server_id, None, state=State.CANCELLED
                )
                return None if ended is None else Step(ended)
            request = operation.request
            if request.max_jobs:
                most = min(most, request.max_jobs - operation.changed)
            found = _match(
                await session.fetchrow(
                    "match_jobs",
                    *_arguments(
                        operation.namespace,
                        operation.grants,
                        operation.verb,
                        request.selection,
                        operation.position or FIRST_ID,
                        operation.id,
                        most,
                        window,
                    ),
                )
            )
            done = await self._change(session, operation, found.ids)
            changed = done.jobs
            enough = request.max_jobs and operation.changed + changed >= request.max_jobs
            now = await operations.advance(
                session,
                operation_id,
                server_id,
                found.position,
                looked=found.looked,
                changed=changed,
                skipped=len(found.ids) - changed,
                state=State.RUNNING if found.more and not enough else State.SUCCEEDED,
            )
            # It was locked at the beginning.
            assert now is not None, "a locked operation stays this server's"
        return done.step(now, len(found.ids) - changed, found.looked)

    async def fail(self, operation_id: UUID, server_id: int, error: str) -> Operation | None:
        """Ends an operation that can't go on."""
        async with self._database.transaction() as session:
            return await operations.advance(
                session, operation_id, server_id, None, state=State.FAILED, error=error
            )

    async def _change(self, session: Session, operation: Operation, ids: Sequence[UUID]) -> _Done:
        """Does to the jobs what the operation is for."""
        if ids:
            match operation.verb:
                case Verb.RETRY:
                    return _Done(retried=await _retry(session, operation, ids))
                case Verb.CANCEL:
                    return _Done(
                        cancelled=await verbs.cancel(
                            session,
                            operation.namespace,
                            ids,
                            _statuses(operation.verb, operation.request.selection),
                            grace=self._cancel_grace,
                            reason=operation.request.reason,
                        )
                    )
                case Verb.DELETE:
                    return _Done(deleted=await _delete(session, operation, ids))
                case Verb.UPDATE:
                    request = operation.request
                    statuses = _statuses(operation.verb, request.selection)
                    return _Done(updated=await update(session, operation.namespace, request, ids, statuses))
        return _Done()


async def _retry(session: Session, operation: Operation, ids: Sequence[UUID]) -> Sequence[Retried]:
    request = operation.request
    if request.respect_unique:
        refused = await take_again(session, operation.namespace, ids, operation.grants)
        ids = [each for each in ids if each not in refused]
    locked = await _locked(session, operation, ids) if ids else []
    if not locked:
        return ()
    if request.to_queue is not None:
        await _move(session, operation.namespace, request.to_queue, locked)
    return await verbs.retry(
        session,
        locked,
        run_at=request.run_at,
        delay=request.delay,
        spread=request.spread,
        reset_checkpoint=request.reset_checkpoint,
    )


async def _move(session: Session, namespace: int, queue: str, ids: Sequence[UUID]) -> None:
    """Gives jobs that have ended, and are locked in the order of their ids, another queue."""
    # The second statement has a snapshot of its own, with lanes that another transaction made meanwhile.
    await session.fetch("intern_lanes_of_jobs", ids, ids[0], ids[-1], namespace, queue)
    await session.fetch("unblock_moved", ids, ids[0], ids[-1], queue)
    await session.fetch("move_jobs", ids, ids[0], ids[-1], namespace, queue)


async def _delete(session: Session, operation: Operation, ids: Sequence[UUID]) -> Sequence[UUID]:
    locked = await _locked(session, operation, ids)
    if not locked:
        return ()
    return [each.job_id for each in await verbs.delete(session, locked)]


async def _locked(session: Session, operation: Operation, ids: Sequence[UUID]) -> list[UUID]:
    """Those of the jobs that are still as they were found, in the order of ids."""
    statuses = _statuses(operation.verb, operation.request.selection)
    return await verbs.lock_finished(session, operation.namespace, ids, statuses)


def _statuses(verb: Verb, selection: Selection) -> list[int]:
    return sorted(selection.statuses or verb.default_statuses)


def _driver(statuses: frozenset[Status], selection: Selection) -> _Driver:
    if selection.ids is not None:
        return _Driver.IDS
    if not statuses & TERMINAL:
        return _Driver.LIVE
    return _Driver.NOT_SUCCEEDED if statuses <= _FAILED_OR_CANCELLED else _Driver.FINISHED


def _arguments(
    namespace: int,
    grants: Grants,
    verb: Verb,
    selection: Selection,
    after: UUID,
    before: UUID,
    most: int,
    window: int,
) -> tuple[object, ...]:
    statuses = selection.statuses or verb.default_statuses
    low, high = id_range(selection.created_after, selection.created_before)
    if selection.ended_before is not None:
        # A job is enqueued before it ends.
        high = min(high, id_range(None, selection.ended_before)[1])
    # `after` is excluded, the first id of a time is not.
    after = max(after, UUID(int=max(0, low.int - 1)))
    return (
        int(_driver(statuses, selection)),
        after,
        min(before, high),
        None if selection.ids is None else list(selection.ids),
        selection.queue,
        selection.kind,
        sorted(statuses),
        json.dumps(selection.labels) if selection.labels else None,
        list(selection.reasons) or None,
        selection.error_type,
        selection.ended_after,
        selection.ended_before,
        most,
        window,
        namespace,
        *grants.places(Permission.OPERATE),
        *grants.places(Permission.READ),
    )


def _match(row: Record | None) -> Match:
    assert row is not None, "the statement answers one row"
    return Match(row["ids"], row["looked"], row["position"], row["more"])
