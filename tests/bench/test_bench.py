"""The bench itself: latencies from the schedule, the worst part of a gate, results that stay, a page that is made."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import document, results
from bench.gates import GATES, JOBQUEUE, Found, PeerRun, Round, scenarios
from bench.latency import Latencies
from bench.load.grpc_calls import on_schedule
from bench.meter import statement_name
from bench.ours import Measured
from bench.scale import Scale
from bench.ticks import Ticks
from jobqueue_server.store.statements import names, statement

pytestmark = pytest.mark.unit

ABOUT: dict[str, Any] = {
    "machine": "a machine",
    "versions": {"python": "3"},
    "postgres": {"server_version": "18", "fsync": "on"},
    "scale": asdict(Scale()),
    "at": "2026-01-01T00:00:00+00:00",
}


@pytest.fixture
def latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "out" / "latest.json"
    monkeypatch.setattr(results, "LATEST", path)
    return path


async def test_a_stall_is_counted_for_every_call_that_was_due_in_it():
    # A caller that waited for its answers would have made one slow call and many quick ones.
    stalled = asyncio.Event()
    begun = False
    seen = Latencies()

    async def call(due: int) -> None:
        nonlocal begun
        if not begun:
            begun = True
            asyncio.get_running_loop().call_later(0.5, stalled.set)
        await stalled.wait()
        seen.add(time.monotonic_ns() - due)

    mailbox: Any = SimpleNamespace(stopping=False)
    missed = await on_schedule(mailbox, call, calls=300, rate=1000)

    assert missed == 0
    assert seen.count == 300
    # The first waited for the whole of it, the last for 200 ms.
    assert seen.at(100) >= 490
    assert seen.at(1) >= 190


def test_ticks_say_every_call_once_and_none_before_it_is_due():
    ticks = Ticks(2000)
    told: list[int] = []
    try:
        while len(told) < 200:
            due = ticks.due()
            assert all(at <= time.monotonic_ns() for at in due)
            told += due
    finally:
        ticks.close()

    assert told == sorted(set(told))
    assert told[199] - told[0] == pytest.approx(199 / 2000 * 1e9, rel=0.01)


def test_latencies_of_several_processes_are_those_of_all_calls():
    one, two = Latencies(), Latencies()
    for number in range(1, 1001):
        (one if number % 2 else two).add(number * 1_000_000)

    both = Latencies.of([one.encoded(), two.encoded()])

    assert both.count == 1000
    assert both.at(50) == pytest.approx(500, rel=0.01)
    assert both.at(99) == pytest.approx(990, rel=0.01)


@pytest.mark.parametrize("name", names())
def test_a_statement_is_known_by_its_text_as_postgresql_shows_it(name: str):
    body = statement(name)
    shown = re.sub(r"\b42\b", "$1", body[body.index("\n") + 1 :])

    assert statement_name(shown) == name


def test_the_value_of_a_gate_is_that_of_its_worst_part():
    rounds = [Found({"p50": p50, "p99": p99}) for p50, p99 in ((1.0, 30.0), (2.0, 10.0), (9.0, 20.0))]

    entry = results.gate_entry(GATES["G6"], rounds, ABOUT)

    assert (entry["value"], entry["must"], entry["goal"], entry["unit"]) == (20.0, 12, 4, "ms")
    assert entry["parts"]["p50"]["value"] == 2.0
    assert entry["parts"]["p50"]["reached"] == "must"
    assert entry["reached"] == "no"


def test_a_peer_that_could_not_be_measured_leaves_the_gate_unmeasured():
    entry = results.gate_entry(GATES["G1"], [Found({"": 3.0}), Found({"": None})], ABOUT)

    assert entry["value"] is None
    assert entry["reached"] == "no"


def test_a_gate_that_is_measured_again_leaves_the_others_as_they_are(latest: Path):
    first = results.gate_entry(GATES["G1"], [Found({"": 3.0})], ABOUT)
    results.merge({"G1": first})
    results.merge({"G5": results.gate_entry(GATES["G5"], [Found({"": 70.0})], ABOUT)})
    results.merge({"G5": results.gate_entry(GATES["G5"], [Found({"": 80.0})], ABOUT)})

    kept = results.read()
    assert kept["G1"] == first
    assert kept["G5"]["value"] == 80.0


def test_what_was_measured_is_published_and_published_again(
    latest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copy(document.FOLDER / "README.md", tmp_path / "README.md")
    monkeypatch.setattr(document, "FOLDER", tmp_path)
    curve = [(0.0, 0.5), (50.0, 1.0), (90.0, 2.0), (99.0, 4.0)]
    detail = {"curves": {"runtime": curve}}
    results.merge({"G6": results.gate_entry(GATES["G6"], [Found({"p50": 1.0, "p99": 4.0}, detail)], ABOUT)})

    document.publish(results.read())
    once = (tmp_path / "README.md").read_text()
    drawn = (tmp_path / "latency.svg").read_text()
    document.publish(results.read())

    assert (tmp_path / "README.md").read_text() == once
    assert (tmp_path / "latency.svg").read_text() == drawn
    assert "| G6 | enqueue to handler start at 1,000/s [p99] | 4 ms | 12 | 4 | goal | 4 |" in once
    assert "| G1 | enqueue, work, settle; gRPC batch 100; 4 streams | not measured |" in once
    assert (tmp_path / "latency.svg").read_text().count("<path") >= 1
    assert "Smaller than a full run" not in once


def test_the_page_is_made_of_the_data_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = (document.FOLDER / "README.md").read_text()
    shutil.copytree(document.FOLDER, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(document, "FOLDER", tmp_path)

    document.publish({})

    assert (tmp_path / "README.md").read_text() == before, "python -m bench publish makes it"


def test_what_was_published_stays_where_the_measurements_are_gone(
    latest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copy(document.FOLDER / "README.md", tmp_path / "README.md")
    monkeypatch.setattr(document, "FOLDER", tmp_path)
    document.publish({"G6": results.gate_entry(GATES["G6"], [Found({"p50": 1.0, "p99": 4.0})], ABOUT)})

    other = {**ABOUT, "machine": "another machine"}
    document.publish({"G1": results.gate_entry(GATES["G1"], [Found({"": 3.0})], other)})

    page = (tmp_path / "README.md").read_text()
    assert "- Machine: another machine, for G1; a machine, for G6. Client," in page
    assert "| G6 | enqueue to handler start at 1,000/s [p99] | 4 ms |" in page
    assert "| G1 | enqueue, work, settle; gRPC batch 100; 4 streams | 3 x River |" in page
    assert not latest.exists()


async def test_what_ours_did_for_a_gate_is_known_as_the_workload_of_peers_that_it_is(
    monkeypatch: pytest.MonkeyPatch,
):
    async def measure(*_: object) -> Measured:
        return Measured(400, 2.0, {}, [], Latencies(), None, dead_tuples=0, ran_twice=0, warnings=[])

    monkeypatch.setattr("bench.gates.round.measure", measure)
    cluster: Any = None
    bench = Round(cluster, Scale(), lambda _: None, ABOUT, {})
    for scenario in (scenarios.hand_off, scenarios.many_streams, scenarios.own):
        await bench.ours("", scenario(bench.scale))

    assert [(run.peer, run.workload, run.rate) for run in bench.runs] == [
        (JOBQUEUE, "continuous", 200.0),
        (JOBQUEUE, "own", 200.0),
    ]


def test_ours_stands_above_the_peers_by_the_median_of_the_same_rounds(
    latest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copy(document.FOLDER / "README.md", tmp_path / "README.md")
    monkeypatch.setattr(document, "FOLDER", tmp_path)
    rounds = [
        [PeerRun(name, "drain", rate, {}) for name, rate in (("river", 30_000.0), (JOBQUEUE, ours))]
        for ours in (80_000.0, 100_000.0, 90_000.0)
    ]
    results.merge(results.workload_entries(rounds, {"river": {"river": "1"}}, ABOUT))
    alone = [[PeerRun(JOBQUEUE, "drain", 50_000.0, {})]]
    results.merge(results.workload_entries(alone, {}, ABOUT))

    document.publish(results.read())

    page = (tmp_path / "README.md").read_text()
    assert "| **jobqueue** |  | 90,000 |  |  |  |  |  |\n| river |  | 30,000 |" in page
    assert "- **river** (river 1). Does:" in page
    assert "Measured on a machine." in " ".join(page.split())


def test_what_was_measured_smaller_is_published_as_no_result(
    latest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copy(document.FOLDER / "README.md", tmp_path / "README.md")
    monkeypatch.setattr(document, "FOLDER", tmp_path)
    for name, scale in (
        ("G1", Scale(drain_jobs=200_000)),
        ("G4", Scale(drain_jobs=200_000)),
        ("G5", Scale(factor=0.1)),
    ):
        values: dict[str, float | None] = {part.name: 3.0 for part in GATES[name].parts}
        results.merge(
            {name: results.gate_entry(GATES[name], [Found(values)], {**ABOUT, "scale": asdict(scale)})}
        )

    document.publish(results.read())

    assert "Smaller than a full run, and so no result: G4, G5." in (tmp_path / "README.md").read_text()
