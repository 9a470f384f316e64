"""Ours under each kind of load: `python -m bench loads`. No gates: what a protocol, a payload or a handler costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .load import Load
from .ours import Scenario, measure
from .postgres import Cluster
from .scale import Scale
from .workers import Workers

METHOD = (
    "Four streams with 1,000 slots, one producer, from the first enqueue to the last end. Closed loop, but for the "
    "rows with a rate: those calls are made on a fixed schedule, and their latencies are counted from it."
)
_SIZES = {"128 B": 128, "1 KB": 1024, "10 KB": 10_240}


def scenarios(scale: Scale) -> dict[str, Scenario]:
    """Each by its name."""
    found: dict[str, Scenario] = {}
    for name, size in _SIZES.items():
        fewer = 4 if size > 4096 else 1
        batch = Load(scale.jobs(200_000 // fewer), "batch", payload=size)
        found[f"gRPC batch, {name}"] = Scenario(batch)
        found[f"gRPC pipelined, {name}"] = Scenario(
            Load(scale.jobs(200_000 // fewer), "pipelined", payload=size)
        )
        found[f"gRPC unary, {name}"] = Scenario(
            Load(scale.jobs(30_000), "unary", payload=size, in_flight=128)
        )
        found[f"REST, {name}"] = Scenario(Load(scale.jobs(60_000), "rest", payload=size, in_flight=64))
    batch = Load(scale.jobs(200_000), "batch")
    found["Python Worker, gRPC batch"] = Scenario(batch, Workers("runtime"))
    found["handlers of 10 ms, gRPC batch"] = Scenario(batch, Workers(handler_seconds=0.01))
    found["each stream on its own connection"] = Scenario(batch, Workers(own_connections=True))
    for protocol, calls, size in (("batch", 50, 100), ("unary", 1000, 1), ("rest", 1000, 1)):
        load = Load(scale.jobs(10 * calls * size), protocol, rate=calls, stamped=True, in_flight=64)  # type: ignore[arg-type]
        found[f"{protocol}, {calls:,} calls a second on schedule"] = Scenario(load, Workers(stamped=True))
    return found


async def measure_all(
    cluster: Cluster, scale: Scale, tell: Callable[[str], None], told: Callable[[str, dict[str, Any]], None]
) -> dict[str, Any]:
    """Each scenario once; `told` hears of each as it comes."""
    found: dict[str, Any] = {}
    for name, scenario in scenarios(scale).items():
        tell(name)
        measured = (await measure(cluster, scenario)).told()
        del measured["ended"]
        found[name] = measured
        told(name, measured)
    return found
