"""Jobs to look at: a worker whose handlers fail, report and wait as their payload says."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.conftest import Cluster

from .servers import Process, Server

_WORKER = """
import asyncio, logging, os, sys
from jobqueue import Worker
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
worker = Worker({target!r}, name="worker-1", queues={queues!r}, concurrency=8, token={token!r})
def inner(text):
    raise ValueError(text)
@worker.handler("fails")
async def fails(ctx):
    await asyncio.sleep(ctx.job.payload.get("seconds", 0))
    inner(ctx.job.payload.get("text", "no such customer"))
@worker.handler("reports")
async def reports(ctx):
    for page in range(1, 1000):
        await ctx.progress(page / 1000, f"page {{page}}")
        try:
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            # Told to stop, it goes on until a test has looked at what the page says meanwhile.
            while not os.path.exists(ctx.job.payload.get("until", "/")):
                await asyncio.sleep(0.05)
            raise
@worker.handler("works")
async def works(ctx):
    return ctx.job.payload
worker.run()
"""


class JobWorker(Process):
    """A worker of the kinds `fails`, `reports` and `works`."""

    def __init__(self, server: Server, *queues: str, token: str = "") -> None:
        code = _WORKER.format(target=server.grpc, queues=list(queues or ("default",)), token=token or None)
        super().__init__(["-c", code])
        self.said("opened at")


@contextmanager
def serving(cluster: Cluster, template: str, **settings: str) -> Iterator[Server]:
    """A server on a database of its own, for all tests of a module."""
    name = cluster.create(template)
    server = Server(cluster.dsn_of(name), **settings)
    try:
        yield server
    finally:
        server.kill()
        cluster.drop(name)


def enqueued(server: Server, kind: str, payload: str = "{}", *, key: str = "", **more: object) -> str:
    """The id of a job whose payload is this text, byte for byte."""
    rest = "".join(f", {json.dumps(name)}: {json.dumps(value)}" for name, value in more.items())
    body = f'{{"kind": {json.dumps(kind)}, "payload": {payload}{rest}}}'.encode()
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    with urllib.request.urlopen(urllib.request.Request(f"{server.url}/v1/jobs", body, headers)) as answer:
        return str(json.loads(answer.read())["id"])


def batch(server: Server, jobs: list[dict[str, object]]) -> list[str]:
    """The ids of many jobs."""
    ids: list[str] = []
    for start in range(0, len(jobs), 1000):
        answer = server.call("POST", "/v1/jobs:batchEnqueue", {"jobs": jobs[start : start + 1000]})
        ids += [result["id"] for result in answer["results"]]
    return ids


def ended(server: Server, *ids: str, key: str = "") -> list[dict[str, Any]]:
    """Each job once it has ended."""
    return [server.call("GET", f"/v1/jobs/{id}:wait?timeout=30s", key=key) for id in ids]


def cancelled(server: Server, count: int, *, kind: str = "works", queue: str = "spare") -> None:
    """So many jobs that were cancelled before any worker had them."""
    batch(server, [{"kind": kind, "queue": queue} for _ in range(count)])
    body = {"filter": {"queue": queue, "kind": kind}, "force": True}
    name = server.call("POST", "/v1/jobs:cancel", body)["name"]
    assert server.call("GET", f"/v1/{name}:wait?timeout=30s")["done"]
