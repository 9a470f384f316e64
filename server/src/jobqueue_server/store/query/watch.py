"""What changed between two moments: the statements of a watch, and what it remembers of one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from ...model import MAX_PAGE_BYTES, Job, WatchFilter
from ...scope import Scope
from ..database import Database
from .reads import job_of

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
FAR_AHEAD = datetime(9999, 1, 1, tzinfo=UTC)
FIRST_ID = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which transactions one statement saw: those below `xmax` that were not under way. As pg_snapshot has it.

    Attributes:
        xmin: All below it had ended.
        xmax: None from it on had ended.
        under_way: Those in between that had not ended, in order.
        next: None from it on had begun to write.
    """

    xmin: int
    xmax: int
    under_way: tuple[int, ...] = ()
    next: int = 0

    @classmethod
    def of(cls, text: str, next: int) -> Snapshot:
        """Reads what pg_snapshot looks like as text, `10:20:10,14,15`."""
        xmin, xmax, under_way = text.split(":")
        return cls(int(xmin), int(xmax), tuple(int(xid) for xid in under_way.split(",") if xid), next)


#: Saw nothing: every change comes after it.
NOTHING = Snapshot(0, 0)
# Sees whatever is committed: numbers of transactions have 64 bits, and start at 3.
_EVERYTHING = Snapshot(1 << 62, 1 << 62)


@dataclass(frozen=True, slots=True)
class Change:
    """When a job changed, which is when the transaction that changed it began. In this order changes are told."""

    at: datetime
    job_id: UUID


@dataclass(frozen=True, slots=True)
class Found:
    """What one search found.

    Attributes:
        snapshot: What the search saw.
        at: When it was, by the database's clock.
        history: Names the database and its timeline: in another one, snapshots mean nothing.
        changes: In order, as many as were wanted at most.
        live: Whether one of the jobs asked for has not ended; False where none was named.
        gone: Those of the jobs asked for that are not there.
    """

    snapshot: Snapshot
    at: datetime
    history: str
    changes: tuple[Change, ...]
    live: bool
    gone: tuple[UUID, ...]


class WatchStore:
    """Finds changes. It writes nothing, and a watch costs the jobs nothing.

    Raises (every method): DatabaseAway, also where a search takes longer than a statement may.
    """

    def __init__(self, database: Database, *, page_bytes: int = MAX_PAGE_BYTES) -> None:
        self._database = database
        self._page_bytes = page_bytes

    async def watch_changes(
        self,
        scope: Scope,
        wanted: WatchFilter,
        told: Snapshot,
        target: Snapshot | None,
        *,
        after: Change,
        before: datetime = FAR_AHEAD,
        most: int,
    ) -> Found:
        """Finds jobs that changed after `told`, and not after `target` (None: until now).

        Args:
            scope: Whose jobs.
            wanted: Which of them.
            told: All that it saw was told already.
            target: The end of this turn.
            after: Only changes behind this one in their order.
            before: Only changes before this time.
            most: How many.
        """
        row = await self._database.fetchrow(
            "watch_changes",
            *_columns(told),
            *_columns(target or _EVERYTHING),
            after.at,
            after.job_id,
            before,
            None if wanted.ids is None else list(wanted.ids),
            wanted.queue,
            wanted.kind,
            _labels(wanted.labels),
            most,
            scope.namespace,
            *scope.grants.readable(),
        )
        assert row is not None  # it is an aggregate of one row
        return Found(
            Snapshot.of(row["snapshot"], row["next"]),
            row["at"],
            row["history"],
            tuple(map(Change, row["changed_at"] or (), row["ids"] or ())),
            row["live"],
            tuple(row["gone"] or ()),
        )

    async def watch_jobs(
        self, ids: Sequence[UUID], told: Snapshot, target: Snapshot, *, full: bool
    ) -> list[Job | None]:
        """The first of the jobs that `watch_changes` found, as they are; as many as fit into 3 MiB, at least one.

        None stands for a job that changed after `target`: a later search finds it.
        """
        rows = await self._database.fetch(
            "watch_jobs",
            list(ids),
            *_columns(told),
            *_columns(target),
            self._page_bytes,
            full,
        )
        return [None if row["kind"] is None else job_of(row) for row in rows]


def _columns(snapshot: Snapshot) -> tuple[int, int, Sequence[int]]:
    return snapshot.xmin, snapshot.xmax, snapshot.under_way


def _labels(labels: Mapping[str, str]) -> str | None:
    return json.dumps(dict(labels)) if labels else None
