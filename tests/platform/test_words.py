"""The server's source names who acts: a caller, a worker, a server, a statement."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

SOURCE = Path(__file__).resolve().parents[2] / "server/src"
UNNAMED = re.compile("nobody|somebody|whoever", re.IGNORECASE)
#: How often a file may have one of these words. PostgreSQL runs as the user `nobody` where it may not run as root.
ALLOWED = {
    "jobqueue_server/embedded/binaries.py": 2,
    "jobqueue_server/embedded/folder.py": 1,
    "jobqueue_server/embedded/server.py": 2,
}


def test_who_acts_is_named():
    found = Counter[str]()
    for path in SOURCE.rglob("*"):
        if path.suffix in {".py", ".sql", ".md"}:
            found[path.relative_to(SOURCE).as_posix()] = len(UNNAMED.findall(path.read_text()))
    assert {name: count for name, count in found.items() if count > ALLOWED.get(name, 0)} == {}
