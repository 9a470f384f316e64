"""Without faults every job runs once, however many workers there are."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from jobqueue import Client, NewJob

from .conftest import Bench, select

pytestmark = pytest.mark.slow

NAMES = "wxyz"


async def over(dsn: str, jobs: int, within: float) -> None:
    """Waits until none of so many jobs waits or runs."""
    ends = time.monotonic() + within
    count = "select count(*) from jobs where status = any($1)"
    while (done := (await select(dsn, count, ["succeeded", "failed_permanent", "cancelled"]))[0][0]) < jobs:
        assert time.monotonic() < ends, f"{done} of {jobs} jobs are over after {within} s"
        await asyncio.sleep(0.1)


async def test_six_thousand_jobs_through_four_workers_run_once_each(bench: Bench, dsn: str):
    server = await bench.server(dsn)
    await bench.workers(server.address, *NAMES, slots=8)
    async with Client(server.address) as client:
        results = await client.enqueue_many(NewJob("count", n) for n in range(6_000))
    await bench.journals.until(6_000, within=60)
    await over(dsn, 6_000, within=30)

    runs = bench.journals.read()
    assert len(runs) == 6_000
    assert {run.id for run in runs} == {result.id for result in results}
    assert {run.attempt for run in runs} == {1}
    assert set(Counter(run.worker for run in runs)) == set(NAMES)
    tally = "select status, attempts, count(*) from jobs group by 1, 2"
    assert await select(dsn, tally) == [("succeeded", 1, 6_000)]


async def test_two_hundred_jobs_race_through_eight_workers_and_run_once_each(bench: Bench, dsn: str):
    server = await bench.server(dsn)
    async with Client(server.address) as client:
        # They wait already when the workers come, so that all eight claim the same rows at once.
        # Long enough that one worker alone needs ten seconds for them: the last of the eight may start late.
        results = await client.enqueue_many(NewJob("nap", 0.05) for _ in range(200))
    await bench.workers(server.address, *(f"w{n}" for n in range(8)), slots=1)
    await bench.journals.until(200)
    await over(dsn, 200, within=30)

    runs = bench.journals.read()
    assert len(runs) == 200
    assert {run.id for run in runs} == {result.id for result in results}
    assert {run.attempt for run in runs} == {1}
    assert len({run.worker for run in runs}) > 1
    assert await select(dsn, "select distinct status, attempts from jobs") == [("succeeded", 1)]
