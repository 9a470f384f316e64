"""Callers who enqueue through a fault, and what they were answered when."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from uuid import uuid4

import grpc.aio

from tests.faults.producer import Producer
from tests.lease.hand_worker import reason_of

#: The deadline of each call: with it, no answer is later.
DEADLINE = 5.0
#: A busy machine makes a pause; a database that is away makes a longer one.
_PAUSE = 1.0
#: What a caller may be told while the database is away, and nothing else.
TOLD = {"UNAVAILABLE DATABASE_AWAY", "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED DEADLINE_EXCEEDED"}


class Load:
    """Callers of one server, half of which have keys and try again until they are acknowledged, as the clients do.

    Attributes:
        acknowledged: The jobs.
        refusals: How often a call was refused, by code and reason.
        slowest: The longest that a call which was refused took, in seconds.
    """

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._oks: list[float] = []
        self.acknowledged: set[str] = set()
        self.refusals: Counter[str] = Counter()
        self.slowest = 0.0

    @asynccontextmanager
    async def running(self, rate: float, callers: int = 4) -> AsyncIterator[None]:
        """Enqueues so many jobs a second while the body runs. What has a key is acknowledged in the end."""
        over = asyncio.Event()
        tasks = [
            asyncio.create_task(self._call(over, callers / rate, keyed=number % 2 == 0))
            for number in range(callers)
        ]
        try:
            yield
        finally:
            over.set()
            await asyncio.gather(*tasks)

    async def _call(self, over: asyncio.Event, pause: float, *, keyed: bool) -> None:
        while not over.is_set():
            key = uuid4().hex if keyed else ""
            while not await self._put(key) and keyed:
                await asyncio.sleep(0.05)
            await asyncio.sleep(pause)

    async def _put(self, key: str) -> bool:
        began = time.time()
        try:
            job = await self._producer.put(key=key, token=key, seconds=0.01, timeout=DEADLINE)
        except grpc.aio.AioRpcError as error:
            self.refusals[f"{error.code().name} {reason_of(error)}".strip()] += 1
            self.slowest = max(self.slowest, time.time() - began)
            await asyncio.sleep(0.02)
            return False
        self._oks.append(time.time())
        self.acknowledged.add(job)
        return True

    async def answered(self, since: float, within: float = 40.0) -> None:
        """Waits for an OK after this time."""
        async with asyncio.timeout(within):
            while not self._oks or self._oks[-1] <= since:
                await asyncio.sleep(0.02)

    def first_ok(self, since: float, until: float) -> float:
        """Seconds from a fault to the first OK after the service was missing for the last time."""
        pauses = self._pauses(since, until)
        return (pauses[-1] if pauses else min(at for at in self._oks if at > since)) - since

    def silence(self, since: float, until: float) -> float:
        """The longest time without an OK, in seconds."""
        oks = [at for at in self._oks if since - _PAUSE < at <= until]
        return max(later - earlier for earlier, later in pairwise(oks))

    def _pauses(self, since: float, until: float) -> list[float]:
        """When each of the pauses ended."""
        oks = [at for at in self._oks if since < at <= until]
        assert oks, "nothing was acknowledged"
        return [later for earlier, later in pairwise([since, *oks]) if later - earlier > _PAUSE]
