"""Concurrent calls share one insert, which is answered after its commit. While one commits, the next one gathers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from datetime import datetime

from ...errors import JobQueueError, QueueFull
from ...fair.line import FairLine
from ...metrics import Metrics
from ...store.database import DataError
from ...store.intake.intake import BacklogOfKeys, IntakeStore, NewRows, Stored
from ...traces.calls import Traces
from ..catalog.catalog import Catalog
from ..claim.handoff import HandOff, SlotReservation
from ..claim.load import Load
from ..tuning import Tuning
from .batch import Batch, backlog_full
from .names import Parted, UniqueNames, Way
from .placement import Placement
from .waiting import Waiting
from .window import BatchingWindow

_log = logging.getLogger(__name__)

#: Seconds that an insert takes that waits for a queue which another transaction keeps locked, and for how many seconds
#: none is asked then: jobs are stored all the same, and claimed once it answers.
_LONG_WAIT = 1.0
_NONE_ASKED_FOR = 5.0


class Batcher:
    """A line of batches and the inserts that they share.

    In one line either every row has an idempotency key, or none has. Batches with a job whose queue limits its key have
    lines of their own, so that others do not wait for the locks of keys. So have those with a job whose queue limits
    how many of its jobs run or start, and unique jobs.
    `names`: of unique jobs. `asks`: its inserts ask queues how many of their jobs may start. `traces`: is told of
    inserts while sampled calls are handled.
    """

    def __init__(
        self,
        store: IntakeStore,
        catalog: Catalog,
        hand_off: HandOff,
        placement: Placement,
        waiting: Waiting,
        window: BatchingWindow,
        load: Load,
        metrics: Metrics,
        tuning: Tuning,
        *,
        names: UniqueNames | None = None,
        asks: bool = False,
        traces: Traces | None = None,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._names = names
        # From when on it asks, by the clock of the event loop.
        self._asks, self._asks_from = asks, 0.0
        self._traces = traces
        self._hand_off = hand_off
        self._placement = placement
        self._waiting = waiting
        self._window = window
        self._load = load
        self._metrics = metrics
        self._most_jobs, self._most_bytes = tuning.most_inserted, tuning.most_inserted_bytes
        self._line: FairLine[Batch] = FairLine()
        self._wake = asyncio.Event()

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

    async def stored(self, batch: Batch) -> datetime:
        """Puts a batch in line and waits until it is stored: when that was.

        Raises:
            QueueFull: Too many jobs wait.
            DatabaseAway: It may have been stored or not.
        """
        try:
            self._waiting.check(batch.owner, batch.jobs)
        except QueueFull:
            # Those who come with the same key must not wait for what is never stored.
            batch.done.cancel()
            raise
        self.put(batch)
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
            self._waiting.storing_begins()
            try:
                while self._line.peek() is not None:
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
        while (batch := self._line.peek()) is not None:
            if batches and (jobs + batch.jobs > most or size + batch.size > self._most_bytes):
                break
            self._line.pop(batch.jobs)
            if batch.take():
                batches.append(batch)
                jobs += batch.jobs
                size += batch.size
        return batches

    async def _insert(self, batches: list[Batch]) -> None:
        # They may have been in line for long.
        if asking := [batch for batch in batches if batch.has_keys]:
            try:
                await self._catalog.keep_fresh()
            except Exception as error:
                # They are in no line any more.
                for batch in batches:
                    batch.fail(error)
                raise
            for batch in asking:
                batch.limit()
        limited = any(batch.limited for batch in asking)
        if self._names is not None:
            ways = self._names.ways(limited=limited)
        elif limited:
            ways = (Way(self._store_limited, hands_off=True),)
        else:
            asks = self._asks and asyncio.get_running_loop().time() >= self._asks_from
            ways = (Way(self._store_plain, hands_off=True, asks=asks),)
        started = asyncio.get_running_loop().time()
        traced = self._traces.now() if self._traces is not None and self._traces.live else 0
        for way in ways:
            batches = await self._insert_by(way, batches, started, traced)
            if not batches:
                break

    async def _store_plain(self, rows: Sequence[NewRows]) -> Parted:
        return Parted(await self._store.enqueue(rows))

    async def _store_limited(self, rows: Sequence[NewRows]) -> Parted:
        return Parted(await self._store.enqueue_limited(rows))

    async def _store_asking(self, rows: Sequence[NewRows], queues: Sequence[int]) -> Parted:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return Parted(await self._store.enqueue_counted(rows, queues))
        finally:
            ended = loop.time()
            if ended - began > _LONG_WAIT:
                self._asks_from = ended + _NONE_ASKED_FOR

    async def _insert_by(self, way: Way, batches: list[Batch], started: float, traced: int) -> list[Batch]:
        """Stores and answers batches in one way: those that it left."""
        rows = [row for batch in batches for row in batch.rows]
        lanes = [lane for batch in batches for lane in batch.lanes]
        kept: list[SlotReservation] = []
        try:
            if way.hands_off:
                asked = self._placement.reserve(rows, lanes, kept, asks=way.asks)
                with self._hand_off.handing_off():
                    done = await (self._store_asking(rows, asked) if asked else way.store(rows))
            else:
                done = await way.store(rows)
        except Exception as error:
            if traced:
                self._trace(traced, batches, error)
            await self._failed(batches, error)
            # The error has this frame in its traceback, and would hold itself by them.
            del batches
            return []
        finally:
            for slots in kept:
                slots.release()
        left: list[Batch] = []
        if done.left:
            left = [batch for batch in batches if batch.rows[0].id in done.left]
            batches = [batch for batch in batches if batch.rows[0].id not in done.left]
            for batch in left:
                # They are given back.
                batch.rows[0].slots.clear()
        try:
            if done.stored is not None:
                seconds = asyncio.get_running_loop().time() - started
                self._answer(batches, done.stored, seconds, traced)
        except Exception as error:
            # The others are in no line any more.
            for batch in left:
                batch.fail(error)
            raise
        return left

    def _answer(self, batches: list[Batch], stored: Stored, seconds: float, traced: int) -> None:
        """Batches are stored, or answered by what holds their names."""
        rows = [row for batch in batches for row in batch.rows]
        lanes = [lane for batch in batches for lane in batch.lanes]
        jobs = sum(batch.jobs for batch in batches)
        if traced:
            self._trace(traced, batches)
        self._hand_off.brought(jobs)
        self._metrics.observe_batch("enqueue", seconds, jobs)
        pressure = self._waiting.stored(jobs, seconds)
        try:
            self._placement.stored(rows, lanes, stored)
        finally:
            # They are committed, whatever becomes of the hand-off.
            for batch in batches:
                batch.succeed(stored, pressure)

    def _trace(self, began: int, batches: list[Batch], error: Exception | None = None) -> None:
        if self._traces is not None:
            headers = [batch.headers for batch in batches]
            self._traces.inserted(began, sum(batch.jobs for batch in batches), headers, error)

    async def _failed(self, batches: list[Batch], error: Exception) -> None:
        """What PostgreSQL refuses harms its own batch only. Any other error is the answer to all of them."""
        if isinstance(error, BacklogOfKeys) and len(batches) > 1:
            await self._insert_apart(batches, error.semaphore_ids)
            return
        if isinstance(error, DataError) and len(batches) > 1:
            for batch in batches:
                await self._insert([batch])
            return
        if isinstance(error, BacklogOfKeys):
            error = self._waiting.refused(backlog_full(batches[0], error.semaphore_ids))
        if not isinstance(error, JobQueueError):
            _log.error("an insert of %d calls failed", len(batches), exc_info=error)
        for batch in batches:
            batch.fail(error)

    async def _insert_apart(self, batches: list[Batch], full: Collection[int]) -> None:
        """Those that want none of the full keys go first, and together. Of the others some may fit, each by itself.

        One that wants no fewer jobs of a key than one that was just refused is refused without an insert. Else a flood
        of calls for a full key would cost its neighbours an insert each.
        """
        wanted = {batch: batch.jobs_of(full) for batch in batches}
        others = [batch for batch in batches if not wanted[batch]]
        if others:
            await self._insert(others)
        refused: dict[int, int] = {}
        for batch in batches:
            wants = wanted[batch]
            if not wants:
                continue
            if too_many := [key for key, jobs in wants.items() if jobs >= refused.get(key, jobs + 1)]:
                batch.fail(self._waiting.refused(backlog_full(batch, too_many)))
                continue
            await self._insert([batch])
            if batch.backlog_full and len(wants) == 1:
                refused.update(wants)


class Batchers:
    """Three lines: of batches that queues limit by their key, of those that may ask queues how many of their jobs may
    start, and of the others.
    """

    def __init__(self, plain: Batcher, limited: Batcher, asking: Batcher) -> None:
        self._plain = plain
        self._limited = limited
        self._asking = asking

    def of(self, batch: Batch) -> Batcher:
        """The line of a batch."""
        if batch.limited:
            return self._limited
        lanes = batch.lanes
        if lanes[0].asks_queue or (len(lanes) > 1 and any(lane.asks_queue for lane in lanes)):
            return self._asking
        return self._plain
