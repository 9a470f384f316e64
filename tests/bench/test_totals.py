"""The gate `totals`: its queue limits how many of its jobs run, and its snapshots are held beside limits."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from bench.gates import Round, totals
from bench.gates.totals import Totals
from bench.load import Load
from bench.ours import Scenario, measure, stage
from bench.postgres import Cluster
from bench.scale import Scale
from bench.server import limit_queue
from bench.workers import Workers
from tests.bench.test_bench import ABOUT

pytestmark = pytest.mark.slow

JOBS = 200


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster() as started:
        yield started


async def test_the_default_queue_limits_how_many_of_its_jobs_run(cluster: Cluster):
    async with cluster.fresh(ours=True) as dsn, stage(dsn, kinds=Workers().kinds) as servers:
        await limit_queue(servers[0], 3)
        connection = await asyncpg.connect(dsn)
        try:
            assert await connection.fetchval("select max_running from queue where name = 'default'") == 3
        finally:
            await connection.close()


async def test_jobs_of_a_limited_queue_are_measured_to_their_end(cluster: Cluster):
    found = await measure(
        cluster, Scenario(Load(JOBS, "batch", batch=10), Workers(streams=2), of_the_queue=5)
    )
    assert found.jobs == JOBS


def test_its_parts_are_those_of_one_and_two_servers_and_one_of_each_number_of_keys():
    held = (f"snapshot, {name}" for name in totals.HELD)
    assert [part.name for part in Totals.parts] == ["one server", "two servers", *held]


@pytest.mark.timeout(600)
@pytest.mark.long
async def test_the_gate_measures_each_of_its_parts(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    # Of those that differ in their number of keys alone, one.
    some = {name: totals.HELD[name] for name in ("1,000 keys", "total")}
    monkeypatch.setattr(totals, "HELD", some)
    bench = Round(cluster, Scale(factor=0.002), lambda _: None, ABOUT, {})
    found = await Totals().measure(bench)
    assert set(found.values) == {"one server", "two servers", *(f"snapshot, {name}" for name in some)}
    assert None not in found.values.values()
