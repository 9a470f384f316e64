"""Three times as much as the server can take."""

from __future__ import annotations

from dataclasses import replace

import asyncpg

from ..flow import flowing
from ..load import Load
from ..ours import stage
from ..processes import BEATS, DONE, LATE, PONGS, REFUSED, merged
from ..workers import Workers
from ..workers.bare import IN_TIME
from . import scenarios
from .gate import Found, Part
from .round import Round

_TIMES = 3
_SECONDS = 20.0
_WARM = 3.0
_DEADLINE = 5.0


class Overload:
    """Refuses new work before it harms finished work."""

    name = "overload"
    title = f"{_TIMES} times capacity"
    method = (
        f"Batches of 100 on a fixed schedule at {_TIMES} times the rate of G1 in the same round, each call with "
        f"a deadline of {_DEADLINE:g} s, for {_SECONDS:g} s; both by a producer without a gRPC library, of which three "
        "times as many calls would take most of a core. Goodput: jobs ended a second, against that rate. "
        f"Settlements and heartbeats: answered within {IN_TIME:g} s. Answered: calls that were stored, or refused "
        "by RESOURCE_EXHAUSTED with a RetryInfo, within their deadline; a refusal without one ends the run."
    )
    leaves_out = (
        "Callers that come back as RetryInfo asks: these do not, and the next call is as early as ever."
    )
    parts = (
        Part("goodput", 80, 100, "% of capacity"),
        Part("settlements", 99.9, 100, "%"),
        Part("heartbeats", 99.9, 100, "%"),
        Part("answered", 99.9, 100, "%"),
    )

    async def measure(self, bench: Round) -> Found:
        """Measures the capacity, then asks for more."""
        scenario = scenarios.hand_off(bench.scale)
        scenario = replace(scenario, load=replace(scenario.load, bare=True))
        capacity = (await bench.ours("hand-off, batches of 100", scenario)).rate
        seconds = bench.scale.seconds(_SECONDS, least=3)
        calls = _TIMES * capacity / 100
        jobs = int(calls * (seconds + _WARM) * 2) * 100
        load = Load(jobs, "batch", rate=calls, in_flight=0, deadline=_DEADLINE, bare=True)
        workers = Workers(beat=0.1)
        bench.tell(f"{calls * 100:,.0f} jobs a second where {capacity:,.0f} can be had")
        async with bench.cluster.fresh(ours=True) as dsn, stage(dsn, kinds=workers.kinds) as servers:
            async with flowing(servers, load, workers) as flow:
                await flow.rate(_WARM)
                ended = await flow.rates(seconds)
                reports = await flow.made.end()
                stored, refused, late = (flow.made.count(what) for what in (DONE, REFUSED, LATE))
                missed = sum(merged(reports, "missed"))
                connection = await asyncpg.connect(dsn)
                await flow.until_quiet(connection, within=60)
                await connection.close()
                unanswered = sum(merged(await flow.hired.stop(), "unanswered"))
                settled, slow = flow.hired.count(DONE), flow.hired.count(LATE)
                beats, pongs = flow.hired.count(BEATS), flow.hired.count(PONGS)
        goodput = sum(ended) / len(ended)
        asked = stored + refused + late + missed
        values: dict[str, float | None] = {
            "goodput": round(100 * goodput / capacity, 1),
            "settlements": round(100 * (settled - slow) / (settled + unanswered), 3),
            # The last ones may be under way.
            "heartbeats": round(100 * min(1.0, (pongs + workers.streams) / beats), 3),
            "answered": round(100 * (stored + refused) / asked, 3),
        }
        detail = {
            "capacity": round(capacity),
            "asked_per_second": round(calls * 100),
            "ended_per_second": [round(rate) for rate in ended],
            "stored": stored,
            "refused": refused,
            "late": late,
            "not_sent": missed,
        }
        return Found(values, detail)
