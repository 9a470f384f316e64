"""The gate `auth`: what it sends is what it says, and what wrong keys and known ones cost is counted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from bench.flow import flowing
from bench.gates import Round
from bench.gates.auth import Auth
from bench.latency import Latencies
from bench.load import Load
from bench.load.grpc_calls import enqueue_one
from bench.ours import Measured, Scenario, measure, stage
from bench.postgres import Cluster
from bench.scale import Scale
from bench.table import line
from bench.workers import Workers
from jobqueue_server.bootstrap import first_key
from tests.bench.test_bench import ABOUT

pytestmark = pytest.mark.slow

JOBS = 200
WAYS = {
    "batch": Load(JOBS, "batch", batch=10, traceparent=True),
    "pipelined": Load(JOBS, "pipelined", batch=10, traceparent=True),
    "unary": Load(JOBS, "unary", traceparent=True),
    "unary without a library": Load(JOBS, "unary", bare=True, traceparent=True),
    "rest": Load(JOBS, "rest", traceparent=True),
}


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster() as started:
        yield started


async def test_producers_and_workers_of_every_way_show_a_key_and_each_call_its_own_trace(cluster: Cluster):
    async with cluster.fresh(ours=True) as dsn:
        key = (await first_key(dsn, "bench", force=False)).text
        async with stage(dsn, kinds=Workers().kinds, key=key) as servers:
            with pytest.raises(Exception, match="wants credentials"):
                await enqueue_one(servers[0].grpc, Workers().kinds[0])
            connection = await asyncpg.connect(dsn)
            try:
                for way, load in WAYS.items():
                    sort: Any = "runtime" if way == "rest" else "bare"
                    workers = Workers(sort, streams=2)
                    async with flowing(servers, load, workers) as flow:
                        await flow.until_ended(JOBS, within=60)
                        await flow.until_quiet(connection, within=60)
                    rows = await connection.fetch("select headers from job")
                    traces = {json.loads(row["headers"])["traceparent"] for row in rows}
                    assert len(rows) == JOBS, way
                    assert len(traces) >= (JOBS // 10 if load.protocol in ("batch", "pipelined") else JOBS), (
                        way
                    )
                    await connection.execute("truncate job, finished_job")
            finally:
                await connection.close()


@pytest.mark.long
async def test_the_gate_counts_pairs_memory_and_statements(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    run: list[tuple[bool, bool]] = []

    async def measured(_: Cluster, scenario: Scenario) -> Measured:
        # With keys a tenth more, with traces a fifth.
        run.append((scenario.keys, scenario.load.traceparent))
        cpu = 100.0 + 10 * scenario.keys + 20 * scenario.load.traceparent
        by_whom = {"server": cpu, "postgres": cpu, "worker": 1.0, "client": 1.0}
        costs = {"cpu_us_per_job": by_whom, "wal_bytes_per_job": 1}
        return Measured(1, 1.0, costs, [], Latencies(), None, dead_tuples=0, ran_twice=0, warnings=[])

    monkeypatch.setattr("bench.gates.auth.measure", measured)
    bench = Round(cluster, Scale(factor=0.01, pairs=2), lambda _: None, ABOUT, {})
    found = await Auth().measure(bench)
    assert set(found.values) == {part.name for part in Auth.parts}
    without, with_keys, traced = (False, False), (True, False), (False, True)
    assert run == [
        *(without, with_keys, with_keys, without),
        *(without, with_keys, traced, traced, with_keys, without) * 2,
    ]
    assert [found.values[f"{name} keys"] for name in ("G1", "G2", "G3")] == [1.1] * 3
    assert [found.values[f"{name} traceparent"] for name in ("G2", "G3")] == [1.2] * 2
    assert "G3 keys 1.1 x without (95 %: 1.100-1.100)" in line("auth", found)
    # The background runs some too, and not as many in each second.
    wrong = found.values["a wrong key"]
    assert wrong is not None
    assert wrong <= 0.01, found.detail["wrong_key"]
    assert found.detail["memory_mb"]["keys"] == 100


async def test_a_scenario_with_keys_is_measured_to_its_end(cluster: Cluster):
    found = await measure(cluster, Scenario(WAYS["unary"], Workers(streams=2), keys=True))
    assert (found.jobs, found.ran_twice, found.warnings) == (JOBS, 0, [])
