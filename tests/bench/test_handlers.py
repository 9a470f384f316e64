"""The gate `handlers`: its workers do what their ways say, and each of its parts is measured."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import asdict

import pytest

from bench.gates import Round
from bench.gates.handlers import HandlerCosts
from bench.postgres import Cluster
from bench.scale import Scale
from bench.workers.handlers import KINDS, payload, worker
from jobqueue.testing import perform
from tests.bench.test_bench import ABOUT


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster() as started:
        yield started


@pytest.mark.parametrize("way", KINDS)
async def test_each_way_answers_the_same(way: str):
    done = await perform(worker(way, "127.0.0.1:1"), payload(way, 7, 1_000), kind=KINDS[way])
    output = asdict(done.output) if way == "typed" else done.output
    assert (done.outcome, output) == ("succeeded", {"id": 7, "lines": 27})


def test_payloads_are_about_as_large_as_they_are_said_to_be():
    for size in (1_000, 100_000):
        assert 0.9 * size < len(json.dumps(payload("plain", 12_345, size))) < 1.1 * size


@pytest.mark.long
async def test_the_gate_measures_each_of_its_parts(cluster: Cluster):
    bench = Round(cluster, Scale(factor=0.01), lambda _: None, ABOUT, {})
    found = await HandlerCosts().measure(bench)
    assert set(found.values) == {part.name for part in HandlerCosts.parts}
    assert all(value is not None for value in found.values.values())
