"""Rolls slices up: 10 s become a minute after an hour, a minute 15 minutes after a day, and those go after 90 days."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from ... import logs
from ...errors import DatabaseAway, DatabaseFull
from ...store.stats.slices import WIDTHS, SliceStore

_log = logs.get(__name__)

EVERY = timedelta(minutes=5)
# What is not done by then the next turn does, perhaps that of another server.
FOR = timedelta(seconds=50)


class RollUp:
    """Takes turns with the other servers: one of them rolls up in five minutes."""

    def __init__(self, store: SliceStore) -> None:
        self._store = store

    async def run(self) -> None:
        """Rolls up whenever it is this server's turn, until cancelled."""
        while True:
            await asyncio.sleep(EVERY.total_seconds() * random.uniform(0.5, 1))
            try:
                if await self._store.claim_roll_up(EVERY / 2):
                    await self.roll_up()
            except (DatabaseAway, DatabaseFull) as error:
                _log.warning("the statistics were not rolled up", error=error)

    async def roll_up(self) -> None:
        """Makes longer slices of what is old, in small steps and for 50 s at most.

        Raises:
            DatabaseAway, DatabaseFull: It goes on with the next turn.
        """
        until = time.monotonic() + FOR.total_seconds()
        for step in range(len(WIDTHS) - 1):
            await self._paced(lambda step=step: self._store.roll_up(step), bool, until)  # type: ignore[misc]
        await self._paced(self._store.sweep, self._store.is_batch, until)

    @staticmethod
    async def _paced(one: Callable[[], Awaitable[int]], goes_on: Callable[[int], bool], until: float) -> None:
        """Takes steps until there is nothing left, and rests after each for as long as it took."""
        while True:
            began = time.monotonic()
            if not goes_on(await one()) or time.monotonic() >= until:
                return
            await asyncio.sleep(time.monotonic() - began)
