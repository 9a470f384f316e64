"""What is said of single keys of a queue, and what waits for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...model import KeyHolder, QueueKey
from ...scope import Scope
from ..access.audit import audited
from ..database import Database, Record
from .semaphores import Due, end_pauses, semaphore_of


class KeyRevisionDiffers(Exception):
    """The key has another revision than the one that was asked for. Nothing was changed. `revision`: the one it has."""

    def __init__(self, revision: int) -> None:
        super().__init__(revision)
        self.revision = revision


class KeysFull(Exception):
    """Something is said of as many keys of the queue as may be. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """What a change did.

    Attributes:
        calling: The semaphore of the key, if it may let one in now; else None.
        first: Whether the queue limited none of its jobs before.
        due: Jobs in line that were put off as long as a worker had paused the key, which has ended: where each waits.
    """

    calling: int | None
    first: bool
    due: Sequence[Due] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """Which keys a list has.

    Attributes:
        only: 0: all, 1: at their limit, 2: paused, 3: those that jobs wait for, 4: those that a failed job blocks.
        looked: How many keys to look at.
        kept: Of these, how many to keep: those that most jobs wait for.
        after: (waiting, semaphore) of the last key of the page before; None: from the beginning.
        after_name: Only names after this one, by name; None: in the order of the kept.
        rows: How many to answer at most.
    """

    only: int
    looked: int
    kept: int
    after: tuple[int, int] | None
    after_name: str | None
    rows: int


class QueueKeyStore:
    """Keys of queues, as stored.

    Raises (every method): DatabaseAway, DatabaseFull.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, scope: Scope, queue: str, key: str, *, most_holders: int) -> QueueKey | None:
        """The key; None: there is no such queue."""
        row = await self._database.fetchrow("get_queue_key", scope.namespace, queue, key, most_holders)
        if row is None:
            return None
        holders = zip(row["holders"] or (), row["workers"] or (), row["since"] or (), strict=True)
        return _key(queue, row, tuple(KeyHolder(*each) for each in holders))

    async def page(self, scope: Scope, queue: str, which: Kept) -> tuple[list[tuple[QueueKey, int]], bool]:
        """Keys, each with its semaphore, and whether there may be more than were looked at or kept."""
        rows = await self._database.fetch(
            "list_queue_keys",
            scope.namespace,
            queue,
            which.only,
            which.looked,
            which.kept,
            *(which.after or (None, None)),
            which.after_name,
            which.rows,
        )
        keys = [(_key(queue, row), row["id"]) for row in rows if row["id"] is not None]
        return keys, rows[0]["capped"]

    async def set(
        self,
        scope: Scope,
        queue: str,
        key: str,
        changes: Mapping[str, Any],
        *,
        revision: int | None,
        most: int,
    ) -> KeySet | None:
        """Changes what is said of the key. Answers None if there is no such queue.

        Args:
            scope: Whose queue it is.
            queue: Its name.
            key: The key.
            changes: New values of `max_running` and `paused`; what is not there stays.
            revision: The one that the key must have; None: any.
            most: Of how many keys of the queue something may be said.

        Raises:
            KeyRevisionDiffers: The key has another revision.
            KeysFull: It would be one key too many.
        """
        async with audited(self._database) as transaction:
            locked = await transaction.fetchrow("lock_queue", scope.namespace, queue)
            if locked is None:
                return None
            row = await transaction.fetchrow("lock_queue_key", locked["id"], key, most)
            assert row is not None
            if revision is not None and (row["revision"] or 1) != revision:
                raise KeyRevisionDiffers(row["revision"] or 1)
            before = row["max_running"], row["paused"]
            after = changes.get("max_running", before[0]), changes.get("paused", before[1])
            calling: int | None = None
            due: Sequence[Due] = ()
            if changes.get("paused") is False and row["paused_until"] is not None:
                semaphore_id = semaphore_of(locked["id"], key)
                calls, due = await end_pauses(transaction, [semaphore_id])
                calling = semaphore_id if calls else None
            if after != before:
                if row["revision"] is None and row["said_of"] >= most:
                    raise KeysFull
                told = await transaction.fetchrow(
                    "set_queue_key", locked["id"], key, *after, scope.principal or None
                )
                assert told is not None
                calling = told["id"] if told["calls"] else None
            await transaction.tell(
                scope,
                "UpdateQueueKey",
                f"queue:{queue}",
                details={"key": key, "max_running": after[0], "paused": after[1] or None},
            )
            limited = locked["key_max_running"] is not None or locked["key_rate_count"] is not None
            return KeySet(calling, first=not limited and not row["said_of"], due=due)


def _key(queue: str, row: Record, holders: tuple[KeyHolder, ...] = ()) -> QueueKey:
    return QueueKey(
        queue,
        row["name"],
        row["max_running"],
        row["paused_at"] is not None,
        row["paused_at"],
        row["paused_by"] or "",
        row["allowed"],
        row["taken"],
        row["waiting"],
        row["next_start_at"],
        holders,
        row["revision"] or 1,
        row["paused_until"],
        row["blocked_by"],
    )
