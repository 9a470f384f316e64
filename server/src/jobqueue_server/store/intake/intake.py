"""Inserts of jobs, and the idempotency keys that stand for jobs already. Arrays in, rows out, one commit a call.

The arguments are plain lists: at tens of thousands of jobs a second a frozen dataclass for each job (about 1 us) would
cost as much as the job.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from ...fields import COLUMNS, milliseconds, reading
from ...model import NewJob
from ...scope import Scope
from ..database import Database, Session


class Holder(Protocol):
    """The session of which a hand-off has reserved slots."""

    id: int
    epoch: int


@dataclass(slots=True, eq=False)
class NewRows:
    """Jobs to be stored that differ only in their ids and payloads, as those of a batch mostly do.

    `new` has what they share; its payload is that of the first job. `slots` are the slots that a hand-off reserved:
    each session takes so many of the jobs, in their order. The jobs beyond them go to the backlog. A job with a key has
    rows of its own, and `namespace` is the key's.
    """

    ids: list[UUID]
    payloads: list[bytes]
    lane_id: int
    new: NewJob
    max_attempts: int | None = None
    timeout_ms: int | None = None
    labels: str | None = None
    headers: bytes | None = None
    slots: list[tuple[Holder, int]] = field(default_factory=list)
    key_digest: bytes | None = None
    request_digest: bytes | None = None
    namespace: int | None = None

    @property
    def id(self) -> UUID:
        """The first one's, which is the only one's mostly."""
        return self.ids[0]

    def key(self, namespace: int, key_digest: bytes, request_digest: bytes) -> None:
        """The one job of the row has an idempotency key."""
        self.namespace, self.key_digest, self.request_digest = namespace, key_digest, request_digest


@dataclass(frozen=True, slots=True)
class Stored:
    """What an enqueue did: when, by the database's clock; whose key was taken; which reserved slots were gone."""

    at: datetime
    lost_keys: frozenset[UUID]
    refused: frozenset[UUID]


#: No session has this number.
_NO_SESSION = 0


def _column(values: list[Any]) -> list[Any]:
    """The column, or an empty one if no run uses it: `unnest` fills it with nulls, and encoding costs 0.2 us a job."""
    for value in values:
        if value is not None:
            return values
    return []


def _numbers(values: list[int]) -> list[int]:
    """As `_column`, for numbers: 0 is stored where a request names none."""
    return values if any(values) else []


def _compiled() -> Callable[[Sequence[NewRows]], list[list[Any]]]:
    """Makes the function that answers what runs have in each of `fields.COLUMNS`.

    Its text is made of the list, as dataclasses make theirs: with a loop over the list an insert of 200 calls takes a
    fifth more here.
    """
    lines = ["def columns_of(runs):", "    new = [run.new for run in runs]", "    return ["]
    names: dict[str, Any] = {"column": _column, "numbers": _numbers}
    for each in COLUMNS:
        used = "column" if each.unset is None else "numbers"
        runs = "new" if each.of.startswith("new.") else "runs"
        lines.append(f"        {used}([{reading(each, 'one', names)} for one in {runs}]),")
    exec("\n".join([*lines, "    ]"]), names)
    made: Callable[[Sequence[NewRows]], list[list[Any]]] = names["columns_of"]
    return made


_columns_of = _compiled()


class IntakeStore:
    """Stores jobs in PostgreSQL.

    Raises (every method): DatabaseAway, with which nothing is known of what happened, and DatabaseFull.
    """

    def __init__(self, database: Database, *, key_ttl: timedelta) -> None:
        self._database = database
        self._key_ttl = key_ttl

    def transaction(self) -> AbstractAsyncContextManager[Session]:
        """A transaction for an enqueue of several statements."""
        return self._database.transaction(hot=True)

    async def enqueue(self, rows: Sequence[NewRows], session: Session | None = None) -> Stored:
        """Stores jobs, all or none; with `session`, inside its transaction.

        Either every row has a key or none has, and no key stands twice. Rows whose key is taken are left out and
        named in `lost_keys`.
        """
        ids: list[UUID] = []
        payloads: list[bytes] = []
        # What jobs have in common is sent once for each run of them: an array's element costs the driver 0.3 us.
        runs: list[NewRows] = []
        firsts: list[int] = []
        sessions: list[int] = []
        epochs: list[int] = []
        for row in rows:
            first, end = len(ids) + 1, len(ids) + len(row.ids)
            ids += row.ids
            payloads += row.payloads
            for holder, count in row.slots:
                runs.append(row)
                firsts.append(first)
                sessions.append(holder.id)
                epochs.append(holder.epoch)
                first += count
            if first <= end:
                runs.append(row)
                firsts.append(first)
                sessions.append(_NO_SESSION)
                epochs.append(0)
        keyed = bool(rows) and rows[0].key_digest is not None
        arguments = (
            ids,
            payloads,
            firsts,
            [run.lane_id for run in runs],
            sessions,
            epochs,
            _column([run.new.run_at for run in runs]),
            _column([milliseconds(run.new.delay) for run in runs]),
            [row.key_digest for row in rows] if keyed else [],
            [row.request_digest for row in rows] if keyed else [],
            [row.namespace for row in rows] if keyed else [],
            self._key_ttl,
            _column([run.new.hold for run in runs]),
            *_columns_of(runs),
        )
        if session is not None:
            record = await session.fetchrow("enqueue", *arguments)
        else:
            record = await self._database.fetchrow("enqueue", *arguments, hot=True)
        assert record is not None
        lost: frozenset[UUID] = frozenset()
        if keyed:
            lost = frozenset(ids).difference(record["stored"] or ())
        return Stored(record["at"], lost, frozenset(record["refused"] or ()))

    async def find_keys(
        self, scope: Scope, digests: Sequence[bytes], session: Session | None = None
    ) -> dict[bytes, tuple[UUID, bytes]]:
        """Who holds these keys: digest -> (job id, digest of its request). A key that vanished is missing."""
        ordered = sorted(digests)
        if session is not None:
            records = await session.fetch("find_keys", scope.namespace, ordered)
        else:
            records = await self._database.fetch("find_keys", scope.namespace, ordered, hot=True)
        return {record["key_digest"]: (record["job_id"], record["request_digest"]) for record in records}
