"""The drain of a server: it refuses new calls and claims, sends workers to other servers, and takes settlements."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from datetime import timedelta

from . import logs
from .chain import Chain
from .core.attempt.room import AttemptRoom
from .core.claim.room import ClaimRoom
from .core.insight.room import InsightRoom
from .core.query.room import QueryRoom
from .core.session.room import SessionRoom
from .core.tuning import Tuning
from .durations import format_duration
from .serving import Serving

_log = logs.get(__name__)

# How long a stream gets to write its last frames, in seconds.
LAST_FRAMES = timedelta(seconds=1)


class Drain:
    """Drains within a grace, or at once when `now` is set."""

    def __init__(
        self,
        chain: Chain,
        serving: Serving,
        query: QueryRoom,
        claim: ClaimRoom,
        attempt: AttemptRoom,
        session: SessionRoom,
        insight: InsightRoom,
        tuning: Tuning,
        *,
        grace: timedelta,
    ) -> None:
        self._chain = chain
        self._serving = serving
        self._watches = query.watches
        self._activity = claim.activity
        self._settler = attempt.settler
        self._sessions = session.sessions
        self._unary = session.unary
        self._scaling = insight.scaling
        self._tuning = tuning
        self._grace = grace
        self.now = asyncio.Event()
        self._draining: asyncio.Task[None] | None = None

    def begin(self) -> asyncio.Task[None]:
        """Drains: takes settlements until no lease is held or the grace ends. Runs once, however often it is called."""
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain())
        return self._draining

    async def _drain(self) -> None:
        tuning = self._tuning
        _log.info("draining", grace=format_duration(self._grace))
        self._chain.drain()
        await self._serving.serve_if("draining")
        self._activity.pause()
        # Deliveries on their way arrive before their worker is sent elsewhere: at its resume it names what it holds.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(tuning.drain_quiet):
                await self._activity.quiet()
        self._unary.leave()
        self._watches.leave()
        self._scaling.leave()
        linked = self._sessions.linked()
        spread = min(tuning.drain_all, tuning.drain_each * len(linked))
        for session in linked:
            session.go_away("DRAINING", self._grace, timedelta(seconds=random.uniform(0, spread)))
        now = time.monotonic()
        # Workers without leases get time to connect elsewhere; workers with leases get the whole grace.
        idle_until, until = now + spread + tuning.drain_move, now + self._grace.total_seconds()
        while (now := time.monotonic()) < until and not self.now.is_set():
            linked = self._sessions.linked()
            if not linked or (now >= idle_until and not any(session.leases for session in linked)):
                break
            await asyncio.sleep(tuning.drain_every)
        await self._end_streams()

    async def _end_streams(self) -> None:
        for session in self._sessions.linked():
            session.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_FRAMES.total_seconds()):
                await self._sessions.all_unlinked()

    async def settle_the_rest(self) -> None:
        """Waits until queued outcomes are committed, unless a second signal comes or the database takes too long."""
        ended = asyncio.create_task(self.now.wait())
        settled = asyncio.create_task(self._settler.drained())
        await asyncio.wait(
            {ended, settled}, timeout=self._tuning.drain_outcomes, return_when=asyncio.FIRST_COMPLETED
        )
        for task in (ended, settled):
            task.cancel()
