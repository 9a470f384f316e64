"""How many jobs there are, for a caller that wants to know it once."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ...model import JobFilter
from ...scope import Scope
from ...store.stats.counts import CountStore
from ..cached import Cached

#: Seconds for which jobs are counted, and for which an answer is kept.
COUNT_FOR = 2.0
KEPT_FOR = 60.0
# At once, on one server: the others wait, so that counts never have more than one connection.
_AT_ONCE = 1


@dataclass(frozen=True, slots=True)
class Count:
    """How many jobs fit. `exact`: these are all. `at`: when the count began, by the database's clock."""

    jobs: int
    exact: bool
    at: datetime


class JobCounts:
    """Counts jobs, stretch by stretch, until its time is over."""

    def __init__(self, store: CountStore) -> None:
        self._store = store
        self._answers: Cached[Count] = Cached(KEPT_FOR)
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def count(self, scope: Scope, wanted: JobFilter) -> Count:
        """How many jobs fit that the principal may read.

        Raises:
            DatabaseAway: None could be counted.
        """
        text = json.dumps(
            [
                wanted.queue, wanted.kind, sorted(wanted.statuses), sorted(wanted.labels.items()),
                str(wanted.created_after), str(wanted.created_before),
            ]
        )  # fmt: skip
        key = (scope.namespace, scope.grants, text)
        return await self._answers.get(key, lambda: self._count(scope, wanted))

    async def _count(self, scope: Scope, wanted: JobFilter) -> Count:
        async with self._turn:
            until = time.monotonic() + COUNT_FOR
            before: UUID | None = None
            jobs, at = 0, None
            while True:
                counted = await self._store.count(scope, wanted, before)
                jobs, before, at = jobs + counted.jobs, counted.before, at or counted.at
                if before is None or time.monotonic() >= until:
                    return Count(jobs, before is None, at)
