"""Jobs that wait, changed many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ...lifecycle import Hold
from ..database import Session
from .requests import Request


@dataclass(frozen=True, slots=True)
class Updated:
    """Where a job waits after its change.

    Attributes:
        isolated: It is to run isolated.
        hold: It is in no line. TIME: it goes to its key once it is due.
        calling: Its former key, where another of its jobs may be let in now.
    """

    lane_id: int
    priority: int
    run_at: datetime
    isolated: bool
    hold: Hold | None
    calling: int | None


async def update(
    session: Session, namespace: int, request: Request, ids: Sequence[UUID], statuses: Sequence[int]
) -> list[Updated]:
    """Changes those of the jobs, in the order of their ids, that still wait in one of the statuses."""
    if request.to_queue is not None:
        # The second statement has a snapshot of its own, with lanes that another transaction made meanwhile.
        await session.fetch("intern_lanes_of_jobs", ids, ids[0], ids[-1], namespace, request.to_queue)
    rows = await session.fetch(
        "update_jobs",
        ids,
        ids[0],
        ids[-1],
        statuses,
        request.priority,
        request.max_attempts,
        request.new_start,
        request.run_at,
        request.delay,
        request.spread,
        request.to_queue,
        namespace,
    )
    return [
        Updated(
            row["lane_id"],
            row["priority"],
            row["run_at"],
            row["isolated"],
            None if row["hold"] is None else Hold(row["hold"]),
            row["calling"],
        )
        for row in rows
    ]
