"""What the test kit of Python takes, as a suite uses it: see bench/programs.py for what is measured."""

from __future__ import annotations

import asyncio
import json
import time
from statistics import median

from jobqueue import JobContext, Kind, NewJob, Worker
from jobqueue.testing import SyncTestScope, TestServer, perform

SCOPES, PERFORMED, SUITE = 20, 200, 100


async def _answer(ctx: JobContext) -> dict[str, int]:
    return {"twice": 2 * ctx.job.payload["number"]}


def _with_one_job(server: TestServer) -> None:
    with SyncTestScope(server) as scope:
        scope.client.put_kind(Kind(name="twice"))
        scope.client.enqueue(NewJob("twice", {"number": 21}))
        worker = Worker("127.0.0.1:1")
        worker.handler("twice")(_answer)
        [ended] = scope.run_until_idle(worker).ended
        assert ended.output == {"twice": 42}


def measure() -> dict[str, float]:
    """Seconds by what is measured."""
    began = time.perf_counter()
    server = TestServer.start()
    found = {"start": time.perf_counter() - began}
    scopes = []
    for _ in range(SCOPES):
        began = time.perf_counter()
        SyncTestScope(server).close()
        scopes.append(time.perf_counter() - began)
    found["scope"] = median(scopes)
    began = time.perf_counter()
    for number in range(PERFORMED):
        assert asyncio.run(perform(_answer, {"number": number})).output == {"twice": 2 * number}
    found["perform"] = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(SUITE):
        _with_one_job(server)
    found["scopes"] = time.perf_counter() - began
    began = time.perf_counter()
    server.close()
    found["close"] = time.perf_counter() - began
    return found


def tell() -> None:
    """Measures, and prints the line."""
    print(json.dumps(measure()))
