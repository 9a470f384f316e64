"""Claims: where jobs wait, which of them a claim leases, and what their deliveries carry. Arrays in, rows out.

The answers are the driver's records: at tens of thousands of jobs a second a frozen dataclass for each job (about 1 us)
would cost as much as the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from ..database import Database, Record


@dataclass(frozen=True, slots=True)
class ClaimTarget:
    """A place that a claim reads: a lane at a priority, from a floor of run_at on. Its queue gives at most `most`."""

    lane_id: int
    priority: int
    take: int
    floor: datetime
    queue_number: int
    most: int = 1000


def _target_columns(targets: Sequence[ClaimTarget]) -> tuple[list[Any], ...]:
    return (
        [target.lane_id for target in targets],
        [target.priority for target in targets],
        [target.take for target in targets],
        [target.floor for target in targets],
        [target.queue_number for target in targets],
    )


class Waiting(NamedTuple):
    """A job that a claim would take: its line, and the bytes of its payload, 0 where these were not asked for."""

    lane_id: int
    priority: int
    size: int


class Allowed(NamedTuple):
    """What limits let a claim lease, and for how many seconds after it a rate lets none start.

    `by_kind`: the limits of the kind were the closer ones, and the wait is that of its rate. Else those of the queue.
    """

    room: int
    wait: float = 0.0
    by_kind: bool = False


def _counted(rows: list[Record]) -> tuple[Allowed, list[Record]]:
    (of,) = (row for row in rows if row["id"] is None)
    wait = 0.0 if of["run_at"] is None else (of["run_at"] - of["changed_at"]).total_seconds()
    return Allowed(of["attempts"], wait, of["failures"] == 1), [row for row in rows if row["id"] is not None]


class ClaimStore:
    """Leases jobs in PostgreSQL.

    Raises (every method): DatabaseAway, with which nothing is known of what happened, and DatabaseFull.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(
        self, targets: Sequence[ClaimTarget], slots: Sequence[int], epochs: dict[int, int]
    ) -> list[Record]:
        """Leases up to `len(slots)` ready jobs. `slots` has the id of each slot's session, in the order of dealing."""
        return await self._database.fetch(
            "claim",
            *_target_columns(targets),
            slots,
            list(epochs),
            list(epochs.values()),
            [target.most for target in targets],
            hot=True,
        )

    async def claim_counted(
        self,
        queue_id: int,
        targets: Sequence[ClaimTarget],
        slots: Sequence[int],
        epochs: dict[int, int],
        kind_id: int | None = None,
    ) -> tuple[Allowed, list[Record]]:
        """As `claim`, where a queue or a kind limits how many of its jobs run or start. Answers also what it allowed.

        `kind_id`: the kind of all targets, where it has limits.
        """
        lanes, priorities, takes, floors, _ = _target_columns(targets)
        rows = await self._database.fetch(
            "claim_counted",
            lanes,
            priorities,
            takes,
            floors,
            queue_id,
            slots,
            list(epochs),
            list(epochs.values()),
            kind_id,
            hot=True,
        )
        return _counted(rows)

    async def peek(self, targets: Sequence[ClaimTarget], most: int) -> list[int]:
        """The sizes in bytes of the jobs that a claim would take now, in its order."""
        return [job.size for job in await self.waiting(targets, most, sizes=True)]

    async def waiting(self, targets: Sequence[ClaimTarget], most: int, *, sizes: bool) -> list[Waiting]:
        """The jobs that a claim would take now, in its order."""
        rows = await self._database.fetch("peek", *_target_columns(targets), most, sizes, hot=True)
        return [Waiting(*row) for row in rows]

    async def claim_isolated(self, lane_ids: Sequence[int], epochs: dict[int, int]) -> list[Record]:
        """Leases at most one isolated job to each session."""
        return await self._database.fetch(
            "claim_isolated", lane_ids, list(epochs), list(epochs.values()), hot=True
        )

    async def claim_isolated_counted(
        self, queue_id: int, lane_ids: Sequence[int], epochs: dict[int, int], kind_id: int | None = None
    ) -> tuple[Allowed, list[Record]]:
        """As `claim_isolated`, where a queue or a kind has limits; arguments and answer as of `claim_counted`."""
        rows = await self._database.fetch(
            "claim_isolated_counted",
            lane_ids,
            queue_id,
            list(epochs),
            list(epochs.values()),
            kind_id,
            hot=True,
        )
        return _counted(rows)

    async def peek_isolated(self, lane_ids: Sequence[int]) -> int:
        """The size in bytes of the isolated job that `claim_isolated` would take now; 0 where there is none."""
        row = await self._database.fetchrow("peek_isolated", lane_ids, hot=True)
        return 0 if row is None else int(row["size"])

    async def bodies(self, ids: Sequence[UUID]) -> list[Record]:
        """Id, payload, key and the `fields.TERMS` of jobs that were just claimed."""
        return await self._database.fetch("bodies", ids, min(ids), max(ids), hot=True)

    async def checkpoints(self, ids: Sequence[UUID]) -> dict[UUID, bytes]:
        """What the attempts before left behind, by job; jobs without are missing."""
        rows = await self._database.fetch("checkpoints", ids, hot=True)
        return {row["job_id"]: row["checkpoint"] for row in rows}

    async def heads(self, targets: Sequence[tuple[int, int, datetime]]) -> list[Record]:
        """The head of each line (lane, priority, floor): its run_at, and whether it is due."""
        lanes, priorities, floors = zip(*targets, strict=True)
        return await self._database.fetch("heads", lanes, priorities, floors, hot=True)

    async def heads_isolated(self, lane_ids: Sequence[int]) -> list[Record]:
        """The lanes in which an isolated job waits."""
        return await self._database.fetch("heads_isolated", lane_ids, hot=True)
