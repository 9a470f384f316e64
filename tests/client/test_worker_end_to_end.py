"""Client, server, database and Worker together."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest

from jobqueue import Discard, NewJob, Retry, Snooze, Status, Worker
from tests.ports import free_address
from tests.worker_runtime import process_handlers

from .conftest import RunningServer

pytestmark = pytest.mark.slow

WITHIN = timedelta(seconds=30)


@pytest.fixture
async def serve():
    tasks: list[tuple[Worker, asyncio.Task[None]]] = []

    def start(worker):
        tasks.append((worker, asyncio.create_task(worker.serve())))

    yield start
    for worker, _ in tasks:
        worker.stop(grace=timedelta(0))
    for _, task in tasks:
        await task


async def test_a_job_runs_and_its_output_is_read(server, client, serve):
    worker = Worker(server.address, name="w-1")

    @worker.handler("hello")
    async def hello(ctx):
        ctx.progress(0.5, "half")
        return {
            "greeting": f"Hello {ctx.job.payload['name']}",
            "request": ctx.job.headers["x-request-id"],
            "key": ctx.job.key,
        }

    serve(worker)
    job = await client.enqueue("hello", {"name": "x"}, headers={"x-request-id": "r-1"}, key="customer 42")
    done = await client.wait(job.id, timeout=WITHIN)
    assert (done.status, done.attempts) == (Status.SUCCEEDED, 1)
    assert done.output == {"greeting": "Hello x", "request": "r-1", "key": "customer 42"}


async def test_each_end_of_a_handler_is_the_status_that_it_means(server, client, serve):
    worker = Worker(server.address)
    soon = timedelta(milliseconds=10)

    @worker.handler("retry")
    def retry(ctx):
        if ctx.job.attempt == 1:
            raise Retry("not yet", after=soon)

    @worker.handler("discard")
    async def discard(ctx):
        raise Discard("never")

    @worker.handler("snooze")
    async def snooze(ctx):
        if ctx.job.attempt == 1:
            raise Snooze(soon)

    @worker.handler("fail")
    async def fail(ctx):
        raise ValueError("broken")

    serve(worker)
    jobs = {kind: await client.enqueue(kind, max_attempts=2) for kind in ("retry", "discard", "snooze")}
    jobs["fail"] = await client.enqueue("fail", max_attempts=1)
    ended = {kind: await client.wait(job.id, timeout=WITHIN) for kind, job in jobs.items()}
    assert {kind: (job.status, job.attempts, job.failures) for kind, job in ended.items()} == {
        "retry": (Status.SUCCEEDED, 2, 1),
        "discard": (Status.FAILED_PERMANENT, 1, 1),
        "snooze": (Status.SUCCEEDED, 2, 0),
        "fail": (Status.FAILED_PERMANENT, 1, 1),
    }
    assert ended["discard"].reason == "NOT_RETRYABLE"
    assert ended["fail"].last_error == "broken"
    assert ended["fail"].failed_attempts[0].error_type == "ValueError"


@pytest.mark.parametrize("style", ["async", "thread", "process"])
async def test_a_checkpoint_reaches_the_next_attempt_and_a_follow_up_runs(server, client, serve, style):
    worker = Worker(server.address)
    ended: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def chain(ctx):
        return process_handlers.chain(ctx)

    if style == "async":
        worker.handler("chain")(chain)
    else:
        worker.handler("chain", run_in=style)(process_handlers.chain)

    @worker.handler("last")
    async def last(ctx):
        ended.put_nowait((ctx.job.payload, ctx.job.headers["x-request-id"]))

    serve(worker)
    job = await client.enqueue("chain", headers={"x-request-id": "r-2"})
    done = await client.wait(job.id, timeout=WITHIN)
    assert (done.status, done.attempts, done.output) == (Status.SUCCEEDED, 2, "done")
    async with asyncio.timeout(30):
        assert await ended.get() == ("here", "r-2")
    assert ended.empty()


async def test_what_is_too_large_to_leave_or_to_follow_fails_the_attempt_in_its_own_line(
    server, client, serve
):
    worker = Worker(server.address)

    @worker.handler("large")
    async def large(ctx):
        ctx.save_checkpoint(b"x" * (64 * 1024 + 1))

    @worker.handler("many")
    async def many(ctx):
        for number in range(101):
            ctx.follow_up(NewJob("many", number))

    @worker.handler("heavy")
    async def heavy(ctx):
        for _ in range(3):
            ctx.follow_up(NewJob("heavy", "x" * 1_000_000))

    serve(worker)
    jobs = {kind: await client.enqueue(kind, max_attempts=1) for kind in ("large", "many", "heavy")}
    ended = {kind: await client.wait(job.id, timeout=WITHIN) for kind, job in jobs.items()}
    assert "at most 65536 bytes, not 65537" in ended["large"].last_error
    assert "at most 100 follow-ups" in ended["many"].last_error
    assert "2097152 bytes in all" in ended["heavy"].last_error
    assert len([job async for job in client.list()]) == 3


async def test_a_running_job_is_cancelled_in_its_handler(server, client, serve):
    started = asyncio.Event()
    worker = Worker(server.address)

    @worker.handler("long")
    async def long(ctx):
        started.set()
        await asyncio.sleep(600)

    serve(worker)
    job = await client.enqueue("long")
    await asyncio.wait_for(started.wait(), 30)
    assert (await client.cancel(job.id)).pending
    done = await client.wait(job.id, timeout=WITHIN)
    assert (done.status, done.reason) == (Status.CANCELLED, "CANCELLED_BY_CALLER")


async def test_two_thousand_jobs_run_once_each(server, client, serve):
    ran: list[str] = []
    worker = Worker(server.address, concurrency=100)

    @worker.handler("count")
    async def count(ctx):
        ran.append(f"{ctx.job.id}/{ctx.job.attempt}")

    serve(worker)
    results = await client.enqueue_many(_many("count", 2000))
    async with asyncio.timeout(60):
        while len([job async for job in client.list(status="succeeded", page_size=1000)]) < 2000:
            await asyncio.sleep(0.1)
    assert sorted(ran) == sorted(f"{each.id}/1" for each in results)


async def test_a_server_that_restarts_interrupts_no_job(dsn):
    from jobqueue import Client

    first = RunningServer(dsn, free_address())
    address = first.address
    release = threading.Event()
    started = threading.Event()
    attempts: list[int] = []
    worker = Worker(address)

    @worker.handler("hold")
    def hold(ctx):
        attempts.append(ctx.job.attempt)
        started.set()
        release.wait(60)
        return "done"

    serving = asyncio.create_task(worker.serve())
    async with Client(address) as client:
        job = await client.enqueue("hold")
        assert await asyncio.to_thread(started.wait, 30)
        await asyncio.to_thread(first.stop)
        second = await asyncio.to_thread(RunningServer, dsn, address)
        try:
            release.set()
            done = await client.wait(job.id, timeout=WITHIN)
            assert (done.status, done.attempts, attempts) == (Status.SUCCEEDED, 1, [1])
            worker.stop()
            await serving
        finally:
            await asyncio.to_thread(second.stop)


async def test_a_drained_worker_says_goodbye_and_its_jobs_go_back_uncharged(server, client):
    started = asyncio.Event()
    worker = Worker(server.address, shutdown_grace=timedelta(seconds=0.1))

    @worker.handler("long")
    async def long(ctx):
        started.set()
        await asyncio.sleep(600)

    serving = asyncio.create_task(worker.serve())
    job = await client.enqueue("long")
    await asyncio.wait_for(started.wait(), 30)
    worker.stop()
    await asyncio.wait_for(serving, 30)
    read = await client.get(job.id)
    assert (read.status, read.attempts, read.failures, read.losses) == (Status.QUEUED, 1, 0, 0)


def _many(kind, count):
    from jobqueue import NewJob

    return [NewJob(kind, n) for n in range(count)]
