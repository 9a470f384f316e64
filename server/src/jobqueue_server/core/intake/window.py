"""The batching window: how long an insert waits for more calls, which then share it."""

from __future__ import annotations

import asyncio

from ..claim.load import Load
from ..tuning import Tuning
from .waiting import Waiting


class BatchingWindow:
    """Decides how long an insert waits.

    Calls of one job that share an insert share its delivery and its settlement too. Each of these costs as much as all
    else that a call does. So an insert waits where the loop has less than half of its time to spare. It waits for a
    fixed time if one more call is to be expected in that time. While the loop is saturated, it waits until some of the
    loop's turns brought no call, which takes no idle time.
    """

    def __init__(self, load: Load, waiting: Waiting, tuning: Tuning) -> None:
        self._load = load
        self._waiting = waiting
        self._linger = tuning.linger
        self._most_linger = tuning.most_linger
        self._quiet_turns = tuning.quiet_turns
        self._enough = tuning.enough_waiting

    async def wait(self) -> None:
        """Waits for more calls, where they are to be expected."""
        load, waiting = self._load, self._waiting
        if load.cpu_underused or load.calls * self._linger < 1 or waiting.jobs >= self._enough:
            return
        if not load.busy:
            await asyncio.sleep(self._linger)
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + self._most_linger
        seen = quiet = 0
        while quiet < self._quiet_turns and waiting.jobs < self._enough and loop.time() < until:
            quiet = 0 if seen < waiting.jobs else quiet + 1
            seen = waiting.jobs
            await asyncio.sleep(0)
