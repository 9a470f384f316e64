"""G8: a snapshot that is held, so that no dead row can be removed."""

from __future__ import annotations

from typing import Any

import asyncpg

from ..flow import Flow, flowing
from ..load import Load
from ..ours import stage
from ..scale import Scale
from ..workers import Workers
from .gate import Found, Part
from .round import Round

_WARM = 5.0
_BACKLOG = 50_000
_DELAY = 1.0
# More than a machine of today ends in the time.
_ENOUGH = 100_000_000


class HeldSnapshot:
    """G8."""

    name = "G8"
    title = "with a snapshot held for 5 minutes, against without"
    method = (
        "Producers and workers go on for as long as the snapshot is held, on a fresh database, and as long without "
        "one; jobs ended a second over all of that time. By hand-off: batches of 100, 8 in flight. Through a backlog: "
        "the same, with jobs that are due a second after their enqueue, so that none is handed off, and at most 50,000 "
        "that wait."
    )
    leaves_out = "Snapshots that are held for hours; other tables of the same database that churn."
    parts = (Part("hand-off", 90, 100, "%"), Part("backlog", 90, 100, "%"))

    async def measure(self, bench: Round) -> Found:
        """Each without and with."""
        values: dict[str, float | None] = {}
        detail: dict[str, Any] = {}
        for part, backlog in (("hand-off", 0), ("backlog", bench.scale.jobs(_BACKLOG))):
            without = await self._of(bench, part, backlog, held=False)
            held = await self._of(bench, part, backlog, held=True)
            mean = [sum(rates) / len(rates) for rates in (without, held)]
            values[part] = round(100 * mean[1] / mean[0], 1)
            detail[part] = {
                "without": [round(rate) for rate in without],
                "held": [round(rate) for rate in held],
            }
        return Found(values, detail)

    async def _of(self, bench: Round, part: str, backlog: int, *, held: bool) -> list[float]:
        seconds = bench.scale.seconds(bench.scale.hold_seconds, least=3)
        bench.tell(f"{part}, {seconds:g} s {'with a snapshot held' if held else 'without a snapshot'}")
        load, workers = Load(_ENOUGH, "batch", in_flight=8, delay=_DELAY if backlog else 0.0), Workers()
        async with bench.cluster.fresh(ours=True) as dsn, stage(dsn, kinds=workers.kinds) as servers:
            async with flowing(servers, load, workers, ahead=backlog or None) as flow:
                return await rates(flow, dsn, bench.scale, bench.scale.hold_seconds, held=held)


async def rates(flow: Flow, dsn: str, scale: Scale, span: float, *, held: bool) -> list[float]:
    """Jobs ended in each second of a span, after a few to warm up, with a snapshot held all the while or without."""
    seconds = scale.seconds(span, least=3)
    await flow.rate(_WARM if scale.factor == 1 else 1.0)
    if not held:
        return await flow.rates(seconds)
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read"):
            await connection.fetchval("select count(*) from live_job")
            return await flow.rates(seconds)
    finally:
        await connection.close()
