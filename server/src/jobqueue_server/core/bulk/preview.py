"""How many jobs an operation would change: counted within a bound, without a lock."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from ...grants import Grants
from ...store.bulk.jobs import FIRST_ID, BulkStore
from ...store.bulk.requests import Request, Verb

#: Counting ends after so many candidates, and after so many seconds.
MOST_LOOKED = 100_000
MOST_SECONDS = 2.0
MOST_SAMPLES = 20
_WINDOW = 5000


@dataclass(frozen=True, slots=True)
class Preview:
    """How many jobs match.

    Attributes:
        jobs: How many.
        capped: Whether counting ended at its bound: more may match.
        looked: How many candidates were looked at.
        sample: The first of them.
    """

    jobs: int
    capped: bool
    looked: int
    sample: tuple[UUID, ...]


class Previews:
    """Counts what matches.

    Raises (every method): DatabaseAway.
    """

    def __init__(
        self,
        store: BulkStore,
        *,
        most_looked: int = MOST_LOOKED,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._most_looked = most_looked
        self._now = now

    async def count(
        self, namespace: int, grants: Grants, verb: Verb, request: Request, before: UUID
    ) -> Preview:
        """Counts the jobs with ids below `before`, no more than the request would change."""
        until = self._now() + MOST_SECONDS
        jobs = looked = 0
        sample: list[UUID] = []
        after, more = FIRST_ID, True
        while more and looked < self._most_looked and self._now() < until:
            most = window = min(_WINDOW, self._most_looked - looked)
            if request.max_jobs:
                most = min(most, request.max_jobs - jobs)
            found = await self._store.match(
                namespace,
                grants,
                verb,
                request.selection,
                after=after,
                before=before,
                most=most,
                window=window,
            )
            jobs += len(found.ids)
            looked += found.looked
            sample += found.ids[: MOST_SAMPLES - len(sample)]
            more = found.more and found.position is not None
            after = found.position or after
            if request.max_jobs and jobs >= request.max_jobs:
                more = False
        return Preview(jobs, more, looked, tuple(sample))
