"""The gates, in the order of the table: what each runs, and what it must reach."""

from __future__ import annotations

from .costs import Costs
from .gate import Found, Gate, Part
from .latency import StartLatency
from .round import PeerRun, Round
from .throughput import Drain, HandOff, ManyStreams, Rest, Unary

GATES: dict[str, Gate] = {
    gate.name: gate for gate in (HandOff(), Rest(), Unary(), Drain(), ManyStreams(), StartLatency(), Costs())
}

__all__ = ["GATES", "Found", "Gate", "Part", "PeerRun", "Round"]
