"""The gate `bulk`: its jobs are all retried, its operation goes on beside a load, and it measures each of its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bench.beside import Retrying
from bench.errors import BenchError
from bench.gates import Round
from bench.gates.bulk import Bulk
from bench.load import Load
from bench.ours import Scenario, measure
from bench.postgres import Cluster
from bench.scale import Scale
from bench.workers import Workers
from tests.bench.test_bench import ABOUT

pytestmark = pytest.mark.slow

JOBS = 200


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster() as started:
        yield started


async def test_jobs_that_are_retried_beside_a_load_are_none_of_its_own(cluster: Cluster):
    # 50 s of them: the load has ended by then, also on a machine that is slow.
    scenario = Scenario(Load(JOBS, "batch", batch=10), Workers(streams=2), beside=Retrying(5_000, 100))
    found = await measure(cluster, scenario)
    assert found.jobs == JOBS
    assert 0 < found.beside["retried"] < 5_000


async def test_an_operation_that_ends_before_the_load_fails_the_measurement(cluster: Cluster):
    scenario = Scenario(
        Load(3_000, "unary", rate=1000, stamped=True, bare=True),
        Workers(stamped=True),
        beside=Retrying(100, 1000),
    )
    with pytest.raises(BenchError, match="all retried before"):
        await measure(cluster, scenario)


@pytest.mark.timeout(600)
@pytest.mark.long
async def test_the_gate_measures_each_of_its_parts(cluster: Cluster):
    bench = Round(cluster, Scale(factor=0.02, pairs=2), lambda _: None, ABOUT, {})
    found = await Bulk().measure(bench)
    assert set(found.values) == {part.name for part in Bulk.parts}
    assert None not in found.values.values()
    assert found.detail["retried"]["jobs"] == 20_000
    assert all(turn["beside"]["beside"]["retried"] for turn in found.detail["runs"])
