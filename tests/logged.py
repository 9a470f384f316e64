"""Says which JSON lines that a program of a test logged are not as docs/logs.md says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tools.logs import wrong_with


def hold_lines(text: str) -> None:
    """Fails where a line is not as docs/logs.md says. What is no JSON object is no line of a log."""
    found = list(wrong_lines(text.splitlines()))
    assert not found, "log lines that are not as docs/logs.md says:\n" + "\n".join(found)


def wrong_lines(lines: Iterable[str]) -> Iterable[str]:
    """Each line that is wrong, with why."""
    for line in lines:
        if not line.startswith("{"):
            continue
        try:
            told = json.loads(line)
        except ValueError:
            continue  # the program was killed amid a line
        if isinstance(told, dict) and "logger" in told:
            for wrong in wrong_with(told):
                yield f"{wrong}: {line}"


def hold_file(path: Path) -> None:
    """The same of a file that a program wrote."""
    hold_lines(path.read_text(errors="replace"))
