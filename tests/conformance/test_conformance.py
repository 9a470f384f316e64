"""The Python worker holds to the Lease protocol: the short form. `make conformance` runs every case and language."""

from __future__ import annotations

from pathlib import Path

import pytest

from .case import CASES
from .document import cases_told, rules, rules_told
from .languages import languages
from .run import run

pytestmark = pytest.mark.slow

SHORT = [one for one in CASES.values() if one.short]
PYTHON = languages()["python"]


@pytest.mark.parametrize("case", SHORT, ids=lambda case: case.id)
async def test_the_python_worker_holds_to_it(case, tmp_path: Path) -> None:
    assert not await run(case, PYTHON.command, tmp_path)


def test_the_document_tells_every_case_and_rule() -> None:
    assert rules_told() == rules(), "run `make conformance`"
    told = [row[:3] for row in cases_told()]
    assert told == [[f"`{one.id}`", one.says, one.rule] for one in CASES.values()], "run `make conformance`"
    assert all(mark == "ok" for row in cases_told() for mark in row[3:]), "a worker fails a case"
