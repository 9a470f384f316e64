"""One principal takes all that it can get, another one makes a few calls: how long these take.

`python -m tests.abuse.tenants`: a server with keys on loopback, and for each flood two processes beside it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import grpc.aio
import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table

from jobqueue.v1 import insight_pb2_grpc, job_pb2, jobqueue_pb2, jobqueue_pb2_grpc, stats_pb2
from jobqueue_server.bootstrap import first_key
from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.store import migrate
from tests.conftest import Cluster
from tests.e2e.processes import ServerProcess

#: What the calls of the modest principal may take, in seconds.
P99 = 0.25
_EVERY = 0.02
_PATIENCE = 30.0
#: Not one of ours: what tests import forgets those.
_TOKEN = "TENANT_KEY"


class Calls:
    """The calls of a principal, on some connections."""

    def __init__(self, address: str, connections: int) -> None:
        self.metadata = (("authorization", f"Bearer {os.environ[_TOKEN]}"),)
        # Without the option all channels of a process share a connection.
        self.channels = [
            grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
            for _ in range(connections)
        ]
        self.stubs: list[Any] = [jobqueue_pb2_grpc.JobQueueStub(each) for each in self.channels]
        self.insights: list[Any] = [insight_pb2_grpc.InsightStub(each) for each in self.channels]

    async def enqueue(self, number: int = 0) -> str:
        job = job_pb2.NewJob(kind="work", queue=f"of-{os.getpid()}", payload_json=b"{}")
        answer = await self._of(self.stubs, number).EnqueueJob(
            jobqueue_pb2.EnqueueJobRequest(job=job), metadata=self.metadata, timeout=_PATIENCE
        )
        return str(answer.job.id)

    async def read(self, number: int) -> None:
        request = jobqueue_pb2.ListJobsRequest(page_size=100)
        await self._of(self.stubs, number).ListJobs(request, metadata=self.metadata, timeout=_PATIENCE)

    async def get(self, job_id: str) -> None:
        request = jobqueue_pb2.GetJobRequest(id=job_id)
        await self.stubs[0].GetJob(request, metadata=self.metadata, timeout=_PATIENCE)

    async def wait(self, number: int, job_id: str) -> None:
        request = jobqueue_pb2.WaitJobRequest(id=job_id, timeout=Duration(seconds=20))
        await self._of(self.stubs, number).WaitJob(request, metadata=self.metadata, timeout=_PATIENCE)

    async def count(self, number: int = 0) -> None:
        request = stats_pb2.CountJobsRequest(kind=f"k-{uuid4()}")
        await self._of(self.insights, number).CountJobs(request, metadata=self.metadata, timeout=_PATIENCE)

    async def history(self, number: int = 0) -> None:
        since = Timestamp(seconds=int(time.time()) - 80 * 86400 + number)
        request = stats_pb2.QueryStatsRequest(since=since)
        await self._of(self.insights, number).QueryStats(request, metadata=self.metadata, timeout=_PATIENCE)

    async def batch(self, number: int, *, keyed: bool = False, jobs: int = 1000) -> None:
        made = [
            job_pb2.NewJob(
                kind="work", queue="flood", payload_json=b"{}", idempotency_key=str(uuid4()) if keyed else ""
            )
            for _ in range(jobs)
        ]
        await self._of(self.stubs, number).BatchEnqueueJobs(
            jobqueue_pb2.BatchEnqueueJobsRequest(jobs=made), metadata=self.metadata, timeout=_PATIENCE
        )

    async def watch(self, number: int) -> None:
        call = self._of(self.stubs, number).WatchJobs(jobqueue_pb2.WatchJobsRequest(), metadata=self.metadata)
        async with asyncio.timeout(20):
            async for _ in call:
                pass

    @staticmethod
    def _of(stubs: list[Any], number: int) -> Any:
        return stubs[number % len(stubs)]


#: By the name of a flood: how many calls it has under way, and one of them.
Flood = tuple[int, Callable[[Calls, int], Awaitable[object]]]
FLOODS: dict[str, Flood] = {
    "nothing": (0, lambda calls, number: asyncio.sleep(1)),
    "waits": (10_000, lambda calls, number: calls.wait(number, os.environ["WAITED"])),
    "reads": (1000, lambda calls, number: calls.read(number)),
    "counts": (500, lambda calls, number: calls.count(number)),
    "statistics": (200, lambda calls, number: calls.history(number)),
    "batches": (32, lambda calls, number: calls.batch(number)),
    "batches with keys": (32, lambda calls, number: calls.batch(number, keyed=True)),
    "watches": (1000, lambda calls, number: calls.watch(number)),
}


async def flood(address: str, name: str, seconds: float) -> dict[str, int]:
    """Has as many calls under way as the flood says, for so long: how many ended in which way."""
    calls = Calls(address, 8)
    most, one = FLOODS[name]
    os.environ["WAITED"] = await calls.enqueue()
    ended: Counter[str] = Counter()
    until = time.monotonic() + seconds

    async def caller(number: int) -> None:
        while time.monotonic() < until:
            try:
                await one(calls, number)
                ended["OK"] += 1
            except grpc.aio.AioRpcError as error:
                ended[error.code().name] += 1
                await asyncio.sleep(0.1)
            except TimeoutError:
                ended["OK"] += 1

    tasks = [asyncio.create_task(caller(number)) for number in range(most)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return dict(ended)


async def modest(address: str, seconds: float) -> dict[str, list[float]]:
    """Makes calls of several methods, some every 20 ms: how long each took; -1: it failed."""
    calls = Calls(address, 1)
    took: dict[str, list[float]] = {"enqueue": [], "get": [], "count": [], "statistics": []}
    job_id = await calls.enqueue()
    tasks = []

    async def timed(name: str, call: Awaitable[object]) -> None:
        began = time.monotonic()
        try:
            await call
            took[name].append(time.monotonic() - began)
        except grpc.aio.AioRpcError:
            took[name].append(-1.0)

    until = time.monotonic() + seconds
    number = 0
    while time.monotonic() < until:
        tasks.append(asyncio.create_task(timed("enqueue", calls.enqueue())))
        tasks.append(asyncio.create_task(timed("get", calls.get(job_id))))
        if not number % 50:
            tasks.append(asyncio.create_task(timed("count", calls.count())))
            tasks.append(asyncio.create_task(timed("statistics", calls.history(number))))
        number += 1
        await asyncio.sleep(_EVERY)
    await asyncio.gather(*tasks)
    return took


def main(
    only: Annotated[str, typer.Option(help="Names of floods with commas between them; empty: all.")] = "",
    seconds: Annotated[float, typer.Option(help="How long each of them lasts.", min=2, max=60)] = 15.0,
    jobs: Annotated[
        int, typer.Option(help="How many jobs there are before, in thousands.", min=1, max=1000)
    ] = 50,
) -> None:
    """Floods a server by one key, and times the calls of another one."""
    names = [name.strip() for name in only.split(",") if name.strip()] or list(FLOODS)
    table = Table(
        "flood", "its calls", *(f"{each} p50, p99 ms" for each in ("enqueue", "get", "count", "statistics"))
    )
    with EmbeddedPostgres(listen=True) as postgres, tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(postgres.dsn)
        dsn = cluster.dsn_of(cluster.create())
        asyncio.run(migrate.up(dsn))
        over = asyncio.run(_run(dsn, Path(folder), names, seconds, jobs, table))
    Console(width=160).print(table)
    raise typer.Exit(1 if over else 0)


async def _run(dsn: str, folder: Path, names: list[str], seconds: float, jobs: int, table: Table) -> bool:
    over = False
    server = ServerProcess(dsn, folder / "server.log", auth="keys")
    try:
        await server.ready()
        greedy, other = [(await first_key(dsn, name, force=True)).text for name in ("greedy", "modest")]
        for _ in range(jobs):
            os.environ[_TOKEN] = greedy
            calls = Calls(server.address, 1)
            await calls.batch(0)
            await calls.channels[0].close()
        for name in names:
            flooding = await _process(server, "flood", name, seconds + 4, greedy)
            await asyncio.sleep(2)
            timing = await _process(server, "modest", name, seconds, other)
            took, ended = (
                json.loads((await timing.communicate())[0]),
                json.loads((await flooding.communicate())[0]),
            )
            row = [", ".join(f"{count} {code}" for code, count in sorted(ended.items()))]
            for method in ("enqueue", "get", "count", "statistics"):
                times = sorted(time if time >= 0 else _PATIENCE for time in took[method])
                p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
                over = over or p99 > P99
                row.append(f"{p50 * 1000:.0f}, {p99 * 1000:.0f}")
            table.add_row(name, *row)
            print(name, *row, sep=" | ", flush=True)
    finally:
        server.kill()
    return over


async def _process(
    server: ServerProcess, what: str, name: str, seconds: float, token: str
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", __spec__.name, what, server.address, name, str(seconds),
        env=os.environ | {_TOKEN: token}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in ("flood", "modest"):
        _, what, address, name, seconds = sys.argv
        if what == "flood":
            print(json.dumps(asyncio.run(flood(address, name, float(seconds)))))
        else:
            print(json.dumps(asyncio.run(modest(address, float(seconds)))))
    else:
        typer.run(main)
