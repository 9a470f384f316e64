"""How many jobs there are, one stretch of them after the other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ...model import JobFilter
from ...scope import Scope
from ..database import Database
from ..query.reads import MAX_SCANNED, driver_of, id_range


@dataclass(frozen=True, slots=True)
class Counted:
    """A stretch of jobs: how many of them fit, when, and the id below which the next one begins; None: none is left."""

    jobs: int
    at: datetime
    before: UUID | None


class CountStore:
    """Counts jobs.

    Raises (every method): DatabaseAway.
    """

    def __init__(self, database: Database, *, stretch: int = MAX_SCANNED) -> None:
        self._database = database
        self._stretch = stretch

    async def count(self, scope: Scope, wanted: JobFilter, before: UUID | None) -> Counted:
        """Looks at some jobs below an id, 10,000 at most: 50 ms or so."""
        low, high = id_range(wanted.created_after, wanted.created_before)
        row = await self._database.fetchrow(
            "count_jobs",
            int(driver_of(wanted)),
            low,
            high if before is None else min(high, before),
            wanted.queue,
            wanted.kind,
            sorted(wanted.statuses) or None,
            json.dumps(dict(wanted.labels)) if wanted.labels else None,
            self._stretch,
            scope.namespace,
            *scope.grants.readable(),
        )
        assert row is not None
        return Counted(row["jobs"], row["now"], row["edge"])
