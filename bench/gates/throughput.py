"""G1 to G5: jobs a second, as ratios to peers in the same round, and to ourselves."""

from __future__ import annotations

from . import scenarios
from .gate import Found, Part, ratio
from .round import Round

_WHOLE = (
    "Client, server, workers and PostgreSQL share the machine; all is durable, with history kept. From the first "
    "enqueue until the terminal state of the last job is committed; workers are bare streams whose handler does "
    "nothing, payloads have 128 B."
)
_LEAVES_OUT = "The network between hosts, handlers that do work, and the cost of a client's runtime."


class HandOff:
    """G1."""

    name = "G1"
    title = "enqueue, work, settle; gRPC batch 100; 4 streams"
    method = f"{_WHOLE} Beside River continuous, in batches of 100."
    leaves_out = _LEAVES_OUT
    parts = (Part("", 2.5, 4, "x River"),)

    async def measure(self, bench: Round) -> Found:
        """Ours, then River."""
        ours = await bench.ours("hand-off, batches of 100", scenarios.hand_off(bench.scale))
        river = await bench.peer("river", "continuous", scenarios.peer_jobs(bench.scale, "continuous"))
        return Found({"": ratio(ours.rate, river.rate)}, {"ours": ours.told(), "river": river.told})


class Rest:
    """G2."""

    name = "G2"
    title = "REST, one job a request, to its end"
    method = (
        f"{_WHOLE} 256 keep-alive connections, one request at a time on each. Two server processes, each with half of "
        "the connections and workers. Beside the REST enqueue alone of the seed, whose one process uses both cores."
    )
    leaves_out = f"{_LEAVES_OUT} Connections being made."
    parts = (Part("", 2, 5, "x the seed's enqueue"),)

    async def measure(self, bench: Round) -> Found:
        """Ours, then the seed."""
        ours = await bench.ours("REST, one job a request", scenarios.rest(bench.scale))
        seed = await bench.peer("seed", "rest_enqueue", scenarios.peer_jobs(bench.scale, "rest_enqueue"))
        return Found({"": ratio(ours.rate, seed.rate)}, {"ours": ours.told(), "seed": seed.told})


class Unary:
    """G3."""

    name = "G3"
    title = "gRPC unary, one job a call, to its end"
    method = (
        f"{_WHOLE} 128 calls in flight from one process. Beside River's single inserts, in its own process."
    )
    leaves_out = _LEAVES_OUT
    parts = (Part("", 1, 2, "x River"),)

    async def measure(self, bench: Round) -> Found:
        """Ours, then River."""
        ours = await bench.ours("gRPC unary, one job a call", scenarios.unary(bench.scale))
        river = await bench.peer("river", "singles", scenarios.peer_jobs(bench.scale, "singles"))
        return Found({"": ratio(ours.rate, river.rate)}, {"ours": ours.told(), "river": river.told})


class Drain:
    """G4."""

    name = "G4"
    title = "drain of a backlog"
    method = f"{_WHOLE} All jobs are stored first; from the workers' first word to the last end."
    leaves_out = f"{_LEAVES_OUT} Filling the backlog."
    parts = (Part("River", 1.6, 2.5, "x River"), Part("Graphile Worker", 1, 1.5, "x Graphile Worker"))

    async def measure(self, bench: Round) -> Found:
        """Ours, then both peers."""
        jobs = scenarios.peer_jobs(bench.scale, "drain")
        ours = await bench.ours(f"drain of {jobs:,}", scenarios.drain(bench.scale))
        river = await bench.peer("river", "drain", jobs)
        graphile = await bench.peer("graphile", "drain", jobs)
        values = {"River": ratio(ours.rate, river.rate), "Graphile Worker": ratio(ours.rate, graphile.rate)}
        return Found(values, {"ours": ours.told(), "river": river.told, "graphile": graphile.told})


class ManyStreams:
    """G5."""

    name = "G5"
    title = "200 worker streams, credit 10"
    method = f"{_WHOLE} 200 streams of one process, with room for 10 jobs each; against G1 of the same round."
    leaves_out = f"{_LEAVES_OUT} 200 connections: the streams share one (G10 has one for each)."
    parts = (Part("", 50, 90, "% of G1"),)

    async def measure(self, bench: Round) -> Found:
        """Both of ours."""
        few = await bench.ours("hand-off, batches of 100", scenarios.hand_off(bench.scale))
        many = await bench.ours("200 streams of credit 10", scenarios.many_streams(bench.scale))
        return Found({"": round(100 * many.rate / few.rate, 1)}, {"ours": many.told(), "G1": few.told()})
