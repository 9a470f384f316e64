"""Tests that are left out are imported all the same: `make test` needs Python and make alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]

ROOT = Path(__file__).resolve().parents[2]
#: As where `make browser` was not run.
_WITHOUT = """
import sys
sys.modules |= dict.fromkeys(["axe_playwright_python", "playwright"])
import pytest
sys.exit(pytest.main(["--collect-only", "-q", "tests/ui"]))
"""


def test_tests_are_collected_where_nothing_drives_a_browser():
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "tests/ui/test_frame.py" in done.stdout
