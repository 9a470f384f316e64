"""Kinds in memory, with their compiled schemas: what payloads are checked by."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...errors import FieldInvalid
from ...model import Kind
from ...scope import Scope
from ...store.catalog.catalog import KindRow
from .lanes import Lane
from .schema import VERSION_HEADER, PayloadSchema, SchemaInvalid

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Known:
    """A kind with its compiled schema; None where any JSON will do, or where `broken` says what is wrong with it."""

    row: KindRow
    schema: PayloadSchema | None
    broken: str | None = None

    def take(self, row: KindRow) -> None:
        """It was declared, or is not any more: what is said of it, and so its schema, is as it was."""
        self.row = row


class KindTable:
    """The kinds of all namespaces that may be enqueued.

    Args:
        open_kinds: Whether kinds need not be declared.
    """

    def __init__(self, *, open_kinds: bool) -> None:
        self._open_kinds = open_kinds
        # Kinds by number, and by namespace and name: those alone that may be enqueued.
        self._kinds: dict[int, _Known] = {}
        self._kind_at: dict[tuple[int, str], _Known] = {}

    def _take_kinds(self, rows: Iterable[KindRow]) -> None:
        for row in rows:
            if not row.declared and not self._open_kinds:
                self._forget_kinds([row.id])
                continue
            known = self._kinds.get(row.id)
            if known is None or known.row.updated_at != row.updated_at:
                known = _compiled(row)
            elif known.row.declared != row.declared:
                known.take(row)
            self._kinds[row.id] = self._kind_at[row.namespace, row.kind.name] = known

    def _forget_kinds(self, ids: Iterable[int]) -> None:
        for kind_id in ids:
            known = self._kinds.pop(kind_id, None)
            if known is not None:
                place = known.row.namespace, known.row.kind.name
                # One of the same name may have been made since.
                if self._kind_at.get(place) is known:
                    del self._kind_at[place]

    def named(self, scope: Scope) -> dict[str, Kind]:
        """The caller's kinds, by name."""
        rows = (known.row for known in self._kinds.values())
        return {row.kind.name: row.kind for row in rows if row.namespace == scope.namespace}

    def kind(self, scope: Scope, name: str) -> Kind | None:
        """What is declared of the kind; None if it is not known."""
        known = self._kind_at.get((scope.namespace, name))
        return None if known is None else known.row.kind

    def kind_of(self, lane: Lane) -> Kind:
        """What is declared of the kind of a lane that `lane` or `known_lane` has just found."""
        return self._kinds[lane.kind_id].row.kind

    def takes_any_json(self, lane: Lane) -> bool:
        """Whether `check_payload` has nothing to check."""
        known = self._kinds[lane.kind_id]
        return known.schema is None and known.broken is None

    def check_payload(
        self, lane: Lane, payload: bytes, path: str = "job.payload", headers: Mapping[str, str] | None = None
    ) -> None:
        """Checks a payload, well-formed JSON as `check_json` has it, against the schema of its kind.

        Args:
            lane: As in `kind_of`.
            payload: The JSON text.
            path: Where it stood in the request.
            headers: Of its job: they say of which version it is, for the words of the error.

        Raises:
            PayloadInvalid: It does not fit. At most ten violations, each with its path below `path`.
            FieldInvalid: What is stored as the kind's schema is no schema; the message tells how to mend it.
        """
        known = self._kinds[lane.kind_id]
        if known.schema is not None:
            known.schema.check(payload, path, (headers or {}).get(VERSION_HEADER, "1"))
        elif known.broken is not None:
            words = f"the schema stored for the kind {lane.kind!r} is not one ({known.broken}); put the kind again"
            raise FieldInvalid.of(_beside(path), words)


def _beside(payload_path: str) -> str:
    """The path of the kind in the same job."""
    return payload_path.rpartition(".")[0] + ".kind"


def _compiled(row: KindRow) -> _Known:
    if row.kind.schema is None:
        return _Known(row, None)
    try:
        return _Known(row, PayloadSchema(row.kind.schema))
    except SchemaInvalid as error:
        _log.error(
            "the schema stored for the kind %s is not one: %s; put the kind again", row.kind.name, error
        )
        return _Known(row, None, str(error))
