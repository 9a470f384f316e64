"""Runs the background parts of a server. Each part has a `run()` that works until cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

_log = logging.getLogger(__name__)

RESTART_AFTER = 1.0
CANCEL_AGAIN_AFTER = 1.0


class Background:
    """Keeps every part running. If one crashes, it is logged and started again; the others go on.

    Args:
        parts: The parts by name.
    """

    def __init__(self, *parts: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        self._parts = [named for some in parts for named in some.items()]
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    def start(self) -> None:
        """Starts all parts."""
        self._tasks = {asyncio.create_task(self._keep(name, part), name=name) for name, part in self._parts}

    async def stop(self) -> None:
        """Cancels all parts and waits for them. A part that misses its cancellation is cancelled again."""
        self._stopping = True
        running = self._tasks
        while running:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=CANCEL_AGAIN_AFTER)

    async def _keep(self, name: str, part: Callable[[], Awaitable[None]]) -> None:
        while not self._stopping:
            try:
                await part()
                _log.error("the background part %s ended, and is started again", name)
            except asyncio.CancelledError:
                # An unrequested cancellation is a crash. It must not end the part without a log line.
                if self._stopping:
                    raise
                _log.exception("the background part %s was cancelled, and is started again", name)
            except Exception:
                _log.exception("the background part %s crashed, and is started again", name)
            await asyncio.sleep(RESTART_AFTER)
