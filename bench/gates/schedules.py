"""The gate `schedules`: how late many schedules fire, and what is left of a hand-off beside them."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from ..errors import BenchError
from ..flow import flowing
from ..load import KIND, Load
from ..ours import stage
from ..workers import Workers
from .gate import Found, Part
from .round import Round

_MINUTE = 60.0
_WARM = 3.0
# More than a machine of today ends in the time.
_ENOUGH = 100_000_000
#: Each is due once a minute, the first time from 5 s on; one after the other, the minute full.
_MAKE = """
insert into schedule (namespace_id, name, queue, kind, spec, job, payload, policy, time_zones, next_at)
select 1, 'bench-' || i, 'default', $2,
    jsonb_build_object('every_us', 60000000::int8, 'phase_us', (extract(epoch from due) * 1000000)::int8 % 60000000),
    '{}', '{}',
    '{"overlap": 1, "catch_up_window_us": 3600000000, "catch_up": 2, "pause_after_failures": 0, "keep_runs": 5}',
    '9999a', due
from generate_series(0, $1::int4 - 1) i
cross join lateral (
    select date_trunc('milliseconds', now() + interval '5 seconds' + i * interval '1 minute' / $1::int4) as due
) d
"""
_LAGS = """
select count(*) as fires, count(*) filter (where outcome <> 1) as others,
    percentile_cont(array[0.5, 0.99]) within group (order by extract(epoch from decided_at - tick)) as lag
from schedule_run where decided_at >= $1
"""


class Schedules:
    """Schedules, each due once a minute."""

    name = "schedules"
    title = "schedules that are due once a minute"
    method = (
        "100,000 schedules whose ticks are spread over the minute. Lag: from the tick to the fire's transaction, "
        "over a minute without other load; the jobs are worked off. Beside: jobs of G1 that end a second while these "
        "schedules fire, by those without schedules in the same round; jobs of schedules are not counted."
    )
    leaves_out = (
        "Lines of cron, whose next tick takes longer to compute; many that are due at the same moment."
    )
    parts = (Part("lag p99", 1, 0.25, "s", less=True), Part("beside", 95, 98, "% of without"))

    async def measure(self, bench: Round) -> Found:
        """A hand-off without schedules, the lag alone, then both together."""
        count = bench.scale.jobs(bench.scale.schedules)
        bench.tell("schedules, none")
        _, without = await _of(bench, 0, loaded=True)
        bench.tell(f"schedules, {count:,} alone")
        alone, _ = await _of(bench, count, loaded=False)
        bench.tell(f"schedules, {count:,} beside a hand-off")
        beside, rate = await _of(bench, count, loaded=True)
        values: dict[str, float | None] = {
            "lag p99": alone["lag_s"]["p99"],
            "beside": round(100 * rate / without, 1),
        }
        return Found(
            values,
            {"alone": alone, "beside": {**beside, "rate": round(rate)}, "without": {"rate": round(without)}},
        )


async def _of(bench: Round, schedules: int, *, loaded: bool) -> tuple[dict[str, Any], float]:
    """The fires of a minute, and how many jobs of the load ended a second meanwhile."""
    seconds = bench.scale.seconds(_MINUTE, least=3)
    load, workers = Load(_ENOUGH, "batch", in_flight=16), Workers()
    async with bench.cluster.fresh(ours=True) as dsn, stage(dsn, kinds=workers.kinds) as servers:
        connection = await asyncpg.connect(dsn)
        try:
            if schedules:
                await connection.execute(_MAKE, schedules, KIND)
                await connection.execute("analyze schedule")
            async with flowing(servers, load, workers, paused=not loaded) as flow:
                # Until the first ticks are due, and a bit more.
                await asyncio.sleep(5 + _WARM)
                since = await connection.fetchval("select now()")
                ended = await flow.rate(seconds) * seconds
                row = await connection.fetchrow(_LAGS, since)
        finally:
            await connection.close()
    if not schedules:
        return {}, ended / seconds
    if not row["fires"] or row["others"]:
        raise BenchError(f"{row['fires']} ticks were decided, of which {row['others']} did not fire")
    told = {
        "fires": row["fires"],
        "fires_per_second": round(row["fires"] / seconds, 1),
        "lag_s": {"p50": round(row["lag"][0], 4), "p99": round(row["lag"][1], 4)},
    }
    return told, (ended - row["fires"]) / seconds
