"""Jobs of Procrastinate through their life: `main.py WORKLOAD JOBS PAYLOAD`.

Workers take one job a statement, with many at once in each; this process stores jobs. Workers are processes of their
own, since one of Python uses one core.
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

import procrastinate

BATCH = 100
STORE_BATCH = 1000
CALLERS = 4
SINGLE_CALLERS = 32
WORKERS = 2
CONCURRENCY = 4  # of each worker


def say(stage: str, **fields: Any) -> None:
    """A line for whoever started this."""
    print(json.dumps({"stage": stage, **fields}), flush=True)


def application(connections: int) -> procrastinate.App:
    """The app, with a pool of its own."""
    pool = {"min_size": connections, "max_size": connections}
    return procrastinate.App(
        connector=procrastinate.PsycopgConnector(conninfo=os.environ["DATABASE_URL"], **pool)
    )


def work(done: Any, ready: Any, go: Any) -> None:
    """A worker: works from `go` on, and counts what it has done."""

    async def run() -> None:
        app = application(CONCURRENCY)

        async def noop(pad: str) -> None:
            done.value += 1

        app.task(noop, name="noop")
        async with app.open_async():
            ready.release()
            await asyncio.to_thread(go.wait)
            await app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False)

    asyncio.run(run())


async def share(jobs: int, size: int, callers: int, insert: Callable[[int], Awaitable[Any]]) -> None:
    """Hands out `jobs` in portions to callers at work side by side."""
    left = jobs

    async def caller() -> None:
        nonlocal left
        while left > 0:
            count = min(size, left)
            left -= count
            await insert(count)

    await asyncio.gather(*(caller() for _ in range(callers)))


async def measure(workload: str, jobs: int, payload: int) -> None:
    """One workload from its start to the last end."""
    app = application(SINGLE_CALLERS if workload == "singles" else CALLERS)
    body = {"pad": "x" * max(0, payload - 10)}
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        deferrer = app.configure_task("noop", allow_unknown=True)

        async def many(count: int) -> None:
            await deferrer.batch_defer_async(*[body] * count)

        async def one(count: int) -> None:
            await deferrer.defer_async(**body)

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
        query = "select count(*) as count from procrastinate_jobs where status = 'succeeded'"
        while (await app.connector.execute_query_one_async(query))["count"] < jobs:
            await asyncio.sleep(0.005)
        seconds = time.perf_counter() - started
    say("ended", seconds=seconds, produced_after=produced, workers=WORKERS, concurrency=CONCURRENCY)


if __name__ == "__main__":
    if sys.argv[1:] == ["versions"]:
        names = ("procrastinate", "psycopg")
        print(json.dumps({"python": platform.python_version(), **{name: version(name) for name in names}}))
    else:
        asyncio.run(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
        # Workers would wait for more.
        for child in multiprocessing.active_children():
            child.kill()
