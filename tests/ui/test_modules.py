"""The modules of the dashboard that touch no page: tests by node's own runner."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import jobqueue_server

pytestmark = pytest.mark.language("typescript")

MODULES = Path(__file__).parent / "modules"
APP = Path(jobqueue_server.__file__).parent / "http" / "ui" / "app"


@pytest.mark.parametrize("name", sorted(path.name for path in MODULES.glob("*.test.mjs")))
def test_the_modules_keep_what_their_tests_say(name: str, tmp_path: Path) -> None:
    shutil.copytree(APP, tmp_path / "app")
    shutil.copytree(MODULES, tmp_path / "modules")
    # Node takes a .js file for a module where a package says so; browsers need no such word.
    (tmp_path / "package.json").write_text(json.dumps({"type": "module"}))
    ran = subprocess.run(
        ["node", "--test", str(tmp_path / "modules" / name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
