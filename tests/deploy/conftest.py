"""The Dockerfile and the files that it is built from."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from . import dockerfile

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="session")
def stages() -> dict[str, dockerfile.Stage]:
    return dockerfile.read(DEPLOY / "Dockerfile")


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `.dockerignore` lets through of the files that git knows or would take."""
    folder = tmp_path_factory.mktemp("context")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    rules = dockerfile.rules(ROOT / ".dockerignore")
    for name in filter(None, listed.stdout.split("\0")):
        if dockerfile.let_through(name, rules) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder
