"""The gate `bulk`: how fast an operation on many jobs is, and what others notice of one that keeps a rate."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg

from .. import past
from ..beside import RETRIED, Retrying, changed, lane, retry
from ..errors import BenchError
from ..meter import Meter, per_job
from ..ours import Measured, measure, stage
from ..turns import in_turn, ratios
from . import scenarios
from .gate import Found, Part
from .round import Round

_ALONE, _BESIDE = "alone", "beside"
_RATE = 1_000
# As `bench ab` has it: twelve seconds. And for how long there is something to retry, with the start of a measurement.
_TIMES, _LONGEST = 0.4, 60
_HOUR = timedelta(hours=1)
_WAIT = 60.0
_P99 = "G6 p99 beside"


class Bulk:
    """RetryJobs."""

    name = "bulk"
    title = f"RetryJobs of 1,000,000; and at {_RATE:,} a second beside G6"
    method = (
        "Jobs that failed for good, with an attempt each, are written by SQL; nothing of it is left to autovacuum or "
        "to the next checkpoint. Retried: from the call, without a rate, to the operation's end, on a server that does "
        f"nothing else; they then wait. Beside: G6, without and with an operation that retries {_RATE:,} jobs a second "
        "of another kind meanwhile, which then wait; in turns, each on a fresh database, the order changes with each "
        "turn; the geometric mean of the ratios of p99. The run breaks where the operation ends too early."
    )
    leaves_out = "What retried jobs cost when they run; CancelJobs, DeleteJobs and UpdateJobs."
    parts = (Part("retried", 10_000, 25_000, "jobs/s"), Part(_P99, 2, 1.3, "x G6", less=True))

    async def measure(self, bench: Round) -> Found:
        """All at once, then beside G6."""
        values: dict[str, float | None] = {}
        detail: dict[str, Any] = {}
        values["retried"], detail["retried"] = await _retried(bench)
        scenario = scenarios.on_schedule(replace(bench.scale, factor=bench.scale.factor * _TIMES))
        jobs = _RATE * _LONGEST
        by_side = {
            _ALONE: replace(scenario, beside=Retrying(jobs)),
            _BESIDE: replace(scenario, beside=Retrying(jobs, _RATE)),
        }

        async def run(number: int, side: str) -> Measured:
            bench.tell(f"bulk, turn {number} of {bench.scale.pairs}, G6, {side}")
            return await measure(bench.cluster, by_side[side])

        turns = [
            await in_turn((_ALONE, _BESIDE), number, partial(run, number))
            for number in range(1, bench.scale.pairs + 1)
        ]
        told, _ = ratios([turn[_ALONE] for turn in turns], [turn[_BESIDE] for turn in turns])
        values[_P99] = round(told["start_p99_ms"]["mean"], 3)
        detail["ratios"], detail["judged_by"] = {_P99: told}, {_P99: "start_p99_ms"}
        detail["runs"] = [{side: each.told() for side, each in turn.items()} for turn in turns]
        return Found(values, detail)


async def _retried(bench: Round) -> tuple[float, dict[str, Any]]:
    """Jobs a second of one operation, and what a job costs."""
    jobs = bench.scale.jobs(bench.scale.retried_jobs)
    bench.tell(f"bulk, writing {jobs:,} jobs that failed")
    async with bench.cluster.fresh(ours=True) as dsn, stage(dsn, kinds=(RETRIED,)) as servers:
        connection = await asyncpg.connect(dsn)
        try:
            of = await lane(servers[0], connection, RETRIED)
            await past.ended(connection, [of], jobs, 24 * _HOUR, _HOUR, one_of=1)
            await connection.execute("vacuum (analyze) job, finished_job, attempt", timeout=600)
            await connection.execute("checkpoint", timeout=600)
            bench.tell(f"bulk, retrying {jobs:,}")
            meter = Meter(connection, bench.cluster.pid, {"server": [servers[0].pid]})
            before = await meter.read()
            began = time.monotonic()
            name = await retry(servers[0])
            done = False
            while not done:
                done, count = await changed(servers[0], name, _WAIT)
            seconds = time.monotonic() - began
            costs = per_job(before, await meter.read(), jobs)
            waiting = await connection.fetchval("select count(*) from live_job where attempts = 1")
        finally:
            await connection.close()
    if not count == waiting == jobs:
        raise BenchError(f"of {jobs} jobs {count} were retried, and {waiting} wait")
    return round(jobs / seconds), {"jobs": jobs, "seconds": round(seconds, 2), "costs": costs}
