"""A copy of the server of a git revision or of a folder, which runs on the packages that are installed here."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

from .counting import COUNTS
from .errors import BenchError

ROOT = Path(__file__).parents[1]
_SERVER, _CLIENT, _LOCK = "server/src", "clients/python/src", "deploy/server.lock"
_PARTS = (_SERVER, _CLIENT, "migrations", _LOCK)
# In front of it where calls are counted, from the bench of the working tree.
_COUNT = "import sys; sys.path.append({root!r}); import bench.counting; bench.counting.begin()"
# It says where its code comes from, since an editable install would be found as well.
_LAUNCH = """
import json, jobqueue.v1, jobqueue_server
print(json.dumps({"code": [jobqueue_server.__file__, jobqueue.v1.__file__]}), flush=True)
from jobqueue_server.cli import main
main()
"""


@dataclass(frozen=True, slots=True)
class Checkout:
    """The code of one side of a comparison.

    Attributes:
        folder: Where the copy is.
        source: What it is a copy of: a revision, a folder as it was given, or the working tree.
        commit: Of the source; None where it is no git checkout.
        changed: Whether the source had changes that are in no commit.
        engine: What its server serves gRPC by; None: by what is usual for it.
        counts: A file that its server writes the calls of its functions to, on SIGUSR1. None: it counts none.
    """

    folder: Path
    source: str
    commit: str | None = None
    changed: bool = False
    engine: str | None = None
    counts: Path | None = None

    @property
    def command(self) -> tuple[str, ...]:
        """What runs `jobqueue-server` with its code, given `environment`; arguments follow."""
        # -P: nothing is imported from the folder that it is started in.
        begin = "" if self.counts is None else _COUNT.format(root=str(ROOT))
        return sys.executable, "-P", "-c", begin + _LAUNCH

    @property
    def environment(self) -> dict[str, str]:
        """What finds its code before that of the editable install, and says by what it serves gRPC."""
        engine = {} if self.engine is None else {"JOBQUEUE_GRPC_ENGINE": self.engine}
        counts = {} if self.counts is None else {COUNTS: str(self.counts)}
        return {
            "PYTHONPATH": os.pathsep.join(str(self.folder / part) for part in (_SERVER, _CLIENT)),
            **engine,
            **counts,
        }

    @property
    def migrations(self) -> Path:
        """Its schema."""
        return self.folder / "migrations"

    @property
    def digest(self) -> str:
        """Of all its files: the same for the same code, whatever its commit."""
        found = hashlib.sha256()
        for part in _PARTS[:-1]:
            for path in sorted((self.folder / part).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    found.update(f"{path.relative_to(self.folder)}\0".encode() + path.read_bytes() + b"\0")
        return found.hexdigest()[:16]

    def check(self, said: str) -> None:
        """Raises BenchError where a server that `command` ran took code from elsewhere. `said`: its log."""
        files = next(json.loads(line)["code"] for line in said.splitlines() if line.startswith('{"code": '))
        for file in files:
            if not Path(file).is_relative_to(self.folder):
                raise BenchError(f"the server of {self.source} ran {file}, which is not in {self.folder}")

    def told(self) -> dict[str, object]:
        """As JSON has it."""
        return {
            "source": self.source,
            "commit": self.commit,
            "changed": self.changed,
            "digest": self.digest,
            "engine": self.engine,
        }

    def __str__(self) -> str:
        commit = "no commit" if self.commit is None else self.commit[:12]
        engine = "" if self.engine is None else f", gRPC by {self.engine}"
        return f"{self.source} ({commit}{', changed' if self.changed else ''}{engine})"


@contextmanager
def copied(source: str, repository: Path = ROOT) -> Iterator[Checkout]:
    """A copy of the server's code, which is removed at the end: a source may change while it is measured.

    Args:
        source: A folder with a checkout in it, or else a revision.
        repository: Where revisions are looked up.

    Raises:
        BenchError: There is no such thing, or it is locked to other packages than are installed here.
    """
    with tempfile.TemporaryDirectory(prefix="jobqueue-ab-") as name:
        # Python gives the files of its modules as they are found, and /tmp may be a link.
        folder = Path(name).resolve()
        if (Path(source) / _SERVER / "jobqueue_server").is_dir():
            there = Path(source).resolve()
            found = _of_folder(there, folder, "the working tree" if there == ROOT else source)
        else:
            found = _of_revision(source, folder, repository)
        _check_packages(found)
        # The first start would compile it otherwise, on one side or on both.
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(folder)], check=True)
        yield found


@contextmanager
def whole(revision: str, repository: Path = ROOT) -> Iterator[Path]:
    """A copy of all files of a revision, which is removed at the end.

    Raises:
        BenchError: There is no such revision.
    """
    with tempfile.TemporaryDirectory(prefix="jobqueue-whole-") as name:
        _unpack(revision, Path(name).resolve(), repository)
        yield Path(name).resolve()


def _of_folder(source: Path, folder: Path, name: str) -> Checkout:
    for part in _PARTS:
        there, here = source / part, folder / part
        here.parent.mkdir(parents=True, exist_ok=True)
        try:
            if there.is_dir():
                shutil.copytree(there, here, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(there, here)
        except FileNotFoundError as error:
            raise BenchError(f"{name} is no checkout: it has no {part}") from error
    if (source / ".git").exists():
        commit = _git(source, "rev-parse", "HEAD").strip()
        return Checkout(folder, name, commit, bool(_git(source, "status", "--porcelain", "--", *_PARTS)))
    return Checkout(folder, name)


def _of_revision(revision: str, folder: Path, repository: Path) -> Checkout:
    return Checkout(folder, revision, _unpack(revision, folder, repository, *_PARTS))


def _unpack(revision: str, folder: Path, repository: Path, *parts: str) -> str:
    """Puts these parts of a revision into a folder, all without any named; its commit."""
    commit = _git(repository, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").strip()
    archive = folder / "archive.tar"
    _git(repository, "archive", "--format=tar", f"--output={archive}", commit, "--", *parts)
    shutil.unpack_archive(archive, folder)
    archive.unlink()
    return commit


def _git(repository: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _check_packages(checkout: Checkout) -> None:
    """Raises BenchError where it would run on other packages than those it is locked to."""
    differing = []
    for line in (checkout.folder / _LOCK).read_text().splitlines():
        if not line or line[0] in " #":
            continue
        wanted = Requirement(line.rstrip("\\ "))
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        try:
            there = version(wanted.name)
        except PackageNotFoundError:
            there = "none"
        if not wanted.specifier.contains(there, prereleases=True):
            differing.append(f"{wanted.name}{wanted.specifier} ({there} is installed)")
    if differing:
        raise BenchError(
            f"{_LOCK} of {checkout.source} is for other packages than are installed here: {', '.join(differing)}. "
            "Both sides run on the same packages, so take a base with the same lock, or run `make install`"
        )
