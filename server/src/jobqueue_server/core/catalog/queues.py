"""What operators see of queues, and their pausing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from ...errors import QueueNotFound
from ...grants import Permission
from ...lifecycle import Hold, Status
from ...model import Depth, HoldDepth, Queue
from ...scope import Scope
from ...store.catalog.catalog import CatalogStore, LaneDepth, QueueRow
from .. import tokens
from ..access.checks import not_allowed
from ..names import is_name, page_name
from ..pages import page_size, page_token
from .catalog import Catalog

_STATUSES = (Status.QUEUED, Status.RETRYING, Status.RUNNING)


class QueueService:
    """Lists, pauses and resumes queues.

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
            raise _not_found(name)
        (queue,) = await self._with_depths(scope, [row])
        return queue

    async def pause_queue(self, scope: Scope, name: str) -> Queue:
        """Stops claims and hand-offs from the queue; what runs goes on, and enqueues are taken. Idempotent.

        Raises:
            QueueNotFound: It was never used, or the principal may neither do this nor read its jobs.
            NotAllowed: The principal may read some of its jobs, and not do this.
        """
        return await self._set_paused(scope, name, paused=True)

    async def resume_queue(self, scope: Scope, name: str) -> Queue:
        """Lets the queue's jobs be claimed again. Idempotent.

        Raises:
            QueueNotFound: It was never used, or the principal may neither do this nor read its jobs.
            NotAllowed: The principal may read some of its jobs, and not do this.
        """
        return await self._set_paused(scope, name, paused=False)

    async def _set_paused(self, scope: Scope, name: str, *, paused: bool) -> Queue:
        if is_name(name) and not scope.grants.may_queue(Permission.OPERATE, name):
            if not scope.grants.sees_queue(name):
                raise _not_found(name)
            doing = "pause the queue" if paused else "resume the queue"
            raise not_allowed("OPERATE", doing, queue=name, kind="*")
        if not is_name(name) or not await self._store.set_queue_paused(scope, name, paused=paused):
            raise _not_found(name)
        await self._catalog.refresh()
        row = await self._store.get_queue(scope, name)
        if row is None:
            raise _not_found(name)
        (queue,) = await self._with_depths(scope, [row])
        return queue

    async def _with_depths(self, scope: Scope, rows: list[QueueRow]) -> list[Queue]:
        rows = [replace(row, lane_ids=self._readable(scope, row.lane_ids)) for row in rows]
        lane_ids = [lane_id for row in rows for lane_id in row.lane_ids]
        by_lane: dict[int, list[LaneDepth]] = {lane_id: [] for lane_id in lane_ids}
        for depth in await self._catalog.lane_depths(lane_ids) if lane_ids else ():
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
    return Queue(row.name, row.paused, summed, running=summed[-1].jobs, held=tuple(_held(depths)))


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


def _not_found(name: str) -> QueueNotFound:
    return QueueNotFound(
        f"name: there is no queue {name!r}; a queue exists from its first use", metadata={"queue": name}
    )
