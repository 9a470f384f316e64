"""The sweep: once a second it reads the head of every line, and finds the jobs that this server was not told of."""

from __future__ import annotations

import asyncio
import logging
import time

from ...errors import JobQueueError
from ...model import MAX_PRIORITY, MIN_PRIORITY
from ...store.claim.claims import ClaimStore
from ..tuning import Tuning
from .lines import BEGINNING, Lines
from .takers import Takers

_log = logging.getLogger(__name__)


class Sweep:
    """Finds retries and schedules that are due, what other servers stored, and what committed late.

    It starts 10 s of run_at behind the newest claim of each line, and once a minute at the beginning.
    """

    def __init__(self, store: ClaimStore, takers: Takers, lines: Lines, tuning: Tuning | None = None) -> None:
        self._store = store
        self._takers = takers
        self._lines = lines
        self._tuning = tuning or Tuning()

    async def run(self) -> None:
        """Sweeps each second, and at once when a lane gets its first worker, until cancelled."""
        beginning_at = 0.0
        while True:
            whole = time.monotonic() >= beginning_at
            if whole:
                beginning_at = time.monotonic() + self._tuning.sweep_all_every
            try:
                await self.sweep(whole)
            except JobQueueError as error:
                beginning_at = 0.0
                _log.debug("the sweep waits: %s", error)
            try:
                async with asyncio.timeout(self._tuning.sweep_every):
                    await self._takers.new_lanes.wait()
                self._takers.new_lanes.clear()
            except TimeoutError:
                pass

    async def sweep(self, whole: bool) -> None:
        """Reads the heads once. `whole`: from the beginning of each line."""
        lanes = self._takers.lanes()
        lines = [
            self._lines.line(lane, priority)
            for lane in lanes
            for priority in range(MIN_PRIORITY, MAX_PRIORITY + 1)
        ]
        for start in range(0, len(lines), self._tuning.sweep_lines):
            part = lines[start : start + self._tuning.sweep_lines]
            by_key = {(line.lane.id, line.priority): line for line in part}
            targets = [
                (line.lane.id, line.priority, BEGINNING if whole else line.sweep_floor) for line in part
            ]
            for row in await self._store.heads(targets):
                if row["due"]:
                    by_key[row["lane_id"], row["priority"]].found(row["run_at"])
                    self._lines.seen(row["lane_id"], row["priority"])
                else:
                    self._lines.seen_at(row["lane_id"], row["priority"], row["run_at"])
        if lanes:
            for row in await self._store.heads_isolated([lane.id for lane in lanes]):
                self._lines.seen_at(row["lane_id"], 0, row["run_at"], isolated=True)
