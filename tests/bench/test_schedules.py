"""The gate `schedules`: its schedules fire over the whole minute, and it measures each of its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bench.gates import Round
from bench.gates.schedules import Schedules
from bench.postgres import Cluster
from bench.scale import Scale
from tests.bench.test_bench import ABOUT

pytestmark = pytest.mark.slow


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster() as started:
        yield started


@pytest.mark.long
async def test_the_gate_measures_each_of_its_parts(cluster: Cluster):
    bench = Round(cluster, Scale(factor=0.06), lambda _: None, ABOUT, {})
    found = await Schedules().measure(bench)
    assert set(found.values) == {part.name for part in Schedules.parts}
    assert None not in found.values.values()
    # 6,000 schedules a minute are 100 a second.
    assert found.detail["alone"]["fires_per_second"] == pytest.approx(100, rel=0.3)
