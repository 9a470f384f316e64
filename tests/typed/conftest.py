"""A server and a client on a database of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from jobqueue import Worker
from tests.client.conftest import client as client
from tests.client.conftest import server as server


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Worker], None]]:
    """Lets a worker serve until the test has ended."""
    tasks: list[tuple[Worker, asyncio.Task[None]]] = []
    yield lambda worker: tasks.append((worker, asyncio.create_task(worker.serve())))
    for worker, _ in tasks:
        worker.stop(grace=timedelta(0))
    for _, task in tasks:
        await task
