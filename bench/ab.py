"""Two checkouts on one machine, in turns: `python -m bench ab`. The server differs, all else is the working tree's."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from . import results
from .checkout import Checkout
from .gates import GATES, scenarios
from .ours import Measured, Scenario, measure
from .postgres import Cluster
from .runs import about, console, shown
from .scale import Scale
from .turns import in_turn, ratios

OUT = results.LATEST.with_name("ab.json")
METHOD = (
    "In turns on one PostgreSQL, each time on a fresh database with the schema of its side; the side that is first "
    "changes with each pair. Producers, workers and PostgreSQL are those of the working tree on both sides. "
    "Ratios are new by base; mean: geometric; low and high: its 95 % confidence interval, by Student's t on the "
    "logarithms of the pairs' ratios."
)
# The scenario of each gate, and how many times its jobs: ten seconds of each on two cores.
_SCENARIOS: dict[str, tuple[Callable[[Scale], Scenario], float]] = {
    "G1": (scenarios.hand_off, 2.5),
    "G2": (scenarios.rest, 1.3),
    "G3": (scenarios.unary, 3.0),
    "G5": (scenarios.many_streams, 1.75),
    "G6": (scenarios.on_schedule, 0.4),
    "labels": (scenarios.labelled, 0.8),
}
NAMES = tuple(_SCENARIOS)


async def run(base: Checkout, new: Checkout, names: list[str], pairs: int, scale: Scale) -> dict[str, Any]:
    """Measures both sides on a PostgreSQL of its own, and shows how far it is; what `OUT` then has."""
    async with shown(steps=2 * pairs * len(names)) as (cluster, tell):
        found = {
            **await about(cluster, scale),
            "method": METHOD,
            "sides": {"base": base.told(), "new": new.told()},
        }

        def keep(gates: dict[str, Any]) -> None:
            # After each pair: a run may be cut off.
            found["gates"] = gates
            OUT.parent.mkdir(exist_ok=True)
            draft = OUT.with_suffix(".draft")
            draft.write_text(json.dumps(found) + "\n")
            draft.replace(OUT)

        await compare(cluster, {"base": base, "new": new}, names, pairs, scale, tell, keep)
    return found


async def compare(
    cluster: Cluster,
    sides: dict[str, Checkout],
    names: list[str],
    pairs: int,
    scale: Scale,
    tell: Callable[[str], None],
    keep: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Pair by pair, each gate in each; `keep` gets all gates as they are known after each pair.

    Args:
        cluster: One for both sides: two would share memory, disk and autovacuum all the same, and each would have
            pages and WAL files in another state. With one, only the order can matter, and it changes.
        sides: `base` and `new`.
        names: Of `NAMES`.
        pairs: How many.
        scale: Of the number of jobs.
        tell: Told what is being measured.
        keep: See above.
    """
    runs: dict[str, list[dict[str, Measured]]] = {name: [] for name in names}
    broken: dict[str, str] = {}
    found: dict[str, Any] = {}
    for number in range(1, pairs + 1):
        for name in names:
            if name in broken:
                continue
            make, times = _SCENARIOS[name]
            scenario = make(replace(scale, factor=scale.factor * times))

            async def run_of(
                side: str, number: int = number, name: str = name, scenario: Scenario = scenario
            ) -> Measured:
                tell(f"pair {number} of {pairs}, {name}, {side}")
                return await measure(cluster, scenario, sides[side])

            try:
                pair = await in_turn(("base", "new"), number, run_of)
            except Exception as error:
                # The other gates are worth having.
                broken[name] = str(error) or repr(error)
                console.print(f"{name} broke\n{traceback.format_exc()}", highlight=False, markup=False)
            else:
                runs[name].append(pair)
            found[name] = _entry(name, runs[name], broken.get(name))
            keep(found)
    return found


def _entry(name: str, runs: list[dict[str, Measured]], broke: str | None) -> dict[str, Any]:
    """One gate: its ratios, once there are two pairs, and all that was measured."""
    told: dict[str, Any] = {}
    verdict = "broke" if broke is not None else "too few pairs"
    if len(runs) > 1:
        told, decides = ratios([pair["base"] for pair in runs], [pair["new"] for pair in runs])
        if decides is not None and broke is None:
            verdict = decides.verdict
    return {
        "title": GATES[name].title,
        "verdict": verdict,
        **({} if broke is None else {"broke": broke}),
        "ratios": told,
        "runs": [{side: measured.told() for side, measured in pair.items()} for pair in runs],
    }
