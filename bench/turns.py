"""Measurements in turns: sides that follow each other, what is compared of each, and the ratios of their pairs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from typing import Any

from .ours import Measured
from .paired import Ratio, paired

#: The figure that decides whether something costs anything: CPU of server and PostgreSQL a job.
DECIDES = "cpu_us"


async def in_turn(
    sides: Sequence[str], number: int, measure: Callable[[str], Awaitable[Measured]]
) -> dict[str, Measured]:
    """One turn of all sides. `number`: of the turn, from 1 on; the order changes with each."""
    return {side: await measure(side) for side in (sides if number % 2 else reversed(sides))}


def figures(measured: Measured) -> dict[str, float]:
    """What is compared of a run: costs a job, jobs a second, and latencies where they are measured."""
    cpu = measured.costs["cpu_us_per_job"]
    driver = cpu["worker"] + cpu["client"]
    found = {
        DECIDES: cpu["server"] + cpu["postgres"],
        "server_us": cpu["server"],
        "postgres_us": cpu["postgres"],
        # The same code on both sides: what differs here is the machine, or how its calls gather.
        "driver_us": driver,
        # On a machine whose clock swings the driver is the measure: its work a job is the same. With a driver that
        # uses no tick of CPU there is none.
        "cpu_by_driver": (cpu["server"] + cpu["postgres"]) / driver if driver else 0.0,
        "server_by_driver": cpu["server"] / driver if driver else 0.0,
        "wal_bytes": measured.costs["wal_bytes_per_job"],
        "jobs_per_second": measured.rate,
    }
    if measured.starts is not None:
        found |= {"start_p50_ms": measured.starts.at(50), "start_p99_ms": measured.starts.at(99)}
    return found


def ratios(base: Sequence[Measured], new: Sequence[Measured]) -> tuple[dict[str, Any], Ratio | None]:
    """Each figure of two or more pairs as JSON has it, new by base, and the ratio that decides."""
    told: dict[str, Any] = {}
    decides = None
    of_sides = [[figures(each) for each in side] for side in (base, new)]
    for figure in of_sides[0][0]:
        of_base, of_new = ([each[figure] for each in side] for side in of_sides)
        # CPU comes in ticks of 10 ms: of a very small run there may be none, and no ratio.
        if min(*of_base, *of_new) == 0:
            continue
        ratio = paired(of_base, of_new)
        told[figure] = {"base": round(median(of_base), 3), "new": round(median(of_new), 3), **ratio.told()}
        if figure == DECIDES:
            decides = ratio
    return told, decides
