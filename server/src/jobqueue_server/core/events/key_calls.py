"""Keys that may let a job in: told by the rooms whose statements gave tokens back, heard by the room of limits."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence


class KeyCalls:
    """What was told and not heard yet. What a server loses with its life another one's sweep finds.

    Attributes:
        wake: Set when something was told.
    """

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self._semaphores: set[int] = set()
        self._ripe = False
        self._started: defaultdict[int, list[str]] = defaultdict(list)

    def may_let_in(self, semaphore_ids: Iterable[int]) -> None:
        """These keys may have room for one that waits. It is committed."""
        self._semaphores.update(semaphore_ids)
        if self._semaphores:
            self.wake.set()

    def ripe(self) -> None:
        """A job is to be sent to its key now. It is committed."""
        self._ripe = True
        self.wake.set()

    def started(self, queue_id: int, keys: Iterable[str]) -> None:
        """Jobs of these keys have left the lines of a queue whose keys take turns: the next ones may stand there."""
        self._started[queue_id] += keys
        self.wake.set()

    def take_started(self) -> Mapping[int, Sequence[str]]:
        """By queue, the key of each job that has started since. They count as heard."""
        taken, self._started = self._started, defaultdict(list)
        return taken

    def take(self, most: int) -> list[int]:
        """Some of the keys, which count as heard."""
        if len(self._semaphores) <= most:
            taken, self._semaphores = list(self._semaphores), set()
        else:
            taken = [self._semaphores.pop() for _ in range(most)]
        return taken

    def take_ripe(self) -> bool:
        """Whether a job is to be sent to its key."""
        ripe, self._ripe = self._ripe, False
        return ripe
