"""The worker of each language holds to the Lease protocol: the short form. `make conformance` runs every case."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from tests.conformance.case import CASES, Case
from tests.conformance.languages import languages
from tests.conformance.run import run

pytestmark = pytest.mark.timeout(600)

# Python's are in tests/conformance.
OTHERS = [each for each in languages() if each != "python"]
SHORT = [case for case in CASES.values() if case.short]


@pytest.mark.parametrize(
    ("language", "case"),
    [
        pytest.param(each, case, id=f"{each}-{case.id}", marks=pytest.mark.language(each))
        for each, case in product(OTHERS, SHORT)
        if case.id not in languages()[each].lacks
    ],
)
async def test_the_worker_holds_to_the_lease_protocol(language: str, case: Case, tmp_path: Path) -> None:
    assert not await run(case, languages()[language].command, tmp_path)
