"""Operations as they are stored: made, read, cancelled and deleted by callers, owned and moved on by servers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from uuid import UUID

from ...grants import Grants, from_json, to_json
from ...scope import Maker, Scope
from ..access.audit import Entry, audited
from ..database import Database, Record, Session
from . import requests
from .requests import Request, Verb

#: How many operations of a namespace may be open.
MOST_OPEN = 1000
#: How long the owner of an operation may be silent before another server takes it.
SILENT_OWNER = timedelta(seconds=10)
_LAST_ID = UUID(int=(1 << 128) - 1)


class State(IntEnum):
    """How an operation stands; the numbers are those of `operation.state`."""

    WAITING = 1
    RUNNING = 2
    SUCCEEDED = 3
    CANCELLED = 4
    FAILED = 5

    @property
    def ended(self) -> bool:
        """Whether it is done."""
        return self >= State.SUCCEEDED


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the table.

    Attributes:
        id: A UUID v7 of the moment when it was made. Jobs with greater ids were enqueued later.
        namespace: Whose jobs it changes.
        principal: Who made it.
        verb: What it does.
        state: How it stands.
        request: What it was asked for.
        grants: What its principal was permitted.
        position: The last job that was looked at.
        looked: How many jobs were looked at.
        changed: How many were changed.
        skipped: How many matched and were changed by another caller first.
        estimate: How many matched before the first was changed; None: they were not counted yet.
        estimate_capped: Whether counting ended at its bound.
        sample_ids: The first that matched.
        to_cancel: Whether it was asked to stop.
        created_at: When it was made.
        updated_at: When it was changed last.
        ended_at: When it was done.
        error: Why it failed.
        credential: What its principal showed, if that matters (`Maker`).
        rests_for: Why it has no steps until a principal resumes it; None: it has.
    """

    id: UUID
    namespace: int
    principal: str
    verb: Verb
    state: State
    request: Request
    grants: Grants
    position: UUID | None
    looked: int
    changed: int
    skipped: int
    estimate: int | None
    estimate_capped: bool
    sample_ids: tuple[UUID, ...]
    to_cancel: bool
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    error: str | None
    credential: str = ""
    rests_for: str | None = None

    @property
    def maker(self) -> Maker:
        """Who made it, or took it over."""
        return Maker(self.namespace, self.principal, (self.credential,) if self.credential else ())


@dataclass(frozen=True, slots=True)
class Claimed:
    """An operation that is this server's for a step.

    Attributes:
        operation: As it is.
        late: How long ago it might have had the step.
        taken_over: Whether another server had it, and was silent.
    """

    operation: Operation
    late: timedelta
    taken_over: bool


@dataclass(frozen=True, slots=True)
class Rested:
    """What rests now: `operation:` and an id or `schedule:` and a name, and whose it is."""

    object: str
    maker: Maker


@dataclass(frozen=True, slots=True)
class Opened:
    """What became of a request. `operation` None: too many are open. `again`: its request id was used before."""

    operation: Operation | None
    again: bool = False


class OperationStore:
    """Raises (every method): DatabaseAway, DatabaseFull."""

    def __init__(self, database: Database, *, most_open: int = MOST_OPEN) -> None:
        self._database = database
        self._most_open = most_open

    async def open(
        self, scope: Scope, operation_id: UUID, verb: Verb, request: Request, request_id: str | None
    ) -> Opened:
        """Makes an operation that waits for a server, or finds the one that was made with this request id."""
        async with audited(self._database) as transaction:
            await transaction.fetchrow("lock_namespace", scope.namespace)
            if request_id is not None:
                found = await transaction.fetchrow(
                    "operation_of_request", scope.namespace, scope.principal, request_id
                )
                if found is not None:
                    return Opened(_operation(found), again=True)
            row = await transaction.fetchrow(
                "open_operation",
                operation_id,
                scope.namespace,
                scope.principal,
                int(verb),
                text := requests.to_json(request),
                json.dumps(to_json(scope.grants)),
                request_id,
                self._most_open,
                scope.maker.credential,
            )
            if row is None:
                return Opened(None)
            details = json.loads(text) | (
                {"ids": len(request.selection.ids)} if request.selection.ids else {}
            )
            await transaction.tell(
                scope, verb.method, f"operation:{operation_id}", reason=request.reason, details=details
            )
            return Opened(_operation(row))

    async def of_request(self, scope: Scope, request_id: str) -> Operation | None:
        """The operation that the principal made with this request id; None: there is none."""
        row = await self._database.fetchrow(
            "operation_of_request", scope.namespace, scope.principal, request_id
        )
        return None if row is None else _operation(row)

    async def get(self, scope: Scope, operation_id: UUID, principal: str | None) -> Operation | None:
        """The operation as it is now; None: there is none, of this principal if one is given."""
        row = await self._database.fetchrow("get_operation", operation_id, scope.namespace, principal)
        return None if row is None else _operation(row)

    async def list(
        self, scope: Scope, principal: str | None, *, size: int, before: UUID | None
    ) -> list[Operation]:
        """At most `size` operations with ids below `before`, newest first."""
        rows = await self._database.fetch(
            "list_operations", scope.namespace, principal, before or _LAST_ID, size
        )
        return [_operation(row) for row in rows]

    async def cancel(self, scope: Scope, operation_id: UUID) -> bool:
        """Asks an operation to stop after its step. Whether there is one that has not ended."""
        async with audited(self._database) as transaction:
            row = await transaction.fetchrow("cancel_operation", operation_id, scope.namespace)
            if row is not None:
                await transaction.tell(scope, "CancelOperation", f"operation:{operation_id}")
        return row is not None

    async def delete(self, scope: Scope, operation_id: UUID) -> bool:
        """Takes away an operation that has ended. Whether there was one."""
        async with audited(self._database) as transaction:
            row = await transaction.fetchrow("delete_operation", operation_id, scope.namespace)
            if row is not None:
                await transaction.tell(scope, "DeleteOperation", f"operation:{operation_id}")
        return row is not None

    async def resume(self, scope: Scope, operation_id: UUID, rested: Operation) -> Operation | None:
        """Lets an operation that rests go on, as that of the principal of `scope`. None: it does not rest any more."""
        async with audited(self._database) as transaction:
            row = await transaction.fetchrow(
                "resume_operation", operation_id, scope.namespace, scope.principal, scope.maker.credential
            )
            if row is not None:
                taken = None if rested.principal == scope.principal else rested.principal
                await transaction.tell(
                    scope,
                    "ResumeOperation",
                    f"operation:{operation_id}",
                    details={"rested_for": rested.rests_for, "taken_over_from": taken},
                )
        return None if row is None else _operation(row)

    async def claim(
        self, server_id: int, most: int, at_work: Sequence[UUID] = (), *, of_one: tuple[int, int] = (4, 4)
    ) -> Sequence[Claimed]:
        """Takes at most `most` operations for a step, by turns of principals.

        Args:
            server_id: This server.
            most: How many.
            at_work: Those that it works on now.
            of_one: How many of one principal it works on at most, while others wait and while none does.
        """
        rows = await self._database.fetch(
            "claim_operations", server_id, SILENT_OWNER, most, list(at_work), *of_one
        )
        return [
            Claimed(_operation(row), max(row["late"] or timedelta(), timedelta()), row["taken_over"])
            for row in rows
        ]

    async def release(self, operation_id: UUID, server_id: int, rests: timedelta) -> None:
        """Gives an operation back, which may have its next step after so long."""
        await self._database.fetchrow("release_operation", operation_id, server_id, rests)

    # ---- when principals end

    async def makers(self) -> Sequence[Maker]:
        """Who has operations that go on, or schedules that fire."""
        rows = await self._database.fetch("makers")
        each: dict[tuple[int, str], set[str]] = {}
        for row in rows:
            each.setdefault((row["namespace_id"], row["principal"]), set()).update(row["credentials"])
        return [
            Maker(namespace, principal, tuple(sorted(shown - {""})))
            for (namespace, principal), shown in each.items()
        ]

    async def rest_all(self, makers: Sequence[Maker], why: str, note: str, most: int) -> Sequence[Rested]:
        """Lets operations and schedules of these principals rest, at most so many of each, and audits each.

        What a step or a fire has locked is left as it is: it is to be looked for again.

        Args:
            makers: The principals.
            why: The reason, as the contract names it.
            note: The same for people, of schedules.
            most: How many.
        """
        whose = [maker.namespace for maker in makers], [maker.principal for maker in makers]
        async with audited(self._database) as transaction:
            operations = await transaction.fetch("rest_operations", *whose, why, most)
            schedules = await transaction.fetch("rest_schedules", *whose, note, most)
            rested = [_rested(f"operation:{row['id']}", row) for row in operations]
            rested += [_rested(f"schedule:{row['name']}", row) for row in schedules]
            await transaction.tell_all([_entry(each, why) for each in rested])
        return rested

    async def rest(self, operation_id: UUID, server_id: int, why: str) -> None:
        """Lets an operation that this server works on rest."""
        async with audited(self._database) as transaction:
            row = await transaction.fetchrow("rest_operation", operation_id, server_id, why)
            if row is not None:
                await transaction.tell_all([_entry(_rested(f"operation:{row['id']}", row), why)])

    async def estimate(
        self, operation_id: UUID, server_id: int, jobs: int, capped: bool, sample: Sequence[UUID]
    ) -> None:
        """Keeps how many jobs match."""
        await self._database.fetchrow("estimate_operation", operation_id, server_id, jobs, capped, sample)

    async def counts(self) -> dict[tuple[Verb, State], int]:
        """How many operations there are."""
        rows = await self._database.fetch("count_operations")
        return {(Verb(row["verb"]), State(row["state"])): row["operations"] for row in rows}


async def lock(session: Session, operation_id: UUID, server_id: int) -> Operation | None:
    """The operation, locked for a step; None: it is not this server's any more."""
    row = await session.fetchrow("lock_operation", operation_id, server_id)
    return None if row is None else _operation(row)


async def advance(
    session: Session,
    operation_id: UUID,
    server_id: int,
    position: UUID | None,
    *,
    looked: int = 0,
    changed: int = 0,
    skipped: int = 0,
    state: State = State.RUNNING,
    error: str | None = None,
) -> Operation | None:
    """Writes what a step did, in its transaction; None: the operation is not this server's any more."""
    row = await session.fetchrow(
        "advance_operation", operation_id, server_id, position, looked, changed, skipped, int(state), error
    )
    return None if row is None else _operation(row)


def _operation(row: Record) -> Operation:
    return Operation(
        row["id"],
        row["namespace_id"],
        row["principal"],
        Verb(row["verb"]),
        State(row["state"]),
        requests.from_json(row["request"]),
        from_json(json.loads(row["grants"])),
        row["position"],
        row["looked"],
        row["changed"],
        row["skipped"],
        row["estimate"],
        row["estimate_capped"],
        tuple(row["sample_ids"]),
        row["cancel_requested_at"] is not None,
        row["created_at"],
        row["updated_at"],
        row["ended_at"],
        row["error"],
        row["credential"],
        row["rests_for"],
    )


def _rested(object: str, row: Record) -> Rested:
    return Rested(object, Maker(row["namespace_id"], row["principal"]))


def _entry(rested: Rested, why: str) -> Entry:
    """What the audit log says of what rests: a server lets it, in the name of no caller."""
    kind = rested.object.partition(":")[0].capitalize()
    return Entry(
        f"Rest{kind}", rested.maker.namespace, rested.maker.principal, object=rested.object, reason=why
    )
