"""G6: from enqueue to the start of the handler, at a rate that is nowhere near the capacity."""

from __future__ import annotations

from ..ours import Measured
from . import scenarios
from .gate import Found, Part
from .round import Round
from .scenarios import RATE


class StartLatency:
    """G6."""

    name = "G6"
    title = f"enqueue to handler start at {RATE:,}/s"
    method = (
        f"{RATE:,} unary gRPC calls a second on a fixed schedule for 30 s, from one process without a gRPC library, "
        "which would take a third of a core; four Workers of the Python client with 100 slots each. Counted from the "
        "moment that a call was due, whether or not it could be made then, to the first line of its handler. In the "
        "details, `stubs` is the same with calls by grpc.aio, and `bare` without the Worker too."
    )
    leaves_out = "The network between hosts. What a queue of one's own handlers adds."
    parts = (Part("p50", 3, 1, "ms", less=True), Part("p99", 12, 4, "ms", less=True))

    async def measure(self, bench: Round) -> Found:
        """With the runtime, with all of the client, and without either."""
        found = {sort: await self._of(bench, sort) for sort in ("runtime", "stubs", "bare")}
        starts = found["runtime"].starts
        assert starts is not None
        values: dict[str, float | None] = {"p50": round(starts.at(50), 2), "p99": round(starts.at(99), 2)}
        detail = {sort: measured.told() for sort, measured in found.items()}
        curves = {sort: m.starts.curve() for sort, m in found.items() if m.starts is not None}
        return Found(values, {**detail, "curves": curves})

    async def _of(self, bench: Round, sort: str) -> Measured:
        return await bench.ours(f"{RATE:,}/s on schedule, {sort}", scenarios.on_schedule(bench.scale, sort))
