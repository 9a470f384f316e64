"""The gate `totals`: what a limit of a queue's running jobs costs, and both kinds of limits with a snapshot held."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..flow import flowing
from ..load import Load
from ..ours import measure, stage
from ..server import limit_keys, limit_queue
from ..workers import Workers
from . import scenarios
from .gate import Found, Part
from .round import Round
from .snapshot import rates

# A limit that never binds.
_ROOM = 1_000_000
#: Of keys, in the parts with a snapshot; 0: the queue has a limit of its running jobs, and its jobs have no keys.
HELD = {"1 key": 1, "1,000 keys": 1_000, "100,000 keys": 100_000, "total": 0}
# More than a machine of today ends in the time.
_ENOUGH = 100_000_000


class Totals:
    """Limits of a queue's running jobs, and limits where dead rows stay."""

    name = "totals"
    title = "limits of a queue, and limits with a snapshot held"
    method = (
        "Jobs a second, under limits that never bind. One and two servers: G1, and G9's with two servers, in a queue "
        "that limits how many of its jobs run, by the same without a limit in the same round. With a snapshot: batches "
        "of 100, 16 in flight, whose keys go round in a queue that limits them, or which have no keys in a queue that "
        "limits how many run; on a fresh database, for as long as the snapshot is held, by as long without one."
    )
    leaves_out = "Limits that bind; rates; snapshots that are held for hours."
    parts = (
        Part("one server", 60, 90, "% of G1"),
        Part("two servers", 45, 80, "% of G9"),
        *(Part(f"snapshot, {name}", 80, 95, "% of without") for name in HELD),
    )

    async def measure(self, bench: Round) -> Found:
        """One and two servers, then each with and without a snapshot."""
        values: dict[str, float | None] = {}
        detail: dict[str, Any] = {}
        for part, free in (
            ("one server", scenarios.hand_off(bench.scale)),
            ("two servers", scenarios.servers(bench.scale, 2)),
        ):
            without = await bench.ours(f"{part}, no limit", free)
            bench.tell(f"totals, {part}")
            limited = await measure(bench.cluster, replace(free, of_the_queue=_ROOM))
            values[part] = round(100 * limited.rate / without.rate, 1)
            detail[part] = {"without": without.told(), "with": limited.told()}
        for name, keys in HELD.items():
            bench.tell(f"totals, {name}")
            without_one, held = [await self._of(bench, keys, held=held) for held in (False, True)]
            means = [sum(each) / len(each) for each in (without_one, held)]
            values[f"snapshot, {name}"] = round(100 * means[1] / means[0], 1)
            detail[f"snapshot, {name}"] = {
                "without": [round(rate) for rate in without_one],
                "held": [round(rate) for rate in held],
            }
        return Found(values, detail)

    async def _of(self, bench: Round, keys: int, *, held: bool) -> list[float]:
        """Jobs ended in each second of the time."""
        load, workers = Load(_ENOUGH, "batch", in_flight=16, keys=keys), Workers()
        async with bench.cluster.fresh(ours=True) as dsn, stage(dsn, kinds=workers.kinds) as servers:
            if keys:
                await limit_keys(servers[0], _ROOM)
            else:
                await limit_queue(servers[0], _ROOM)
            async with flowing(servers, load, workers) as flow:
                return await rates(flow, dsn, bench.scale, bench.scale.limits_hold_seconds, held=held)
