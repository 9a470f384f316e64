"""`--shared`: one server for all processes of this user that ask for one, which ends when the last of them leaves.

    $XDG_RUNTIME_DIR/jobqueue/ephemeral-<key>/      Where that can't be used: /tmp/jobqueue-<uid>/ephemeral-<key>/
        door        Held alone by who looks for the server, and starts it where there is none.
        members     Shared by each caller as long as it lives. The server waits until it can hold it alone, and ends.
        alive       Held alone by the server as long as it lives, from the moment when a caller starts it.
        where       What the server said.
        log         What it complained of.

A caller is a process of its own, which holds a lock and nothing else: when it ends, in any way, the lock is gone. The
server is a process of no caller's group, so that the end of one does not take it from the others.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from ..embedded import EmbeddedPostgresError
from .locks import held, of_this_user_alone, own_folders, taken

_NOW = timedelta()
# A start takes some seconds.
_PATIENCE = timedelta(minutes=5)
_POLL = 0.02


class Shared:
    """The server that the processes of this user share.

    Args:
        key: What `server_key` says.
        folder: Where it is found. Default: in the user's runtime folder.

    Raises:
        EmbeddedPostgresError: The folder can't be used.
    """

    def __init__(self, key: str, folder: Path | None = None) -> None:
        self._folder = folder or runtime_folder() / f"ephemeral-{key}"
        try:
            usable = own_folders(self._folder.parent, self._folder)
        except OSError as error:
            raise EmbeddedPostgresError(f"{self._folder} can't be used: {error.strerror}") from error
        if not usable:
            raise EmbeddedPostgresError(
                f"{self._folder}, or the folder it is in, is not this user's alone, so no server is shared there: "
                "set XDG_RUNTIME_DIR to a folder that is"
            )
        self._where = self._folder / "where"
        self._telling = threading.Lock()
        self._told: tuple[int, int] | None = None
        self._ends = False

    # ---- a caller

    def join(self, server: Sequence[str]) -> str:
        """Becomes a caller, for as long as this process lives, and finds the server or starts it.

        Args:
            server: The command that runs it, to which the folder is added.

        Returns:
            The line that the server said.

        Raises:
            EmbeddedPostgresError: It does not start, with its words, or has not answered within five minutes.
        """
        with held(self._folder / "door", fcntl.LOCK_EX):
            self._become_member()
            started = self._start_if_missing(server)
            ends = time.monotonic() + _PATIENCE.total_seconds()
            # A caller that was killed while it started one has left a server that says nothing yet.
            while (line := self._said()) is None:
                if not self._is_alive():
                    if started:
                        said = (self._folder / "log").read_text(errors="replace").strip()
                        raise EmbeddedPostgresError(f"the shared server ended before it answered:\n{said}")
                    # The one that was there was about to end.
                    started = self._start_if_missing(server)
                elif time.monotonic() > ends:
                    raise EmbeddedPostgresError(f"the shared server did not answer within {_PATIENCE}")
                else:
                    time.sleep(_POLL)
            return line

    def _become_member(self) -> None:
        """Waits for a server that ends because it is alone. From here on none does."""
        members = self._folder / "members"
        if taken(members, fcntl.LOCK_SH, _NOW) is not None:
            return
        taken(members, fcntl.LOCK_SH)
        # A process that ends lets go of its locks one by one. None is started meanwhile: this one has the door.
        with held(self._folder / "alive", fcntl.LOCK_EX):
            pass

    def _said(self) -> str | None:
        try:
            return self._where.read_text()
        except FileNotFoundError:
            return None

    def _start_if_missing(self, server: Sequence[str]) -> bool:
        alive = taken(self._folder / "alive", fcntl.LOCK_EX, _NOW)
        if alive is None:
            return False
        try:
            self._where.unlink(missing_ok=True)
            with (self._folder / "log").open("wb") as log:
                # It inherits the lock, and none of a caller's streams: who waits for the end of such a stream would
                # wait for the server's end.
                subprocess.Popen(
                    [*server, str(self._folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    cwd="/",
                    start_new_session=True,
                    pass_fds=[alive],
                )
            return True
        finally:
            os.close(alive)

    def _is_alive(self) -> bool:
        with held(self._folder / "alive", fcntl.LOCK_EX, _NOW) as locked:
            return not locked

    # ---- the server

    def tell(self, line: str) -> None:
        """Says the callers where the server answers, unless `untell` was called."""
        with self._telling:
            if self._ends:
                return
            draft = self._folder / "where.draft"
            draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(line)
                self._told = _identity(os.fstat(file.fileno()))
            draft.rename(self._where)

    def untell(self) -> None:
        """Has no caller find this server any more. What another one said stays."""
        with self._telling, contextlib.suppress(OSError):
            self._ends = True
            if _identity(self._where.lstat()) == self._told:
                self._where.unlink()

    def wait_until_alone(self) -> None:
        """Returns when there is no caller any more. A new caller then waits until this process has ended."""
        taken(self._folder / "members", fcntl.LOCK_EX)
        self.untell()


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def server_key(version: str, *, template: bool) -> str:
    """The key of all that makes it another server.

    Args:
        version: The key of the programs and the schema.
        template: Whether it copies a database that was made before.
    """
    network = ""
    with contextlib.suppress(OSError):
        # In another one loopback is another, such as in a container that shares the folder.
        network = os.readlink("/proc/self/ns/net")
    package = str(Path(__file__).parents[1])
    parts = [version, sys.executable, package, str(template), tempfile.gettempdir(), network]
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()[:20]


def runtime_folder() -> Path:
    """A folder of this user's for what ends with the processes.

    It is in XDG_RUNTIME_DIR, where that is this user's alone: `su` and containers keep the name of one that is another
    user's, or not there. Otherwise in the temporary folder.
    """
    base = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    with contextlib.suppress(OSError):
        if base.is_absolute() and of_this_user_alone(base):
            return base / "jobqueue"
    return Path(tempfile.gettempdir()) / f"jobqueue-{os.geteuid()}"


def command(*, template: bool) -> list[str]:
    """What runs the server that is shared; the folder is to be added."""
    flag = "--template" if template else "--no-template"
    return [sys.executable, "-m", "jobqueue_server", "ephemeral", flag, "--serves"]
