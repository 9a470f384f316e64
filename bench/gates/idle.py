"""G10: many idle workers, each on a connection of its own."""

from __future__ import annotations

import resource

from ..errors import BenchError
from ..flow import flowing
from ..latency import Latencies
from ..load import Load
from ..meter import memory
from ..processes import merged
from ..server import Server, declare
from ..workers import Workers
from .gate import Found, Part
from .round import Round

_RATE = 200
_SECONDS = 30
_QUIET = 10.0


class IdleStreams:
    """G10."""

    name = "G10"
    title = "10,000 idle streams: server memory; hand-off p99"
    method = (
        "10,000 streams with one slot each, each on a connection of its own, from four processes, with heartbeats as "
        "the server asks for them. Memory: resident, of the server's process, after 10 s of quiet or after the load. "
        f"Hand-off: {_RATE} unary calls a second on a fixed schedule for {_SECONDS} s, from when each was due to its "
        "job on a stream."
    )
    leaves_out = "Memory of the kernel for the sockets. TLS."
    parts = (Part("memory", 600, 450, "MB", less=True), Part("p99", 100, 50, "ms", less=True))

    async def measure(self, bench: Round) -> Found:
        """Connects them all, waits, and enqueues."""
        count = bench.scale.jobs(bench.scale.idle_streams)
        _allow_files(count + 1000)
        settings = {"JOBQUEUE_MAX_STREAMS": str(count + 100), "JOBQUEUE_MAX_SESSIONS": str(count + 100)}
        workers = Workers(streams=count, slots=1, processes=4, own_connections=True, stamped=True)
        calls = round(_RATE * bench.scale.seconds(_SECONDS))
        load = Load(calls, "unary", rate=_RATE, stamped=True)
        async with bench.cluster.fresh(ours=True) as dsn, Server(dsn, settings=settings) as server:
            await declare(server, workers.kinds)
            bare = memory(server.pid)
            bench.tell(f"{count:,} workers connect")
            # The load is let go with the workers, but may make no call until all of them are there.
            async with flowing([server], load, workers, paused=True) as flow:
                await server.streams(count, within=600)
                bench.tell(f"{count:,} workers are idle")
                await flow.rate(bench.scale.seconds(_QUIET))
                idle = memory(server.pid)
                bench.tell(f"{count:,} workers, {_RATE} jobs a second")
                flow.made.go()
                await flow.until_ended(calls, within=_SECONDS + 60)
                busy = memory(server.pid)
                starts = Latencies.of(merged(await flow.hired.stop(), "starts"))
        values: dict[str, float | None] = {
            "memory": round(max(idle, busy) / 1e6, 1),
            "p99": round(starts.at(99), 2),
        }
        sizes = {"no streams": bare, "idle": idle, "busy": busy}
        detail = {
            "streams": count,
            "memory_mb": {name: round(size / 1e6, 1) for name, size in sizes.items()},
            "start_ms": starts.quantiles(),
        }
        return Found(values, {**detail, "curves": {"hand-off": starts.curve()}})


def _allow_files(count: int) -> None:
    """Raises the bound on open files, which the children inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise BenchError(f"{count} open files are needed and {hard} allowed: raise `ulimit -Hn`")
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
