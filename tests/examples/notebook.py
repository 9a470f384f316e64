"""Runs the code of a notebook, cell by cell, as Jupyter would; `python -m tests.examples.notebook` renews its outputs.

A kernel for it (nbclient, ipykernel and what they need, some thirty packages) would weigh more than the other tools of
the tests, and this is what it would do with these cells: statements, and the value of the last expression.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run(notebook: dict[str, Any]) -> list[str]:
    """What each code cell prints, and the value of its last expression, if it has one, after it."""
    names: dict[str, Any] = {"__name__": "__main__"}
    return [_run("".join(cell["source"]), names) for cell in code_cells(notebook)]


def _run(source: str, names: dict[str, Any]) -> str:
    tree = ast.parse(source)
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr):
        tree.body.pop()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
            if value is not None:
                print(repr(value))
    return printed.getvalue()


def shown(cell: dict[str, Any]) -> str:
    """The output that is kept with a cell."""
    return "".join(text for output in cell["outputs"] for text in output["text"])


def renew(path: Path) -> None:
    """Runs it, and keeps what it prints."""
    notebook = load(path)
    for number, (cell, text) in enumerate(zip(code_cells(notebook), run(notebook), strict=True), start=1):
        cell["execution_count"] = number
        stream = {"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)}
        cell["outputs"] = [stream] if text else []
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    renew(NOTEBOOK)
