"""What is stored of queues, kinds and lanes: the small tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any
from uuid import UUID

from ...lifecycle import Hold, Status
from ...model import NO_KEY_POLICY, KeyPolicy, Kind, OnKeyFailure, QueueRetention, Rate
from ...scope import Scope
from ..access.audit import audited
from ..database import Database, Record
from .declarations import a_kind, put, whole_kind
from .rates import rate_of, stored_rate, told_rate

_BUILTIN_KINDS = "kinds"
#: In the order of `QueueRetention`.
_KEPT = ("retention_succeeded", "retention_failed_permanent", "retention_cancelled")
#: `queue.key_order` of a queue whose keys have an order.
_STRICT = 1


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A queue and a kind together, as stored."""

    id: int
    queue_id: int
    kind_id: int
    queue: str
    kind: str
    closed: bool
    paused: bool
    namespace: int
    namespace_name: str
    keys: KeyPolicy | None
    revision: int
    max_waiting: int | None
    limits_keys: bool
    max_running: int | None
    rate: Rate | None
    kind_max_running: int | None
    kind_rate: Rate | None
    weight: int
    shortest_retention: timedelta | None
    used_at: datetime


@dataclass(frozen=True, slots=True)
class KindRow:
    """A kind as stored. `updated_at` is its version."""

    id: int
    namespace: int
    kind: Kind
    declared: bool
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class CatalogChanges:
    """Which lanes and kinds are to be read again. One that is not there then was forgotten.

    Attributes:
        snapshot: From where the next read goes on.
        now: The database's time.
        lanes: By number.
        kinds: By number.
    """

    snapshot: str
    now: datetime
    lanes: Sequence[int]
    kinds: Sequence[int]


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue and the lanes that are its own."""

    name: str
    paused: bool
    lane_ids: tuple[int, ...]
    keys: KeyPolicy | None
    revision: int
    max_waiting: int | None
    max_running: int | None
    rate: Rate | None
    retention: QueueRetention


class RevisionDiffers(Exception):
    """The queue has another revision than the one that was asked for. Nothing was changed.

    Attributes:
        revision: The one that it has; 0: there is no such queue.
    """

    def __init__(self, revision: int) -> None:
        super().__init__(revision)
        self.revision = revision


class PolicyConflict(Exception):
    """The policy would not be one: its parts contradict each other. Nothing was changed.

    Attributes:
        field: The attribute of `KeyPolicy` that must be another one.
        what: What is wrong with it, and what would be right.
    """

    def __init__(self, field: str, what: str) -> None:
        super().__init__(f"{field} {what}")
        self.field = field
        self.what = what


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

    async def changes(self, since: str | None) -> CatalogChanges:
        """What changed since a snapshot that this answered. None: nothing is told but the snapshot of now."""
        row = await self._database.fetchrow("catalog_changes", since)
        assert row is not None
        return CatalogChanges(row["snapshot"], row["now"], row["lanes"], row["kinds"])

    async def lanes(self, ids: Sequence[int] = (), *, after: int = 0, most: int = 0) -> list[LaneRow]:
        """These lanes, of any namespace; or a page of all, by number: `most` of those after that one."""
        return [
            LaneRow(
                row["id"],
                row["queue_id"],
                row["kind_id"],
                row["queue"],
                row["kind"],
                row["closed"],
                row["paused"],
                row["namespace_id"],
                row["namespace"],
                _key_policy(row),
                row["revision"],
                row["max_waiting"],
                row["limits_keys"],
                row["max_running"],
                rate_of(row),
                row["kind_max_running"],
                rate_of(row, "kind_"),
                row["slot_weight"] or 1,
                row["shortest_retention"],
                row["used_at"],
            )
            for row in await self._database.fetch("catalog_lanes", ids, after, most)
        ]

    async def kinds(self, ids: Sequence[int] = (), *, after: int = 0, most: int = 0) -> list[KindRow]:
        """These kinds, of any namespace, with their schemas; or a page of all, as `lanes`."""
        return [
            KindRow(row["id"], row["namespace_id"], a_kind(row), row["declared"], row["updated_at"])
            for row in await self._database.fetch("catalog_kinds", ids, after, most)
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
        return [whole_kind(row) for row in rows]

    async def put_kind(
        self, scope: Scope, kind: Kind, fields: Collection[str] | None = None, *, only_newer: bool = False
    ) -> tuple[Kind, bool]:
        """Declares the kind, or changes what is declared of it, with the gates of its lanes: as `declarations.put`."""
        return await put(self._database, scope, kind, fields, only_newer=only_newer)

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

    async def intern_lane(self, scope: Scope, queue: str, kind: str, *, make_kind: bool) -> int | None:
        """Makes the rows of the queue and the lane where they are missing; of the kind too with `make_kind`.

        Returns:
            The lane's number. None: one of the rows was forgotten in this very moment, or there is no such kind.
        """
        async with self._database.transaction() as transaction:
            await transaction.fetch("intern_queue", scope.namespace, queue)
            if make_kind:
                await transaction.fetch("intern_kind", scope.namespace, kind)
            row = await transaction.fetchrow("intern_lane", scope.namespace, queue, kind)
        return None if row is None else int(row["id"])

    async def set_queue_paused(self, scope: Scope, queue: str, *, paused: bool, reason: str = "") -> bool:
        """Pauses or resumes the queue, with the gates of all its lanes. Answers False if there is no such queue.

        A pause keeps who made it, and why.
        """
        async with audited(self._database) as transaction:
            row = await transaction.fetchrow("lock_queue", scope.namespace, queue)
            if row is None:
                return False
            await transaction.fetch("lock_kinds_of_queue", row["id"])
            await transaction.fetch(
                "set_queue_paused", row["id"], paused, scope.principal or None, reason or None
            )
            action = "PauseQueue" if paused else "ResumeQueue"
            await transaction.tell(scope, action, f"queue:{queue}", reason=reason)
            return True

    async def set_key_policy(
        self,
        scope: Scope,
        queue: str,
        changes: Mapping[str, Any],
        *,
        own: Mapping[str, Any] | None = None,
        revision: int | None = None,
        make: bool = False,
    ) -> bool:
        """Changes the policy of the queue's keys, and how many jobs may wait, run and start. False: no such queue.

        Args:
            scope: Whose queue it is.
            queue: Its name.
            changes: New values of attributes of its `KeyPolicy`; the others stay.
            own: `max_waiting`, `max_running`, `rate`, and `retention_` with the name of a status, those of them that
                are changed; None: any number, or the retention of every queue.
            revision: The one that the queue must have; None: any.
            make: Whether a queue that does not exist is made.

        Raises:
            RevisionDiffers: The queue has another revision, or does not exist and was not to be changed at any.
            PolicyConflict: The policy as it would be then contradicts itself.
        """
        async with audited(self._database) as transaction:
            row = await transaction.fetchrow("lock_queue", scope.namespace, queue)
            if row is None and make and revision is None:
                await transaction.fetch("intern_queue", scope.namespace, queue)
                row = await transaction.fetchrow("lock_queue", scope.namespace, queue)
            if row is None:
                if make:
                    raise RevisionDiffers(0)
                return False
            if revision is not None and row["revision"] != revision:
                raise RevisionDiffers(row["revision"])
            before = _key_policy(row) or NO_KEY_POLICY
            after = _agreed(replace(before, **changes), changes)
            before_own = {
                **{name: row[name] for name in ("max_waiting", "max_running", *_KEPT)},
                "rate": rate_of(row),
            }
            after_own = {**before_own, **(own or {})}
            if after != before or after_own != before_own:
                await transaction.fetch("lock_kinds_of_queue", row["id"])
                await transaction.fetch("set_key_policy", row["id"], *_stored(after, after_own))
            details = {**_limits_of(after), **told_rate(after_own.pop("rate")), **after_own}
            await transaction.tell(scope, "UpdateQueue", f"queue:{queue}", details=details)
            return True

    async def unblock_key(self, scope: Scope, queue: str, key: str) -> tuple[UUID | None, int] | None:
        """Lets a key go on that a failed job blocks. None: there is no such queue.

        Who lets jobs in finds that it calls.

        Returns:
            The job that blocked it, and how many jobs wait for it; no job where it was not blocked.
        """
        async with audited(self._database) as transaction:
            row = await transaction.fetchrow("unblock_key", scope.namespace, queue, key)
            if row is None:
                return None
            if row["blocked_by"] is None:
                return None, 0
            details = {"key": key, "blocked_by": str(row["blocked_by"]), "waiting": row["waiting"]}
            await transaction.tell(scope, "UnblockQueueKey", f"queue:{queue}", details=details)
            return row["blocked_by"], row["waiting"]

    async def blocked_keys(self, most: int) -> dict[int, int]:
        """How many keys of each queue are blocked; of all queues at most so many are counted."""
        rows = await self._database.fetch("blocked_keys", most)
        return {row["queue_id"]: row["keys"] for row in rows}

    async def other_servers(self) -> bool:
        """Whether there is another server than this one, as far as was heard within the last minute."""
        row = await self._database.fetchrow("several_servers")
        assert row is not None
        several: bool = row["several"]
        return several

    async def get_queue(self, scope: Scope, queue: str) -> QueueRow | None:
        """The queue, or None."""
        row = await self._database.fetchrow("get_queue", scope.namespace, queue)
        return None if row is None else _queue(row)

    async def count_queues(self, scope: Scope, most: int) -> int:
        """How many queues there are, counted to a bound; also those that never had a job."""
        row = await self._database.fetchrow("count_queues", scope.namespace, most)
        assert row is not None
        queues: int = row["queues"]
        return queues

    async def list_queues(self, scope: Scope, after: str, limit: int) -> list[QueueRow]:
        """At most `limit` queues whose names come after `after`."""
        rows = await self._database.fetch(
            "list_queues", scope.namespace, after, limit, scope.grants.queues_seen()
        )
        return [_queue(row) for row in rows]

    async def waiting_counts(self, most: Mapping[int, int]) -> dict[int, int]:
        """How many jobs wait in each of these queues; of each at most so many are counted."""
        rows = await self._database.fetch("waiting_counts", list(most), list(most.values()))
        return {row["queue_id"]: row["jobs"] for row in rows}

    async def waiting_lanes(self, after: int, most: int) -> list[int]:
        """The lanes in which a job waits, of all namespaces, by number: `most` of those after that one."""
        return [row["lane_id"] for row in await self._database.fetch("waiting_lanes", after, most)]

    async def waiting_depths(self, lane_ids: Sequence[int], *, per_lane: int) -> list[LaneDepth]:
        """Counts of jobs that do not run, by lane, status and hold. At most `per_lane` of each are counted."""
        return [
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

    async def running_depths(self, most: int) -> list[LaneDepth]:
        """Counts of jobs that run, by lane: of all lanes, at most so many."""
        return [
            LaneDepth(
                row["lane_id"],
                Status.RUNNING,
                row["jobs"],
                row["scanned"] >= most,
                max(row["now"] - row["running_since"], timedelta()),
            )
            for row in await self._database.fetch("running_depths", most)
        ]


def _queue(row: Record) -> QueueRow:
    return QueueRow(
        row["name"],
        row["paused"],
        tuple(row["lane_ids"]),
        _key_policy(row),
        row["revision"],
        row["max_waiting"],
        row["max_running"],
        rate_of(row),
        QueueRetention(*(row[name] for name in _KEPT)),
    )


def _stored(keys: KeyPolicy, own: Mapping[str, Any]) -> tuple[object, ...]:
    """The columns of a queue that say what it allows of its keys, and of all its jobs."""
    return (
        keys.max_running,
        *stored_rate(keys.rate),
        keys.max_waiting,
        keys.require_key or None,
        own["max_waiting"],
        _STRICT if keys.strict else None,
        _stored_failure(keys.on_failure),
        own["max_running"],
        *stored_rate(own["rate"]),
        keys.fair or None,
        *(own[name] for name in _KEPT),
    )


def _limits_of(keys: KeyPolicy) -> dict[str, int | bool | str | timedelta | None]:
    """What the audit log has of the limits of a queue's keys."""
    return {
        "key_max_running": keys.max_running,
        **told_rate(keys.rate, "key_"),
        "key_max_waiting": keys.max_waiting,
        "require_key": keys.require_key or None,
        "key_order": "strict" if keys.strict else None,
        "key_on_failure": keys.on_failure.name.lower() if keys.strict else None,
        "key_fair": keys.fair or None,
    }


def _key_policy(row: Record) -> KeyPolicy | None:
    """None where nothing is said of the queue's keys."""
    policy = KeyPolicy(
        row["key_max_running"],
        rate_of(row, "key_"),
        row["key_max_waiting"],
        bool(row["require_key"]),
        row["key_order"] is not None,
        OnKeyFailure(row["key_on_failure"] or OnKeyFailure.CONTINUE),
        bool(row["key_fair"]),
    )
    return None if policy == NO_KEY_POLICY else policy


def _agreed(policy: KeyPolicy, changes: Mapping[str, Any]) -> KeyPolicy:
    """The policy with what follows from its order.

    Raises:
        PolicyConflict: Its parts contradict each other.
    """
    if policy.strict:
        if policy.max_running not in (None, 1):
            raise PolicyConflict(
                "max_running", f"must be 1 or unset in strict order, and would be {policy.max_running}"
            )
        return replace(policy, max_running=1)
    if policy.on_failure is OnKeyFailure.CONTINUE:
        return policy
    if "on_failure" in changes:
        raise PolicyConflict(
            "on_failure", f"{policy.on_failure.name} wants the order KEY_ORDER_STRICT, which is not set"
        )
    # The order was taken back, and with it what it says of failures.
    return replace(policy, on_failure=OnKeyFailure.CONTINUE)


def _stored_failure(on_failure: OnKeyFailure) -> int | None:
    return None if on_failure is OnKeyFailure.CONTINUE else int(on_failure)
