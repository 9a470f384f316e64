"""The workers of all servers one by one, and what each of them holds."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from uuid import UUID

from ...errors import PageTokenInvalid, WorkerNotFound
from ...grants import Permission
from ...scope import Scope
from ...store.database import Record
from ...store.insight.workers import WorkerFilter, WorkerStore
from .. import tokens
from ..access.checks import not_allowed
from ..cached import Cached
from ..catalog.catalog import Catalog
from ..pages import page_position, page_size, page_token
from ..session.drains import Drains
from ..session.registry import Sessions

#: For how many seconds what all of them hold is kept, and how many jobs are counted.
KEPT_FOR = 2.0
MOST_HELD = 100_000
MOST_JOBS = 1_000
_ID_BYTES = 8


class WorkerState(IntEnum):
    """What a worker does, as the contract and list_workers.sql number it."""

    CONNECTED = 1
    DRAINING = 2
    SILENT = 3


@dataclass(frozen=True, slots=True)
class HeldJob:
    """A job that a worker holds. The fields are those of the contract."""

    job_id: UUID
    queue: str
    kind: str
    attempt: int
    since: datetime
    deadline_at: datetime | None
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class Drained:
    """Since when and why a worker gets no more jobs."""

    since: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker as a principal sees it. The fields are those of the contract.

    Attributes:
        takes: By queue, the kinds; of those alone that the principal may read.
    """

    session_id: int
    name: str
    labels: Mapping[str, str]
    client: str
    address: str
    principal: str
    server: str
    takes: Mapping[str, Sequence[str]]
    slots: int
    free_slots: int
    held: int
    state: WorkerState
    opened_at: datetime
    silent_since: datetime | None
    ends_at: datetime | None
    drain: Drained | None
    jobs: Sequence[HeldJob] = ()


#: By session and lane, how many jobs.
Held = Mapping[int, Mapping[int, int]]


class WorkerList:
    """Lists workers, reads one, drains one.

    Args:
        store: Where their sessions are.
        catalog: Knows lanes.
        sessions: Those of this server, whose slots are known as they are now.
        drains: Tells the server that has the stream.

    Raises (every method): DatabaseAway.
    """

    def __init__(self, store: WorkerStore, catalog: Catalog, sessions: Sessions, drains: Drains) -> None:
        self._store = store
        self._catalog = catalog
        self._sessions = sessions
        self._drains = drains
        self._held: Cached[Held] = Cached(KEPT_FOR)

    async def list(
        self, scope: Scope, wanted: WorkerFilter, size: int, token: str
    ) -> tuple[list[WorkerSeen], str]:
        """A page of workers, newest first, and the token of the next one; empty: there is none.

        Raises:
            FieldInvalid: The page size is negative.
            PageTokenInvalid: The token is not one of this list.
        """
        text = tokens.within(scope, f"workers {wanted!r}")
        rows = page_size(size)
        position = page_position(text, token)
        if position is not None and len(position) != _ID_BYTES:
            raise PageTokenInvalid("page_token: not a token that this server gave; start again without it")
        before = None if position is None else int.from_bytes(position, "big")
        found = await self._store.list(scope, wanted, size=rows + 1, before=before)
        held = await self._now_held()
        seen = [self._seen(scope, row, held) for row in found[:rows]]
        if len(found) <= rows:
            return seen, ""
        return seen, page_token(text, seen[-1].session_id.to_bytes(_ID_BYTES, "big"))

    async def get(self, scope: Scope, session_id: int) -> WorkerSeen:
        """A worker with the jobs that it holds.

        Raises:
            WorkerNotFound: Its session has ended, or it takes nothing that the principal may read.
        """
        row = await self._store.get(scope, session_id)
        if row is None:
            raise WorkerNotFound.of(session_id)
        jobs = [
            HeldJob(
                job["id"],
                job["queue"],
                job["kind"],
                job["attempts"],
                job["since"],
                job["deadline"],
                job["cancel_requested"],
            )
            for job in await self._store.jobs(scope, session_id, MOST_JOBS)
        ]
        return self._seen(scope, row, await self._now_held(), jobs)

    async def drain(self, scope: Scope, session_id: int, reason: str) -> WorkerSeen:
        """Gives a worker no more jobs, for good. One that drains already stays as it is.

        Raises:
            WorkerNotFound: Its session has ended, or it takes nothing that the principal may read.
            NotAllowed: The principal has no OPERATE on something that it takes.
        """
        row = await self._store.get(scope, session_id)
        if row is None:
            raise WorkerNotFound.of(session_id)
        _check_operates(scope, _pairs(row))
        if not await self._store.drain(scope, session_id, reason):
            raise WorkerNotFound.of(session_id)
        self._drains.drain(session_id)
        return await self.get(scope, session_id)

    async def _now_held(self) -> Held:
        """What each session holds, read once for all who ask."""
        return await self._held.get(None, self._read_held)

    async def _read_held(self) -> Held:
        held: defaultdict[int, dict[int, int]] = defaultdict(dict)
        for row in await self._store.held(MOST_HELD):
            held[row["session_id"]][row["lane_id"]] = row["jobs"]
        return held

    def _seen(self, scope: Scope, row: Record, held: Held, jobs: Sequence[HeldJob] = ()) -> WorkerSeen:
        state = WorkerState(row["state"])
        takes: defaultdict[str, list[str]] = defaultdict(list)
        for queue, kind in _pairs(row):
            if scope.grants.may(Permission.READ, queue, kind):
                takes[queue].append(kind)
        slots = self._slots(row)
        taken = readable = 0
        for lane_id, count in held.get(row["id"], {}).items():
            lane = self._catalog.lane_by_id(lane_id)
            taken += count * (1 if lane is None else lane.weight)
            if lane is not None and scope.grants.may(Permission.READ, lane.queue, lane.kind):
                readable += count
        silent = state is WorkerState.SILENT
        return WorkerSeen(
            session_id=row["id"],
            name=row["name"],
            labels=json.loads(row["labels"] or "{}"),
            client=row["client"] or "",
            address=row["address"] or "",
            principal=row["principal"] or "",
            server=row["server"] or "",
            takes=takes,
            slots=slots,
            free_slots=max(0, slots - taken) if state is WorkerState.CONNECTED else 0,
            held=readable,
            state=state,
            opened_at=row["opened_at"],
            silent_since=row["silent_since"] if silent else None,
            ends_at=row["ends_at"] if silent else None,
            drain=None
            if row["drain_at"] is None
            else Drained(row["drain_at"], row["drained_by"] or "", row["drain_reason"] or ""),
            jobs=jobs,
        )

    def _slots(self, row: Record) -> int:
        session = self._sessions.get(row["id"])
        if session is not None and session.link is not None:
            return session.capacity.slots
        return 0 if row["takes"] is None else int(json.loads(row["takes"])["slots"])


def _pairs(row: Record) -> list[tuple[str, str]]:
    """What a worker takes, in the order of names."""
    return (
        []
        if row["takes"] is None
        else sorted((queue, kind) for queue, kind in json.loads(row["takes"])["subscriptions"])
    )


def _check_operates(scope: Scope, pairs: Sequence[tuple[str, str]]) -> None:
    for queue, kind in pairs:
        if not scope.grants.may(Permission.OPERATE, queue, kind):
            # What it may not read it is not told of either.
            on = {"queue": queue, "kind": kind} if scope.grants.may(Permission.READ, queue, kind) else {}
            raise not_allowed("OPERATE", "drain the worker: it must be on all that the worker takes", **on)
