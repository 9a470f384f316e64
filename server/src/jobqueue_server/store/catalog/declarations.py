"""What is declared of a kind, written by its owners and its operators side by side."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import fields as fields_of
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

from ...model import Kind, RetryPolicy
from ...scope import Scope
from ..access.audit import AuditedSession, audited
from ..database import Database, Record
from .rates import milliseconds, rate_of, stored_rate, told_rate

#: What the catalog does not read: a table of its own.
_APART = ("version", "output_schema", "annotations")
_ALL = tuple(each.name for each in fields_of(Kind) if each.name != "name")


async def put(
    database: Database,
    scope: Scope,
    kind: Kind,
    fields: Collection[str] | None = None,
    *,
    only_newer: bool = False,
) -> tuple[Kind, bool]:
    """Declares the kind, or changes what is declared of it, with the gates of its lanes.

    The row of the kind is locked first, so that what is compared is what is replaced. What is so already is not
    written: other servers then have nothing to read anew, and the audit log tells of changes alone.

    Args:
        database: Where.
        scope: Whose kind it is.
        kind: The new values.
        fields: Attributes of `Kind` that are changed; the others stay. None: all.
        only_newer: Whether nothing is changed where a higher version is stored.

    Returns:
        The kind as it is stored, and whether it was changed.
    """
    async with audited(database) as transaction:
        row = await transaction.fetchrow("lock_kind", scope.namespace, kind.name)
        if row is None:
            await transaction.fetch("intern_kind", scope.namespace, kind.name)
            row = await transaction.fetchrow("lock_kind", scope.namespace, kind.name)
            assert row is not None
        before = await _whole(transaction, row)
        if only_newer and before.version > kind.version:
            return before, False
        changes = {name: getattr(kind, name) for name in (_ALL if fields is None else fields)}
        after = replace(before, **changes)
        if after == before and row["declared"]:
            return before, False
        if _hot(after) != _hot(before) or not row["declared"]:
            await _put(transaction, scope, after)
            await transaction.fetch("close_lanes_of_kind", row["id"])
        if _apart(after) != _apart(before):
            annotations = json.dumps(dict(after.annotations)) if after.annotations else None
            await transaction.fetch(
                "put_declaration", row["id"], after.version or None, after.output_schema, annotations
            )
        await transaction.tell(scope, "PutKind", f"kind:{kind.name}", details=_told(after))
        return after, True


async def _whole(transaction: AuditedSession, row: Record) -> Kind:
    """The kind of a row that is locked.

    Read once it is: a statement that had to wait for a lock sees other tables as they were before.
    """
    kind = a_kind(row)
    apart = await transaction.fetchrow("get_declaration", row["id"])
    return kind if apart is None else _with(kind, apart)


async def _put(transaction: AuditedSession, scope: Scope, kind: Kind) -> None:
    policy = kind.retry_policy
    await transaction.fetch(
        "put_kind",
        scope.namespace,
        kind.name,
        kind.schema,
        milliseconds(policy.min_backoff) if policy else None,
        milliseconds(policy.max_backoff) if policy else None,
        kind.max_attempts,
        milliseconds(kind.timeout) if kind.timeout is not None else None,
        kind.max_running,
        *stored_rate(kind.rate),
        kind.slot_weight if kind.slot_weight > 1 else None,
    )


def _hot(kind: Kind) -> tuple[object, ...]:
    return tuple(getattr(kind, name) for name in _ALL if name not in _APART)


def _apart(kind: Kind) -> tuple[object, ...]:
    return tuple(getattr(kind, name) for name in _APART)


def a_kind(row: Record) -> Kind:
    """The kind of a row, without what the catalog does not read."""
    policy = None
    if row["min_backoff_ms"] is not None:
        policy = RetryPolicy(
            timedelta(milliseconds=row["min_backoff_ms"]), timedelta(milliseconds=row["max_backoff_ms"])
        )
    timeout = None if row["timeout_ms"] is None else timedelta(milliseconds=row["timeout_ms"])
    return Kind(
        row["name"],
        row["schema"],
        policy,
        row["max_attempts"],
        timeout,
        row["max_running"],
        rate_of(row),
        row["slot_weight"] or 1,
    )


def whole_kind(row: Record) -> Kind:
    """The kind of a row that has what the catalog does not read as well."""
    return _with(a_kind(row), row)


def _with(kind: Kind, row: Record) -> Kind:
    annotations = json.loads(row["annotations"]) if row["annotations"] else {}
    return replace(
        kind,
        version=row["version"] or 0,
        output_schema=row["output_schema"],
        annotations=annotations,
    )


def _told(kind: Kind) -> dict[str, int | str | timedelta | None]:
    """What the audit log has of a kind that was put."""
    policy = kind.retry_policy
    return {
        "schema_sha256": _digest(kind.schema),
        "min_backoff": policy.min_backoff if policy else None,
        "max_backoff": policy.max_backoff if policy else None,
        "max_attempts": kind.max_attempts,
        "timeout": kind.timeout,
        "max_running": kind.max_running,
        **told_rate(kind.rate),
        "slot_weight": kind.slot_weight if kind.slot_weight > 1 else None,
        "version": kind.version or None,
        "output_schema_sha256": _digest(kind.output_schema),
        "annotations": ",".join(sorted(kind.annotations)),
    }


def _digest(schema: str | None) -> str | None:
    return None if schema is None else sha256(schema.encode("utf-8", "surrogatepass")).hexdigest()
