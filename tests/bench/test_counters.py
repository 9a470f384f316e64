"""What a job costs, counted on a whole system as the bench runs it: statements, commits, bytes of WAL, messages.

Counters, never times. Each bound is what was measured, with room for what the server does by itself meanwhile; batches
go in lockstep, so that nothing depends on how fast the machine is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bench.load import Load
from bench.ours import Scenario, measure
from bench.postgres import Cluster
from bench.workers import Workers

pytestmark = pytest.mark.slow

JOBS = 5000
BATCHES = JOBS // 100


@pytest.fixture
async def bench() -> AsyncIterator[Any]:
    async with Cluster() as cluster:

        async def costs(scenario: Scenario) -> dict[str, Any]:
            found = await measure(cluster, scenario)
            assert found.jobs == scenario.load.jobs
            assert found.ran_twice == 0
            return found.costs

        yield costs


async def test_a_batch_that_is_handed_off_costs_two_statements_two_commits_and_five_messages(bench):
    # With slots for all of them: where settlements are slow, no slot is missing, and nothing is left to be claimed.
    costs = await bench(Scenario(Load(JOBS, "batch", in_flight=1), Workers(streams=1, slots=JOBS)))

    counted = costs["statements"]
    assert counted["enqueue"] == BATCHES
    # The producer does not wait for settlements: now and then two of them share a statement.
    assert counted["end_plain"] <= 1.1 * BATCHES
    assert counted.get("claim", 0) == 0, "what is handed off is not claimed"
    # The call and its answer, the delivery, the settlement and its answer.
    assert costs["messages_per_job"] <= 0.055
    # Beside the two of a batch: heartbeats of the server and the like, a few a second.
    assert costs["commits_per_job"] <= 0.025
    # Measured: 904 B. Pages that are new to the WAL are part of it, which the limit of 900 B for a long run has not.
    assert 700 <= costs["wal_bytes_per_job"] <= 1000


async def test_a_backlog_is_claimed_and_settled_by_the_thousand(bench):
    costs = await bench(Scenario(Load(JOBS, "batch", in_flight=1), Workers(streams=1), drain=True))

    counted, filled = costs["statements"], costs["filling"]
    assert filled["statements"]["enqueue"] == BATCHES
    # The slots of one stream are filled by chunks of up to half of them, while settlements free others.
    for name in ("claim", "bodies", "end_plain"):
        assert 1 <= counted[name] <= 25, name
    # A delivery, a settlement and its answer for each chunk.
    assert costs["messages_per_job"] <= 0.02
    assert costs["commits_per_job"] <= 0.015
    # Measured: 653 and 666 B.
    assert costs["wal_bytes_per_job"] <= 720
    assert filled["wal_bytes_per_job"] <= 740


async def test_a_job_alone_costs_two_statements_and_five_messages(bench):
    jobs = 300
    costs = await bench(Scenario(Load(jobs, "unary", in_flight=1), Workers(streams=1)))

    assert costs["statements"]["enqueue"] == jobs
    assert costs["statements"]["end_plain"] <= jobs
    assert costs["messages_per_job"] <= 5.1
    assert costs["commits_per_job"] <= 2.2


async def test_calls_that_come_at_once_share_an_insert_and_a_settlement(bench):
    jobs = 3000
    costs = await bench(Scenario(Load(jobs, "unary", in_flight=64), Workers(streams=1)))

    # How many share one depends on how fast the machine is. Measured: 0.1 to 0.3 of each.
    assert costs["statements"]["enqueue"] <= 0.5 * jobs
    assert costs["statements"]["end_plain"] <= 0.5 * jobs
    assert costs["messages_per_job"] <= 4
