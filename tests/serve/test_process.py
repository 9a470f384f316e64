"""The server as a process: killed, told to end, and started before its database."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import grpc
import pytest

from jobqueue.v1 import lease_pb2
from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.store import migrate
from tests.lease.place import Caller, Status

pytestmark = pytest.mark.slow

Verdict = lease_pb2.SettleResult.Verdict


@asynccontextmanager
async def calling(process):
    """Stubs that speak to the process."""
    caller = Caller(await process.address())
    try:
        yield caller
    finally:
        await caller.close()


@pytest.mark.any_engine
async def test_what_was_acknowledged_survives_a_kill_and_runs_after_it(dsn, processes):
    """Killed between the OK to the enqueues and the settlements; the worker resumes, and another finds the rest."""
    first = processes(dsn)
    await first.start()
    async with calling(first) as caller:
        worker = await caller.worker(slots=2)
        running = await caller.batch(2)
        jobs = await worker.jobs(2)
        await worker.heartbeat()
        waiting = await caller.batch(20)
        answered = asyncio.Event()
        acknowledged = []

        async def produce():
            while True:
                acknowledged.append((await caller.enqueue()).id)
                answered.set()

        producing = [asyncio.create_task(produce()) for _ in range(4)]
        await answered.wait()
        await asyncio.sleep(0.2)
        # Settled, and killed before it can be known whether that was committed.
        await worker.report([jobs[0].lease_id])
        await first.kill()
        results = await asyncio.gather(*producing, return_exceptions=True)
        for result in results:
            assert isinstance(result, grpc.aio.AioRpcError)
            assert result.code() is grpc.StatusCode.UNAVAILABLE
        await worker.end()
    second = processes(dsn)
    await second.start()
    async with calling(second) as caller:
        resume = worker.resume(held=[jobs[1]], unanswered=[jobs[0]])
        again = await caller.worker(slots=50, resume=resume)
        results = await again.succeed(*jobs)
        assert [Verdict.Name(result.verdict) for result in results] in ([], ["ALREADY_APPLIED"])
        wanted = {*waiting, *acknowledged}
        seen: set[str] = set()
        while not wanted <= seen:
            leased = await again.job()
            seen.add(leased.id)
            assert leased.attempt == 1
            await again.succeed(leased)
        for job_id in (*running, *waiting, *acknowledged[-3:]):
            done = await caller.get(job_id)
            assert (Status.Name(done.status), done.attempts, done.losses) == ("SUCCEEDED", 1, 0)


@pytest.mark.any_engine
async def test_leases_of_a_server_that_died_with_its_worker_start_again_in_time(dsn, processes):
    first, second = processes(dsn), processes(dsn)
    await asyncio.gather(first.start(), second.start())
    async with calling(first) as doomed, calling(second) as caller:
        worker = await doomed.worker(ttl=5)
        job = await doomed.enqueue()
        await worker.job()
        await worker.heartbeat()
        last = time.monotonic()
        await first.kill()
        other = await caller.worker(name="other")
        leased = await other.job(timeout=25)
        # The greater of the ttl and 12 s after the server's last beat, which was up to 2 s before. `make faults`
        # measures that it is no later than 14 s (worker_and_server_killed).
        assert time.monotonic() - last > 9.5
        assert (leased.id, leased.attempt) == (job.id, 2)
        assert (await caller.get(job.id)).losses == 1


async def test_sigterm_drains_and_ends_with_0(dsn, processes):
    process = processes(dsn, shutdown_grace="20s")
    await process.start()
    async with calling(process) as caller:
        worker = await caller.worker()
        job = await caller.enqueue()
        leased = await worker.job()
        process.send(signal.SIGTERM)
        assert (await worker.next("go_away")).reason == "DRAINING"
        assert await worker.succeed(leased) == []
        assert (await worker.end()).error is None
        assert await process.ended() == 0
    second = processes(dsn)
    await second.start()
    async with calling(second) as caller:
        assert await caller.status(job.id) == "SUCCEEDED"


async def test_a_second_signal_ends_at_once(dsn, processes):
    process = processes(dsn, shutdown_grace="1h")
    await process.start()
    async with calling(process) as caller:
        worker = await caller.worker()
        await caller.enqueue()
        await worker.job()
        process.send(signal.SIGTERM)
        await worker.next("go_away")
        await asyncio.sleep(0.3)
        process.send(signal.SIGINT)
        # Its grace is an hour.
        await process.ended()


@pytest.mark.any_engine
async def test_without_its_database_it_waits_says_so_and_then_starts(processes):
    postgres = EmbeddedPostgres(listen=True)
    await asyncio.to_thread(postgres.start)
    dsn = postgres.dsn
    try:
        await migrate.up(dsn)
        await asyncio.to_thread(postgres.kill)
        waiting, leaving = processes(dsn), processes(dsn)
        await asyncio.gather(waiting.launch(), leaving.launch())
        for process in (waiting, leaving):
            line = await process.said("waiting for the database", times=2)
            assert line["level"] == "warning"
            at = urlsplit(dsn)
            assert (line["host"], line["port"], line["database"]) == (at.hostname, str(at.port), "jobqueue")
            assert "Connection refused" in line["cause"] or "Connect call failed" in line["cause"]
            assert at.password
            assert at.password not in json.dumps(process.log)
        leaving.send(signal.SIGTERM)
        assert await leaving.ended() == 0
        await asyncio.to_thread(postgres.start)
        assert postgres.dsn == dsn
        async with calling(waiting) as caller:
            assert await caller.health() == "SERVING"
            worker = await caller.worker()
            await caller.enqueue()
            assert await worker.succeed(await worker.job()) == []
    finally:
        await asyncio.to_thread(postgres.stop)


async def test_a_port_that_is_taken_is_said_in_one_line_before_anything_starts(dsn, processes):
    first = processes(dsn)
    await first.start()
    for name, variable in (
        ("grpc_addr", "JOBQUEUE_GRPC_ADDR"),
        ("http_addr", "API_BIND_ADDR"),
        ("metrics_addr", "JOBQUEUE_METRICS_ADDR"),
    ):
        second = processes("postgresql://nobody@127.0.0.1:1/away", **{name: await first.address()})
        await second.launch()
        assert await second.ended() == 1
        await second.kill()
        (said,) = (str(line.get("event", line.get("message"))) for line in second.log)
        assert f"can't listen on {await first.address()}" in said
        assert variable in said
        assert "database" not in said


@pytest.mark.any_engine
@pytest.mark.parametrize("how", ["empty", "newer"])
async def test_a_schema_that_it_does_not_know_is_refused(cluster, dsn, empty_dsn, processes, how):
    if how == "newer":
        database = urlsplit(dsn).path.lstrip("/")
        cluster.execute(
            "insert into schema_migration (version, name, checksum) values (9999, 'tomorrow', 'x')", database
        )
    process = processes(empty_dsn if how == "empty" else dsn)
    await process.launch()
    assert await process.ended() == 1
    text = " ".join(str(line) for line in process.log)
    assert "migrate up" in text or "9999" in text
    assert "Traceback" not in text
