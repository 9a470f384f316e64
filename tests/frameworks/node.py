"""What the recipes in TypeScript need: the client beside them built, and what their one lock names.

python -m tests.frameworks.node        fetches it, which `make frameworks` and `make check` do first
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conformance.languages import languages

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "examples" / "frameworks"
PROGRAMS = RECIPES / "node_modules" / ".bin"
# Nothing asks the network but npm, and nothing is told to anyone.
QUIET = {"NEXT_TELEMETRY_DISABLED": "1"}


def fetched() -> bool:
    """Whether what the lock names is there."""
    installed, lock = RECIPES / "node_modules" / ".package-lock.json", RECIPES / "package-lock.json"
    return installed.exists() and installed.stat().st_mtime > lock.stat().st_mtime


def fetch() -> str:
    """Fetches it, where it is not there; what went wrong, or nothing."""
    if fetched():
        return ""
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    done = subprocess.run(command, cwd=RECIPES, capture_output=True, text=True)
    return "" if done.returncode == 0 else (done.stdout + done.stderr)[-2000:] or f"npm: {done.returncode}"


@functools.cache
def prepare() -> None:
    """Builds the client, and fetches, once in a process."""
    trouble = languages()["typescript"].make() or fetch()
    assert not trouble, f"the client can't be built:\n{trouble}"


@functools.cache
def build(recipe: str) -> None:
    """Builds a recipe, once in a process."""
    prepare()
    commands = [["tsc"]]
    if recipe == "next":
        commands = [["next", "build"], ["tsc", "--project", "tsconfig.worker.json"]]
    for program, *arguments in commands:
        done = subprocess.run(
            [str(PROGRAMS / program), *arguments],
            cwd=RECIPES / recipe,
            env={**os.environ, **QUIET},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{recipe} can't be built:\n{(done.stdout + done.stderr)[-2000:]}"


def caller(address: str) -> Any:
    """Asks an app there. Its library comes with the frameworks: files of tests are imported where it is not."""
    import httpx2

    return httpx2.Client(base_url=address, timeout=60)


def main() -> int:
    """Fetches, and goes on without: tests say what they left out for it."""
    if shutil.which("npm") is None:
        trouble = "no npm on PATH"
    else:
        trouble = fetch()
    if trouble:
        print(f"the recipes in TypeScript can NOT be tested: {trouble}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
