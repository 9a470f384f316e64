"""The Dockerfile and the files that it is built from."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.parallel import leave_out
from tools.prometheus import program

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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what wants promtool where that is not there, and says so."""
    without = [
        item for item in items if item.get_closest_marker("prometheus") and program("promtool") is None
    ]
    if without:
        leave_out(
            config,
            items,
            without,
            f"promtool: NOT there; {len(without)} tests of it were NOT run (`make rules`)",
        )
