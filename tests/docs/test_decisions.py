"""The decisions have one form: a page each, with the same headings in the same order, and a line in the index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .markdown import ROOT, prose

pytestmark = pytest.mark.unit

FOLDER = ROOT / "docs/decisions"
PAGES = sorted(path for path in FOLDER.glob("*") if path.name != "README.md")
HEADINGS = ["Context", "Decision", "Alternatives", "Cost", "Figures"]
NEEDED = {"Context", "Decision"}
ONE_PAGE = 70


def index() -> list[tuple[str, str, str, str]]:
    """The rows of the index: number, file, title, summary."""
    return re.findall(
        r"^\| \[(\d{4})\]\(([^)]+)\) \| (.+?) \| (.+?) \|$", (FOLDER / "README.md").read_text(), re.MULTILINE
    )


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_decision_has_the_form_of_all(path: Path) -> None:
    text = path.read_text()
    parts = re.split(r"^## (.+)$", prose(text), flags=re.MULTILINE)
    headings, bodies = parts[1::2], parts[2::2]

    assert re.fullmatch(r"\d{4}(-[a-z0-9]+)+\.md", path.name)
    assert re.match(rf"# {path.name[:4]}\. \S.*\n\n## ", text)
    assert headings == [heading for heading in HEADINGS if heading in headings]
    assert set(headings) >= NEEDED
    assert all(body.strip() for body in bodies), "a heading without content is left out"
    assert len(text.splitlines()) <= ONE_PAGE


def test_decisions_are_numbered_without_gaps() -> None:
    assert [path.name[:4] for path in PAGES] == [f"{number:04}" for number in range(1, len(PAGES) + 1)]


def test_the_index_has_each_decision_under_its_title() -> None:
    titles = {path.name: path.read_text().partition("\n")[0].removeprefix("# ") for path in PAGES}

    assert [(file, f"{number}. {title}") for number, file, title, _ in index()] == sorted(titles.items())
