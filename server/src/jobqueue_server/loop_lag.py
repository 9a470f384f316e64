"""Looks how late the event loop is: the first thing that says that this process is full."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

EVERY = 0.25


class LoopLag:
    """Asks to be called in a while, and tells by how much later it was called.

    Args:
        late: Is told it, in seconds.
        every: Seconds between two looks.
    """

    def __init__(self, late: Callable[[float], None], every: float = EVERY) -> None:
        self._late = late
        self._every = every

    async def run(self) -> None:
        """Looks until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._every
            await asyncio.sleep(self._every)
            self._late(max(0.0, loop.time() - due))
