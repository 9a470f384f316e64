"""The three distributions and the lock: what they carry and what they ask for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from jobqueue_server.http import ui

ROOT = Path(__file__).parents[2]
PACKAGES = ("clients/python", "server", "worker")
LOCKS = tuple(
    f"locks/requirements{which}.lock"
    for which in ("-build", "", "-browser", "-chart", "-frameworks", "-release", "-site")
)
#: Has another Django than the rest.
LATER = "locks/requirements-django6.lock"


def project(package: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]
    return found


def build(source: Path, target: Path, kind: str) -> Path:
    """The sdist or wheel of a folder."""
    program = Path(sys.executable).parent / "hatchling"
    subprocess.run(
        [program, "build", "--target", kind, "--directory", target],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (made,) = target.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


def migrations(wheel: Path) -> set[str]:
    return within(wheel, "jobqueue_server/migrations/")


def within(wheel: Path, folder: str) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {Path(name).name for name in archive.namelist() if name.startswith(folder)}


@pytest.mark.slow
def test_migrations_and_page_are_in_the_wheel_of_a_checkout_and_of_an_sdist(tmp_path: Path):
    ours = {path.name for path in (ROOT / "migrations").glob("*.sql")}
    assert migrations(build(ROOT / "server", tmp_path / "direct", "wheel")) == ours
    sdist = build(ROOT / "server", tmp_path / "sdist", "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    wheel = build(source, tmp_path / "indirect", "wheel")
    assert migrations(wheel) == ours
    # So is the page of the documentation, which needs no other package then.
    page = {"swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png", "LICENSE"}
    assert within(wheel, "jobqueue_server/http/openapi/swagger-ui/") == page
    # And the dashboard, all of it.
    dashboard = "jobqueue_server/http/ui/"
    folder = Path(ui.__file__).parent / "ui"
    shipped = {str(path.relative_to(folder)) for path in ui.shipped()}
    with zipfile.ZipFile(wheel) as archive:
        assert shipped <= {name.removeprefix(dashboard) for name in archive.namelist()}
    # And the installed package finds them there.
    code = "from jobqueue_server.store.migrate import default_folder, load; print(default_folder()); load()"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    how = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    found = subprocess.run(
        [sys.executable, "-c", code], env=how, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == str(tmp_path / "installed" / "jobqueue_server" / "migrations")
    code = "from jobqueue_server.http.ui import Dashboard; print(Dashboard('on').version)"
    found = subprocess.run(
        [sys.executable, "-c", code], env=how, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    # The version is a hash of all files: not one is missing, and none is another.
    assert found.stdout.strip() == ui.Dashboard("on").version


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_carries_the_licence_and_its_type_marker(package: str, tmp_path: Path):
    with zipfile.ZipFile(build(ROOT / package, tmp_path, "wheel")) as archive:
        names = archive.namelist()
        (licence,) = (name for name in names if name.endswith("/licenses/LICENSE"))
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
        assert any(name.endswith("/py.typed") for name in names)


def test_the_packages_have_one_version_and_name_each_other_by_it():
    versions = {str(project(package)["version"]) for package in PACKAGES}
    assert len(versions) == 1
    (version,) = versions
    for package in ("server", "worker"):
        (own,) = (r for r in map(Requirement, project(package)["dependencies"]) if r.name == "jobqueue")
        assert version in own.specifier


def test_the_client_asks_for_three_packages():
    assert {Requirement(text).name for text in project("clients/python")["dependencies"]} == {
        "googleapis-common-protos", "grpcio", "protobuf",
    }  # fmt: skip


def test_the_lock_has_all_that_is_asked_for_in_a_version_that_fits():
    pinned: dict[str, str] = {}
    for lock in LOCKS:
        for name, version in re.findall(
            r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", (ROOT / lock).read_text(), re.MULTILINE
        ):
            assert pinned.setdefault(canonicalize_name(name), version) == version, f"{name} has two versions"
    wanted: list[str] = []
    for package in PACKAGES:
        data = project(package)
        wanted += data["dependencies"]
        for extra in data.get("optional-dependencies", {}).values():
            wanted += extra
    for source in ("locks/requirements-build.in", "locks/requirements.in"):
        lines = (line.partition("#")[0].strip() for line in (ROOT / source).read_text().splitlines())
        wanted += [line for line in lines if line]
    for requirement in map(Requirement, wanted):
        if requirement.name != "jobqueue":
            assert canonicalize_name(requirement.name) in pinned, f"{requirement}: run `make lock`"
            assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, (
                f"{requirement}: run `make lock`"
            )


@pytest.mark.parametrize("lock", [*LOCKS, LATER])
def test_a_lock_has_hashes_and_names_no_address(lock: str):
    text = (ROOT / lock).read_text()
    assert "://" not in text
    for entry in re.split(r"\n(?=[a-z0-9])", text):
        assert "--hash=sha256:" in entry
