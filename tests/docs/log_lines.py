"""Every line that the three packages log, as its text stands in the code."""

from __future__ import annotations

import ast
import re
from functools import cache

from .markdown import ROOT

SOURCES = ("clients/python/src/jobqueue", "server/src/jobqueue_server", "worker/src/jobqueue_worker")
LEVELS = ("debug", "info", "warning", "error", "exception")


@cache
def log_lines() -> frozenset[tuple[str, str]]:
    """Level and text, with `...` where something is put in."""
    found: set[tuple[str, str]] = set()
    for source in SOURCES:
        for path in (ROOT / source).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in LEVELS
                    and "log" in ast.unparse(node.func.value)
                    and node.args
                    and isinstance(node.args[0], ast.Constant)
                ):
                    found.add((node.func.attr, pattern(str(node.args[0].value))))
    return frozenset(found)


def pattern(text: str) -> str:
    """A log call's text as documents write it."""
    return re.sub(r"(%[sdgr])+", "...", text)
