"""The tables of `docs/clients.md` name what is in each client's sources."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.conformance.languages import languages

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "clients.md").read_text()
SUFFIXES = {".py", ".toml", ".go", ".mod", ".ts", ".json", ".java", ".xml", ".rs"}
# What a build brings, or a generator makes.
FOREIGN = {"node_modules", "dist", ".build", "target", "build", "gen", "__pycache__"}


@cache
def words_of(language: str) -> set[str]:
    """Every word in the client's own files."""
    folder = ROOT / "clients" / language
    files = [path for path in folder.rglob("*") if path.suffix in SUFFIXES]
    texts = [path.read_text() for path in files if not FOREIGN & set(path.relative_to(folder).parts)]
    return set(re.findall(r"\w+", "\n".join(texts)))


def cells() -> list[tuple[str, str]]:
    """Each language with each name that a cell of its column has."""
    found: list[tuple[str, str]] = []
    columns: list[str] = []
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not columns:
            columns = cells
        elif not cells:
            columns = []
        for column, cell in zip(columns, cells, strict=bool(cells)):
            if column in languages():
                found += [(column, name) for name in re.findall(r"`([^`]+)`", cell)]
    return found


def test_every_language_has_a_column_in_every_table() -> None:
    heads = [
        line
        for line, after in zip(PAGE.splitlines(), PAGE.splitlines()[1:], strict=False)
        if after.startswith("|---")
    ]
    assert len(heads) == 4
    for head in heads:
        columns = [cell.strip() for cell in head.strip("|").split("|")][1:]
        assert columns == [name for name in languages() if name in columns]
        assert {"python", "go", "typescript"} <= set(columns)


@pytest.mark.parametrize("language", sorted({language for language, _ in cells()}))
def test_what_a_table_names_is_in_the_client(language: str) -> None:
    named = [name for column, name in cells() if column == language]
    assert len(named) > 70
    missing = [name for name in named if not set(re.findall(r"\w+", name)) <= words_of(language)]
    assert missing == []
