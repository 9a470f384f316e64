"""The workloads of peers that have no gate of their own, against the fastest peer at each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..ours import Measured
from ..peers import PEERS
from ..workers import Workers
from . import scenarios
from .gate import Found, Part
from .round import Round


class Others:
    """Each against its fastest."""

    name = "others"
    title = "workloads without a gate, against the fastest peer"
    method = (
        "`rest`: HTTP/JSON, one job a request, to its end, as G2, beside each peer that does it with 16 workers. "
        "`own`: 2,000 stored jobs drained by one worker of 16 slots, beside the seed's own bench, which has 16 workers "
        "in one process; 16 streams of one slot each are in the details."
    )
    leaves_out = "What the gates have: continuous, drain, singles, REST enqueue."
    parts = (Part("rest", 1.5, 2, "x the fastest"), Part("own", 1.5, 2, "x the fastest"))

    async def measure(self, bench: Round) -> Found:
        """Ours, then each peer that has the workload."""
        own = scenarios.own(bench.scale)
        apart = replace(own, workers=Workers(streams=own.workers.slots, slots=1))
        ours: dict[str, Measured] = {
            "rest": await bench.ours("REST, one job a request", scenarios.rest(bench.scale)),
            "own": await bench.ours("2,000 jobs, 16 slots", own),
            "own, 16 streams": await bench.ours("2,000 jobs, 16 streams of one slot", apart),
        }
        values: dict[str, float | None] = {}
        detail: dict[str, Any] = {name: found.told() for name, found in ours.items()}
        for part in self.parts:
            rates = []
            for peer in PEERS:
                if part.name in peer.workloads:
                    run = await bench.peer(peer.name, part.name, scenarios.peer_jobs(bench.scale, part.name))
                    rates += [run.rate] if run.rate is not None else []
                    detail[f"{peer.name}, {part.name}"] = run.told
            values[part.name] = round(ours[part.name].rate / max(rates), 3) if rates else None
        return Found(values, detail)
