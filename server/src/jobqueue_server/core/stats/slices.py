"""Writes what happened, a slice each 10 s of the database's clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from ... import logs
from ...errors import JobQueueError
from ...metrics import Metrics
from ...store.stats.slices import Slice, SliceStore
from ..catalog.catalog import Catalog
from ..events.tallies import COUNTS, Tallies, Tally
from ..events.this_server import ThisServer
from ..upkeep.clock import Clock

_log = logs.get(__name__)

WIDTH = timedelta(seconds=10)
#: Above so many in one slice, those with least jobs are written as one.
MOST_LANES = 2_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# For so long a slice that was lost is worth a warning.
_BEHIND_FOR = 600.0


def floor(moment: datetime, step: timedelta) -> datetime:
    """The last whole step before or at a moment, counted from 1970 in UTC."""
    return moment - (moment - _EPOCH) % step


class Slices:
    """Writes what this server counted. A slice in which nothing happened costs no statement.

    One that can't be written is lost: whether a failed statement was committed is not known, and twice is worse.

    Args:
        store: Where slices go.
        tallies: What was counted.
        clock: The database's time.
        server: Who counts.
        catalog: Knows the namespace of a lane.
        metrics: Counts what is lost.
    """

    def __init__(
        self,
        store: SliceStore,
        tallies: Tallies,
        clock: Clock,
        server: ThisServer,
        catalog: Catalog,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._tallies = tallies
        self._clock = clock
        self._server = server
        self._catalog = catalog
        self._metrics = metrics
        self._at: datetime | None = None
        self._lost_at = -_BEHIND_FOR

    @property
    def behind(self) -> bool:
        """Whether a slice was lost in the last ten minutes."""
        return time.monotonic() - self._lost_at < _BEHIND_FOR

    async def run(self) -> None:
        """Writes each slice once it is over, until cancelled."""
        self._at = floor(self._clock.now(), WIDTH)
        while True:
            now = self._clock.now()
            if now < self._at + WIDTH:
                await asyncio.sleep((self._at + WIDTH - now).total_seconds())
                continue
            begun, self._at = self._at, floor(now, WIDTH)
            await self._write(begun)

    async def stop(self) -> None:
        """Writes the slice that goes on: the server ends."""
        if self._at is not None:
            await self._write(self._at)

    async def _write(self, at: datetime) -> None:
        taken = self._tallies.take()
        if not taken:
            return
        slices = [
            Slice(lane_id, [getattr(tally, name) for name in COUNTS], tally.waits, tally.runs)
            for lane_id, tally in self._within(taken).items()
        ]
        try:
            await self._store.write(at, self._server.id, slices)
        except JobQueueError as error:
            self._lost_at = time.monotonic()
            self._metrics.slice_lost()
            _log.warning("a slice of statistics is lost", at=at, lanes=len(slices), error=error)

    def _within(self, taken: Mapping[int, Tally]) -> Mapping[int, Tally]:
        """The lanes with most jobs; the others as one lane for each namespace, whose number is negative."""
        if len(taken) <= MOST_LANES:
            return taken
        ranked = sorted(taken, key=lambda lane_id: (-taken[lane_id].jobs, lane_id))
        found = {lane_id: taken[lane_id] for lane_id in ranked[:MOST_LANES]}
        others = Tallies()
        for lane_id in ranked[MOST_LANES:]:
            lane = self._catalog.lane_by_id(lane_id)
            if lane is not None:
                others[others_of(lane.namespace)].add(taken[lane_id])
        return found | others


def others_of(namespace: int) -> int:
    """The number that stands for the lanes of a namespace that were too many."""
    return -namespace
