"""The worker of each language at two commits, in turns: `python -m bench clients`. The server is one for both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from tests.conformance.languages import Language, languages, of_checkout

from . import results
from .errors import BenchError
from .languages import METHOD, measured
from .paired import paired
from .postgres import Cluster
from .runs import about, shown
from .scale import Scale

OUT = results.LATEST.with_name("clients.json")
_JOBS = 200_000


async def run(base: str, folder: Path, names: list[str] | None, pairs: int, scale: Scale) -> dict[str, Any]:
    """Measures each language in pairs; what `OUT` then has.

    Args:
        base: The revision.
        folder: All of its files; its programs are built there.
        names: Languages; None: all.
        pairs: Of each language, two or more.
        scale: Of the number of jobs.

    Raises:
        BenchError: A program can't be built, or a worker does not end its jobs.
    """
    async with shown() as (cluster, tell):
        found: dict[str, Any] = {
            **await about(cluster, scale),
            "method": METHOD,
            "base": base,
            "languages": {},
        }
        before = of_checkout(folder)
        for name, language in languages().items():
            if (names and name not in names) or name not in before:
                continue
            if missing := language.missing():
                found["languages"][name] = {"missing": f"no {', '.join(missing)} on PATH"}
                continue
            sides = {"base": before[name], "new": language}
            found["languages"][name] = await _compared(cluster, sides, pairs, scale.jobs(_JOBS), tell)
            # A run may be cut off.
            OUT.parent.mkdir(exist_ok=True)
            OUT.write_text(json.dumps(found) + "\n")
    return found


async def _compared(
    cluster: Cluster, sides: dict[str, Language], pairs: int, jobs: int, tell: Callable[[str], None]
) -> dict[str, Any]:
    sides = {side: language.optimised or language for side, language in sides.items()}
    for side, language in sides.items():
        tell(f"{language.name}, {side}: building")
        if trouble := await asyncio.to_thread(language.make):
            raise BenchError(f"{language.name} of {side} can't be built:\n{trouble}")
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for number in range(pairs):
        for side in sorted(sides, reverse=bool(number % 2)):
            tell(f"{sides[side].name}, pair {number + 1} of {pairs}, {side}")
            runs[side].append(await measured(cluster, sides[side], jobs, drain=False))
    figures: dict[str, Callable[[dict[str, Any]], float]] = {
        "jobs/s": lambda one: float(one["jobs_per_second"]),
        "worker, us": lambda one: float(one["cpu_us_per_job"]["worker"]),
    }
    told = {}
    for figure, of in figures.items():
        old, new = ([of(one) for one in runs[side]] for side in ("base", "new"))
        told[figure] = {"base": median(old), "new": median(new), **paired(old, new).told()}
    return {"ratios": told, "runs": runs}
