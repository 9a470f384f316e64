"""The gates of the dashboard: their viewers get what pages get, or the run fails; each part is measured."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import asyncpg
import pytest

from bench import browser, pages, past
from bench.beside import Viewing, told
from bench.errors import BenchError
from bench.gates import Round
from bench.gates.ui import Dashboard
from bench.gates.ui_size import COUNT, FullSize
from bench.load import Load
from bench.load.viewers import Viewers
from bench.ours import Scenario, measure
from bench.postgres import Cluster
from bench.processes import REFUSED, Processes
from bench.scale import Scale
from bench.table import line
from bench.workers import Workers
from tests.bench.test_bench import ABOUT

STATEMENTS = Path(__file__).parents[2] / "server/src/jobqueue_server/store"
JOBS = 200


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster() as started:
        yield started


@pytest.mark.unit
def test_a_viewer_that_gets_nothing_is_a_failed_measurement():
    seen = {pages.OVERVIEW.path: 5, "v1/stats": 1}
    assert told([seen, seen], 8.0)["got"] == {pages.OVERVIEW.path: 10, "v1/stats": 2}
    with pytest.raises(BenchError, match="viewer 1 got"):
        told([seen, {"v1/stats": 1}], 8.0)
    with pytest.raises(BenchError, match="fewer than 6 overviews"):
        told([seen], 20.0)


@pytest.mark.unit
def test_a_count_of_all_jobs_is_found_and_a_bounded_one_is_not():
    for text in (
        "select count(*) from finished_job",
        "SELECT count(*)::int8 AS n FROM job WHERE lane_id = $1",
    ):
        assert COUNT.search(text)
    bounded = (STATEMENTS / "query/sql/list_jobs.sql").read_text()
    assert not COUNT.search(bounded)


@pytest.mark.slow
async def test_viewers_of_a_load_get_overviews_lists_and_statistics(cluster: Cluster):
    viewing = Viewing(Viewers(overview=2, jobs=1))
    found = await measure(
        cluster, Scenario(Load(JOBS, "batch", batch=10), Workers(streams=2), beside=viewing)
    )
    assert found.jobs == JOBS
    got = found.beside["got"]
    assert found.beside["viewers"] == 3
    assert got[pages.OVERVIEW.path] >= 3
    assert got["v1/access"] == 3
    assert {"v1/stats", "v1/queues", "v1/kinds", pages.LIST, pages.FOLLOWED} <= set(got)
    assert "viewers" not in found.costs["cpu_us_per_job"]


@pytest.mark.slow
async def test_a_refused_viewer_fails_the_measurement(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    key = "jqk_wrong"

    class Wrong(Processes):
        def __init__(self, name, work, arguments):
            super().__init__(name, work, [(*each[:-1], key) for each in arguments])

    monkeypatch.setattr("bench.beside.Processes", Wrong)
    scenario = Scenario(Load(JOBS, "batch", batch=10), Workers(streams=2), keys=True, beside=Viewing())
    with pytest.raises(BenchError, match=r"refused|answered by 401"):
        await measure(cluster, scenario)


def test_one_refused_call_of_a_viewer_is_enough():
    crowd = Mock(count=lambda what: 1 if what == REFUSED else 100)
    with pytest.raises(BenchError, match="1 calls of viewers were refused"):
        Viewing()._refused(crowd)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_the_gate_measures_each_of_its_parts(cluster: Cluster):
    bench = Round(cluster, Scale(factor=0.02, pairs=2), lambda _: None, ABOUT, {})
    found = await Dashboard().measure(bench)
    assert set(found.values) == {part.name for part in Dashboard.parts}
    assert None not in found.values.values()
    assert "95 %" in line("ui", found)
    for turns in found.detail["runs"].values():
        for turn in turns:
            assert "beside" not in turn["without"]
            assert turn["with"]["beside"]["viewers"] == 25


@pytest.mark.slow
async def test_ended_jobs_and_statistics_are_as_their_ends_leave_them(cluster: Cluster):
    async with cluster.fresh(ours=True) as dsn:
        connection = await asyncpg.connect(dsn)
        try:
            lanes = await past.lanes_of(connection, 3, "work")
            await past.ended(connection, lanes, 1000, past.WIDTH * 10, past.WIDTH)
            await past.history(connection, lanes, past.WIDTH * 8)
            rows = await connection.fetchrow(
                """
                select count(*) as jobs, count(distinct j.tableoid) as partitions, count(distinct j.lane_id) as lanes,
                       count(*) filter (where f.status = 5) as failed,
                       count(*) filter (where f.status = 6) as cancelled,
                       count(a) as attempts, count(j.labels) as labelled
                from job j join finished_job f using (id) left join attempt a on a.job_id = j.id
                """
            )
            twice = await connection.fetchval(
                """
                select count(*) from lane_stat a join lane_stat b
                    on b.lane_id = a.lane_id and b.width_s > a.width_s
                    and a.at >= b.at and a.at < b.at + b.width_s * interval '1 second'
                """
            )
            widths = await connection.fetch("select distinct width_s from lane_stat order by 1")
        finally:
            await connection.close()
    found = dict(rows)
    assert found.pop("partitions") >= 9
    assert found == {"jobs": 1000, "lanes": 3, "failed": 10, "cancelled": 10, "attempts": 10, "labelled": 20}
    assert [row["width_s"] for row in widths] == [10, 60, 900]
    assert twice == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.long
async def test_the_gate_at_full_size_asks_for_every_page(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(browser, "missing", lambda: "not asked for here")
    scale = replace(Scale(), waiting_jobs=11_000, ended_jobs=3_000)
    found = await FullSize().measure(Round(cluster, scale, lambda _: None, ABOUT, {}))
    assert set(found.values) == {part.name for part in FullSize.parts}
    assert found.values["counts"] == 0
    assert found.detail["depth"]["capped"]
    assert found.detail["depth"]["queued"] == 10_000
    assert {"", "dead", "audit", "jobs?q=status:failed"} <= set(found.detail["calls"])
