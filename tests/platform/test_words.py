"""The words of the source: who acts is named, and sentences are short."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
#: What people read: the server with its transport, the contract, the worker, the clients, the documents.
PLACES = ("server/src", "proto", "worker", "clients", "docs")
SUFFIXES = {".py", ".sql", ".md", ".proto", ".yaml", ".go", ".rs", ".ts", ".js", ".java", ".toml"}
#: What is built or fetched there is not ours.
BUILT = {"node_modules", "target", "dist", "build", ".venv", "gen"}
UNNAMED = re.compile(r"(?<![a-z])_?(nobody|somebody|whoever)", re.IGNORECASE)
#: How often a file may have one of these words. PostgreSQL runs as the user `nobody` where it may not run as root.
ALLOWED = {
    "docs/decisions/0003-embedded-postgresql.md": 1,
    "server/src/jobqueue_server/embedded/binaries.py": 2,
    "server/src/jobqueue_server/embedded/folder.py": 1,
    "server/src/jobqueue_server/embedded/server.py": 2,
}
MOST_WORDS = 35


def test_who_acts_is_named() -> None:
    found = Counter[str]()
    for place in PLACES:
        for path in _sources(ROOT / place):
            found[path.relative_to(ROOT).as_posix()] = len(UNNAMED.findall(path.read_text()))
    assert {name: count for name, count in found.items() if count > ALLOWED.get(name, 0)} == {}


def test_a_sentence_of_the_contract_is_short() -> None:
    comments = [
        re.sub(r"^\s*// ?", "", block, flags=re.MULTILINE)
        for path in (ROOT / "proto").rglob("*.proto")
        for block in re.findall(r"(?:^\s*//.*\n)+", path.read_text(), re.MULTILINE)
    ]
    assert len(comments) > 200, "the comments are found"
    assert [sentence for comment in comments for sentence in _long(comment)] == []


def test_a_sentence_of_a_public_docstring_of_the_server_is_short() -> None:
    found = Counter[str]()
    for path in _sources(ROOT / "server/src"):
        if path.suffix == ".py":
            docstrings = _public(ast.parse(path.read_text()))
            found[path.relative_to(ROOT).as_posix()] = sum(len(_long(docstring)) for docstring in docstrings)
    assert not +found, "shorten the sentence"


def _sources(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if (
            path.suffix in SUFFIXES
            and not BUILT.intersection(path.relative_to(folder).parts)
            and path.is_file()
        ):
            yield path


def _public(node: ast.AST) -> Iterator[str]:
    """The docstrings of a module and of its public classes and functions."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        docstring = ast.get_docstring(node)
        if docstring:
            yield docstring
    for child in ast.iter_child_nodes(node):
        if not str(getattr(child, "name", "")).startswith("_"):
            yield from _public(child)


def _long(text: str) -> list[str]:
    """The sentences that are too long. Points, sections, attributes and rows are sentences by themselves."""
    parts = re.split(r"\n\s*\n|\n(?=\s*\|)|\n(?=\s*-\s)|\n(?=\s*\w[\w, ]*: )", text)
    sentences = (one for part in parts for one in re.split(r"(?<=[.:;])\s+", " ".join(part.split())))
    return [sentence for sentence in sentences if len(sentence.split()) > MOST_WORDS]
