"""What the pages show of a program is in it, as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, blocks

pytestmark = pytest.mark.unit

PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for folder in ("recipes", "migrate")
    for path in (ROOT / "docs" / folder).glob("*.md")
}


def shown(text: str) -> list[tuple[str, str]]:
    """The programs that blocks are parts of, with these parts."""
    return [(block.title, block.text) for block in blocks(text) if block.title.startswith("examples/")]


@pytest.mark.parametrize("page", PAGES)
def test_each_part_of_a_program_is_in_that_program(page: str) -> None:
    assert [part for name, part in shown(PAGES[page]) if part not in (ROOT / name).read_text()] == []


def test_each_program_is_shown() -> None:
    """A program is a file, or a folder of which a file is shown."""
    named = {Path(name).parts[2] for text in PAGES.values() for name, _ in shown(text)}
    there = {path.name for path in (ROOT / "examples/frameworks").iterdir()}
    assert named == there - {"__pycache__"}
