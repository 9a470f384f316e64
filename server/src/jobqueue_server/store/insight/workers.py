"""Workers in PostgreSQL, as callers see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...grants import Permission
from ...scope import Scope
from ..access.audit import audited
from ..database import Database, Record

_LAST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class WorkerFilter:
    """Which workers. None and empty ones are any.

    Attributes:
        queue: Those that take jobs of it.
        kind: Those that take jobs of it, of the queue where there is one.
        name: Those whose name begins so.
        states: Those in one of them, numbered as in list_workers.sql.
    """

    queue: str | None = None
    kind: str | None = None
    name: str = ""
    states: tuple[int, ...] = ()


class WorkerStore:
    """Raises (every method): DatabaseAway."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self, scope: Scope, wanted: WorkerFilter, *, size: int, before: int | None
    ) -> Sequence[Record]:
        """At most `size` workers with ids below `before`, newest first: those that take something that it may read."""
        return await self._fetch(scope, None, wanted, size, before)

    async def get(self, scope: Scope, session_id: int) -> Record | None:
        """One of them; None: there is none, or it takes nothing that the principal may read."""
        rows = await self._fetch(scope, session_id, WorkerFilter(), 1, None)
        return rows[0] if rows else None

    async def _fetch(
        self, scope: Scope, session_id: int | None, wanted: WorkerFilter, size: int, before: int | None
    ) -> Sequence[Record]:
        return await self._database.fetch(
            "list_workers",
            scope.namespace,
            session_id,
            _LAST_ID if before is None else before,
            size,
            wanted.queue,
            wanted.kind,
            wanted.name,
            list(wanted.states) or None,
            *scope.grants.places(Permission.READ),
        )

    async def jobs(self, scope: Scope, session_id: int, most: int) -> Sequence[Record]:
        """What a session holds, of what the principal may read, the longest-running first."""
        return await self._database.fetch(
            "worker_jobs", session_id, scope.namespace, most, *scope.grants.places(Permission.READ)
        )

    async def held(self, most: int) -> Sequence[Record]:
        """How many jobs each session holds (session_id, lane_id, jobs); at most `most` in all."""
        return await self._database.fetch("held_by_sessions", most)

    async def drain(self, scope: Scope, session_id: int, reason: str) -> bool:
        """Writes that a session gets no more jobs, and who wants that. Whether there is one that has not ended."""
        async with audited(self._database) as transaction:
            row = await transaction.fetchrow(
                "drain_worker", session_id, scope.namespace, scope.principal, reason
            )
            if row is not None:
                await transaction.tell(scope, "DrainWorker", f"worker:{session_id}", reason=reason)
        return row is not None
