"""The reaper's look at all that is leased has its share of the time, and comes at once after the database was away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobqueue_server.core.session.reaper import Reaper
from jobqueue_server.core.tuning import Tuning
from jobqueue_server.errors import DatabaseAway

pytestmark = pytest.mark.unit

NOT_USED: Any = None


class Watched(Reaper):
    """A reaper without a database: it counts what it would have done there.

    Args:
        passes: It ends itself after so many.
        audit_every: Seconds between audits.
        audit_takes: Seconds.
        away_in: The pass in which the database is away.
    """

    def __init__(
        self, passes: int, audit_every: float, *, audit_takes: float = 0.0, away_in: int | None = None
    ) -> None:
        audit: Any = self
        tuning = Tuning(reap_every=0.001, audit_every=audit_every)
        super().__init__(NOT_USED, NOT_USED, NOT_USED, audit, NOT_USED, NOT_USED, tuning)
        self._left = passes
        self._takes = audit_takes
        self._away_in = away_in
        self.passes = 0
        self.audits: list[int] = []

    async def end_due(self) -> None:
        if self.passes == self._left:
            raise asyncio.CancelledError
        self.passes += 1
        if self.passes == self._away_in:
            raise DatabaseAway("as it was told")

    async def reap_lost(self) -> None:
        pass

    async def give_back_unseen(self) -> None:
        pass

    async def audit(self) -> None:
        self.audits.append(self.passes)
        await asyncio.sleep(self._takes)


async def audits_of(watched: Watched) -> list[int]:
    """Runs one to its end; the passes in which it audited."""
    with pytest.raises(asyncio.CancelledError):
        await watched.run()
    return watched.audits


async def test_an_audit_that_takes_long_leaves_the_time_to_others() -> None:
    # By its share the second would come after ten seconds.
    assert await audits_of(Watched(30, 0.0, audit_takes=0.2)) == [1]


async def test_the_audit_comes_at_once_after_the_database_was_away() -> None:
    assert await audits_of(Watched(10, 3600.0, away_in=5)) == [6]
