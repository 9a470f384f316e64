"""docs/encodings.md: its programs and tests pass as they stand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobqueue.encoded import is_envelope

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]

PAGE = (Path(__file__).parents[2] / "docs" / "encodings.md").read_text()


def test_the_tests_of_the_page_pass(tmp_path: Path):
    for name, program in re.findall(r"```python (\w+\.py)\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / name).write_text(program)
    pytest_of = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--asyncio-mode=auto"]
    done = subprocess.run([*pytest_of, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True)
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_the_envelope_of_the_page_is_one():
    (text,) = re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL)
    assert is_envelope(text.encode())
    assert list(json.loads(text)) == ["$jobqueue.encoded", "content_type", "encodings", "key_id", "data"]
