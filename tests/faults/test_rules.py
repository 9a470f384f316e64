"""One short case of `make faults` for each rule of the lease protocol and each promise that a fault can break."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.orphans import end_with_parent

from .case import CASES, Result
from .cases import load
from .runner import run_named, shared_cluster

load()

#: Under the names by which tests/mutants.toml knows them. A case may show more than the one that it stands for here.
SHOWN_BY = {
    "rule 1: fence": "superseded",
    "rule 2: credit": "deaf",
    "rule 3: delivered means seen": "killed_after_claim",
    "rule 4: session, not socket": "killed_after_settle",
    "rule 5: a cancel reaches the worker": "across_servers",
    "rule 6: drain": "drain_unfinished",
    "rule 7: liveness both ways": "half_open",
    "rule 8: follow-ups in the same transaction": "killed_amid_follow_ups",
    "promise 1: an OK is committed": "killed_after_enqueue",
    "promise 2: idempotent by key": "killed_after_enqueue",
    "promise 3: one terminal status": "cancel_against_complete",
    "promise 4: no duplicate without a fault": "delivered_while_moving",
    "promise 5: only the newest lease settles": "superseded",
    "promise 6: a lost worker's jobs start again": "worker_killed",
    "promise 7: time is the database's": "failures_and_snoozes",
    "promise 8: the service resumes": "database_returns",
    "promise 9: overload refuses new work": "overload",
}
# Two versions side by side are no fault: tests/e2e/test_upgrade.py and tests/platform/test_migrate.py.
NO_FAULT = {"promise 10"}

#: What these measure are promises, such as 0.5 s across servers. They run when no other test does.
#: The longest first: most of their time they wait, for a ttl or for a process that starts.
MEASURED = (
    "deaf",
    "half_open",
    "worker_killed",
    "database_returns",
    "across_servers",
    "drain_unfinished",
    "killed_after_claim",
    "overload",
)
_SCALE = 0.04
_SEED = 1

Begun = dict[str, Future[Result]]


@contextmanager
def begun(names: Sequence[str], at_once: int, kept: Path) -> Iterator[Begun]:
    """What comes of these cases, some at once: gRPC wants a process of its own for each loop."""
    pool = ProcessPoolExecutor(at_once, get_context("spawn"), initializer=end_with_parent)
    # A PostgreSQL that listens on a port, so that a proxy can stand before it.
    with shared_cluster() as (cluster, template), pool:
        yield {name: pool.submit(run_named, name, cluster, template, _SEED, _SCALE, kept) for name in names}
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Begun]:
    with begun(MEASURED, 3, tmp_path_factory.mktemp("measured")) as results:
        yield results


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Begun]:
    with begun(sorted({*SHOWN_BY.values()} - {*MEASURED}), 2, tmp_path_factory.mktemp("others")) as results:
        yield results


# The first one of each kind waits for most of them.
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(shown, marks=[pytest.mark.alone] if case in MEASURED else [])
        for shown, case in SHOWN_BY.items()
    ],
)
def test_a_fault_does_not_break(shown: str, request: pytest.FixtureRequest) -> None:
    name = SHOWN_BY[shown]
    results: Begun = request.getfixturevalue("measured" if name in MEASURED else "others")
    result = results[name].result()
    assert result.ok, f"{result.trouble}; {result.figures}; journals: {result.kept}"


def test_each_rule_of_the_lease_and_each_promise_of_the_readme_has_its_case() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    promises = {f"promise {number}" for number in re.findall(r"^\| (\d+)\. ", readme, re.MULTILINE)}
    assert len(promises) == 10
    rules = {f"rule {number}" for number in range(1, 9)}
    assert {name.partition(":")[0] for name in SHOWN_BY} == rules | promises - NO_FAULT
    assert {*MEASURED} < set(SHOWN_BY.values()) <= set(CASES)
