"""What operators see of queues, their pausing, and what they allow of the jobs of one key."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from ...errors import (
    EtagMismatch,
    FieldViolation,
    KeyNotBlocked,
    KeyPolicyConflict,
    QueueNotFound,
    QueuesFull,
)
from ...grants import Permission
from ...lifecycle import Hold, Status
from ...model import Depth, HoldDepth, Queue
from ...scope import Scope
from ...store.catalog.catalog import CatalogStore, LaneDepth, PolicyConflict, QueueRow, RevisionDiffers
from .. import tokens
from ..access.checks import not_allowed
from ..names import is_name, page_name
from ..pages import page_size, page_token
from .catalog import Catalog
from .depths import lane_depths
from .etags import etag_of, revision_of

#: A server that lives reads the catalog again within this time after a commit.
KNOWN_WITHIN = timedelta(seconds=2)

_STATUSES = (Status.QUEUED, Status.RETRYING, Status.RUNNING)


class QueueService:
    """Lists, pauses, resumes and changes queues.

    Raises (every method): DatabaseAway.
    """

    def __init__(self, catalog: Catalog, store: CatalogStore) -> None:
        self._catalog = catalog
        self._store = store

    async def list_queues(self, scope: Scope, asked_size: int, token: str) -> tuple[list[Queue], str]:
        """A page of queues by name, and the token of the next one ("" after the last).

        Raises:
            FieldInvalid: The page size is negative.
            PageTokenInvalid: The token is not one of this list.
        """
        size = page_size(asked_size)
        text = tokens.within(scope, "queues")
        after = page_name(text, token)
        rows = await self._store.list_queues(scope, after, size + 1)
        more = len(rows) > size
        queues = await self._with_depths(scope, rows[:size])
        return queues, page_token(text, rows[size - 1].name.encode()) if more else ""

    async def get_queue(self, scope: Scope, name: str) -> Queue:
        """The queue with its depths.

        Raises:
            QueueNotFound: It was never used, or the principal may read none of its jobs.
        """
        row = await self._store.get_queue(scope, name) if is_name(name) else None
        if row is None or not scope.grants.sees_queue(name):
            raise QueueNotFound.of(name)
        (queue,) = await self._with_depths(scope, [row])
        return queue

    async def pause_queue(self, scope: Scope, name: str, reason: str = "") -> Queue:
        """Stops claims and hand-offs from the queue; what runs goes on, and enqueues are taken. Idempotent.

        Who does so and why is kept; of a queue that is paused already, who did and why.

        Raises:
            QueueNotFound: It was never used, or the principal may neither do this nor read its jobs.
            NotAllowed: The principal may read some of its jobs, and not do this.
        """
        return await self._set_paused(scope, name, paused=True, reason=reason)

    async def resume_queue(self, scope: Scope, name: str) -> Queue:
        """Lets the queue's jobs be claimed again. Idempotent.

        Raises:
            QueueNotFound: It was never used, or the principal may neither do this nor read its jobs.
            NotAllowed: The principal may read some of its jobs, and not do this.
        """
        return await self._set_paused(scope, name, paused=False)

    async def update_queue(
        self,
        scope: Scope,
        name: str,
        changes: Mapping[str, Any],
        *,
        own: Mapping[str, Any] | None = None,
        etag: str = "",
        make: bool = False,
    ) -> Queue:
        """Changes what the queue allows of its jobs and of those of one key, as a whole or not at all.

        It answers when every server that lives knows it.

        Args:
            scope: Who asks.
            name: The queue's name.
            changes: New values of attributes of its `KeyPolicy`; the others stay.
            own: `max_waiting`, `max_running`, `rate`, and `retention_` with the name of a status, those of them that
                are changed; None: any number, or the retention of every queue.
            etag: The one that the queue must have; empty: any.
            make: Whether a queue that was never used is made.

        Raises:
            QueueNotFound: It was never used and is not to be made, or the principal may neither do this nor read its
                jobs.
            NotAllowed: The principal may read some of its jobs, and not do this.
            EtagMismatch: The queue has another etag, or was never used.
            KeyPolicyConflict: Parts of the policy would contradict each other.
            QueuesFull: It would be made, and its namespace has as many as it may.
        """
        self._require_operate(scope, name, "change the queue", "queue.name")
        if make:
            await self._require_room(scope, name)
        try:
            found = await self._store.set_key_policy(
                scope, name, changes, own=own, revision=revision_of(etag), make=make
            )
        except RevisionDiffers as differs:
            raise EtagMismatch(
                f"queue.etag: the queue {name!r} has another etag, since it was changed: read it again",
                metadata={"queue": name, "etag": etag_of(differs.revision)},
            ) from None
        except PolicyConflict as conflict:
            field = f"queue.key_policy.{conflict.field}"
            raise KeyPolicyConflict(
                f"{field}: {conflict.what}",
                metadata={"queue": name},
                violations=[FieldViolation(field, conflict.what)],
            ) from None
        if not found:
            raise QueueNotFound.of(name, "queue.name")
        others = await self._store.other_servers()
        known = asyncio.get_running_loop().time() + KNOWN_WITHIN.total_seconds()
        queue = await self._refreshed(scope, name, "queue.name")
        if own and "max_waiting" in own:
            await self._catalog.backlogs.count()
        if others:
            await asyncio.sleep(known - asyncio.get_running_loop().time())
        return queue

    async def unblock_key(self, scope: Scope, queue: str, key: str) -> tuple[UUID, int]:
        """Lets a key go on with its next job, though a failed one blocks it. It goes on within a sweep of the keys.

        Returns:
            The job that blocked it, which stays as it ended, and how many jobs wait for the key.

        Raises:
            QueueNotFound: It was never used, or the principal may neither do this nor read its jobs.
            NotAllowed: The principal may read some of its jobs, and not do this.
            KeyNotBlocked: No job blocks it.
        """
        self._require_operate(scope, queue, "unblock a key of the queue", "queue")
        found = await self._store.unblock_key(scope, queue, key)
        if found is None:
            raise QueueNotFound.of(queue, "queue")
        blocked_by, waiting = found
        if blocked_by is None:
            raise KeyNotBlocked(
                f"no failed job blocks the key {key!r} of the queue {queue!r}",
                metadata={"queue": queue, "key": key},
            )
        return blocked_by, waiting

    async def _require_room(self, scope: Scope, name: str) -> None:
        most = self._catalog.most_lanes
        known = self._catalog.lanes_of(scope.namespace, name)
        if not known and await self._store.get_queue(scope, name) is None:
            count = await self._store.count_queues(scope, most)
            if count >= most:
                raise QueuesFull.of(f"the queue {name!r}", count, most, "queues")

    def _require_operate(self, scope: Scope, name: str, doing: str, field: str = "name") -> None:
        if is_name(name) and not scope.grants.may_queue(Permission.OPERATE, name):
            if not scope.grants.sees_queue(name):
                raise QueueNotFound.of(name, field)
            raise not_allowed("OPERATE", doing, queue=name, kind="*")

    async def _refreshed(self, scope: Scope, name: str, field: str = "name") -> Queue:
        await self._catalog.refresh()
        row = await self._store.get_queue(scope, name)
        if row is None:
            raise QueueNotFound.of(name, field)
        (queue,) = await self._with_depths(scope, [row])
        return queue

    async def _set_paused(self, scope: Scope, name: str, *, paused: bool, reason: str = "") -> Queue:
        self._require_operate(scope, name, "pause the queue" if paused else "resume the queue")
        if not is_name(name) or not await self._store.set_queue_paused(
            scope, name, paused=paused, reason=reason
        ):
            raise QueueNotFound.of(name)
        return await self._refreshed(scope, name)

    async def _with_depths(self, scope: Scope, rows: list[QueueRow]) -> list[Queue]:
        rows = [replace(row, lane_ids=self._readable(scope, row.lane_ids)) for row in rows]
        lane_ids = [lane_id for row in rows for lane_id in row.lane_ids]
        by_lane: dict[int, list[LaneDepth]] = {lane_id: [] for lane_id in lane_ids}
        for depth in await lane_depths(self._store, lane_ids) if lane_ids else ():
            by_lane[depth.lane_id].append(depth)
        return [
            _queue(row, [depth for lane_id in row.lane_ids for depth in by_lane[lane_id]]) for row in rows
        ]

    def _readable(self, scope: Scope, lane_ids: Sequence[int]) -> tuple[int, ...]:
        """Those of the lanes whose jobs the principal may read. One that this server has not seen yet is left out."""
        if scope.grants.unbounded:
            return tuple(lane_ids)
        lanes = (self._catalog.lane_by_id(lane_id) for lane_id in lane_ids)
        return tuple(
            lane.id
            for lane in lanes
            if lane is not None and scope.grants.may(Permission.READ, lane.queue, lane.kind)
        )


def _queue(row: QueueRow, depths: list[LaneDepth]) -> Queue:
    summed = tuple(
        _sum(status, (depth for depth in depths if depth.status == status)) for status in _STATUSES
    )
    return Queue(
        row.name,
        row.paused,
        summed,
        running=summed[-1].jobs,
        held=tuple(_held(depths)),
        keys=row.keys,
        revision=row.revision,
        max_waiting=row.max_waiting,
        max_running=row.max_running,
        rate=row.rate,
        retention=row.retention,
    )


def _held(depths: list[LaneDepth]) -> Iterable[HoldDepth]:
    """One for each hold that a job is in."""
    for hold in Hold:
        some = [depth for depth in depths if depth.hold is hold]
        if some:
            yield HoldDepth(hold, sum(depth.jobs for depth in some), any(depth.capped for depth in some))


def _sum(status: Status, depths: Iterable[LaneDepth]) -> Depth:
    jobs, capped, oldest = 0, False, None
    for depth in depths:
        jobs += depth.jobs
        capped = capped or depth.capped
        if depth.oldest_age is not None:
            oldest = max(oldest or timedelta(), depth.oldest_age)
    return Depth(status, jobs, capped, oldest)
