"""The gate `labels`: what a job costs that says one thing more than its kind and its payload."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from ..ours import Measured, Scenario, measure
from ..scale import Scale
from ..turns import in_turn, ratios
from . import scenarios
from .gate import Found, Part
from .round import Round

_WITHOUT, _LABEL = "without", "label"
# The scenario of each gate, how many times its jobs, and what its ratio may be and should be.
_CASES: tuple[tuple[str, Callable[[Scale], Scenario], float, float, float], ...] = (
    ("G2", scenarios.rest, 0.8, 1.15, 1.08),
    ("G3", scenarios.unary, 2.0, 1.08, 1.04),
)


class Labels:
    """G2 and G3 with a label, by those without."""

    name = "labels"
    title = "a label on each job"
    method = (
        "G2 and G3 on the same code without and with a label on each job, in turns, each on a fresh database, the "
        "order changes with each turn. The ratio is that of CPU of server and PostgreSQL a job, the geometric mean of "
        "the pairs."
    )
    leaves_out = "Several labels, priorities, delays and keys: `bench calls` counts what these take."
    parts = tuple(Part(name, most, goal, "x without", less=True) for name, _, _, most, goal in _CASES)

    async def measure(self, bench: Round) -> Found:
        """The pairs of each."""
        values: dict[str, float | None] = {}
        detail: dict[str, Any] = {"ratios": {}, "runs": {}}
        for name, make, times, _, _ in _CASES:
            scenario = make(replace(bench.scale, factor=bench.scale.factor * times))
            runs = await self._pairs(bench, name, scenario)
            told, decides = ratios([run[_WITHOUT] for run in runs], [run[_LABEL] for run in runs])
            values[name] = None if decides is None else round(decides.mean, 3)
            detail["ratios"][name] = told
            detail["runs"][name] = [{side: each.told() for side, each in run.items()} for run in runs]
        return Found(values, detail)

    async def _pairs(self, bench: Round, name: str, scenario: Scenario) -> list[dict[str, Measured]]:
        by_side = {_WITHOUT: scenario, _LABEL: replace(scenario, load=replace(scenario.load, label=True))}
        pairs = bench.scale.pairs

        async def run(number: int, side: str) -> Measured:
            bench.tell(f"labels, turn {number} of {pairs}, {name}, {side}")
            return await measure(bench.cluster, by_side[side])

        return [await in_turn(tuple(by_side), number, partial(run, number)) for number in range(1, pairs + 1)]
