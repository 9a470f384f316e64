"""The gate `explain`: ExplainJob over millions of jobs, and what the demand of a thousand queues costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

import asyncpg
import grpc.aio

from jobqueue.v1 import insight_pb2, insight_pb2_grpc

from .. import polls, waiting
from ..errors import BenchError
from ..latency import Latencies
from ..meter import Meter
from ..ours import stage, worker_processes
from ..processes import DONE, Processes
from ..server import Server
from ..workers import Workers
from .gate import Found, Part
from .round import Round

_SLOTS = 100
# For ever, by the measure of a round.
_HOLDS = 7200.0
_CALLS = 300
_PLACES = ("oldest", "newest", "any")
_SEED = 513
_QUEUES = 1000
_WAITING_IN_EACH = 20
_STREAMS = 10
#: How often KEDA asks of each queue where nothing else is said (`pollingInterval`), and twice what metrics are read by.
_POLLED_EVERY = 30.0
_OFTEN = (5.0, 1.0)
_SETTLE = 10.0
_WARM = 6.0
_SECONDS = 30.0


class Explained:
    """ExplainJob and GetQueueDemand."""

    name = "explain"
    title = "explain over 11 M jobs; demand of 1,000 queues"
    method = (
        "10,000,000 jobs that wait in line and 1,000,000 that are held back, of 17 sorts, in lanes and semaphores as "
        f"enqueues leave them, and a worker whose {_SLOTS:,} slots are taken. ExplainJob over gRPC, one call after "
        f"another, from call to answer: {_CALLS} of each sort, from its oldest, its newest and from anywhere; each of "
        "the answers must have the reason of its sort. Waiting, held: p99 of all calls of those in line, and of those "
        "held back. Worst reason: p99 of the sort whose p99 is the highest. Demand: GetQueueDemand of "
        f"{_QUEUES:,} queues with {_WAITING_IN_EACH} jobs each and workers that have no slot free, each asked for once "
        f"in {_POLLED_EVERY:g} s, as KEDA does by itself: CPU of server and PostgreSQL over {_SECONDS:g} s, after "
        "each was asked for twice, less that of as long without. The details have it at other intervals too."
    )
    leaves_out = (
        "Calls beside other load; a backlog that does not fit into memory; dead rows at the head of a line."
    )
    parts = (
        Part("waiting p99", 20, 5, "ms", less=True),
        Part("held p99", 20, 5, "ms", less=True),
        Part("worst reason p99", 10, 5, "ms", less=True),
        Part("demand", 1, 0.3, "% of a core", less=True),
    )

    async def measure(self, bench: Round) -> Found:
        """Explains over a backlog, then asks for the demand of queues."""
        sorts = await self._explain(bench)
        demand = await self._demand(bench)
        held = {name for name, sort in waiting.SORTS.items() if sort.held}
        whole = {
            what: Latencies.of(each.encoded() for name, each in sorts.items() if (name in held) == among)
            for what, among in (("waiting", False), ("held", True))
        }
        values: dict[str, float | None] = {
            "waiting p99": round(whole["waiting"].at(99), 2),
            "held p99": round(whole["held"].at(99), 2),
            "worst reason p99": round(max(each.at(99) for each in sorts.values()), 2),
            "demand": demand[f"every {_POLLED_EVERY:g} s"]["percent"],
        }
        told = {name: each.quantiles() for name, each in {**whole, **sorts}.items()}
        return Found(values, {"explain_ms": told, "demand": demand})

    async def _explain(self, bench: Round) -> dict[str, Latencies]:
        """How long the calls took, by sort."""
        async with bench.cluster.fresh(ours=True) as dsn:
            async with stage(dsn) as servers:
                bench.tell("explain: the first jobs of each sort")
                await waiting.declare(servers[0])
                await waiting.begin(servers[0], bench.scale)
            bench.tell(
                f"explain: writing {bench.scale.jobs(bench.scale.large_backlog):,} jobs and those held back"
            )
            filled = await waiting.fill(dsn, bench.scale)
            async with AsyncExitStack() as up:
                servers = await up.enter_async_context(stage(dsn))
                # Those of limits first, so that as many run as may.
                running = 0
                for queues, kinds, jobs in waiting.WORKERS:
                    slots = jobs or _SLOTS
                    running += slots
                    workers = Workers(
                        streams=1, slots=slots, handler_seconds=_HOLDS, queues=queues, kinds=kinds
                    )
                    await up.enter_async_context(busy(servers, workers, dsn, running))
                bench.tell("explain: asking")
                return await _asked(servers[0], dsn, filled)

    async def _demand(self, bench: Round) -> dict[str, Any]:
        """What polls cost, by how often each queue is asked for."""
        queues = [f"queue-{number}" for number in range(bench.scale.jobs(_QUEUES))]
        workers = Workers(streams=_STREAMS, slots=1, handler_seconds=_HOLDS, queues=tuple(queues))
        found: dict[str, Any] = {"queues": len(queues)}
        async with bench.cluster.fresh(ours=True) as dsn, stage(dsn, kinds=workers.kinds) as servers:
            await polls.enqueue(servers[0].grpc, queues, _WAITING_IN_EACH)
            async with busy(servers, workers, dsn, _STREAMS):
                connection = await asyncpg.connect(dsn)
                try:
                    meter = Meter(connection, bench.cluster.pid, {"server": [servers[0].pid]})
                    await asyncio.sleep(bench.scale.seconds(_SETTLE))
                    bench.tell("demand: nobody asks")
                    idle = await _used(meter, bench.scale.seconds(_SECONDS))
                    for every in (_POLLED_EVERY, *_OFTEN):
                        bench.tell(f"demand: of {len(queues):,} queues every {every:g} s")
                        found[f"every {every:g} s"] = await self._polled(
                            bench, servers, meter, queues, every, idle
                        )
                finally:
                    await connection.close()
        return {**found, "nobody asks": idle}

    async def _polled(
        self,
        bench: Round,
        servers: list[Server],
        meter: Meter,
        queues: list[str],
        every: float,
        idle: dict[str, float],
    ) -> dict[str, Any]:
        seconds = bench.scale.seconds(_SECONDS)
        async with Processes("the pollers", polls.poll, [(servers[0].grpc, queues, every)]) as pollers:
            pollers.go()
            # As KEDA goes on for ever: a server expects a queue once it has been asked for it twice.
            await asyncio.sleep(bench.scale.seconds(_WARM + 2 * every))
            before = pollers.count(DONE)
            used = await _used(meter, seconds)
            asked = pollers.count(DONE) - before
            reports = await pollers.end()
        # More often than that it may be more than there is time for.
        if every == _POLLED_EVERY and asked < 0.9 * seconds * len(queues) / every - 1:
            raise BenchError(f"{asked} polls were answered in {seconds:g} s")
        percent = sum(used.values()) - sum(idle.values())
        return {
            "percent": round(percent, 2),
            **{f"{who}_percent": round(used[who] - idle[who], 2) for who in used},
            "calls": asked,
            "us_per_call": round(percent / 100 * seconds / asked * 1e6) if asked else 0,
            "answer_ms": Latencies.of([reports[0]["acks"]]).quantiles(),
        }


async def _used(meter: Meter, seconds: float) -> dict[str, float]:
    """Percent of a core, by whose processes."""
    before = await meter.read()
    await asyncio.sleep(seconds)
    after = await meter.read()
    return {
        who: round(100 * (used - before.cpu[who]) / (after.at - before.at), 3)
        for who, used in after.cpu.items()
    }


@asynccontextmanager
async def busy(servers: list[Server], workers: Workers, dsn: str, jobs: int) -> AsyncIterator[Processes]:
    """With workers that hold so many jobs at least, and end none."""
    connection = await asyncpg.connect(dsn)
    try:
        async with worker_processes(servers, workers) as hired:
            hired.go()
            until = time.monotonic() + 60
            while await connection.fetchval("select count(*) from live_job where state = 2") < jobs:
                if time.monotonic() > until:
                    raise BenchError(f"workers do not hold {jobs} jobs")
                hired.check()
                await asyncio.sleep(0.2)
            yield hired
    finally:
        await connection.close()


async def _asked(server: Server, dsn: str, filled: dict[str, waiting.Filled]) -> dict[str, Latencies]:
    """Asks of each sort, in an order that is drawn."""
    chance = Random(_SEED)
    connection = await asyncpg.connect(dsn)
    try:
        asked = [
            (name, job_id)
            for name, each in filled.items()
            for place in _PLACES
            for job_id in await each.ids(connection, _CALLS // len(_PLACES), place, chance)
        ]
    finally:
        await connection.close()
    chance.shuffle(asked)
    found = {name: Latencies() for name in filled}
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        stub = insight_pb2_grpc.InsightStub(channel)
        for name, job_id in asked:
            request = insight_pb2.ExplainJobRequest(id=job_id)
            began = time.monotonic_ns()
            answer = await stub.ExplainJob(request)
            found[name].add(time.monotonic_ns() - began)
            codes = [insight_pb2.Reason.Code.Name(reason.code) for reason in answer.reasons]
            if waiting.SORTS[name].code not in codes:
                raise BenchError(f"a job of the sort {name} waits for {', '.join(codes)}: {answer.summary}")
    return found
