"""Jobs of PgQueuer through their life: `main.py WORKLOAD JOBS PAYLOAD`.

Each worker is a PgQueuer with a connection of its own that claims in batches; ends are gathered and written by batch.
This process stores jobs; workers are processes of their own, since one of Python uses one core.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

import asyncpg
import uvloop
from pgqueuer import PgQueuer, Queries
from pgqueuer.db import AsyncpgDriver

BATCH = 100
STORE_BATCH = 5000
CALLERS = 4
SINGLE_CALLERS = 32
WORKERS = 2
CLAIM = 500


def say(stage: str, **fields: Any) -> None:
    """A line for whoever started this."""
    print(json.dumps({"stage": stage, **fields}), flush=True)


async def connected() -> asyncpg.Connection:
    """A connection."""
    return await asyncpg.connect(os.environ["DATABASE_URL"])


def work(done: Any, ready: Any, go: Any) -> None:
    """A worker: works from `go` on, and counts what it has done."""

    async def noop(job: Any) -> None:
        done.value += 1

    async def run() -> None:
        queuer = PgQueuer(AsyncpgDriver(await connected()))
        queuer.entrypoint("noop")(noop)
        ready.release()
        await asyncio.to_thread(go.wait)
        await queuer.run(batch_size=CLAIM)

    uvloop.run(run())


async def share(jobs: int, size: int, callers: int, insert: Callable[[Queries, int], Awaitable[Any]]) -> None:
    """Hands out `jobs` in portions to callers at work side by side, each with a connection."""
    left = jobs

    async def caller(queries: Queries) -> None:
        nonlocal left
        while left > 0:
            count = min(size, left)
            left -= count
            await insert(queries, count)

    queries = [Queries(AsyncpgDriver(await connected())) for _ in range(callers)]
    await asyncio.gather(*map(caller, queries))


async def measure(workload: str, jobs: int, payload: int) -> None:
    """One workload from its start to the last end."""
    observer = await connected()
    await Queries(AsyncpgDriver(observer)).install()
    body = json.dumps({"pad": "x" * max(0, payload - 10)}, separators=(",", ":")).encode()

    async def many(queries: Queries, count: int) -> None:
        await queries.enqueue(["noop"] * count, [body] * count, [0] * count)

    async def one(queries: Queries, count: int) -> None:
        await queries.enqueue("noop", body)

    spawn = multiprocessing.get_context("spawn")
    ready, go = spawn.Semaphore(0), spawn.Event()
    counts = [spawn.RawValue("q", 0) for _ in range(WORKERS)]
    for count in counts:
        spawn.Process(target=work, args=(count, ready, go), daemon=True).start()
    for _ in counts:
        await asyncio.to_thread(ready.acquire)
    if workload == "drain":
        stored = time.perf_counter()
        await share(jobs, STORE_BATCH, 2, many)
        say("stored", seconds=time.perf_counter() - stored)
    say("ready")

    started = time.perf_counter()
    go.set()
    if workload == "continuous":
        await share(jobs, BATCH, CALLERS, many)
    elif workload == "singles":
        await share(jobs, 1, SINGLE_CALLERS, one)
    produced = time.perf_counter() - started
    while sum(count.value for count in counts) < jobs:
        await asyncio.sleep(0.005)
    # A job that has ended is a row of the log only.
    while await observer.fetchval("select exists (select from pgqueuer)"):
        await asyncio.sleep(0.005)
    say("ended", seconds=time.perf_counter() - started, produced_after=produced, workers=WORKERS)


if __name__ == "__main__":
    if sys.argv[1:] == ["versions"]:
        names = ("pgqueuer", "asyncpg", "uvloop")
        print(json.dumps({"python": platform.python_version(), **{name: version(name) for name in names}}))
    else:
        uvloop.run(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
        # Workers would wait for more.
        for child in multiprocessing.active_children():
            child.kill()
