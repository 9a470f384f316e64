"""Two cases of `make faults`, small: the harness runs, and finds nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Cluster

from .case import CASES
from .cases import load
from .runner import run_case, shared_cluster

load()


@pytest.fixture(scope="module")
def own() -> Iterator[tuple[Cluster, str]]:
    """A PostgreSQL that listens on a port, so that a proxy can stand before it."""
    with shared_cluster() as cluster:
        yield cluster


@pytest.mark.faults
@pytest.mark.parametrize("name", ["worker_killed", "killed_after_settle"])
def test_the_case_is_well(name: str, own: tuple[Cluster, str], tmp_path: Path):
    cluster, template = own
    result = run_case(CASES[name], cluster, template, seed=1, scale=0.1, keep=tmp_path)
    assert result.ok, f"{result.trouble}; {result.figures}; journals: {result.kept}"
