"""A worker of each language is killed under load: the case of `make faults`, small, with its history checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.languages import languages
from tests.faults.case import CASES
from tests.faults.cases import load
from tests.faults.runner import run_case, shared_cluster

load()


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "language", [pytest.param(each, marks=pytest.mark.language(each)) for each in languages()]
)
def test_kill_9_under_load_loses_nothing_and_duplicates_nothing_that_is_not_allowed(
    language: str, tmp_path: Path
) -> None:
    with shared_cluster() as (cluster, template):
        result = run_case(CASES[f"{language}_killed"], cluster, template, seed=1, scale=0.1, keep=tmp_path)
    assert result.ok, f"{result.trouble}; {result.figures}; journals: {result.kept}"
