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
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from ..embedded import EmbeddedPostgresError
from .locks import held, of_this_user_alone, own_folders, taken

_NOW = timedelta()
_POLL = 0.02


class Shared:
    """The server that the processes of this user share.

    Args:
        key: Of all that makes it another server: the version, and how it was asked for.
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

    # ---- a caller

    def join(self, server: Sequence[str]) -> str:
        """Becomes a caller, for as long as this process lives, and finds the server or starts it.

        Args:
            server: The command that runs it, to which the folder is added.

        Returns:
            The line that the server said.

        Raises:
            EmbeddedPostgresError: It does not start. The text has its words.
        """
        with held(self._folder / "door", fcntl.LOCK_EX):
            # It waits for a server that is about to end. From here on none ends.
            taken(self._folder / "members", fcntl.LOCK_SH)
            self._start_if_missing(server)
            # A caller that was killed while it started one has left a server that says nothing yet.
            while not self._where.exists():
                if not self._is_alive():
                    said = (self._folder / "log").read_text(errors="replace").strip()
                    raise EmbeddedPostgresError(f"the shared server ended before it answered:\n{said}")
                time.sleep(_POLL)
            return self._where.read_text()

    def _start_if_missing(self, server: Sequence[str]) -> None:
        alive = taken(self._folder / "alive", fcntl.LOCK_EX, _NOW)
        if alive is None:
            return
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
        finally:
            os.close(alive)

    def _is_alive(self) -> bool:
        with held(self._folder / "alive", fcntl.LOCK_EX, _NOW) as locked:
            return not locked

    # ---- the server

    def tell(self, line: str) -> None:
        """Says the callers where the server answers."""
        draft = self._folder / "where.draft"
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(line)
        draft.rename(self._where)

    def wait_until_alone(self) -> None:
        """Returns when there is no caller any more. A new caller then waits until this process has ended."""
        taken(self._folder / "members", fcntl.LOCK_EX)
        self._where.unlink(missing_ok=True)


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
