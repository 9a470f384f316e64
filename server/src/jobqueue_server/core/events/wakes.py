"""What may let a held job go on: told by the rooms whose statements made it so, heard by the releaser."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta


class Wakes:
    """What was told and not heard yet, by topic, and when the next sweep is due.

    The topics: jobs whose time has come (`due`), keys that may admit one (`keys_ready`), and jobs that have left their
    line (`started`). What a server loses with its life another one's sweep finds.
    """

    def __init__(self) -> None:
        self._told = asyncio.Event()
        self._sweep_at = 0.0
        self._due = False
        self._keys: set[int] = set()
        self._started: defaultdict[int, list[str]] = defaultdict(list)

    def due(self) -> None:
        """The time of a job that is held has come. It is committed."""
        self._due = True
        self._told.set()

    def keys_ready(self, semaphore_ids: Iterable[int]) -> None:
        """These keys may have room for one that waits. It is committed."""
        self._keys.update(semaphore_ids)
        if self._keys:
            self._told.set()

    def started(self, queue_id: int, keys: Iterable[str]) -> None:
        """Jobs of these keys have left the lines of a queue whose keys take turns: the next ones may stand there."""
        self._started[queue_id] += keys
        self._told.set()

    def sweep_within(self, wait: timedelta | None) -> None:
        """The next sweep comes after that time, if not before. None: it need not be sooner."""
        if wait is None:
            return
        at = asyncio.get_running_loop().time() + wait.total_seconds()
        if at < self._sweep_at:
            self._sweep_at = at
            self._told.set()

    async def told(self) -> None:
        """Returns once something was told, or the next sweep is due."""
        # What changes the time of the sweep is told.
        try:
            async with asyncio.timeout_at(max(self._sweep_at, asyncio.get_running_loop().time())):
                await self._told.wait()
        except TimeoutError:
            pass
        self._told.clear()

    def take_sweep(self, every: float) -> bool:
        """Whether a sweep is due, which counts as made: the next one is due so many seconds from now on."""
        now = asyncio.get_running_loop().time()
        if now < self._sweep_at:
            return False
        self._sweep_at = now + every
        return True

    def take_due(self) -> bool:
        """Whether the time of a job has come."""
        due, self._due = self._due, False
        return due

    def take_keys(self, most: int) -> list[int]:
        """Some of the keys, which count as heard."""
        if len(self._keys) <= most:
            taken, self._keys = list(self._keys), set()
        else:
            taken = [self._keys.pop() for _ in range(most)]
        return taken

    def take_started(self) -> Mapping[int, Sequence[str]]:
        """By queue, the key of each job that has started since. They count as heard."""
        taken, self._started = self._started, defaultdict(list)
        return taken
