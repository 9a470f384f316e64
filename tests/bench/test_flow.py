"""Load that goes on: it is counted while it runs, and what breaks is told at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
import uvloop

from bench.errors import BenchError
from bench.flow import flowing
from bench.load import KIND, Load, LoadProtocol
from bench.ours import producers
from bench.postgres import Cluster
from bench.processes import DONE, LATE, REFUSED, Mailbox, Processes, merged
from bench.server import Server, declare
from bench.workers import Workers

pytestmark = pytest.mark.slow

ENOUGH = 1_000_000


@pytest.fixture
async def dsn() -> AsyncIterator[str]:
    async with Cluster() as cluster, cluster.fresh(ours=True) as fresh:
        yield fresh


async def test_a_worker_that_the_server_refuses_ends_the_measurement(dsn: str):
    async with Server(dsn, settings={"JOBQUEUE_MAX_STREAMS": "2"}) as server:
        workers = Workers(streams=5)
        await declare(server, workers.kinds)
        with pytest.raises(BenchError, match="the workers: a process broke(.|\n)*RESOURCE_EXHAUSTED"):
            async with flowing([server], Load(ENOUGH), workers) as flow, asyncio.timeout(60):
                await flow.rate(60)


@pytest.mark.long
async def test_workers_outlast_the_age_of_their_connection(dsn: str):
    """They stay where they were asked to leave: the server gives them nothing for ten seconds, then jobs again."""
    async with Server(dsn, settings={"JOBQUEUE_CONNECTION_MAX_AGE": "1s"}) as server:
        workers = Workers(streams=2)
        await declare(server, workers.kinds)
        # More than is made in the first second.
        async with flowing([server], Load(ENOUGH, rate=20), workers) as flow:
            await flow.until_ended(5000, within=60)


async def test_a_backlog_stays_as_large_as_it_is_to_be(dsn: str):
    async with Server(dsn) as server:
        workers = Workers()
        await declare(server, workers.kinds)
        async with flowing([server], Load(ENOUGH), workers, ahead=2000) as flow:
            await flow.until_ended(10_000, within=60)
            # A call of each of the eight that are under way may be beyond it.
            assert flow.stored - flow.ended <= 2000 + 8 * 100
            await flow.made.end()
            stored = flow.stored
            await flow.until_ended(stored, within=60)
            assert flow.ended == stored


@pytest.mark.parametrize("protocol", ["batch", "unary"])
async def test_a_producer_without_a_library_counts_each_call_once_by_what_became_of_it(
    dsn: str, protocol: LoadProtocol
):
    """At a schedule that the server can't keep up with, and one call after the other."""
    async with Server(dsn, settings={"JOBQUEUE_ENQUEUE_QUEUE_LIMIT": "100"}) as server:
        await declare(server, (KIND,))
        connection = await asyncpg.connect(dsn)
        try:
            count, rate = (5_000, 50_000) if protocol == "unary" else (20_000, 2000)
            flood = Load(count, protocol, rate=rate, deadline=60.0, bare=True)
            refused = 0
            for load in (flood, Load(500, protocol, in_flight=1, bare=True)):
                before = await connection.fetchval("select count(*) from job")
                async with producers([server], load) as made:
                    made.go()
                    reports = await made.reports(90)
                assert sum(merged(reports, "missed")) == 0
                assert made.count(DONE) + made.count(REFUSED) + made.count(LATE) == load.jobs
                assert made.count(DONE) == await connection.fetchval("select count(*) from job") - before
                assert made.count(LATE) == 0
                refused += made.count(REFUSED)
            assert 0 < refused < flood.jobs
        finally:
            await connection.close()


def much(mailbox: Mailbox, size: int) -> None:
    """Works until it is told, and has much to tell."""

    async def until_told() -> None:
        await asyncio.to_thread(mailbox.ready)
        await mailbox.stopped()

    uvloop.run(until_told())
    mailbox.report(seen="." * size)


async def test_a_process_may_have_more_to_tell_than_a_pipe_holds():
    size = 8 << 20
    async with Processes("the talkers", much, [(size,)]) as processes:
        processes.go()
        reports = await processes.stop()
    assert len(reports[0]["seen"]) == size


async def test_of_a_server_that_ends_without_a_word_it_is_told_that_it_ended():
    silent: Any = SimpleNamespace(command=(sys.executable, "-c", ""), environment={}, check=lambda said: None)
    server = Server("", checkout=silent)
    with pytest.raises(BenchError, match="the server ended with 0"):
        await server.__aenter__()
    assert server.said == ""
