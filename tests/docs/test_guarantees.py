"""docs/guarantees.md names cases that there are, and leaves none out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults.case import CASES
from tests.faults.cases import load

pytestmark = pytest.mark.unit

_TEXT = (Path(__file__).parents[2] / "docs" / "guarantees.md").read_text()


def test_every_case_that_is_named_exists() -> None:
    load()
    named = {
        word
        for row in _TEXT.splitlines()
        if row.startswith("| ")
        for word in re.findall(r"`([a-z_]+)`", row.rsplit("|", 2)[1])
    }
    assert named - set(CASES) == set()
    # Those of each language are named as a family.
    families = {case.name for case in CASES.values() if case.language}
    assert set(CASES) - named - families <= {"far_away"}


def test_every_figure_is_within_its_limit() -> None:
    rows = re.findall(
        r"^\| `([a-z_]+)` \| ([^|]+) \| ([\d.]+) (\S+) \| ([\d.]*) ?\S* \|$", _TEXT, re.MULTILINE
    )
    load()
    assert rows
    assert {row[0] for row in rows} <= set(CASES)
    assert not [row for row in rows if row[4] and float(row[2]) > float(row[4])]
