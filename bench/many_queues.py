"""`python -m bench.many_queues`: one server on a database with many queues of one kind, at rest and at work."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import grpc.aio
import typer

from jobqueue import Worker
from jobqueue.v1 import job_pb2, jobqueue_pb2, jobqueue_pb2_grpc

from . import past
from .checkout import Checkout, copied
from .meter import cpu_seconds, memory, postgres_seconds
from .postgres import Cluster
from .server import Server

KIND = "work"
#: As many as one worker may take.
_TAKEN = 1_000
_BATCH = 1_000
_LAG = re.compile(r'^jobqueue_event_loop_lag_seconds_bucket\{.*?le="([^"]+)".*\} (\S+)$', re.MULTILINE)


async def _run(queues: int, rest: float, jobs: int, base: str) -> dict[str, Any]:
    with copied(base) if base else contextlib.nullcontext() as checkout:
        async with _database(queues, checkout) as (cluster, dsn):
            began = time.monotonic()
            async with Server(dsn, checkout=checkout) as server:
                found = {"queues": queues, "base": base or "the working tree"}
                found["start_s"] = round(time.monotonic() - began, 1)
                found["memory_mb"] = round(memory(server.pid) / 1e6)
                connection = await asyncpg.connect(dsn)
                try:
                    found["rest"] = await _rest(server, cluster, connection, rest)
                    found["scrape"] = await _timed(f"http://{server._metrics}/metrics")
                    found["ListQueues"] = await _timed(f"http://{server.http}/v1/queues?page_size=1000")
                    found["overview"] = await _timed(f"http://{server.http}/v1/overview")
                    found["lease_ms"] = await _leases(server, 200)
                    found["made_a_second"] = await _made(server, 10)
                    found["enqueue"] = await _enqueue(server, queues, jobs)
                    found["rest_with_jobs"] = await _rest(server, cluster, connection, rest)
                    found["memory_then_mb"] = round(memory(server.pid) / 1e6)
                    return found
                finally:
                    await connection.close()


@asynccontextmanager
async def _database(queues: int, checkout: Checkout | None) -> AsyncIterator[tuple[Cluster, str]]:
    migrations: Path | None = None if checkout is None else checkout.migrations
    async with Cluster() as cluster, cluster.fresh(ours=True, migrations=migrations) as dsn:
        connection = await asyncpg.connect(dsn)
        try:
            await past.lanes_of(connection, queues, KIND, "q")
            await connection.execute("vacuum (analyze) queue, lane")
        finally:
            await connection.close()
        yield cluster, dsn


async def _rest(server: Server, cluster: Cluster, connection: Any, seconds: float) -> dict[str, Any]:
    """What nothing costs: CPU, how late the loop is, and what is asked of the database."""
    await asyncio.sleep(8)
    await connection.execute("select pg_stat_statements_reset()")
    lag, cpu, postgres = await _lag(server), cpu_seconds(server.pid), postgres_seconds(cluster.pid)
    await asyncio.sleep(seconds)
    late = {bound: count - lag[bound] for bound, count in (await _lag(server)).items()}
    whole = late["+Inf"]
    rows = await connection.fetch(
        "select query, calls, rows from pg_stat_statements s join pg_database d on d.oid = s.dbid "
        "where d.datname = current_database() order by rows desc limit 3"
    )
    return {
        "server_cpu_percent": round((cpu_seconds(server.pid) - cpu) / seconds * 100, 1),
        "postgres_cpu_percent": round((postgres_seconds(cluster.pid) - postgres) / seconds * 100, 1),
        "loop_late_at_most_s": next(bound for bound, count in late.items() if count >= whole),
        "rows_a_second": {
            row["query"].splitlines()[0].removeprefix("-- "): round(row["rows"] / seconds, 1) for row in rows
        },
    }


async def _lag(server: Server) -> dict[str, float]:
    text = await asyncio.to_thread(_read, f"http://{server._metrics}/metrics")
    return {bound: float(count) for bound, count in _LAG.findall(text.replace("{le=", '{a="",le='))}


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


async def _timed(url: str) -> dict[str, Any]:
    """Of three times the median."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        text = await asyncio.to_thread(_read, url)
        took.append((time.monotonic() - began) * 1000)
    return {"ms": round(sorted(took)[1], 1), "kb": round(len(text) / 1e3)}


async def _leases(server: Server, calls: int) -> dict[str, float]:
    """From an enqueue to its job in a handler, one at a time; the worker takes 1,000 queues."""
    names = [f"q-{number}" for number in range(1, _TAKEN + 1)]
    worker = Worker(server.grpc, queues=names, concurrency=10)
    came: asyncio.Queue[int] = asyncio.Queue()

    @worker.handler(KIND)
    async def work(ctx: Any) -> None:
        came.put_nowait(ctx.job.payload["at"])

    running = asyncio.create_task(worker.serve())
    took = []
    try:
        await server.streams(1, within=60)
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            stub = jobqueue_pb2_grpc.JobQueueStub(channel)
            for call in range(calls):
                at = time.monotonic_ns()
                job = job_pb2.NewJob(
                    kind=KIND, queue=names[call * 7 % _TAKEN], payload_json=json.dumps({"at": at}).encode()
                )
                await stub.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=job))
                assert await asyncio.wait_for(came.get(), 60) == at
                took.append((time.monotonic_ns() - at) / 1e6)
    finally:
        running.cancel()
        await asyncio.wait([running])
    took.sort()
    return {"p50": round(took[len(took) // 2], 1), "p99": round(took[-(len(took) // 100) or -1], 1)}


async def _made(server: Server, queues: int) -> float:
    """Queues that are new, each by a job of its own, in one call."""
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        stub = jobqueue_pb2_grpc.JobQueueStub(channel)
        new = [
            job_pb2.NewJob(kind=KIND, queue=f"new-{number}", payload_json=b"{}") for number in range(queues)
        ]
        began = time.monotonic()
        await stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=new))
        return round(queues / (time.monotonic() - began), 1)


async def _enqueue(server: Server, queues: int, jobs: int) -> dict[str, Any]:
    """Batches whose jobs go into as many queues, in turns over all."""
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        stub = jobqueue_pb2_grpc.JobQueueStub(channel)
        began = time.monotonic()
        slowest = 0.0
        for start in range(0, jobs, _BATCH):
            batch = [
                job_pb2.NewJob(kind=KIND, queue=f"q-{number % queues + 1}", payload_json=b"{}")
                for number in range(start, min(start + _BATCH, jobs))
            ]
            sent = time.monotonic()
            await stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=batch))
            slowest = max(slowest, time.monotonic() - sent)
        return {
            "jobs": jobs,
            "jobs_a_second": round(jobs / (time.monotonic() - began)),
            "slowest_batch_ms": round(slowest * 1000),
        }


def main(
    queues: Annotated[int, typer.Option(help="How many, each with one kind.", min=1_000)] = 100_000,
    rest: Annotated[float, typer.Option(help="Seconds at rest.", min=5)] = 20.0,
    jobs: Annotated[int, typer.Option(help="Jobs that are enqueued over all queues.", min=1_000)] = 100_000,
    base: Annotated[str, typer.Option(help="A git revision or a folder instead of the working tree.")] = "",
) -> None:
    """Measures and prints what was found, as JSON."""
    print(json.dumps(asyncio.run(_run(queues, rest, jobs, base)), indent=1))


if __name__ == "__main__":
    typer.run(main)
