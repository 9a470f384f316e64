"""The reaper's look at all that is leased has its share of the time, and comes at once after the database was away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobqueue_server.core import reaper
from jobqueue_server.errors import DatabaseAway

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

    async def audit(self) -> None:
        self.audits.append(self.passes)
        await asyncio.sleep(self._takes)


async def run(watched: Watched) -> None:
    with pytest.raises(asyncio.CancelledError):
        await watched.run()


async def test_an_audit_that_takes_long_leaves_the_time_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "EVERY", 0.001)
    monkeypatch.setattr(reaper, "AUDIT_EVERY", 0.0)
    watched = Watched(30, audit_takes=0.2)

    await run(watched)

    # By its share the second would come after ten seconds.
    assert watched.audits == [1]


async def test_the_audit_comes_at_once_after_the_database_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "EVERY", 0.001)
    monkeypatch.setattr(reaper, "AUDIT_EVERY", 3600.0)
    watched = Watched(10, away_in=5)

    await run(watched)

    assert watched.audits == [6]
