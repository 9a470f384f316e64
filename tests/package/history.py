"""The version before the break, out of this checkout's own history."""

from __future__ import annotations

import subprocess
import tarfile
from functools import cache
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).parents[2]
BREAK = "migrations/0012_break_*.sql"


@cache
def before_the_break() -> str | None:
    """The commit before the one that brought migration 0012; None where git or that part of the history is not here."""
    if not (ROOT / ".git").exists():
        return None
    try:
        # While the migration is not committed yet, it is the newest commit.
        brought = _git("log", "--diff-filter=A", "--format=%H", "--reverse", "HEAD", "--", BREAK).split()
        return _git("rev-parse", "--verify", "--quiet", f"{brought[0]}^" if brought else "HEAD").strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def lay_out(commit: str, folder: Path) -> None:
    """The files of a commit."""
    made = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True)
    with tarfile.open(fileobj=BytesIO(made.stdout)) as archive:
        archive.extractall(folder, filter="data")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout
