"""Load that goes on: producers and workers run until they are stopped, while the bench counts the jobs that end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from .errors import BenchError
from .load import Load
from .ours import producers, worker_processes
from .processes import DONE, Processes
from .server import Server
from .workers import Workers

_PUMP = 0.005


class Flow:
    """What runs.

    Attributes:
        made: The producers.
        hired: The workers, bare streams.
    """

    def __init__(self, servers: list[Server], made: Processes, hired: Processes) -> None:
        self.made = made
        self.hired = hired
        self._servers = servers

    @property
    def ended(self) -> int:
        """Jobs that ended until now: settled, committed and answered."""
        return self.hired.count(DONE)

    @property
    def stored(self) -> int:
        """Jobs whose enqueue was answered until now."""
        return self.made.count(DONE)

    async def rates(self, seconds: float, grain: float = 1.0) -> list[float]:
        """Jobs ended a second, in each stretch of so many seconds from now on."""
        found = []
        at, before = time.monotonic(), self.ended
        until = at + seconds
        while at < until:
            await asyncio.sleep(min(grain, until - at))
            self.check()
            now, ended = time.monotonic(), self.ended
            found.append((ended - before) / (now - at))
            at, before = now, ended
        return found

    async def rate(self, seconds: float) -> float:
        """Jobs ended a second, over so many seconds from now on."""
        rates = await self.rates(seconds)
        return sum(rates) / len(rates)

    async def until_ended(self, jobs: int, within: float) -> None:
        """Waits until so many have ended."""
        until = time.monotonic() + within
        while self.ended < jobs:
            if time.monotonic() > until:
                raise BenchError(f"of {jobs} jobs {self.ended} ended within {within:g} s")
            self.check()
            await asyncio.sleep(0.02)

    async def until_quiet(self, connection: Any, within: float) -> None:
        """Waits until no job is left, also of calls that were not answered, and every settlement is answered."""
        until = time.monotonic() + within
        while await connection.fetchval("select exists (select from live_job)"):
            if time.monotonic() > until:
                raise BenchError(f"jobs have not ended within {within:g} s")
            self.check()
            await asyncio.sleep(0.2)
        await self.until_ended(await connection.fetchval("select count(*) from finished_job"), 10)

    def check(self) -> None:
        """Raises BenchError where something has ended that should not."""
        self.made.check()
        self.hired.check()
        for server in self._servers:
            server.check()


@asynccontextmanager
async def flowing(
    servers: list[Server],
    load: Load,
    workers: Workers,
    *,
    ahead: int | None = None,
    paused: bool = False,
) -> AsyncIterator[Flow]:
    """Lets producers and workers go.

    Args:
        servers: Where.
        load: Its jobs are the most that is made.
        workers: Bare streams.
        ahead: Producers wait while so many jobs are stored and not ended: the size of a backlog that stays.
        paused: Whether the producers wait for their own `go`.
    """
    async with producers(servers, load) as made, worker_processes(servers, workers) as hired:
        flow = Flow(servers, made, hired)
        pumping = asyncio.create_task(_pump(flow, ahead)) if ahead is not None else None
        hired.go()
        if not paused:
            made.go()
        try:
            yield flow
        finally:
            if pumping is not None:
                pumping.cancel()


async def _pump(flow: Flow, ahead: int) -> None:
    while True:
        flow.made.allow(flow.ended + ahead)
        await asyncio.sleep(_PUMP)


async def live_bytes(connection: Any) -> int:
    """What live_job takes on the disk, with its indexes."""
    found: int = await connection.fetchval("select pg_total_relation_size('live_job')")
    return found
