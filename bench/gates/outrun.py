"""G13: producers that are faster than the workers."""

from __future__ import annotations

from typing import Any

from ..flow import flowing
from ..load import Load
from ..ours import stage
from ..workers import Workers
from . import scenarios
from .gate import Found, Part
from .round import Round

_SECONDS = 20.0
_WARM = 3.0
_ENOUGH = 100_000_000


class Outrun:
    """G13."""

    name = "G13"
    title = "producers faster than workers: jobs ended a second"
    method = (
        "Two producers with 32 batches of 100 in flight each, which is more than all workers have room for, with four "
        f"streams and with 200 of credit 10; jobs ended a second over {_SECONDS:g} s, against G1 and G5 of the same "
        "round."
    )
    leaves_out = "What becomes of the backlog afterwards; G4 drains one."
    parts = (Part("4 streams", 80, 95, "% of G1"), Part("200 streams", 80, 95, "% of G5"))

    async def measure(self, bench: Round) -> Found:
        """Both numbers of streams."""
        few = await bench.ours("hand-off, batches of 100", scenarios.hand_off(bench.scale))
        many = await bench.ours("200 streams of credit 10", scenarios.many_streams(bench.scale))
        values: dict[str, float | None] = {}
        detail: dict[str, Any] = {}
        for part, workers, full in (
            ("4 streams", Workers(), few),
            ("200 streams", Workers(streams=200, slots=10), many),
        ):
            bench.tell(f"producers outrun {part}")
            rates, stored = await self._of(bench, workers)
            values[part] = round(100 * sum(rates) / len(rates) / full.rate, 1)
            detail[part] = {
                "ended_per_second": [round(rate) for rate in rates],
                "stored_per_second": round(stored),
                "full": full.told(),
            }
        return Found(values, detail)

    async def _of(self, bench: Round, workers: Workers) -> tuple[list[float], float]:
        load = Load(_ENOUGH, "batch", producers=2, in_flight=32)
        seconds = bench.scale.seconds(_SECONDS, least=3)
        async with bench.cluster.fresh(ours=True) as dsn, stage(dsn, kinds=workers.kinds) as servers:
            async with flowing(servers, load, workers) as flow:
                await flow.rate(_WARM)
                before = flow.stored
                rates = await flow.rates(seconds)
                return rates, (flow.stored - before) / seconds
