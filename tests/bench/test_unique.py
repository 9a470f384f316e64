"""The gate `unique`: its jobs have the names that it says, of their own or in turns, and its calls are kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import islice

import asyncpg
import pytest

from bench.gates import Round
from bench.gates.unique import UniqueNames
from bench.load import Load, unique_jobs
from bench.ours import Scenario, measure, producers, stage
from bench.postgres import Cluster
from bench.scale import Scale
from bench.workers import Workers
from tests.bench.test_bench import ABOUT

JOBS = 200


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster() as started:
        yield started


def test_names_go_round_or_are_each_jobs_own():
    turns = [job.unique.key for job in islice(unique_jobs(Load(6, "unary", names=3)), 6)]
    assert turns == ["name-0", "name-1", "name-2"] * 2
    own = [job.unique.key for job in islice(unique_jobs(Load(6, "unary", names=0)), 6)]
    assert len(set(own)) == 6


@pytest.mark.slow
async def test_of_names_that_go_round_one_job_each_is_stored(cluster: Cluster):
    async with cluster.fresh(ours=True) as dsn, stage(dsn, kinds=Workers().kinds) as servers:
        async with producers(servers, Load(JOBS, "unary", in_flight=16, names=20)) as made:
            made.go()
            await made.reports()
        connection = await asyncpg.connect(dsn)
        try:
            rows = await connection.fetch("select unique_name ->> 'key' as key, count(*) from job group by 1")
        finally:
            await connection.close()
    assert {row["key"]: row["count"] for row in rows} == {f"name-{number}": 1 for number in range(20)}


@pytest.mark.slow
async def test_jobs_with_names_of_their_own_are_measured_to_their_end(cluster: Cluster):
    found = await measure(cluster, Scenario(Load(JOBS, "unary", in_flight=16, names=0), Workers(streams=2)))
    assert found.jobs == JOBS


@pytest.mark.long
async def test_the_gate_measures_each_of_its_parts(cluster: Cluster):
    bench = Round(cluster, Scale(factor=0.01), lambda _: None, ABOUT, {})
    found = await UniqueNames().measure(bench)
    assert set(found.values) == {part.name for part in UniqueNames.parts}
    assert None not in found.values.values()
