"""Concurrent calls share one insert, which is answered after its commit. While one commits, the next one gathers."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from ...fair.line import FairLine
from ..claim.handoff import HandOff
from ..claim.load import Load
from ..tuning import Tuning
from .batch import Batch
from .beside import Insert
from .inserter import Inserter
from .slow_lane import SlowLane
from .waiting import Waiting
from .window import BatchingWindow

_log = logging.getLogger(__name__)


class Batcher:
    """A line of batches and the inserts of one form that they share, one at a time.

    Beside an insert that takes long, others go: most likely it waits for a lock, which they do not want.

    Args:
        inserter: Makes the inserts.
        hand_off: Says how many jobs the next one may have.
        waiting: Counts the jobs in line.
        window: How long an insert waits for more calls.
        load: Hears of calls.
        slow_lane: Where inserts go that met a lock; None: one of this form waits for no other transaction.
        tuning: How many jobs and bytes share an insert.
    """

    def __init__(
        self,
        inserter: Inserter,
        hand_off: HandOff,
        waiting: Waiting,
        window: BatchingWindow,
        load: Load,
        slow_lane: SlowLane | None,
        tuning: Tuning,
    ) -> None:
        self._inserter = inserter
        self._hand_off = hand_off
        self._waiting = waiting
        self._window = window
        self._load = load
        self._slow_lane = slow_lane
        self._beside = None if slow_lane is None else slow_lane.beside
        self._most_jobs, self._most_bytes = tuning.most_inserted, tuning.most_inserted_bytes
        self._line: FairLine[Batch] = FairLine()
        # Those that waited for the end of a slow insert; they go first.
        self._back: deque[Batch] = deque()
        self._wake = asyncio.Event()
        self._besides: set[asyncio.Task[None]] = set()

    def put(self, batch: Batch, caller: str | None = None) -> None:
        """Puts a batch in line without waiting for it; `done` tells when it is stored.

        Args:
            batch: Its jobs, for which there is room: `Waiting.check` or `has_room` goes before, in the same turn.
            caller: The connection that it came by; None: that of the current call.
        """
        batch.enter(self._waiting)
        self._load.call_arrived()
        self._line.append(batch, batch.owner, caller)
        self._wake.set()

    def put_back(self, batch: Batch) -> None:
        """The slow insert has ended that a batch waited for."""
        self._back.append(batch)
        self._wake.set()

    async def run(self) -> None:
        """Stores what is in line, until cancelled."""
        # After a crash the line may hold batches for which no caller wakes this again.
        self._wake.set()
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._store(None)
        except asyncio.CancelledError:
            for task in self._besides:
                task.cancel()
            if self._besides:
                await asyncio.wait(self._besides)
            raise

    async def _store(self, slow: Insert | None) -> None:
        """Stores what is in line; beside a slow insert, as long as that is under way."""
        self._waiting.storing_begins()
        try:
            while (self._back or self._line.peek() is not None) and not (slow and slow.ended):
                await self._window.wait()
                batches = self._gather(min(await self._hand_off.room_for_insert(), self._most_jobs))
                if batches:
                    await self._insert(batches)
        finally:
            self._waiting.storing_ends()

    def _gather(self, most: int) -> list[Batch]:
        """The next batches, within the bounds of one insert: so many jobs, or one batch."""
        batches: list[Batch] = []
        jobs = size = 0
        while (batch := self._back[0] if self._back else self._line.peek()) is not None:
            if batches and (jobs + batch.jobs > most or size + batch.size > self._most_bytes):
                break
            if self._back:
                self._back.popleft()
            else:
                self._line.pop(batch.jobs)
            if self._beside is not None and self._beside.slow and self._beside.keeps(batch, self.put_back):
                continue
            if batch.take():
                batches.append(batch)
                jobs += batch.jobs
                size += batch.size
        return batches

    async def _insert(self, batches: list[Batch]) -> None:
        if self._slow_lane is None or self._beside is None:
            await self._inserter.insert(batches, None)
            return
        insert = Insert(batches)
        becomes_slow = asyncio.get_running_loop().call_later(self._beside.slow_after, self._slow, insert)
        try:
            # The slow one may wait for the answer of a queue.
            locked = await self._inserter.insert(batches, self._slow_lane.patience, asks=not self._besides)
            if locked:
                await self._slow_lane.part(self._inserter, insert, locked)
        finally:
            becomes_slow.cancel()
            insert.end()
            if insert.slow:
                self._beside.ended(insert)
                # Who goes beside it looks whether it is to end.
                self._wake.set()

    def _slow(self, insert: Insert) -> None:
        """An insert takes long: from now on others may go beside it."""
        if self._beside is not None and self._beside.begins(insert):
            task = asyncio.create_task(self._go_beside(insert))
            self._besides.add(task)
            task.add_done_callback(self._besides.discard)

    async def _go_beside(self, insert: Insert) -> None:
        assert self._beside is not None
        # What came while it was not slow yet.
        self._wake.set()
        try:
            while not insert.ended:
                await self._wake.wait()
                self._wake.clear()
                await self._store(insert)
        except Exception:
            # Their callers were told. The line goes on by itself.
            _log.exception("an insert beside a slow one failed")
        finally:
            self._beside.leaves()
            # Another one may have come meanwhile.
            self._wake.set()


class Batchers:
    """All lines: one for each form of the insert."""

    def __init__(
        self,
        plain: Batcher,
        keyed: Batcher,
        limited: Batcher,
        asking: Batcher,
        keyed_asking: Batcher,
        unique: Batcher,
    ) -> None:
        self._plain = plain
        self._keyed = keyed
        self._limited = limited
        self._asking = asking
        self._keyed_asking = keyed_asking
        self._unique = unique

    def of(self, batch: Batch) -> Batcher:
        """The line of a batch: of its jobs each has an idempotency key, or none; and one that is unique is alone."""
        row = batch.rows[0]
        if row.name is not None:
            return self._unique
        if batch.limited:
            return self._limited
        keyed = row.key_digest is not None
        lanes = batch.lanes
        if lanes[0].asks_queue or (len(lanes) > 1 and any(lane.asks_queue for lane in lanes)):
            return self._keyed_asking if keyed else self._asking
        return self._keyed if keyed else self._plain
