"""The reaper's look at all that is leased has its share of the time, and comes at once after the database was away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from jobqueue_server.core import reaper
from jobqueue_server.errors import DatabaseAway

pytestmark = pytest.mark.unit

NOT_USED: Any = None


class Watched(reaper.Reaper):
    """A reaper without a database: it counts what it would have done there.

    Args:
        passes: It ends itself after so many.
        audit_takes: Seconds.
        away_in: The pass in which the database is away.
    """

    def __init__(self, passes: int, *, audit_takes: float = 0.0, away_in: int | None = None) -> None:
        super().__init__(NOT_USED, NOT_USED, NOT_USED, NOT_USED, NOT_USED)
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


AuditsOf = Callable[[Watched, float], Awaitable[list[int]]]


@pytest.fixture
def audits_of(monkeypatch: pytest.MonkeyPatch) -> AuditsOf:
    """Runs one to its end, with so many seconds between audits; the passes in which it audited."""

    async def run(watched: Watched, audit_every: float) -> list[int]:
        monkeypatch.setattr(reaper, "EVERY", 0.001)
        monkeypatch.setattr(reaper, "AUDIT_EVERY", audit_every)
        with pytest.raises(asyncio.CancelledError):
            await watched.run()
        return watched.audits

    return run


async def test_an_audit_that_takes_long_leaves_the_time_to_others(audits_of: AuditsOf) -> None:
    # By its share the second would come after ten seconds.
    assert await audits_of(Watched(30, audit_takes=0.2), 0.0) == [1]


async def test_the_audit_comes_at_once_after_the_database_was_away(audits_of: AuditsOf) -> None:
    assert await audits_of(Watched(10, away_in=5), 3600.0) == [6]
