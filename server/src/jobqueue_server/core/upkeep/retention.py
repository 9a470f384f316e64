"""Keeps the partitions ahead of time, and lets go of jobs, keys and sessions when their retention has ended."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from itertools import pairwise
from typing import TypeVar

from ... import logs
from ...errors import DatabaseAway, DatabaseFull
from ...store.upkeep.retention import Fate, LocksBusy, Partition, RetentionStore
from .forgetting import Forgetting

T = TypeVar("T")
log = logs.get(__name__)

EVERY = timedelta(minutes=1)
# A sweep that is not done by then goes on in the next minute, perhaps on another server.
SWEEP_FOR = timedelta(seconds=50)
RETRY_SOON = timedelta(seconds=1)
# How often a partition that is beyond the retention and can't be dropped is looked through.
SWEEP_OLD_EVERY = timedelta(minutes=5)
# The others, where a queue keeps jobs shorter: after a tenth of the shortest such time.
SWEEPS_OVER_SHORTEST = 10
MIN_SWEEP_EVERY = timedelta(minutes=10)
PARTITIONS_OVER_RETENTION = 28
MIN_RETENTION = timedelta(hours=1)
MIN_WIDTH = timedelta(minutes=10)
MIN_AHEAD = timedelta(hours=2)
PARTITIONS_AHEAD = 2
# Each costs the planner of every statement that names no id: a join over 168 took 2.7 ms.
MAX_PARTITIONS = 64
# What one merge copies. Writers of these old ranges wait meanwhile, a settlement of such a job among them: 20,000
# small jobs take half a second to a second. When partitions become too many, four times as much is borne: more would
# come near the statement timeout. So 64 partitions hold about two million jobs that outlive the retention; beyond
# that their number grows, with a warning.
MERGE_ROWS, MERGE_BYTES = 20_000, 64 << 20
PRESSED = 4
LOCK_TRIES = 5


def partition_width(retention: timedelta) -> timedelta:
    """A 28th of the retention, in whole minutes: 6 hours for 7 days."""
    minutes = math.ceil(retention / PARTITIONS_OVER_RETENTION / timedelta(minutes=1))
    return max(timedelta(minutes=minutes), MIN_WIDTH)


class Retention:
    """Makes partitions before they are needed, and removes what ended longer ago than the retention.

    A partition in which every job ended long enough ago is dropped whole. Where a few jobs still live (run_at may be
    400 days ahead) or ended lately, it is given one more width of time; then those few are copied into one
    partition with the leftovers of older adjacent ones, and the rest is dropped. Where they are many, the others
    are deleted in small batches instead.

    A queue may keep what ended in one status longer or shorter. What it keeps longer is kept like jobs that live. What
    it keeps shorter is deleted in small batches, out of partitions whose jobs all were enqueued so long ago. That is
    never the present one: new rows would take the room, and watches find them by pages written lately.

    Args:
        store: The statements.
        retention: How long a job is kept after its end; an hour at least.
        forgetting: Lets go of lanes without jobs.

    Raises:
        ValueError: The retention is shorter than an hour.
    """

    def __init__(
        self, store: RetentionStore, *, retention: timedelta, forgetting: Forgetting | None = None
    ) -> None:
        if retention < MIN_RETENTION:
            raise ValueError(f"a retention of {retention} is too short: give one hour or more")
        self._store = store
        self._retention = retention
        self._forgetting = forgetting
        self._width = partition_width(retention)
        self._ahead = max(PARTITIONS_AHEAD, math.ceil(MIN_AHEAD / self._width))

    async def run(self) -> None:
        """Ensures partitions and sweeps, each once a minute until cancelled; the one never waits for the other."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_ensure())
            group.create_task(self._run_sweep())

    async def ensure(self) -> None:
        """Makes the partitions of now and of the time ahead; before the first enqueue, and every minute.

        Raises:
            LocksBusy: A lock was not to be had in five tries; the partitions made before still serve.
            DatabaseAway, DatabaseFull: PostgreSQL does not answer, or has no room.
        """
        made = await patiently(
            lambda: self._store.ensure_partitions(self._width, behind=1, ahead=self._ahead)
        )
        if made:
            log.info("partitions made", partitions=made)

    async def sweep(self) -> None:
        """Removes what has expired, in small batches and for 50 s at most.

        Raises:
            DatabaseAway, DatabaseFull: PostgreSQL does not answer, or has no room.
        """
        until = time.monotonic() + SWEEP_FOR.total_seconds()
        older: Partition | None = None
        for partition in await self._expired_partitions():
            try:
                older = await self._retire(partition, older, until)
            except LocksBusy as busy:
                log.warning("partition stays for now", partition=partition.name, error=busy)
                older = None
        await self._relieve(until)
        await self._thin(until)
        keys = await self._paced(self._store.sweep_keys(), until)
        names = await self._paced(self._store.sweep_names(), until)
        sessions = await self._paced(self._store.sweep_sessions(), until)
        operations = await self._paced(self._store.sweep_operations(), until)
        servers = await self._store.sweep_servers()
        if self._forgetting is not None:
            await self._forgetting.sweep(
                await self._store.list_partitions(),
                self._retention,
                lambda batches: self._paced(batches, until),
            )
        log.debug("swept", keys=keys, names=names, sessions=sessions, operations=operations, servers=servers)

    async def _run_ensure(self) -> None:
        while True:
            pause = EVERY
            try:
                await self.ensure()
            except (LocksBusy, DatabaseAway, DatabaseFull) as error:
                # Soon, since without a partition every enqueue fails: the database may be back from a long absence.
                log.warning("could not make partitions", error=error)
                pause = RETRY_SOON
            await asyncio.sleep(pause.total_seconds())

    async def _run_sweep(self) -> None:
        while True:
            try:
                if await self._store.claim_sweep(EVERY - timedelta(seconds=5)):
                    await self.sweep()
            except (LocksBusy, DatabaseAway, DatabaseFull) as error:
                log.warning("could not sweep", error=error)
            await asyncio.sleep(EVERY.total_seconds())

    async def _expired_partitions(self) -> list[Partition]:
        partitions = await self._store.list_partitions()
        return [p for p in partitions if p.ended_at <= p.read_at - self._retention]

    async def _retire(self, partition: Partition, older: Partition | None, until: float) -> Partition | None:
        """Drops what it can; returns what is left as the older one for the next merge, if it may be merged."""
        await self._paced(self._store.sweep_progress(partition), until)
        fate = await patiently(lambda: self._store.drop_partition(partition.name))
        if fate is Fate.DROPPED:
            log.info("partition dropped", partition=partition.name)
            return older
        is_due = _is_due(partition, SWEEP_OLD_EVERY)
        if partition.leftover:
            if is_due:
                await self._paced(self._store.sweep_finished(partition), until)
            return partition
        if not is_due or partition.ended_at > partition.read_at - self._retention - self._width:
            return None
        for target in (older, partition):
            if target is not None and await self._merge(target, partition, MERGE_ROWS, MERGE_BYTES):
                return target
        swept = await self._paced(self._store.sweep_finished(partition), until)
        if swept:
            log.info("jobs swept from a partition where many are kept", partition=partition.name, jobs=swept)
        return None

    async def _thin(self, until: float) -> None:
        """Sweeps what queues keep shorter than the retention, out of the partitions that stay."""
        shortest = await self._store.shortest_retention()
        if shortest == self._retention:
            return
        every = max(shortest / SWEEPS_OVER_SHORTEST, MIN_SWEEP_EVERY)
        for partition in await self._store.list_partitions():
            age = partition.read_at - partition.ended_at
            if shortest <= age < self._retention and _is_due(partition, every):
                swept = await self._paced(self._store.sweep_finished(partition), until)
                if swept:
                    log.info(
                        "jobs swept that queues keep shorter than others",
                        partition=partition.name,
                        jobs=swept,
                    )

    async def _relieve(self, until: float) -> None:
        """Merges expired adjacent partitions, the smallest first and with more patience, while there are too many."""
        refused: set[tuple[str, str]] = set()
        while (excess := len(await self._store.list_partitions()) - MAX_PARTITIONS + self._ahead) > 0:
            if time.monotonic() >= until:
                return
            pairs = sorted(pairwise(await self._expired_partitions()), key=lambda p: p[0].bytes + p[1].bytes)
            for older, younger in pairs:
                names = (older.name, younger.name)
                if names in refused:
                    continue
                if await self._merge(older, younger, MERGE_ROWS * PRESSED, MERGE_BYTES * PRESSED):
                    break
                # The older one only grows from here on.
                refused.add(names)
            else:
                log.warning(
                    "too many partitions, none small enough to merge: many jobs outlive the retention",
                    excess=excess,
                    retention=self._retention,
                )
                return

    async def _merge(self, older: Partition, younger: Partition, max_rows: int, max_bytes: int) -> bool:
        fate = await patiently(
            lambda: self._store.merge_partitions(
                older.name, younger.name, max_rows=max_rows, max_bytes=max_bytes
            )
        )
        if fate is Fate.MERGED:
            log.info("partitions merged", older=older.name, younger=younger.name)
        return fate is Fate.MERGED

    async def _paced(self, batches: AsyncGenerator[int, None], until: float) -> int:
        """Runs the batches, resting after each for as long as it took; how many rows, when done or out of time."""
        total = 0
        began = time.monotonic()
        async with aclosing(batches):
            async for swept in batches:
                total += swept
                if time.monotonic() >= until:
                    break
                await asyncio.sleep(time.monotonic() - began)
                began = time.monotonic()
        return total


def _is_due(partition: Partition, every: timedelta) -> bool:
    """Whether a partition is to be swept: a sweep of it was stopped, or the last one is long ago."""
    swept_at = partition.swept_at
    return partition.swept_to is not None or swept_at is None or swept_at <= partition.read_at - every


async def patiently(step: Callable[[], Awaitable[T]]) -> T:
    """Tries again where locks are busy: each try waits 100 ms at most, with every insert behind it.

    Raises:
        LocksBusy: They were at each of five tries.
    """
    tries = 1
    while True:
        try:
            return await step()
        except LocksBusy:
            if tries == LOCK_TRIES:
                raise
        tries += 1
        await asyncio.sleep(RETRY_SOON.total_seconds() * random.uniform(0.5, 1.5))
