"""The workers under test, as `workers.toml` lists them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).parent / "workers.toml"


@dataclass(frozen=True, slots=True)
class Language:
    """One of them.

    Attributes:
        name: Its column in the table.
        needs: The programs that must be there for it.
        build: What makes its worker, from the repository's root, before it is started. Empty: nothing.
        command: What starts its worker, from the repository's root.
    """

    name: str
    needs: tuple[str, ...]
    build: tuple[str, ...]
    command: tuple[str, ...]

    def missing(self) -> list[str]:
        """The programs that are not there."""
        return [program for program in self.needs if shutil.which(program) is None]

    def make(self) -> str:
        """Builds it; what went wrong, or nothing."""
        if not self.build:
            return ""
        done = subprocess.run(self.build, cwd=ROOT, capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else (done.stdout + done.stderr)[-2000:]


def languages() -> list[Language]:
    """All of them, in the order of the table."""
    return [
        Language(
            name,
            tuple(row["needs"]),
            tuple(row["build"]),
            tuple(part.replace("{python}", sys.executable) for part in row["command"]),
        )
        for name, row in tomllib.loads(LIST.read_text()).items()
    ]
