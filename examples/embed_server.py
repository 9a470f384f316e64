"""The server inside an asyncio program of your own.

    DATABASE_URL=postgresql://... python examples/embed_server.py

`App` is the whole server; `jobqueue-server` is no more than settings and `App.run`. What a host has to know:

- **Settings** are given in code, by their names in docs/settings.md; what is not given comes from the environment.
- **The schema** is the host's to bring up to date (`migrate.up`, or `jobqueue-server migrate up` when you deploy); the
  server refuses to start on one that it does not know. Without a `database_url` it starts a PostgreSQL and migrates it.
- **Ports**: 0 is a free one; `App.grpc_port` and `App.http_port` tell which, after `start`. Metrics are at `/metrics`
  of the HTTP port, so a port of their own (`metrics_addr`) is not needed.
- **Signals** are the host's. `start` and `stop` touch none, and `stop` drains; it is `App.run` that takes SIGTERM and
  SIGINT, for a program that is nothing but a server.
- **One loop**: everything runs on the loop of `start`, and whatever blocks it stops heartbeats and leases too. uvloop
  makes PostgreSQL and HTTP faster.
"""

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from jobqueue import Client
from jobqueue_server.app import App
from jobqueue_server.settings import Settings
from jobqueue_server.store import migrate


def read(url: str) -> Any:
    """The rest of your program asks over HTTP, as anybody would."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[App]:
    """A server for as long as the block lasts."""
    app = App(settings)
    try:
        await app.start()
        yield app
    finally:
        await app.stop()


async def main() -> None:
    settings = Settings(
        grpc_addr="127.0.0.1:0",
        http_addr="127.0.0.1:0",
        metrics_addr=None,
        shutdown_grace=timedelta(seconds=5),
    )
    if settings.dsn is not None:
        await migrate.up(settings.dsn)
    async with serving(settings) as app, Client(f"127.0.0.1:{app.grpc_port}") as client:
        job = await client.enqueue("summarize_text", {"text": "One says. Two do."}, delay=timedelta(hours=1))
        found = await asyncio.to_thread(read, f"http://127.0.0.1:{app.http_port}/v1/jobs/{job.id}")
        print(found["kind"], found["status"])
    print("the server has ended; the program goes on")


if __name__ == "__main__":
    asyncio.run(main())
