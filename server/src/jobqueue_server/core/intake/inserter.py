"""One insert of one form: its batches are stored by one statement, mostly, and answered after its commit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from datetime import timedelta

from ...errors import DatabaseAway, JobQueueError
from ...metrics import Metrics
from ...store.database import DataError, Locked
from ...store.intake.intake import BacklogOfKeys, IntakeStore, NewRows, Stored
from ...traces.calls import Traces
from ..catalog.catalog import Catalog
from ..claim.handoff import HandOff, SlotReservation
from .batch import Batch, backlog_full
from .names import Parted, UniqueNames, Way
from .placement import Placement
from .waiting import Waiting

_log = logging.getLogger(__name__)

#: For how many seconds no queue is asked how many of its jobs may start, once an insert met a lock there: jobs are
#: stored all the same, and claimed once the queue answers.
_NONE_ASKED_FOR = 5.0


class Inserter:
    """Stores batches that one form of the insert can store together.

    Args:
        store: Stores their rows.
        catalog: Says whether queues limit their keys by now.
        hand_off: Lends slots.
        placement: Reserves these, and delivers what is stored.
        waiting: Counts refusals.
        metrics: Hears of each insert.
        names: Of unique jobs.
        asks: Whether it asks queues how many of their jobs may start.
        traces: Is told of inserts while sampled calls are handled.
    """

    def __init__(
        self,
        store: IntakeStore,
        catalog: Catalog,
        hand_off: HandOff,
        placement: Placement,
        waiting: Waiting,
        metrics: Metrics,
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
        self._metrics = metrics

    async def insert(
        self, batches: list[Batch], patience: timedelta | None, *, asks: bool = True
    ) -> list[Batch]:
        """Stores batches, which are in no line any more, and answers them.

        Args:
            batches: They.
            patience: How long a statement waits for a lock; None: as long as it may take.
            asks: Whether queues may be asked how many of their jobs may start, where this form asks them.

        Returns:
            Those that are neither stored nor answered: a lock that one of them wants was not to be had in that time.
        """
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
            # Slots are not kept for as long as a statement may take.
            ways = self._names.ways(limited=limited or patience is None)
        elif limited:
            ways = (Way(self._store_limited, hands_off=True),)
        else:
            asks = asks and self._asks and asyncio.get_running_loop().time() >= self._asks_from
            ways = (Way(self._store_plain, hands_off=True, asks=asks),)
        started = asyncio.get_running_loop().time()
        traced = self._traces.now() if self._traces is not None and self._traces.live else 0
        locked: list[Batch] = []
        for way in ways:
            batches = await self._insert_by(way, batches, patience, locked, started, traced)
            if not batches:
                break
        return locked

    async def _store_plain(self, rows: Sequence[NewRows], patience: timedelta | None) -> Parted:
        return Parted(await self._store.enqueue(rows, patience=patience))

    async def _store_limited(self, rows: Sequence[NewRows], patience: timedelta | None) -> Parted:
        return Parted(await self._store.enqueue_limited(rows, patience=patience))

    async def _store_asking(
        self, rows: Sequence[NewRows], queues: Sequence[int], patience: timedelta | None
    ) -> Parted:
        try:
            return Parted(await self._store.enqueue_counted(rows, queues, patience=patience))
        except Locked:
            # It may have been a queue, and none has to be asked.
            self._asks_from = asyncio.get_running_loop().time() + _NONE_ASKED_FOR
            for row in rows:
                row.slots.clear()
            return await self._store_plain(rows, patience)

    async def _insert_by(
        self,
        way: Way,
        batches: list[Batch],
        patience: timedelta | None,
        locked: list[Batch],
        started: float,
        traced: int,
    ) -> list[Batch]:
        """Stores and answers batches in one way: those that it left. `locked` gets those that met a lock."""
        rows = [row for batch in batches for row in batch.rows]
        lanes = [lane for batch in batches for lane in batch.lanes]
        kept: list[SlotReservation] = []
        try:
            if way.hands_off:
                asked = self._placement.reserve(rows, lanes, kept, asks=way.asks)
                with self._hand_off.handing_off():
                    if asked:
                        done = await self._store_asking(rows, asked, patience)
                    else:
                        done = await way.store(rows, patience)
            else:
                done = await way.store(rows, patience)
        except Locked:
            locked += self._met_lock(batches, patience)
            return []
        except Exception as error:
            if traced:
                self._trace(traced, batches, error)
            locked += await self._failed(batches, error, patience)
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

    def _met_lock(self, batches: list[Batch], patience: timedelta | None) -> list[Batch]:
        """Those that may be tried again: not where the role has a `lock_timeout` of its own, beyond any patience."""
        for batch in batches:
            for row in batch.rows:
                row.slots.clear()
        if patience is not None:
            return batches
        for batch in batches:
            batch.fail(DatabaseAway("another transaction keeps a row locked that the call wants"))
        return []

    async def _failed(
        self, batches: list[Batch], error: Exception, patience: timedelta | None
    ) -> list[Batch]:
        """What PostgreSQL refuses harms its own batch only. Any other error is the answer to all of them.

        Returns:
            As `insert`.
        """
        if isinstance(error, BacklogOfKeys) and len(batches) > 1:
            return await self._insert_apart(batches, error.semaphore_ids, patience)
        if isinstance(error, DataError) and len(batches) > 1:
            return [late for batch in batches for late in await self.insert([batch], patience)]
        if isinstance(error, BacklogOfKeys):
            error = self._waiting.refused(backlog_full(batches[0], error.semaphore_ids))
        if not isinstance(error, JobQueueError):
            _log.error("an insert of %d calls failed", len(batches), exc_info=error)
        for batch in batches:
            batch.fail(error)
        return []

    async def _insert_apart(
        self, batches: list[Batch], full: Collection[int], patience: timedelta | None
    ) -> list[Batch]:
        """Those that want none of the full keys go first, and together. Of the others some may fit, each by itself.

        One that wants no fewer jobs of a key than one that was just refused is refused without an insert. Else a flood
        of calls for a full key would cost its neighbours an insert each.
        """
        wanted = {batch: batch.jobs_of(full) for batch in batches}
        others = [batch for batch in batches if not wanted[batch]]
        locked = await self.insert(others, patience) if others else []
        refused: dict[int, int] = {}
        for batch in batches:
            wants = wanted[batch]
            if not wants:
                continue
            if too_many := [key for key, jobs in wants.items() if jobs >= refused.get(key, jobs + 1)]:
                batch.fail(self._waiting.refused(backlog_full(batch, too_many)))
                continue
            locked += await self.insert([batch], patience)
            if batch.backlog_full and len(wants) == 1:
                refused.update(wants)
        return locked
