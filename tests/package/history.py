"""Versions before this one, out of this checkout's own history."""

from __future__ import annotations

import os
import subprocess
import tarfile
from functools import cache
from io import BytesIO
from pathlib import Path

#: Where the history is: a copy of the checkout has none of its own.
ROOT = Path(os.environ.get("CHECKOUT_WITH_HISTORY") or Path(__file__).parents[2])
MIGRATIONS = Path(__file__).parents[2] / "migrations"
BASELINE = "0001_baseline.sql"


@cache
def version_before() -> str | None:
    """The version that is upgraded from; None where git or that part of the history is not here.

    That is what BEFORE names, else the newest tagged version before this commit. While there is none, it is the commit
    before the newest migration: servers of it meet a schema that they do not know. No migration leads to the baseline,
    so while that is the only one, it is the commit that changed it last.
    """
    named = os.environ.get("BEFORE", "")
    if not (ROOT / ".git").exists():
        return None
    try:
        return _commit(
            named or _git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD^").strip()
        )
    except (OSError, subprocess.CalledProcessError):
        assert not named, f"BEFORE={named} is no revision here"
    *_, newest = sorted(path.name for path in MIGRATIONS.glob("[0-9]*.sql"))
    try:
        changed = _git("log", "--format=%H", "HEAD", "--", f"migrations/{newest}").split()
        if newest == BASELINE:
            return _commit(changed[0])
        # While the migration is not committed yet, it is the newest commit.
        return _commit(f"{changed[-1]}^" if changed else "HEAD")
    except (OSError, IndexError, subprocess.CalledProcessError):
        return None


def lay_out(commit: str, folder: Path) -> None:
    """The files of a commit."""
    made = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True)
    with tarfile.open(fileobj=BytesIO(made.stdout)) as archive:
        archive.extractall(folder, filter="data")


def _commit(revision: str) -> str:
    return _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout
