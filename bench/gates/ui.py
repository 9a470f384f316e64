"""The gate `ui`: what people who look at the dashboard cost those who use the queue."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

import asyncpg

from ..beside import Viewing
from ..flow import flowing
from ..load import Load
from ..load.viewers import Viewers
from ..meter import memory
from ..ours import Measured, measure, stage
from ..turns import in_turn, ratios
from ..workers import Workers
from . import scenarios
from .gate import Found, Part
from .round import Round

_WITHOUT, _WITH = "without", "with"
_VIEWERS = Viewers()
_NOBODY = Viewers(overview=0, jobs=0)
# How many times the jobs of a scenario, as `bench ab` has them, and each figure with the part that it decides.
_CASES = (
    ("G1", scenarios.hand_off, 2.5, {"G1 server CPU": "server_by_driver"}),
    ("G6", scenarios.on_schedule, 0.4, {"G6 p50": "start_p50_ms", "G6 p99": "start_p99_ms"}),
)
_MEMORY = "memory"
# More than a machine of today ends in the time.
_ENOUGH = 100_000_000
_WORKED, _RESTED, _WATCHED = 5.0, 5.0, 30.0


class Dashboard:
    """Viewers of the dashboard, against none."""

    name = "ui"
    title = "25 viewers of the dashboard against none"
    method = (
        f"{_VIEWERS.overview} tabs on the overview and {_VIEWERS.jobs} on the list of jobs: one process of plain HTTP "
        "clients that make the calls of these pages, when the pages would; an hour of statistics is there on both "
        "sides. In turns, each on a fresh database, the order changes with each turn; ratios are geometric means of "
        "the pairs. G1: CPU of the server, by that of producers and workers, whose work a job is the same on both "
        "sides. G6: 1 where the 95 % interval of the ratio contains 1, else the ratio. Memory: resident, of a server "
        "that rests after a hand-off: the most in 30 s with viewers, against before. The run breaks where a viewer is "
        "refused, or gets less than half of the overviews."
    )
    leaves_out = "What browsers do; viewers of other pages; the CPU of the viewers' process beside."
    parts = (
        Part("G1 server CPU", 1.05, 1.03, "x without", less=True),
        Part("G6 p50", 1.1, 1, "x without", less=True),
        Part("G6 p99", 1.1, 1, "x without", less=True),
        Part(_MEMORY, 20, 10, "MB", less=True),
    )

    async def measure(self, bench: Round) -> Found:
        """The pairs, then memory."""
        values: dict[str, float | None] = {}
        detail: dict[str, Any] = {"ratios": {}, "judged_by": {}, "runs": {}}
        for name, make, times, parts in _CASES:
            scenario = make(replace(bench.scale, factor=bench.scale.factor * times))
            by_side = {
                _WITHOUT: replace(scenario, beside=Viewing(_NOBODY)),
                _WITH: replace(scenario, beside=Viewing(_VIEWERS)),
            }
            pairs = bench.scale.pairs

            async def run(number: int, side: str, name: str = name, by_side: Any = by_side) -> Measured:
                bench.tell(f"ui, turn {number} of {bench.scale.pairs}, {name}, {side}")
                return await measure(bench.cluster, by_side[side])

            turns = [
                await in_turn((_WITHOUT, _WITH), number, partial(run, number))
                for number in range(1, pairs + 1)
            ]
            told, _ = ratios([turn[_WITHOUT] for turn in turns], [turn[_WITH] for turn in turns])
            for part, figure in parts.items():
                values[part] = _value(told.get(figure), bounds=name == "G6")
                detail["ratios"][part], detail["judged_by"][part] = told, figure
            detail["runs"][name] = [{side: each.told() for side, each in turn.items()} for turn in turns]
        values[_MEMORY], detail[_MEMORY] = await _memory(bench)
        return Found(values, detail)


def _value(ratio: dict[str, Any] | None, *, bounds: bool) -> float | None:
    """A ratio; with `bounds` it is 1 where the pairs can't tell it from that."""
    if ratio is None:
        return None
    if bounds and ratio["low"] <= 1 <= ratio["high"]:
        return 1.0
    return round(float(ratio["mean"]), 3)


async def _memory(bench: Round) -> tuple[float, dict[str, Any]]:
    """MB that the server's process grows by while people look."""
    bench.tell("ui, memory")
    seconds = bench.scale.seconds
    workers = Workers()
    async with bench.cluster.fresh(ours=True) as dsn, stage(dsn, kinds=workers.kinds) as servers:
        connection = await asyncpg.connect(dsn)
        try:
            async with flowing(servers, Load(_ENOUGH, "batch", in_flight=16), workers) as flow:
                await flow.rate(seconds(_WORKED))
                await flow.made.end()
                await flow.until_quiet(connection, 60)
            await asyncio.sleep(seconds(_RESTED))
            before = most = memory(servers[0].pid)
            async with Viewing(_VIEWERS).going(servers, connection) as ended:
                for _ in range(int(seconds(_WATCHED, least=3))):
                    await asyncio.sleep(1)
                    most = max(most, memory(servers[0].pid))
                got = await ended()
        finally:
            await connection.close()
    sizes = {"before_mb": round(before / 1e6, 1), "most_mb": round(most / 1e6, 1)}
    return round((most - before) / 1e6, 1), {**sizes, "viewed": got}
