"""When a server looks for schedules that are due: ticks that follow each other gather."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobqueue_server.core.schedule.apart import Apart
from jobqueue_server.core.schedule.firer import Firer
from jobqueue_server.core.schedule.firing import MOST_TOGETHER
from jobqueue_server.store.schedule.fires import Soonest

pytestmark = pytest.mark.unit

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Store:
    """There is always a tick that is due."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield None

    async def retime(self, *_: object) -> list[Any]:
        return []

    async def soonest(self, _: object) -> Soonest:
        return Soonest(NOW - timedelta(seconds=1), False)

    async def counts(self, _: int) -> Any:
        return SimpleNamespace(active=1, paused=0, skipped=[])


class Firing:
    """Each round finds so many schedules."""

    def __init__(self, finds: int) -> None:
        self.finds = finds
        self.rounds: list[float] = []
        self.enough = asyncio.Event()

    async def round(self, *, buffered: bool) -> int:
        assert not buffered
        self.rounds.append(asyncio.get_running_loop().time())
        if len(self.rounds) == 20:
            self.enough.set()
        await asyncio.sleep(0)
        return self.finds


async def gaps(finds: int) -> list[float]:
    """Seconds from each of twenty rounds to the next."""
    firing = Firing(finds)
    others = SimpleNamespace(since=None, now=lambda: NOW, subscribe=lambda _: None, schedules=lambda *_: None)
    parts = [cast(Any, each) for each in (Store(), firing, Apart(), others, others, others, others)]
    running = asyncio.create_task(Firer(*parts).run())
    await asyncio.wait_for(firing.enough.wait(), 20)
    running.cancel()
    return [later - earlier for earlier, later in pairwise(firing.rounds[:20])]


async def test_ticks_that_follow_each_other_gather_and_a_full_round_is_followed_at_once() -> None:
    few = await gaps(3)
    assert sum(few) >= 19 * 0.02
    # The machine may stand still in one of them.
    assert median(await gaps(MOST_TOGETHER)) < median(few)
