"""Middleware in a worker of a real server: follow-ups that are stored, and what logs and observers see of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobqueue import AUTO, Attempt, Client, NewJob, Observer, Status, Worker
from tests.client.conftest import RunningServer
from tests.client.test_calls import UNAVAILABLE, Failing
from tests.client.test_calls import failing as failing

from . import around
from .around import HANDLERS, TenantFilter, Told, tenant
from .test_enqueues import Marks

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]

WITHIN = timedelta(seconds=60)
STYLES = ["loop", "thread", "process"]


class Seen(Observer):
    """Keeps with which tenant each attempt ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, str]] = []

    def attempt_ended(self, attempt: Attempt, outcome: str, seconds: float, error: str) -> None:
        self.ends.append((outcome, tenant.get()))


class Lines(logging.Handler):
    """Keeps the tenant of each line."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(TenantFilter())
        self.tenants: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.tenants.append((record.levelname, record.tenant))  # type: ignore[attr-defined]


@pytest.fixture
def lines() -> Iterator[Lines]:
    lines = Lines()
    logging.getLogger("jobqueue.worker").addHandler(lines)
    yield lines
    logging.getLogger("jobqueue.worker").removeHandler(lines)


@asynccontextmanager
async def serving(address: str, **options: Any) -> AsyncIterator[Seen]:
    """A worker with a handler of each style, until the block is left."""
    seen = Seen()
    worker = Worker(address, observer=seen, **options)
    for style in STYLES:
        worker.handler(style, run_in=style)(HANDLERS[style])  # type: ignore[call-overload]
    task = asyncio.create_task(worker.serve())
    try:
        yield seen
    finally:
        worker.stop(grace=timedelta(0))
        await task


@pytest.mark.parametrize("style", STYLES)
async def test_follow_ups_are_stored_with_what_the_middleware_has_added(
    server: RunningServer, client: Client, tmp_path: Path, style: str
):
    async with serving(server.address, middleware=[around.outer, around.of_tenant, around.inner]):
        job = await client.enqueue(
            style, {"told": str(tmp_path / "told"), "follow_ups": 2}, headers={"tenant": "t1"}
        )
        assert (await client.wait(job.id, timeout=WITHIN)).status is Status.SUCCEEDED
    assert Told(tmp_path / "told").words() == "a( c( handler:t1 )c )a"
    stored = (await client.list_page(kind="next", full=True)).jobs
    assert sorted((each.payload, each.headers["by"], each.headers["tenant"]) for each in stored) == [
        (0, "ac", "t1"),
        (1, "ac", "t1"),
    ]


@pytest.mark.parametrize("style", ["loop", "thread"])
async def test_a_failures_log_line_and_the_observer_see_what_the_middleware_set(
    server: RunningServer, client: Client, tmp_path: Path, lines: Lines, style: str
):
    payload = {"told": str(tmp_path / "told")}
    async with serving(server.address, middleware=[around.of_tenant]) as seen:
        for said in ({"handler": "raise"}, {}):
            job = await client.enqueue(style, {**payload, **said}, headers={"tenant": "t1"}, max_attempts=1)
            await client.wait(job.id, timeout=WITHIN)
        await until(lambda: len(seen.ends) == 2)
    assert seen.ends == [("failed_permanent", "t1"), ("succeeded", "t1")]
    assert [of for level, of in lines.tenants if level == "ERROR"] == ["t1"]


async def test_what_is_set_and_not_put_back_ends_with_its_job(
    server: RunningServer, client: Client, tmp_path: Path
):
    for style in STYLES:
        told = Told(tmp_path / style)
        async with serving(server.address, middleware=[around.leaves], concurrency=1):
            for headers in ({"tenant": "t1"}, {}, {}):
                job = await client.enqueue(style, {"told": str(tmp_path / style)}, headers=headers)
                await client.wait(job.id, timeout=WITHIN)
        assert told.words() == "handler:t1 handler handler"


async def test_a_call_that_is_tried_again_went_through_it_once(failing: Failing):
    failing.failures = [UNAVAILABLE] * 2
    marks = Marks("a")
    async with Client(failing.address, middleware=[marks]) as client:
        await client.enqueue("mail", idempotency_key=AUTO)
    assert marks.seen == [1]
    assert [request.job.headers["by"] for request in failing.requests] == ["a"] * 3  # type: ignore[attr-defined]


async def test_a_middleware_that_raises_has_sent_no_request(failing: Failing):
    class Refuses(Marks):
        async def enqueue(self, jobs: Any, call_next: Any) -> Any:
            raise PermissionError("not these")

    async with Client(failing.address, middleware=[Marks("a"), Refuses("b")]) as client:
        with pytest.raises(PermissionError):
            await client.enqueue("mail")
        with pytest.raises(PermissionError):
            await client.enqueue_many([NewJob("mail")] * 2)
        assert await client.enqueue_many([]) == []
    assert failing.requests == []


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)
