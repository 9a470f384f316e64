"""Runs the background parts of a server: each a `run()` that works until cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)

RESTART_AFTER = 1.0


class Background:
    """Keeps every part running. A crash of one is loud and restarts it; the others go on."""

    def __init__(self, parts: dict[str, Callable[[], Awaitable[None]]]) -> None:
        self._parts = parts
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts all parts."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Cancels all parts and waits for them."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for name, part in self._parts.items():
                group.create_task(self._keep(name, part), name=name)

    async def _keep(self, name: str, part: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await part()
                _log.error("the background part %s ended, and is started again", name)
            except Exception:
                _log.exception("the background part %s crashed, and is started again", name)
            await asyncio.sleep(RESTART_AFTER)
