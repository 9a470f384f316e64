"""The scenarios of ours that several gates look at, and how many jobs a peer gets for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..load import Load
from ..ours import Scenario
from ..scale import Scale
from ..workers import Workers

#: Server processes where all else waits for one, which keeps one core busy: one for each of the machine's two.
CORES = 2
#: Calls a second where latency is measured.
RATE = 1000


def hand_off(scale: Scale) -> Scenario:
    """Batches of 100 over gRPC, as many under way as of River's, four worker streams."""
    return Scenario(Load(scale.jobs(400_000), "batch", batch=100, in_flight=16))


def drain(scale: Scale) -> Scenario:
    """All stored, then four worker streams."""
    return Scenario(Load(scale.jobs(scale.drain_jobs), "batch", batch=1000, in_flight=8), drain=True)


def rest(scale: Scale) -> Scenario:
    """HTTP/JSON, one job a request, on as many connections as the seed's client has."""
    load = Load(scale.jobs(150_000), "rest", producers=CORES, in_flight=256 // CORES)
    return Scenario(load, servers=CORES)


def labelled(scale: Scale) -> Scenario:
    """The same, where each job has a label."""
    plain = rest(scale)
    return replace(plain, load=replace(plain.load, label=True))


def unary(scale: Scale) -> Scenario:
    """gRPC, one job a call."""
    return Scenario(Load(scale.jobs(40_000), "unary", in_flight=128))


def own(scale: Scale) -> Scenario:
    """All stored, then one worker stream with as many slots as the seed's own bench has workers at most."""
    return Scenario(Load(scale.jobs(2_000), "batch"), Workers(streams=1, slots=16), drain=True)


def many_streams(scale: Scale) -> Scenario:
    """The hand-off with 200 worker streams, which have room for ten jobs each."""
    return replace(hand_off(scale), workers=Workers(streams=200, slots=10))


def servers(scale: Scale, count: int) -> Scenario:
    """The hand-off on several servers, as much under way as on one, eight streams that are spread over them."""
    load = Load(scale.jobs(300_000), "batch", producers=4, in_flight=4)
    return Scenario(load, Workers(streams=8, slots=1000), servers=count)


def on_schedule(scale: Scale, sort: str = "runtime") -> Scenario:
    """Unary calls at a rate that is nowhere near the capacity.

    `sort`: `runtime`: the Workers of the client, calls without a library; `stubs`: those, calls by grpc.aio; `bare`:
    neither.
    """
    load = Load(scale.jobs(30 * RATE), "unary", rate=RATE, stamped=True, bare=sort != "stubs")
    workers = Workers("bare" if sort == "bare" else "runtime", streams=4, slots=100, stamped=True)
    return Scenario(load, workers)


#: Ours at the workloads of peers; single inserts over gRPC, since ours has no way in without a network.
OURS: dict[str, Callable[[Scale], Scenario]] = {
    "continuous": hand_off,
    "drain": drain,
    "singles": unary,
    "rest": rest,
    "own": own,
}


def peer_jobs(scale: Scale, workload: str) -> int:
    """As many as give several seconds of the faster ones; at a drain as many as ours."""
    counts = {
        "continuous": 150_000,
        "drain": scale.drain_jobs,
        "singles": 30_000,
        "rest_enqueue": 60_000,
        "rest": 15_000,
        "own": 2_000,
    }
    return scale.jobs(counts[workload])
