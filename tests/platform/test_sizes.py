"""Classes and functions of the server are short enough to be read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

SOURCE = Path(__file__).resolve().parents[2] / "server/src"
MOST_LINES_OF_CLASS = 250
MOST_LINES_OF_FUNCTION = 60
#: Settings are as many as they are.
LISTS = {
    "jobqueue_server/settings.py Settings",
}


def lengths(path: Path) -> dict[str, int]:
    """By how many lines each class and function of a file is over its bound."""
    found: dict[str, int] = {}
    name = path.relative_to(SOURCE).as_posix()

    def visit(node: ast.AST, within: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                called = f"{within}.{child.name}" if within else child.name
                most = MOST_LINES_OF_CLASS if isinstance(child, ast.ClassDef) else MOST_LINES_OF_FUNCTION
                found[f"{name} {called}"] = (child.end_lineno or 0) - child.lineno + 1 - most
                visit(child, called)
            else:
                visit(child, within)

    visit(ast.parse(path.read_text()), "")
    return found


def test_no_class_and_no_function_is_longer_than_its_bound():
    over = {
        name: lines
        for path in sorted(SOURCE.rglob("*.py"))
        for name, lines in lengths(path).items()
        if lines > 0 and name not in LISTS
    }
    assert over == {}
