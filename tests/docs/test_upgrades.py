"""docs/upgrades.md: each level has its row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobqueue_server.core.upkeep.levels import LEVEL

pytestmark = pytest.mark.unit

PAGE = (Path(__file__).parents[2] / "docs" / "upgrades.md").read_text()


def test_each_level_says_what_it_is_required_by() -> None:
    rows = re.findall(r"^\| (\d+) \| \S.*\|$", PAGE, re.MULTILINE)
    assert rows == [str(level) for level in range(1, LEVEL + 1)]
