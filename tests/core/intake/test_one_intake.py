"""All rows of new jobs are made in one place, so that no way in forgets a check."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import jobqueue_server

pytestmark = pytest.mark.unit

SERVER = Path(jobqueue_server.__file__).parent


def test_only_the_intake_makes_rows():
    makers = {
        path.relative_to(SERVER).as_posix()
        for path in SERVER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "NewRows"
    }
    assert makers == {"core/intake/intake.py"}
