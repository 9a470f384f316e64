"""Concurrent calls share one insert, which is answered after its commit. While one commits, the next one gathers."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

from ...errors import JobQueueError, QueueFull
from ...metrics import Metrics
from ...store.database import DataError
from ...store.intake.intake import IntakeStore
from ..claim.handoff import HandOff, SlotReservation
from ..claim.load import Load
from ..tuning import Tuning
from .batch import Batch
from .callers import FairLine
from .placement import Placement
from .waiting import Waiting
from .window import BatchingWindow

_log = logging.getLogger(__name__)


class Batcher:
    """A line of batches and the inserts that they share.

    In one line either every row has an idempotency key, or none has.
    """

    def __init__(
        self,
        store: IntakeStore,
        hand_off: HandOff,
        placement: Placement,
        waiting: Waiting,
        window: BatchingWindow,
        load: Load,
        metrics: Metrics,
        tuning: Tuning,
    ) -> None:
        self._store = store
        self._hand_off = hand_off
        self._placement = placement
        self._waiting = waiting
        self._window = window
        self._load = load
        self._metrics = metrics
        self._most_jobs = tuning.most_inserted
        self._most_bytes = tuning.most_inserted_bytes
        self._line: FairLine[Batch] = FairLine()
        self._wake = asyncio.Event()

    def put(self, batch: Batch, caller: str | None = None) -> None:
        """Puts a batch in line without waiting for it; `done` tells when it is stored.

        Args:
            batch: Its jobs.
            caller: Callers take turns. None: the current call's.

        Raises:
            QueueFull: Too many jobs wait.
        """
        batch.enter(self._waiting)
        self._load.call_arrived()
        self._line.append(batch, caller)
        self._wake.set()

    async def stored(self, batch: Batch) -> datetime:
        """Puts a batch in line and waits until it is stored: when that was.

        Raises:
            QueueFull: Too many jobs wait.
            DatabaseAway: It may have been stored or not.
        """
        try:
            self.put(batch)
        except QueueFull:
            # Those who come with the same key must not wait for what is never stored.
            batch.done.cancel()
            raise
        try:
            # Shielded: a caller that gives up must not take its neighbours' insert along.
            return await asyncio.shield(batch.done)
        except asyncio.CancelledError:
            batch.give_up()
            raise

    async def run(self) -> None:
        """Stores what is in line, until cancelled."""
        # After a crash the line may hold batches for which no caller wakes this again.
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._line:
                await self._window.wait()
                batches = self._gather(min(await self._hand_off.admit(), self._most_jobs))
                if batches:
                    await self._insert(batches)

    def _gather(self, most: int) -> list[Batch]:
        """The next batches, within the bounds of one insert: so many jobs, or one batch."""
        batches: list[Batch] = []
        jobs = size = 0
        while self._line:
            batch = self._line.peek()
            if batches and (jobs + batch.jobs > most or size + batch.size > self._most_bytes):
                break
            self._line.pop()
            if batch.take():
                batches.append(batch)
                jobs += batch.jobs
                size += batch.size
        return batches

    async def _insert(self, batches: list[Batch]) -> None:
        loop = asyncio.get_running_loop()
        rows = [row for batch in batches for row in batch.rows]
        lanes = [lane for batch in batches for lane in batch.lanes]
        started = loop.time()
        kept: list[SlotReservation] = []
        try:
            self._placement.reserve(rows, lanes, kept)
            with self._hand_off.handing_off():
                stored = await self._store.enqueue(rows)
        except Exception as error:
            await self._failed(batches, error)
            return
        finally:
            for slots in kept:
                slots.release()
        jobs = sum(batch.jobs for batch in batches)
        self._hand_off.brought(jobs)
        self._metrics.observe_batch("enqueue", loop.time() - started, jobs)
        try:
            self._placement.stored(rows, lanes, stored)
        finally:
            # They are committed, whatever becomes of the hand-off.
            for batch in batches:
                batch.succeed(stored)

    async def _failed(self, batches: list[Batch], error: Exception) -> None:
        """A value that PostgreSQL refuses harms its own batch only. Any other error is the answer to all of them."""
        if isinstance(error, DataError) and len(batches) > 1:
            for batch in batches:
                await self._insert([batch])
            return
        if not isinstance(error, JobQueueError):
            _log.error("an insert of %d calls failed", len(batches), exc_info=error)
        for batch in batches:
            batch.fail(error)
