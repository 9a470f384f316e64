"""The gate `keys`: its jobs have keys in turns, and its queue a limit of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from bench.gates import Round
from bench.gates.keys import Keys, Raised
from bench.load import Load
from bench.load.grpc_calls import enqueue_keyed
from bench.ours import Scenario, measure, producers, stage
from bench.peers import PEERS
from bench.postgres import Cluster
from bench.scale import Scale
from bench.server import limit_keys
from bench.workers import Workers
from tests.bench.test_bench import ABOUT

pytestmark = pytest.mark.slow

JOBS, KEYS = 200, 20


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster() as started:
        yield started


async def test_jobs_have_keys_in_turns_and_wait_for_them(cluster: Cluster):
    async with cluster.fresh(ours=True) as dsn, stage(dsn, kinds=Workers().kinds) as servers:
        await limit_keys(servers[0], 1)
        async with producers(servers, Load(JOBS, "batch", batch=10, keys=KEYS)) as made:
            made.go()
            await made.reports()
        await enqueue_keyed(servers[0].grpc, Workers().kinds[0], ["blocked"] * 30)
        connection = await asyncpg.connect(dsn)
        try:
            rows = await connection.fetch(
                "select key, count(*) as jobs, count(*) filter (where l.state = 3) as held "
                "from job join live_job l using (id) group by key"
            )
        finally:
            await connection.close()
    found = {row["key"]: (row["jobs"], row["held"]) for row in rows}
    each = JOBS // KEYS
    assert found == {"blocked": (30, 29), **{f"key-{number}": (each, each - 1) for number in range(KEYS)}}


async def test_jobs_that_wait_for_their_keys_are_measured_to_their_end(cluster: Cluster):
    load = Load(JOBS, "batch", batch=10, keys=KEYS)
    found = await measure(cluster, Scenario(load, Workers(streams=2), drain=True, of_a_key=1))
    assert found.jobs == JOBS


@pytest.mark.long
async def test_the_gate_measures_each_of_its_parts(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    # Peers have tests of their own.
    monkeypatch.setattr("bench.gates.round.PEERS", [])
    bench = Round(cluster, Scale(factor=0.002), lambda _: None, ABOUT, {})
    found = await Keys().measure(bench)
    assert set(found.values) == {part.name for part in Keys.parts}
    assert [part for part, value in found.values.items() if value is None] == ["Graphile Worker", "pg-boss"]


async def test_a_limit_that_is_raised_is_measured_until_the_last_key_has_let_one_in(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bench.gates.round.PEERS", [])
    found = await Raised().measure(Round(cluster, Scale(factor=0.001), lambda _: None, ABOUT, {}))
    assert found.detail["keys"] == 100
    assert found.values[""] is not None
    assert found.values[""] >= found.detail["answered"]


def test_peers_with_limits_by_key_have_a_workload_for_them():
    assert {peer.name for peer in PEERS if "keyed" in peer.workloads} == {"graphile", "pg_boss"}
