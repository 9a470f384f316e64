"""The gate `explain`: its backlog is of all sorts, as enqueues would leave it, and each of its parts is measured."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from bench import waiting
from bench.gates import Round
from bench.gates.explain import Explained
from bench.ours import stage
from bench.postgres import Cluster
from bench.scale import Scale
from tests.bench.test_bench import ABOUT
from tests.faults.cases.limits import DRIFTED

SCALE = Scale(factor=0.001)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster() as started:
        yield started


def test_ten_million_wait_and_one_million_are_held_back():
    jobs = {
        held: sum(sort.jobs for sort in waiting.SORTS.values() if sort.held == held) for held in (False, True)
    }
    assert jobs == {False: 10_000_000, True: 1_000_000}


@pytest.mark.slow
async def test_jobs_that_are_written_are_counted_by_their_keys(cluster: Cluster):
    async with cluster.fresh(ours=True) as dsn:
        async with stage(dsn) as servers:
            await waiting.declare(servers[0])
            await waiting.begin(servers[0], SCALE)
        filled = await waiting.fill(dsn, SCALE)
        connection = await asyncpg.connect(dsn)
        try:
            drifted = await connection.fetchval(DRIFTED)
            jobs, first, last = await connection.fetchrow(
                "select count(*), min(id::text), max(id::text) from live_job where lane_id = $1"
                " and state = 1 and priority = 0 and run_at < now() + interval '1 hour'",
                filled["plain"].lane,
            )
        finally:
            await connection.close()
    assert drifted == 0
    # And the one that was enqueued by a call.
    assert jobs == filled["plain"].jobs + 1
    assert first < str(filled["plain"].first) < str(filled["plain"].last) == last


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_the_gate_measures_each_of_its_parts(cluster: Cluster):
    bench = Round(cluster, SCALE, lambda _: None, ABOUT, {})
    found = await Explained().measure(bench)
    assert set(found.values) == {part.name for part in Explained.parts}
    assert None not in found.values.values()
    assert set(found.detail["explain_ms"]) == {"waiting", "held", *waiting.SORTS}
    assert all(told["count"] >= 300 for told in found.detail["explain_ms"].values())
