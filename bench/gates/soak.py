"""G11: an hour at half load, in which partitions come and go."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import asyncpg

from ..flow import Flow, flowing, live_bytes
from ..latency import Latencies
from ..load import Load
from ..meter import memory
from ..processes import REFUSED, merged
from ..server import Server, declare
from ..workers import Workers
from . import scenarios
from .gate import Found, Part
from .round import Round

_RETENTION_MINUTES = 5
_WINDOW = 30.0
_NO_PARTITIONS = (Path(__file__).parents[1] / "no_partitions.sql").read_text()


@dataclass(frozen=True, slots=True)
class Sample:
    """A moment: seconds since the start, bytes of the server, of live_job and of the database, number of partitions."""

    at: float
    memory: int
    live: int
    database: int
    partitions: int


class Soak:
    """G11."""

    name = "G11"
    title = "one hour at half load, retention of minutes"
    method = (
        "Batches of 100 on a fixed schedule, at half of the rate of G1 in the same round, four streams, for an hour; "
        f"jobs are kept for {_RETENTION_MINUTES} minutes after their end, in partitions of one minute. The mean of the "
        "last third against that of the middle third, by which time the retention has been passed: growth of the "
        "server's memory, of live_job with its indexes, and of the p99 from enqueue to start (each tenth job, windows "
        f"of {_WINDOW:g} s). Where the disk halts for a fifth of a second the server refuses what it has no room for; "
        "the producers don't ask again."
    )
    leaves_out = "Days; a database that is larger than memory."
    parts = (
        Part("memory", 10, 2, "% growth", less=True),
        Part("live table", 25, 5, "% growth", less=True),
        Part("p99", 50, 10, "% growth", less=True),
    )

    async def measure(self, bench: Round) -> Found:
        """Runs for the time of the scale."""
        full = await bench.ours("hand-off, batches of 100", scenarios.hand_off(bench.scale))
        seconds = bench.scale.seconds(bench.scale.soak_seconds, least=9)
        calls = full.rate / 2 / 100
        load = Load(int(calls * seconds) * 100, "batch", rate=calls, stamped=True)
        window = min(_WINDOW, seconds / 9)
        workers = Workers(stamped=True, sample=10, window=window)
        settings = {"JOBQUEUE_BENCH_RETENTION_MINUTES": str(_RETENTION_MINUTES)}
        program = "bench.short_retention"
        async with AsyncExitStack() as up:
            dsn = await up.enter_async_context(bench.cluster.fresh(ours=True))
            await without_partitions(dsn)
            server = await up.enter_async_context(Server(dsn, program, settings))
            await declare(server, workers.kinds)
            async with flowing([server], load, workers) as flow:
                samples = await self._watch(bench, flow, server, dsn, seconds, window)
                await flow.made.reports()
                stored, refused = flow.stored, flow.made.count(REFUSED)
                await flow.until_ended(stored, within=60)
                reports = await flow.hired.stop()
        tails = _tails(merged(reports, "windows"))
        values: dict[str, float | None] = {
            "memory": _growth([each.memory for each in samples]),
            "live table": _growth([each.live for each in samples]),
            "p99": _growth(tails),
        }
        detail = {
            "seconds": round(seconds),
            "jobs": stored,
            "refused": refused,
            "jobs_per_second": round(calls * 100),
            "start_ms": Latencies.of(merged(reports, "starts")).quantiles(),
            "p99_ms": [round(tail, 1) for tail in tails],
            "memory_mb": [round(each.memory / 1e6, 1) for each in samples],
            "live_mb": [round(each.live / 1e6, 1) for each in samples],
            "database_mb": [round(each.database / 1e6) for each in samples],
            "partitions": [each.partitions for each in samples],
            "warnings": server.warnings[:10],
        }
        return Found(values, detail)

    async def _watch(
        self, bench: Round, flow: Flow, server: Server, dsn: str, seconds: float, window: float
    ) -> list[Sample]:
        connection = await asyncpg.connect(dsn)
        found: list[Sample] = []
        started = time.monotonic()
        try:
            while (at := time.monotonic() - started) < seconds:
                size = await connection.fetchval("select pg_database_size(current_database())")
                partitions = await connection.fetchval("select count(*) from job_partition")
                live = await live_bytes(connection)
                found.append(Sample(at, memory(server.pid), live, size, partitions))
                # What is known of an hour that breaks near its end.
                bench.tell(
                    f"half load, {at:.0f} of {seconds:.0f} s, {flow.ended:,} jobs ended, {flow.made.count(REFUSED):,} "
                    f"refused; server {found[-1].memory / 1e6:.1f} MB, live_job {live / 1e6:.1f} MB, "
                    f"{partitions} partitions"
                )
                flow.check()
                await asyncio.sleep(min(window, seconds - at))
        finally:
            await connection.close()
        return found


async def without_partitions(dsn: str) -> None:
    """Removes those that a migration made: for hours no other would be needed, and none would go."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(_NO_PARTITIONS)
    finally:
        await connection.close()


def _tails(windows: list[list[tuple[int, str]]]) -> list[float]:
    """The p99 of each window, over all processes; the first and the last are not whole."""
    by_window: dict[int, list[str]] = {}
    for number, part in (each for one in windows for each in one):
        by_window.setdefault(number, []).append(part)
    whole = sorted(by_window)[1:-1]
    return [Latencies.of(by_window[number]).at(99) for number in whole]


def _growth(values: list[float] | list[int]) -> float | None:
    third = len(values) // 3
    if third == 0:
        return None
    return round(100 * (mean(values[-third:]) / mean(values[third:-third]) - 1), 1)
