"""What autoscalers ask: how many slots some queues want together, and whether there is anything to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from ...errors import DatabaseAway, Draining, QueueNotFound, TooManyWatches
from ...fair.share import Share
from ...scope import Scope
from .demand import Demands

#: How often a stream looks, and how old what it sees may be, in seconds: together less than a second, within which the
#: first job is told.
LOOK_EVERY = 0.4
MAX_AGE = 0.3
MOST_STREAMS = 1_000


@dataclass(frozen=True, slots=True)
class Target:
    """What is scaled together.

    Attributes:
        queues: At least one.
        kinds: Their jobs of these kinds alone; none: all.
        activation: So many jobs may run or be runnable, and there is nothing to do yet.
    """

    queues: tuple[str, ...]
    kinds: frozenset[str] = frozenset()
    activation: int = 0


@dataclass(frozen=True, slots=True)
class Need:
    """How many slots are wanted, and whether there is anything to do."""

    wanted_slots: int
    active: bool


class Scaling:
    """Answers autoscalers, from the demand of queues.

    Args:
        demands: Of each queue.
        most_streams: How many streams may be open. Principals share them.
    """

    def __init__(self, demands: Demands, *, most_streams: int = MOST_STREAMS) -> None:
        self._demands = demands
        self._streams = Share(most_streams)
        self._leaving = asyncio.Event()

    def __len__(self) -> int:
        return self._streams.taken

    async def need(self, scope: Scope, target: Target, *, max_age: float | None = None) -> Need:
        """What the queues want together. One that was never used wants nothing: a scaler may be there first.

        Raises:
            QueueNotFound: The principal may read no jobs of one of them.
            DatabaseAway: It can't be read now.
        """
        busy = wanted = 0
        for queue in target.queues:
            try:
                demand = await self._demands.of_queue(scope, queue, target.kinds, max_age=max_age)
            except QueueNotFound:
                if not scope.grants.sees_queue(queue):
                    raise
                continue
            busy += demand.running + demand.runnable
            wanted += demand.wanted_slots
        return Need(wanted, busy > target.activation)

    async def activity(self, scope: Scope, target: Target) -> AsyncGenerator[bool, None]:
        """Whether there is anything to do: at once, and whenever that changes, until the server leaves.

        While the database is away, what was so before still counts.

        Raises:
            QueueNotFound: The principal may read no jobs of one of the queues.
            DatabaseAway: It can't be read at the beginning.
            Draining, TooManyWatches: As `streaming`.
        """
        with self.streaming(scope) as leaving:
            told = (await self.need(scope, target, max_age=MAX_AGE)).active
            yield told
            while not await _within(leaving, LOOK_EVERY):
                try:
                    need = await self.need(scope, target, max_age=MAX_AGE)
                except DatabaseAway:
                    continue
                if need.active != told:
                    told = need.active
                    yield told

    @contextmanager
    def streaming(self, scope: Scope) -> Iterator[asyncio.Event]:
        """Around a stream of a caller. What it gives is set when the server leaves.

        Raises:
            Draining: It leaves already.
            TooManyWatches: As many streams are open as may be.
        """
        if self._leaving.is_set():
            raise Draining("this server is leaving; ask another one", retry_after=timedelta(seconds=1))
        owner = scope.owner
        if not self._streams.has_room(owner):
            raise TooManyWatches(
                self._streams.full(owner, "streams of autoscalers"), retry_after=timedelta(seconds=1)
            )
        self._streams.take(owner)
        try:
            yield self._leaving
        finally:
            self._streams.give_back(owner)

    def leave(self) -> None:
        """Ends every stream: the server leaves."""
        self._leaving.set()


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Whether it is set within this time."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
