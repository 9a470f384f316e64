"""What is stored of queues, kinds and lanes: the small tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from importlib.resources import files

from ...lifecycle import Hold, Status
from ...model import Kind, RetryPolicy
from ...scope import Scope
from ..access.audit import audited
from ..database import Database, Record

_BUILTIN_KINDS = "kinds"


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A queue and a kind together, as stored."""

    id: int
    queue_id: int
    kind_id: int
    queue: str
    kind: str
    gated: bool
    namespace: int
    namespace_name: str


@dataclass(frozen=True, slots=True)
class KindRow:
    """A kind as stored. `updated_at` is its version; `sent` says whether `kind.schema` was read."""

    id: int
    namespace: int
    kind: Kind
    declared: bool
    updated_at: datetime
    sent: bool


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue and the lanes that are its own."""

    name: str
    paused: bool
    lane_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LaneDepth:
    """How many jobs of a lane stand in one status, or are in one hold. `capped`: there are more than were counted.

    `oldest_age` is how long the first of them has waited since it was due, or has run; None where none is due. A job
    that is held back counts in its status and in its hold.
    """

    lane_id: int
    status: Status | None
    jobs: int
    capped: bool
    oldest_age: timedelta | None = None
    hold: Hold | None = None


class CatalogStore:
    """Queues, kinds and lanes.

    Raises (every method): DatabaseAway, DatabaseFull.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lanes(self) -> list[LaneRow]:
        """Every lane of every namespace, by id."""
        return [
            LaneRow(
                row["id"],
                row["queue_id"],
                row["kind_id"],
                row["queue"],
                row["kind"],
                row["gated"],
                row["namespace_id"],
                row["namespace"],
            )
            for row in await self._database.fetch("catalog_lanes")
        ]

    async def kinds(self, schemas_since: datetime) -> list[KindRow]:
        """Every kind of every namespace, by id; with the schemas of those written at `schemas_since` or later."""
        return [
            KindRow(
                row["id"], row["namespace_id"], _kind(row), row["declared"], row["updated_at"], row["sent"]
            )
            for row in await self._database.fetch("catalog_kinds", schemas_since)
        ]

    async def is_declared(self, scope: Scope, kind: str) -> bool:
        """Whether the kind is declared now."""
        row = await self._database.fetchrow("find_kind", scope.namespace, kind)
        return row is not None and row["declared"]

    async def list_kinds(self, scope: Scope, after: str, limit: int, *, seen_too: bool) -> list[Kind]:
        """At most `limit` kinds whose names come after `after`; `seen_too`: also those never declared."""
        rows = await self._database.fetch(
            "list_kinds", scope.namespace, after, seen_too, limit, scope.grants.kinds_seen()
        )
        return [_kind(row) for row in rows]

    async def put_kind(self, scope: Scope, kind: Kind) -> None:
        """Declares the kind, or replaces all that is declared of it."""
        policy = kind.retry_policy
        async with audited(self._database) as transaction:
            await transaction.fetchrow(
                "put_kind",
                scope.namespace,
                kind.name,
                kind.schema,
                _milliseconds(policy.min_backoff) if policy else None,
                _milliseconds(policy.max_backoff) if policy else None,
                kind.max_attempts,
                _milliseconds(kind.timeout) if kind.timeout is not None else None,
            )
            digest = sha256((kind.schema or "").encode("utf-8", "surrogatepass")).hexdigest()
            await transaction.tell(
                scope,
                "PutKind",
                f"kind:{kind.name}",
                details={
                    "schema_sha256": None if kind.schema is None else digest,
                    "min_backoff": policy.min_backoff if policy else None,
                    "max_backoff": policy.max_backoff if policy else None,
                    "max_attempts": kind.max_attempts,
                    "timeout": kind.timeout,
                },
            )

    async def declare_builtin_kinds(self, namespace: int | None = None) -> None:
        """Declares the kinds that come with the package where a namespace has declared none of that name.

        `namespace` None: in all namespaces.
        """
        folder = files("jobqueue_server") / _BUILTIN_KINDS
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.name.endswith(".json"):
                name = entry.name.removesuffix(".json")
                schema = entry.read_text(encoding="utf-8")
                await self._database.fetchrow("declare_builtin_kind", namespace, name, schema)

    async def intern_lane(self, scope: Scope, queue: str, kind: str, *, make_kind: bool) -> None:
        """Makes the rows of the queue and the lane where they are missing; of the kind too with `make_kind`."""
        async with self._database.transaction() as transaction:
            await transaction.fetch("intern_queue", scope.namespace, queue)
            if make_kind:
                await transaction.fetch("intern_kind", scope.namespace, kind)
            await transaction.fetch("intern_lane", scope.namespace, queue, kind)

    async def set_queue_paused(self, scope: Scope, queue: str, *, paused: bool) -> bool:
        """Pauses or resumes the queue, with the gates of all its lanes. Answers False if there is no such queue."""
        async with audited(self._database) as transaction:
            row = await transaction.fetchrow("lock_queue", scope.namespace, queue)
            if row is None:
                return False
            await transaction.fetch("set_queue_paused", row["id"], paused)
            await transaction.tell(scope, "PauseQueue" if paused else "ResumeQueue", f"queue:{queue}")
            return True

    async def get_queue(self, scope: Scope, queue: str) -> QueueRow | None:
        """The queue, or None."""
        row = await self._database.fetchrow("get_queue", scope.namespace, queue)
        return None if row is None else _queue(row)

    async def list_queues(self, scope: Scope, after: str, limit: int) -> list[QueueRow]:
        """At most `limit` queues whose names come after `after`."""
        rows = await self._database.fetch(
            "list_queues", scope.namespace, after, limit, scope.grants.queues_seen()
        )
        return [_queue(row) for row in rows]

    async def depths(self, lane_ids: Sequence[int], *, per_lane: int, running: int) -> list[LaneDepth]:
        """Counts of the lanes by status and by hold.

        At most `per_lane` jobs of each that are ready, and that are held back; `running` leased ones over all.
        """
        depths = [
            LaneDepth(
                row["lane_id"],
                None if row["status"] is None else Status(row["status"]),
                row["jobs"],
                row["capped"],
                None if row["waiting_since"] is None else row["now"] - row["waiting_since"],
                None if row["hold"] is None else Hold(row["hold"]),
            )
            for row in await self._database.fetch("lane_depths", lane_ids, per_lane)
        ]
        wanted = frozenset(lane_ids)
        for row in await self._database.fetch("running_depths", running):
            if row["lane_id"] in wanted:
                capped = row["scanned"] >= running
                age = max(row["now"] - row["running_since"], timedelta())
                depths.append(LaneDepth(row["lane_id"], Status.RUNNING, row["jobs"], capped, age))
        return depths


def _kind(row: Record) -> Kind:
    policy = None
    if row["min_backoff_ms"] is not None:
        policy = RetryPolicy(
            timedelta(milliseconds=row["min_backoff_ms"]), timedelta(milliseconds=row["max_backoff_ms"])
        )
    timeout = None if row["timeout_ms"] is None else timedelta(milliseconds=row["timeout_ms"])
    return Kind(row["name"], row["schema"], policy, row["max_attempts"], timeout)


def _queue(row: Record) -> QueueRow:
    return QueueRow(row["name"], row["paused"], tuple(row["lane_ids"]))


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
