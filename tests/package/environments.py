"""Fresh environments, each with one of our packages, what it asks for, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable, Mapping
from email import message_from_bytes
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


class Environment:
    """A virtual environment of its own.

    Attributes:
        programs: The folder of its commands.
        names: What is installed, by canonical name.
    """

    def __init__(self, folder: Path, names: frozenset[str]) -> None:
        self.programs = folder / "bin"
        self.names = names

    def run(self, program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs one of its programs to the end, in a folder where nothing of the checkout can be imported."""
        return subprocess.run(
            [self.programs / program, *arguments],
            cwd=self.programs.parent,
            env=clean(environment),
            capture_output=True,
            text=True,
            check=False,
        )

    def python(self, code: str) -> str:
        """What a program prints that its interpreter runs."""
        done = self.run("python", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of the test without what leads an interpreter back into the checkout."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
    }
    return {**kept, "NO_COLOR": "1", "COLUMNS": "200", **environment}


def fresh(folder: Path, wheels: Iterable[Path], *extras: str) -> Environment:
    """An environment with the last of these wheels and all that it needs.

    What others made is copied from the environment of the tests, where it was installed in the versions and with the
    hashes of the lock: so nothing is fetched, and only what is named by the metadata is there.

    Args:
        folder: Where it is made.
        wheels: Ours: those that the last one needs, and then that one.
        extras: Of the last one.
    """
    wheels = list(wheels)
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    ours: dict[str, list[str]] = {
        canonicalize_name(wheel.name.partition("-")[0]): requires(wheel) for wheel in wheels
    }
    names = closure(list(ours)[-1], frozenset(extras), ours)
    for name in names - ours.keys():
        _copy(name, site)
    own = Path(sys.executable).parent / "pip"
    pip = [str(own), "--python", str(folder / "bin" / "python"), "--disable-pip-version-check"]
    quiet = {**clean({}), "PIP_NO_INDEX": "1"}
    for arguments in (["install", "--quiet", "--no-deps", *map(str, wheels)], ["check"]):
        done = subprocess.run([*pip, *arguments], env=quiet, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return Environment(folder, names)


def requires(wheel: Path) -> list[str]:
    """What a wheel's metadata asks for."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name)).get_all("Requires-Dist", [])


def closure(root: str, extras: frozenset[str], ours: Mapping[str, list[str]]) -> frozenset[str]:
    """The canonical names of all that a package needs on this machine, its own among them.

    Args:
        root: The package.
        extras: Of the package.
        ours: What our own packages ask for; of all others their installed metadata says it.
    """
    seen: set[tuple[str, frozenset[str]]] = set()
    ahead = [(root, extras)]
    while ahead:
        name, wanted = ahead.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        texts = ours[name] if name in ours else metadata.requires(name) or []
        for requirement in map(Requirement, texts):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in wanted or {""}):
                ahead.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return frozenset(name for name, _ in seen)


def _copy(name: str, site: Path) -> None:
    """Copies an installed package; its commands, which are outside of its folder, stay behind."""
    package = metadata.distribution(name)
    for file in package.files or []:
        if ".." not in file.parts:
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(str(package.locate_file(file)), target)
