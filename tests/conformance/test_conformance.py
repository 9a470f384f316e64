"""The Python worker holds to the Lease protocol: the short form. `make conformance` runs every case and language."""

from __future__ import annotations

from pathlib import Path

import pytest

from .case import CASES
from .document import NOT_YET, cases_told, marks_told, rules, rules_told
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
    for name, marks in marks_told().items():
        expected = {id: NOT_YET if id in languages()[name].lacks else "ok" for id in CASES}
        assert marks == expected, f"the worker in {name} fails a case; run `make conformance`"


def test_what_a_language_lacks_is_a_case() -> None:
    for language in languages().values():
        assert set(language.lacks) <= set(CASES), language.name
    assert not PYTHON.lacks
