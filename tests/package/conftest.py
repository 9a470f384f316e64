"""The distributions under test: those of a folder, else freshly built."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.parallel import leave_out

from .environments import Environment, fresh
from .history import lay_out, version_before

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "jobqueue": "clients/python",
    "jobqueue_server": "server",
    "jobqueue_worker": "worker",
    "jobqueue_django": "clients/python-django",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--distributions", type=Path, help="The folder of wheels and sdists to test.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the rolling upgrade where there is no version before, and says so."""
    upgrade = Path(__file__).with_name("test_rolling_upgrade.py")
    without = [item for item in items if item.path == upgrade]
    if without and version_before() is None:
        reason = "git: the history of the version before is NOT here (an archive, or a shallow clone)"
        leave_out(config, items, without, f"{reason}; {len(without)} tests of the upgrade were NOT run")


@dataclass(frozen=True)
class Distributions:
    """Wheels and sdists by package."""

    folder: Path

    def wheel(self, package: str) -> Path:
        (found,) = self.folder.glob(f"{package}-[0-9]*.whl")
        return found

    def sdist(self, package: str) -> Path:
        (found,) = self.folder.glob(f"{package}-[0-9]*.tar.gz")
        return found


@pytest.fixture(scope="session")
def distributions(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """The four packages, built."""
    given = pytestconfig.getoption("--distributions", default=None)
    if given is not None:
        return Distributions(given.resolve())
    folder = tmp_path_factory.mktemp("dist")
    for source in PACKAGES.values():
        build(ROOT / source, folder)
    return Distributions(folder)


def build(source: Path, folder: Path, *more: str) -> None:
    """Builds the sdist and the wheel of a folder."""
    program = Path(sys.executable).parent / "hatchling"
    done = subprocess.run(
        [program, "build", "--directory", folder, *more],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def install(commit: str, source: Path, wheels: Path, environment: Path) -> Environment:
    """Client and server of a commit, built as wheels and installed. Its files stay in `source`."""
    lay_out(commit, source)
    for package in ("clients/python", "server"):
        build(source / package, wheels, "--target", "wheel")
    found = [next(wheels.glob(f"{name}-[0-9]*.whl")) for name in ("jobqueue", "jobqueue_server")]
    return fresh(environment, found)
