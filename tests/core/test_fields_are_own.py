"""No field of another object is assigned in core/, nor where its parts are joined: who wants that calls a method."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

SERVER = Path(__file__).resolve().parents[2] / "server/src/jobqueue_server"
CORE = SERVER / "core"
#: The parts are joined by constructors alone.
JOINED_BY = [SERVER / name for name in ("app.py", "drain.py", "gauges.py", "serving.py", "transports.py")]


def own_fields(node: ast.ClassDef) -> set[str]:
    """The fields that a class declares, or assigns to itself: it may assign them to another of its kind."""
    found = {
        each.target.id
        for each in node.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }
    found |= {
        target.id
        for each in node.body
        if isinstance(each, ast.Assign)
        for target in each.targets
        if isinstance(target, ast.Name)
    }
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store) and is_self(each.value):
            found.add(each.attr)
    return found


def is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def assigned_from_outside(text: str) -> Iterator[tuple[str, str]]:
    """The class or function, and what it assigns: a field of a thing that is not itself, nor of its class."""

    def visit(node: ast.AST, within: str, own: set[str]) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                yield from visit(child, child.name, own_fields(child))
                continue
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not within:
                yield from visit(child, child.name, own)
                continue
            if (
                isinstance(child, ast.Attribute)
                and isinstance(child.ctx, ast.Store | ast.Del)
                and not is_self(child.value)
                and child.attr not in own
            ):
                yield within, ast.unparse(child)
            yield from visit(child, within, own)

    yield from visit(ast.parse(text), "", set())


def test_no_field_of_another_object_is_assigned():
    found = {
        f"{path.name if path in JOINED_BY else path.relative_to(CORE)} {within}: {what}"
        for path in [*sorted(CORE.rglob("*.py")), *JOINED_BY]
        for within, what in assigned_from_outside(path.read_text())
    }
    assert found == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("class A:\n  def f(self, b):\n    b.x = 1", {("A", "b.x")}),
        ("class A:\n  def f(self):\n    self.b.x += 1", {("A", "self.b.x")}),
        ("def f(b):\n  b.x, c = 1, 2", {("f", "b.x")}),
        ("class A:\n  x: int = 0\n  def f(self, other):\n    other.x = 1", set()),
        ("class A:\n  def f(self):\n    self.x = 1", set()),
    ],
)
def test_what_the_test_itself_sees(text: str, found: set[tuple[str, str]]):
    assert set(assigned_from_outside(text)) == found
