"""Renews the locks, which name exact versions with hashes and no address: `make lock`.

python -m tools.locks          the newest versions that the packages and locks/*.in allow
python -m tools.locks --keep   the versions that are locked, but for what was added or no longer fits
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("clients/python", "server", "worker")
# What an image installs, with these extras: the same versions.
IMAGES = {"server": ("--extra", "oidc"), "worker": ()}
BUILD, ALL = "locks/requirements-build.lock", "locks/requirements.lock"
# Each installed where it is wanted, in the versions of the rest.
APART = ("browser", "chart", "frameworks", "release", "site")
# Of another version than the rest, for a later Python: Django 6 does not run on 3.11.
LATER = "django6"
HOW = ("--quiet", "--universal", "--generate-hashes", "--no-emit-index-url", "--no-header")


def main() -> None:
    """Compiles one after the other: each takes the versions of the one before."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", action="store_true", help="Keep the versions that are locked.")
    more = [] if parser.parse_args().keep else ["--upgrade"]
    ours = ["--no-emit-package", "jobqueue"]
    projects = [f"{package}/pyproject.toml" for package in PACKAGES]
    compile_lock(BUILD, "locks/requirements-build.in", *more)
    compile_lock(
        ALL, "locks/requirements.in", *projects, "--all-extras", *ours, "--constraints", BUILD, *more
    )
    for which in APART:
        source, lock = f"locks/requirements-{which}.in", f"locks/requirements-{which}.lock"
        compile_lock(lock, source, "--constraints", ALL, *more)
    source, lock = f"locks/requirements-{LATER}.in", f"locks/requirements-{LATER}.lock"
    compile_lock(lock, source, "--constraints", ALL, *more, python="3.12")
    for image, extras in IMAGES.items():
        compile_lock(
            f"deploy/{image}.lock", f"{image}/pyproject.toml", *extras, *ours, "--constraints", ALL, *more
        )


def compile_lock(lock: str, *arguments: str, python: str = "3.11") -> None:
    """Writes one of them, or ends with what uv says."""
    uv = Path(sys.executable).parent / "uv"
    done = subprocess.run(
        [uv, "pip", "compile", *HOW, "--python-version", python, *arguments, "--output-file", lock], cwd=ROOT
    )
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
