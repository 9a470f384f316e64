"""How many jobs there are, for a caller that wants to know it once."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ...errors import TooManyCalls
from ...fair.turns import Turns
from ...model import JobFilter
from ...scope import Scope
from ...store.stats.counts import CountStore
from ..cached import Cached

#: Seconds for which jobs are counted, and for which an answer is kept.
COUNT_FOR = 2.0
KEPT_FOR = 60.0
# At once, on one server, one of them for each principal: the others wait, so that counts never have more connections.
_AT_ONCE = 2
#: So many of a principal may wait for their turn, so that the last of them is answered within half a minute, the usual
#: time of a call.
MOST_WAITING = 10


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
        # One that its caller no longer waits for must not keep the others waiting.
        self._answers: Cached[Count] = Cached(KEPT_FOR, while_wanted=True)
        self._turns = Turns(_AT_ONCE)

    async def count(self, scope: Scope, wanted: JobFilter) -> Count:
        """How many jobs fit that the principal may read.

        Raises:
            TooManyCalls: Too many other counts of the principal wait for their turn.
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
        if self._turns.waiting(scope.owner) >= MOST_WAITING:
            raise TooManyCalls(
                f"{MOST_WAITING} counts of jobs of this principal wait for their turn on this server; count again "
                "later, or take QueryStats",
                retry_after=timedelta(seconds=COUNT_FOR),
            )
        async with self._turns.place(scope.owner):
            until = time.monotonic() + COUNT_FOR
            before: UUID | None = None
            jobs, at = 0, None
            while True:
                counted = await self._store.count(scope, wanted, before)
                jobs, before, at = jobs + counted.jobs, counted.before, at or counted.at
                if before is None or time.monotonic() >= until:
                    return Count(jobs, before is None, at)
