"""The audit log in PostgreSQL: rows are written with the changes that they tell of, and read in pages."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from ... import logs
from ...durations import format_duration
from ...scope import Scope
from ..database import Database, Record, Session

#: The outcome of what was done.
OK = "OK"

# Its level is info whatever that of the others (logs.py): who ships these lines to an archive misses none.
_log = logs.get(logs.AUDIT)


@dataclass(frozen=True, slots=True)
class Entry:
    """A row to be written.

    Attributes:
        action: The name of the method.
        namespace: Of what was changed, or of the caller that was refused; None: the caller is not known.
        principal: Who did it.
        credential: What the principal showed, such as `key:` and an id; empty for none.
        address: Whence the call came; empty: from nowhere.
        transport: `grpc`, `http`, or `database` for what is written straight there.
        request_id: That of the call.
        object: What it was done to, such as `key:` and an id.
        reason: Why, as the caller said.
        outcome: OK, or the reason of the refusal.
        details: What else matters; never a secret or a payload.
        count: How many events alike it stands for.
        age: How long ago the first of them was.
    """

    action: str
    namespace: int | None
    principal: str
    credential: str = ""
    address: str = ""
    transport: str = ""
    request_id: str = ""
    object: str = ""
    reason: str = ""
    outcome: str = OK
    details: Mapping[str, str] = field(default_factory=dict)
    count: int = 1
    age: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A row that was read. `namespace` None: the caller was not known."""

    id: UUID
    occurred_at: datetime
    namespace: str | None
    principal: str
    credential: str
    address: str
    transport: str
    request_id: str
    action: str
    object: str
    reason: str
    outcome: str
    details: Mapping[str, str]
    count: int


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows to list. A row must match all that is given; `namespace` None: all, and what is of none."""

    namespace: int | None = None
    action: str | None = None
    principal: str | None = None
    object: str | None = None
    outcome: str | None = None


class AuditedSession(Session):
    """A transaction whose changes are told in the audit log."""

    def __init__(self, session: Session) -> None:
        super().__init__(session._connection)
        self.written: list[tuple[UUID, Entry]] = []

    async def tell(
        self,
        scope: Scope,
        action: str,
        object: str,
        *,
        namespace: int | None = None,
        reason: str = "",
        details: Mapping[str, object] | None = None,
    ) -> None:
        """Writes a row about a change of this transaction.

        Args:
            scope: Who makes it.
            action: The name of the method.
            object: What is changed.
            namespace: Where that is; None: in the caller's namespace.
            reason: Why, as the caller said.
            details: What else matters. None and empty ones are left out.
        """
        source = scope.source
        entry = Entry(
            action,
            scope.namespace if namespace is None else namespace,
            scope.principal,
            scope.credential,
            source.address if source is not None else "",
            source.transport if source is not None else "",
            source.request_id if source is not None else "",
            object,
            reason,
            details={
                name: _text(value) for name, value in (details or {}).items() if value not in (None, "")
            },
        )
        await self.tell_all([entry])

    async def tell_all(self, entries: Sequence[Entry]) -> None:
        """Writes rows about changes of this transaction that no call made."""
        if entries:
            rows = await _insert(self, entries)
            self.written += [(row["id"], entry) for row, entry in zip(rows, entries, strict=True)]


@asynccontextmanager
async def audited(database: Database) -> AsyncIterator[AuditedSession]:
    """A transaction that writes rows of the audit log with its changes. Their lines are logged after the commit."""
    async with database.transaction() as session:
        audited = AuditedSession(session)
        yield audited
    for row_id, entry in audited.written:
        _say(row_id, entry)


class AuditStore:
    """Raises (every method): DatabaseAway, DatabaseFull."""

    def __init__(self, database: Database, *, max_scanned: int = 10_000) -> None:
        self._database = database
        self._max_scanned = max_scanned

    async def write(self, entries: Sequence[Entry]) -> None:
        """Writes rows about what changed nothing, all or none, and logs their lines."""
        async with self._database.transaction() as session:
            rows = await _insert(session, entries)
        for row, entry in zip(rows, entries, strict=True):
            _say(row["id"], entry)

    async def list(
        self, wanted: AuditFilter, low: UUID, high: UUID, size: int
    ) -> tuple[list[AuditRow], UUID | None]:
        """At most `size` rows with ids from `low` up to `high`, newest first.

        It reads 10,000 rows at most.

        Returns:
            The rows, and the id below which the list goes on; None: nothing is left.
        """
        found = await self._database.fetch(
            "list_audit",
            wanted.namespace,
            low,
            high,
            wanted.action,
            wanted.principal,
            wanted.object,
            wanted.outcome,
            size + 1,
            self._max_scanned,
        )
        rows = [_row(row) for row in found if row["id"] is not None]
        if len(rows) > size:
            return rows[:size], rows[size - 1].id
        return rows, found[0]["edge"]


async def _insert(session: Session, entries: Sequence[Entry]) -> list[Record]:
    return await session.fetch(
        "insert_audit",
        [entry.namespace for entry in entries],
        [entry.principal for entry in entries],
        [entry.credential for entry in entries],
        [entry.address or None for entry in entries],
        [entry.transport for entry in entries],
        [entry.request_id for entry in entries],
        [entry.action for entry in entries],
        [entry.object for entry in entries],
        [entry.reason for entry in entries],
        [entry.outcome for entry in entries],
        [json.dumps(dict(entry.details)) for entry in entries],
        [entry.count for entry in entries],
        [entry.age for entry in entries],
    )


def _text(value: object) -> str:
    return format_duration(value) if isinstance(value, timedelta) else str(value)


def _say(row_id: UUID, entry: Entry) -> None:
    """The row as a line of the log."""
    _log.info(
        "audit",
        audit=True,
        id=str(row_id),
        action=entry.action,
        outcome=entry.outcome,
        object=entry.object,
        reason=entry.reason,
        principal=entry.principal,
        credential=entry.credential,
        address=entry.address,
        transport=entry.transport,
        request_id=entry.request_id,
        namespace=entry.namespace,
        details=dict(entry.details),
        count=entry.count,
    )


def _row(row: Record) -> AuditRow:
    return AuditRow(
        row["id"],
        row["occurred_at"],
        row["namespace"],
        row["principal"],
        row["credential"],
        row["address"] or "",
        row["transport"],
        row["request_id"],
        row["action"],
        row["object"],
        row["reason"],
        row["outcome"],
        json.loads(row["details"]),
        row["count"],
    )
