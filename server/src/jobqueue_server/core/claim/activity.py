"""What is under way between lines, sessions and the database, and how others wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Activity:
    """Claims, deliveries, hand-offs and settlements of this server.

    Attributes:
        claims: How many are on their way to the database.
        deliveries: How many claims have rows that no session has yet.
        rounds: How many rounds of claims have ended.
        settling: How many commits of settlements are under way, which bring credit back.
        paused: Whether nothing is claimed or handed off.
    """

    def __init__(self) -> None:
        self.claims = 0
        self.deliveries = 0
        self.rounds = 0
        self.settling = 0
        self._waiting: set[object] = set()
        self.paused = False
        self._drains = False
        self._hand_offs = 0
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()

    # ---- work to do

    def wake(self) -> None:
        """Something changed: a job, a slot, a lane, a session."""
        self._wake.set()

    async def work(self) -> None:
        """Waits until something has changed since it was last asked."""
        await self._wake.wait()
        self._wake.clear()

    # ---- progress

    def progressed(self) -> None:
        """A claim, a delivery, a hand-off or a settlement ended."""
        self._progress.set()

    async def progress(self) -> None:
        """Waits until one ends."""
        self._progress.clear()
        await self._progress.wait()

    async def progress_until(self, until: float) -> bool:
        """Waits until one ends; False if the time, of the running loop, is up first."""
        left = until - asyncio.get_running_loop().time()
        if left <= 0:
            return False
        try:
            async with asyncio.timeout(left):
                await self.progress()
        except TimeoutError:
            return False
        return True

    # ---- what is under way

    @contextmanager
    def claiming(self) -> Iterator[None]:
        """Around a claim."""
        self.claims += 1
        try:
            yield
        finally:
            self.claims -= 1
            self.progressed()

    def round_ended(self) -> None:
        """Each group that could have a claim had one."""
        self.rounds += 1
        self.progressed()

    def delivery_begins(self) -> None:
        """A claim brought rows. They are delivered while the next claim runs."""
        self.deliveries += 1

    def delivery_ended(self) -> None:
        """Their sessions have them."""
        self.deliveries -= 1
        self.wake()
        self.progressed()

    @contextmanager
    def handing_off(self) -> Iterator[None]:
        """Around an insert that keeps slots."""
        self._hand_offs += 1
        try:
            yield
        finally:
            self._hand_offs -= 1
            self.progressed()

    @property
    def settlements_wait(self) -> bool:
        """Whether settlements wait for the next commit of their line."""
        return bool(self._waiting)

    def settlements(self, line: object, *, wait: bool) -> None:
        """Whether a line has settlements for a commit after the one that is under way."""
        if wait:
            self._waiting.add(line)
        else:
            self._waiting.discard(line)

    @contextmanager
    def settling_now(self) -> Iterator[None]:
        """Around a commit of settlements."""
        self.settling += 1
        try:
            yield
        finally:
            self.settling -= 1
            self.progressed()
            self.wake()

    # ---- the end

    def pause(self) -> None:
        """Nothing is claimed or handed off from now on: the server drains."""
        self._drains = self.paused = True

    def stand(self, stands: bool) -> None:
        """Nothing is claimed or handed off while the queue stands."""
        self.paused = stands or self._drains
        self.wake()

    async def quiet(self) -> None:
        """Waits, once it is paused, until nothing is on its way to a session any more."""
        while self.claims or self.deliveries or self._hand_offs:
            self.wake()
            await self.progress()
