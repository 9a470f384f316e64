"""docs/kinds.md: its programs run as they stand, and print what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.conftest import RunningServer

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]

PAGE = (Path(__file__).parents[2] / "docs" / "kinds.md").read_text()
ADDRESS = "127.0.0.1:50051"


def test_the_programs_of_the_page_print_what_it_says(server: RunningServer, tmp_path: Path):
    for name, program in re.findall(r"```python (\w+\.py)\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / name).write_text(program.replace(ADDRESS, server.address))
    (said,) = re.findall(r"```console\n\$ python mail_producer.py\n(.*?)```", PAGE, re.DOTALL)
    worker = subprocess.Popen([sys.executable, "mail_worker.py"], cwd=tmp_path)
    try:
        done = subprocess.run(
            [sys.executable, "mail_producer.py"], cwd=tmp_path, capture_output=True, text=True
        )
    finally:
        worker.terminate()
        worker.wait(60)
    assert (done.stdout, done.stderr) == (said, "")
