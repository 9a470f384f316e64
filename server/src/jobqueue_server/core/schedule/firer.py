"""When this server looks for schedules that are due."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from ... import logs
from ...errors import DatabaseAway, DatabaseFull, JobQueueError
from ...metrics import Metrics
from ...store.schedule.fires import FireStore
from ...store.schedule.values import Schedule
from ..events.ends import Ended, Ends, ended_jobs
from ..upkeep.clock import Clock
from ..upkeep.duty_cycle import DutyCycle
from ..upkeep.standstill import Standstill
from . import zones
from .apart import Apart
from .firing import MOST_TOGETHER, Firing
from .ticks import next_tick
from .zones import ZoneUnknown

_log = logs.get(__name__)

#: How often a server looks whether there is a tick, at least, in seconds: it sleeps until the next one otherwise.
LOOK_EVERY = 1.0
#: How often it looks while a tick waits for the end of a job, which another server may have seen.
LOOK_AT_BUFFERED_EVERY = 0.25
#: How soon it looks again when a tick is due by its own clock and not by the database's, or another server fires it.
_AGAIN_AFTER, _AGAIN_AT_MOST = 0.002, 0.25
#: Ticks that follow each other gather so long, in seconds: a transaction for each of them costs several times as much.
_GATHER = 0.05
_TRY_AGAIN_AFTER = 1.0
_COUNT_EVERY = 10.0
_RETIME_EVERY = 60.0
#: Of so many schedules whose ticks were left out most often metrics tell.
MOST_TOLD = 20
_MOST_AWAITED = 1000
#: A tick so near is left as the older version of the time zones has it.
NEAR = timedelta(minutes=1)
_RETIMED_TOGETHER = 200


class Firer:
    """Looks for schedules that are due, at the time of the next tick.

    Args:
        store: Where schedules are.
        firing: Fires them.
        apart: Who is fired apart from rounds.
        clock: The database's.
        standstill: While the queue stands, no schedule fires.
        ends: Tells of jobs that ended here.
        metrics: Told how many schedules there are.
    """

    def __init__(
        self,
        store: FireStore,
        firing: Firing,
        apart: Apart,
        clock: Clock,
        standstill: Standstill,
        ends: Ends,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._firing = firing
        self._apart = apart
        self._clock = clock
        self._standstill = standstill
        self._metrics = metrics
        self._counts = DutyCycle(_COUNT_EVERY)
        self._retimes = DutyCycle(_RETIME_EVERY)
        self._retimed = False
        self._awake = asyncio.Event()
        self._awaited: set[UUID] = set()
        self._in_vain = 0
        ends.subscribe(self._ended)

    def wake(self) -> None:
        """There may be a tick that it does not know of."""
        self._awake.set()

    def _ended(self, ended: Sequence[Ended]) -> None:
        if self._awaited and not self._awaited.isdisjoint(ended_jobs(ended)):
            self._awake.set()

    async def run(self) -> None:
        """Fires what is due until cancelled."""
        while True:
            try:
                await self._retime()
                left = await self._turn()
                await self._count()
            except (DatabaseAway, DatabaseFull) as error:
                _log.debug("schedules wait", cause=str(error))
                left = _TRY_AGAIN_AFTER
            except JobQueueError as error:
                _log.warning("schedules wait", cause=str(error))
                left = _TRY_AGAIN_AFTER
            if left > 0:
                try:
                    async with asyncio.timeout(left):
                        await self._awake.wait()
                except TimeoutError:
                    pass
            self._awake.clear()

    async def run_apart(self) -> None:
        """Fires what rounds can't, one group after the other, until cancelled."""
        while True:
            if self._standstill.since is not None:
                await asyncio.sleep(LOOK_EVERY)
                continue
            taken = self._apart.take()
            if taken is None:
                await self._apart.came.wait()
                continue
            try:
                await self._firing.group(*taken)
            except (DatabaseAway, DatabaseFull) as error:
                # They are due still, and a round finds them again.
                _log.debug("schedules wait", cause=str(error))
            # Its next tick is one that no round has looked for.
            self.wake()

    async def _turn(self) -> float:
        """Fires what is due. Seconds until it is to look again."""
        if self._standstill.since is not None:
            return LOOK_EVERY
        soonest = await self._store.soonest(self._apart.left_out())
        self._awaited = await self._store.awaited(_MOST_AWAITED) if soonest.buffered else set()
        longest = LOOK_AT_BUFFERED_EVERY if soonest.buffered else LOOK_EVERY
        left = longest
        if soonest.next_at is not None:
            left = min(longest, (soonest.next_at - self._clock.now()).total_seconds())
        if left > 0 and not soonest.buffered:
            return max(left, _AGAIN_AFTER)
        if found := await self._firing.round(buffered=soonest.buffered):
            self._in_vain = 0
            return 0.0 if found >= MOST_TOGETHER // 2 else _GATHER
        if left > 0:
            return max(left, _AGAIN_AFTER)
        self._in_vain += 1
        return float(min(_AGAIN_AT_MOST, _AGAIN_AFTER * 2 ** min(self._in_vain, 10)))

    async def _retime(self) -> None:
        """Computes next ticks anew that are by an older version of the time zones.

        At the start, and then again and again: an older server that runs beside computes some meanwhile.
        """
        if self._retimes.left and self._retimed:
            return
        with self._retimes.done():
            while await self._retime_some():
                pass
        self._retimed = True

    async def _retime_some(self) -> int:
        """The same for some. How many."""
        async with self._store.transaction() as session:
            rows = await self._store.retime(zones.VERSION, NEAR, _RETIMED_TOGETHER, session)
            if rows:
                moved = {schedule.id: _next(schedule, at) for schedule, at in rows}
                await self._store.set_next(session, moved, zones.VERSION)
        if rows:
            _log.info("next ticks are by new time zones", schedules=len(rows), version=zones.VERSION)
        return len(rows)

    async def _count(self) -> None:
        if self._counts.left:
            return
        with self._counts.done():
            counts = await self._store.counts(MOST_TOLD)
        self._metrics.schedules(counts.active, counts.paused, counts.skipped)


def _next(schedule: Schedule, at: datetime) -> datetime | None:
    """The next tick of a schedule; the one that it has, where its time zone is not known here."""
    try:
        return next_tick(schedule.spec, max(at, schedule.last_tick or at))
    except ZoneUnknown:
        return schedule.next_at
