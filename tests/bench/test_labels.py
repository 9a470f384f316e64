"""The gates `labels` and `locked-key`: their jobs are what they say, and each part is measured."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from bench.flow import flowing
from bench.gates import Round, locked_key
from bench.gates.labels import Labels
from bench.gates.locked_key import LockedKey
from bench.latency import Latencies
from bench.load import LABEL, Load
from bench.ours import Measured, Scenario, stage
from bench.postgres import Cluster
from bench.scale import Scale
from bench.workers import Workers
from tests.bench.test_bench import ABOUT

pytestmark = pytest.mark.slow

JOBS = 100
WAYS = (
    Load(JOBS, "batch", batch=10, label=True),
    Load(JOBS, "unary", label=True),
    Load(JOBS, "unary", bare=True, label=True),
    Load(JOBS, "rest", label=True),
)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster() as started:
        yield started


async def test_each_job_of_a_load_with_a_label_has_it(cluster: Cluster):
    async with cluster.fresh(ours=True) as dsn, stage(dsn, kinds=Workers().kinds) as servers:
        connection = await asyncpg.connect(dsn)
        try:
            for load in WAYS:
                async with flowing(servers, load, Workers("bare", streams=2)) as flow:
                    await flow.until_ended(JOBS, within=60)
                    await flow.until_quiet(connection, within=60)
                rows = await connection.fetch("select labels from job")
                assert [json.loads(row["labels"]) for row in rows] == [LABEL] * JOBS, load
                await connection.execute("truncate job, finished_job")
        finally:
            await connection.close()


async def test_the_gate_compares_a_label_with_none(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    run: list[bool] = []

    async def measured(_: Cluster, scenario: Scenario) -> Measured:
        run.append(scenario.load.label)
        cpu = 100.0 + 50 * scenario.load.label
        by_whom = {"server": cpu, "postgres": cpu, "worker": 1.0, "client": 1.0}
        costs = {"cpu_us_per_job": by_whom, "wal_bytes_per_job": 1}
        return Measured(1, 1.0, costs, [], Latencies(), None, dead_tuples=0, ran_twice=0, warnings=[])

    monkeypatch.setattr("bench.gates.labels.measure", measured)
    found = await Labels().measure(Round(cluster, Scale(factor=0.01, pairs=2), lambda _: None, ABOUT, {}))
    assert found.values == {"G2": 1.5, "G3": 1.5}
    assert run == [False, True, True, False] * 2


async def test_neighbours_of_a_locked_key_are_measured_in_each_way(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(locked_key, "_SECONDS", 0.5)
    found = await LockedKey().measure(Round(cluster, Scale(factor=0.01), lambda _: None, ABOUT, {}))
    assert found.values.keys() == {part.name for part in LockedKey.parts}
    assert all(value is not None and value > 0 for value in found.values.values())
