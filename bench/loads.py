"""Ours under each kind of load: `python -m bench loads`. No gates: what a door, a payload or a handler costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .hands import Hands
from .load import Load
from .ours import Scene, measure
from .postgres import Cluster
from .scale import Scale

METHOD = (
    "Four streams with 1,000 slots, one producer, from the first enqueue to the last end. Closed loop, but for the "
    "rows with a rate: those calls are made on a fixed schedule, and their latencies are counted from it."
)
_SIZES = {"128 B": 128, "1 KB": 1024, "10 KB": 10_240}


def scenes(scale: Scale) -> dict[str, Scene]:
    """Each by its name."""
    found: dict[str, Scene] = {}
    for name, size in _SIZES.items():
        fewer = 4 if size > 4096 else 1
        batch = Load(scale.jobs(200_000 // fewer), "batch", payload=size)
        found[f"gRPC batch, {name}"] = Scene(batch)
        found[f"gRPC pipelined, {name}"] = Scene(
            Load(scale.jobs(200_000 // fewer), "pipelined", payload=size)
        )
        found[f"gRPC unary, {name}"] = Scene(Load(scale.jobs(30_000), "unary", payload=size, in_flight=128))
        found[f"REST, {name}"] = Scene(Load(scale.jobs(60_000), "rest", payload=size, in_flight=64))
    batch = Load(scale.jobs(200_000), "batch")
    found["Python Worker, gRPC batch"] = Scene(batch, Hands("runtime"))
    found["handlers of 10 ms, gRPC batch"] = Scene(batch, Hands(handler_seconds=0.01))
    found["each stream on its own connection"] = Scene(batch, Hands(own_connections=True))
    for door, calls, size in (("batch", 50, 100), ("unary", 1000, 1), ("rest", 1000, 1)):
        load = Load(scale.jobs(10 * calls * size), door, rate=calls, stamped=True, in_flight=64)  # type: ignore[arg-type]
        found[f"{door}, {calls:,} calls a second on schedule"] = Scene(load, Hands(stamped=True))
    return found


async def measure_all(
    cluster: Cluster, scale: Scale, tell: Callable[[str], None], told: Callable[[str, dict[str, Any]], None]
) -> dict[str, Any]:
    """Each scene once; `told` hears of each as it comes."""
    found: dict[str, Any] = {}
    for name, scene in scenes(scale).items():
        tell(name)
        measured = (await measure(cluster, scene)).told()
        del measured["ended"]
        found[name] = measured
        told(name, measured)
    return found
