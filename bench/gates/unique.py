"""The gate `unique`: what a name costs a call that takes it, and one that finds it taken."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import asyncpg

from ..errors import BenchError
from ..latency import Latencies
from ..load import Load
from ..ours import measure, producers, stage
from ..processes import merged
from ..server import Server
from . import scenarios
from .gate import Found, Part
from .round import Round

_NAMES = 1_000
# No worker takes it.
_NEVER = "never"


class UniqueNames:
    """Unique jobs, one a call."""

    name = "unique"
    title = "gRPC unary with unique"
    method = (
        "By G3 of the same round. All new: G3's jobs with a name each, from the first enqueue to the last end. "
        "All taken: calls a second that are answered one of "
        f"{_NAMES:,} jobs, which wait and have no worker; their names go round. The client builds each message anew, "
        "which that of G3 does not."
    )
    leaves_out = (
        "Batches, REST, idempotency keys, REPLACE and DEBOUNCE; calls of one name at once but by chance."
    )
    parts = (Part("all new", 65, 85, "% of G3"), Part("all taken", 65, 90, "% of G3"))

    async def measure(self, bench: Round) -> Found:
        """G3, the same with names, then calls that are kept."""
        plain = scenarios.unary(bench.scale)
        without = await bench.ours("gRPC unary, one job a call", plain)
        bench.tell("unique, all new")
        new = await measure(bench.cluster, replace(plain, load=replace(plain.load, names=0)))
        bench.tell("unique, all taken")
        rate, told = await _kept(bench, plain.load)
        values: dict[str, float | None] = {
            "all new": round(100 * new.rate / without.rate, 1),
            "all taken": round(100 * rate / without.rate, 1),
        }
        return Found(values, {"G3": without.told(), "all new": new.told(), "all taken": told})


async def _kept(bench: Round, plain: Load) -> tuple[float, dict[str, Any]]:
    """Calls a second whose jobs are not stored, as others hold their names."""
    names = min(_NAMES, plain.jobs)
    load = replace(plain, kind=_NEVER, names=names)
    async with bench.cluster.fresh(ours=True) as dsn, stage(dsn, kinds=(_NEVER,)) as servers:
        await _made(servers, replace(load, jobs=names))
        seconds, acks = await _made(servers, load)
        connection = await asyncpg.connect(dsn)
        try:
            stored = await connection.fetchval("select count(*) from job")
        finally:
            await connection.close()
    if stored != names:
        raise BenchError(f"{stored} jobs are stored, of {names} names")
    told = {"calls": load.jobs, "seconds": round(seconds, 2), "ack_ms": acks.quantiles()}
    return load.jobs / seconds, told


async def _made(servers: list[Server], load: Load) -> tuple[float, Latencies]:
    """How long all calls of a load take, and each of them."""
    async with producers(servers, load) as made:
        started = time.monotonic()
        made.go()
        reports = await made.reports()
        return time.monotonic() - started, Latencies.of(merged(reports, "acks"))
