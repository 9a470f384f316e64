"""`perform` and a worker of a real server agree on each handler, in each style."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from jobqueue import Client, Status
from jobqueue.testing import perform
from tests.client.conftest import RunningServer

from . import handlers

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]

ENDED = {
    "succeeded": (Status.SUCCEEDED, ""),
    "failed": (Status.FAILED_PERMANENT, "ATTEMPTS_EXHAUSTED"),
    "discarded": (Status.FAILED_PERMANENT, "NOT_RETRYABLE"),
    "cancelled": (Status.CANCELLED, "CANCELLED_BY_WORKER"),
    "snoozed": (Status.QUEUED, ""),
}


@pytest.fixture
async def served(server: RunningServer) -> AsyncIterator[None]:
    worker = handlers.new_worker(server.address)
    task = asyncio.create_task(worker.serve())
    yield
    worker.stop(grace=timedelta(0))
    await task


@pytest.mark.timeout(240)
@pytest.mark.parametrize("run_in", ["loop", "thread", "process"])
async def test_a_handler_comes_to_the_same_by_itself_and_by_a_worker(
    server: RunningServer, client: Client, served: None, run_in: Any
):
    sent = {
        function: await client.enqueue(f"{run_in}.{function.__name__}", {"n": 7}, key="k", max_attempts=1)
        for function in handlers.UNTYPED
    }
    for function, job in sent.items():
        handler: Callable[..., Any] = handlers.on_loop(function) if run_in == "loop" else function
        kind = job.kind
        done = await perform(
            handler, {"n": 7}, kind=kind, run_in=run_in, key="k", max_attempts=1, catch=True,
            within=timedelta(seconds=60),
        )  # fmt: skip
        there = await _over(client, job.id)
        assert (there.status, there.reason) == ENDED[done.outcome], kind
        assert there.output == done.output, kind
        assert there.last_error == done.error, kind
        types = [each.error_type for each in there.failed_attempts]
        assert types == ([done.error_type] if done.error_type else []), kind
    following = (await client.list_page(kind="next", full=True)).jobs
    by_itself = await perform(handlers.follows_up)
    assert [(each.queue, each.payload, each.labels) for each in following] == [
        (each.queue, {"of": 1}, each.labels) for each in by_itself.follow_ups
    ]


async def _over(client: Client, id: str) -> Any:
    """The job once its first attempt is over."""
    async with asyncio.timeout(60):
        while True:
            job = await client.get(id)
            if job.is_terminal or (job.attempts and job.status is not Status.RUNNING):
                return job
            await asyncio.sleep(0.05)
