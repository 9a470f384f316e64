"""Rounds of measurements, shown while they go on and kept gate by gate."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from itertools import count
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from . import results, table
from .gates import GATES, Found, PeerRun, Round
from .machine import machine, versions
from .postgres import Cluster
from .scale import Scale

console = Console()


async def run_gates(names: list[str], rounds: int, scale: Scale) -> list[str]:
    """Round by round; the gates that broke."""
    found: dict[str, list[Found]] = {name: [] for name in names}
    broken: list[str] = []

    async def each(bench: Round) -> None:
        for name in names:
            if name in broken:
                continue
            try:
                one = await GATES[name].measure(bench)
            except Exception:
                # The others are worth having, and hours may lie behind them.
                broken.append(name)
                console.print(
                    f"[red]{name} broke[/]\n{traceback.format_exc()}", highlight=False, markup=False
                )
                continue
            found[name].append(one)
            # Kept after every gate: a run may be cut off.
            results.merge({name: results.gate_entry(GATES[name], found[name], bench.about)})
            console.print(table.line(name, one), highlight=False)

    await run_rounds(rounds, scale, each)
    return broken


async def run_rounds(rounds: int, scale: Scale, each: Callable[[Round], Awaitable[None]]) -> None:
    """Rounds on one PostgreSQL; what peers did, and ours at their workloads, is kept after each."""
    runs: list[list[PeerRun]] = []
    built: dict[str, dict[str, str]] = {}
    async with shown() as (cluster, tell):
        known = await about(cluster, scale)
        for number in range(1, rounds + 1):

            def say(what: str, head: str = f"round {number} of {rounds}, ") -> None:
                tell(head + what)

            bench = Round(cluster, scale, say, known, built)
            try:
                await each(bench)
            finally:
                runs.append(bench.runs)
                results.merge(results.workload_entries(runs, built, known))


@asynccontextmanager
async def shown(steps: int | None = None) -> AsyncIterator[tuple[Cluster, Callable[[str], None]]]:
    """A PostgreSQL, and a line on the terminal that says what is being done.

    `steps`: how often it will be told, if that is known: a bar shows how far it is.
    """
    columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()]
    if steps is not None:
        columns[2:] = [BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
    # Rich estimates from the last 30 s, and one step may take a minute.
    with Progress(*columns, console=console, transient=True, speed_estimate_period=600) as progress:
        task = progress.add_task("starting PostgreSQL", total=steps)
        begun = count()

        def tell(what: str) -> None:
            if console.is_terminal:
                progress.update(task, description=what, completed=next(begun))
            else:
                console.print(f"{results.now()} {what}", highlight=False, soft_wrap=True)

        async with Cluster() as cluster:
            await cluster.warm()
            yield cluster, tell


async def about(cluster: Cluster, scale: Scale) -> dict[str, Any]:
    """What is kept with every result."""
    return {
        "machine": machine(),
        "versions": versions(),
        "postgres": await cluster.settings(),
        "scale": asdict(scale),
        "at": results.now(),
    }
