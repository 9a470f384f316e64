"""Wheels and sdists of the four packages in a folder, and what an index and its users would find wrong: `make dist`.

python -m tools.dist [--directory DIR]

The same commit makes the same bytes: the time in the archives is that of the commit (SOURCE_DATE_EPOCH, where it is not
set), and names, modes and order come from no machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from email import message_from_bytes
from email.message import Message
from pathlib import Path

from tools.version import version

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
#: Each package, its folder, and what its wheel may weigh in kB: a build that takes in too much is noticed.
PACKAGES = {
    "jobqueue": ("clients/python", 460),
    "jobqueue_server": ("server", 2000),
    "jobqueue_worker": ("worker", 200),
    "jobqueue_django": ("clients/python-django", 40),
}
#: What each wheel has at its top. check-wheel-contents wants one package, unless it is told.
TOP = {
    "jobqueue": "jobqueue",
    "jobqueue_server": "jobqueue_server,grpc_http2",
    "jobqueue_worker": "jobqueue_worker",
    "jobqueue_django": "jobqueue_django",
}
URLS = ("Homepage", "Documentation", "Source", "Issues", "Changelog", "Security")


def main() -> int:
    """Builds and checks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--directory", type=Path, default=ROOT / "dist", metavar="DIR")
    folder = parser.parse_args().directory
    shutil.rmtree(folder, ignore_errors=True)
    for source, _ in PACKAGES.values():
        build(ROOT / source, folder, dated(os.environ))
    wrong = [*by_others(folder), *ours(folder)]
    for each in wrong:
        print(each, file=sys.stderr)
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size / 1e3:7.0f} kB  {path.name}")
    return bool(wrong)


def dated(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a build, with the time that archives say."""
    asked = ["git", "log", "-1", "--format=%ct"]
    if "SOURCE_DATE_EPOCH" in environment or not (ROOT / ".git").exists():
        return dict(environment)
    time = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return {**environment, "SOURCE_DATE_EPOCH": time}


def build(source: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """The sdist and the wheel of a folder."""
    command = [str(PROGRAMS / "hatchling"), "build", "--directory", str(folder.resolve())]
    subprocess.run(command, cwd=source, env=environment, check=True, stdout=subprocess.DEVNULL)


def by_others(folder: Path) -> Iterator[str]:
    """What twine and check-wheel-contents find: what an index would refuse, and what wheels have in them by mistake."""
    files = sorted(map(str, folder.iterdir()))
    yield from _says("twine", "check", "--strict", *files)
    for package, top in TOP.items():
        yield from _says("check-wheel-contents", "--no-config", f"--toplevel={top}", *wheels(folder, package))


def _says(program: str, *arguments: str) -> Iterator[str]:
    done = subprocess.run(
        [PROGRAMS / program, *arguments], capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}
    )
    if done.returncode:
        yield f"{program}: {(done.stdout + done.stderr).strip()}"


def ours(folder: Path) -> Iterator[str]:
    """What is missing of what we promise."""
    for package, (_, most) in PACKAGES.items():
        (wheel,) = map(Path, wheels(folder, package))
        said = metadata(wheel)
        named = {each.partition(",")[0] for each in said.get_all("Project-URL", [])}
        missing = [name for name in URLS if name not in named]
        if missing:
            yield f"{wheel.name} names no {', '.join(missing)} among its URLs"
        if said["Version"] != version(ROOT):
            yield f"{wheel.name} is version {said['Version']}, VERSION says {version(ROOT)}"
        if (size := wheel.stat().st_size / 1e3) > most:
            yield f"{wheel.name} has {size:.0f} kB, and should have {most} at most"


def wheels(folder: Path, package: str) -> list[str]:
    """The wheel of a package."""
    return [str(path) for path in folder.glob(f"{package}-[0-9]*.whl")]


def metadata(wheel: Path) -> Message:
    """What a wheel says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


if __name__ == "__main__":
    sys.exit(main())
