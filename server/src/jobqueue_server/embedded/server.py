"""The processes of the embedded PostgreSQL: how they start, are watched and end.

    start   lock the folder -> (first time: initdb into a draft, rename) -> end what an earlier run left -> postgres
    stop    SIGINT ("fast": sessions end, a checkpoint is written) -> remove the socket -> unlock

`postgres` runs in its own session, so that a Ctrl-C for this process does not reach it. A guard, a small shell, holds
the other end of a pipe, and stops `postgres` when this process ends in any way, kill -9 included.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Self
from urllib.parse import quote

from .binaries import Account, EmbeddedPostgresError, binaries, run_as
from .folder import DATABASE, SUPERUSER, DataFolder, end_of

# Durable, like a production server, with memory for the queue of one machine.
_SETTINGS: Mapping[str, str] = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "wal_compression": "off",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "autovacuum_naptime": "10s",
    # The statements of a queue are short: to compile one costs more than it saves.
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
    "cluster_name": "jobqueue",
}

# A line on its input means a normal stop. The end of its input without a line means that this process has died.
# Before `postgres` there is no process to stop, but `initdb` or a copy may still write into the folder for a moment.
_GUARD = """
read -r _ && exit 0
tries=0
if [ -n "$1" ]; then
    kill -INT "$1" 2>/dev/null
    while kill -0 "$1" 2>/dev/null && [ $tries -lt 300 ]; do sleep 0.1; tries=$((tries + 1)); done
    shift
    rm -rf -- "$@"
else
    shift
    while [ $tries -lt 20 ]; do rm -rf -- "$@" 2>/dev/null; sleep 0.1; tries=$((tries + 1)); done
fi
"""

_POLL = 0.01


class EmbeddedPostgres:
    """One PostgreSQL server in a folder, for this process alone. It ends at the latest with this process.

    As root it runs as the user `nobody`, so that user must be able to enter the folder and all its parents.

    Attributes:
        dsn: The URL of the database `jobqueue`, after the start. With `listen` it has a password.
        data_dir: The folder, after the start.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        listen: bool = False,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        copy: Callable[[Path], bool] | None = None,
        start_timeout: timedelta = timedelta(minutes=5),
    ) -> None:
        """Makes the object; `start` starts the server.

        Args:
            data_dir: The folder that keeps the data; None: a temporary folder, which `stop` removes.
            listen: Whether to listen on 127.0.0.1 too, with a password. The socket is in a folder that only this
                process's user can enter.
            port: The port for `listen`; None: a free one.
            settings: Settings of PostgreSQL that win over the default ones.
            copy: Puts a cluster into the folder that it is given, which does not exist yet, and returns True; or
                returns False. Without one the first start makes a cluster.
            start_timeout: How long a start may take, recovery after a crash included, in seconds.
        """
        self._given_dir = data_dir
        self._listen = listen
        self._port = port
        self._settings = {**_SETTINGS, **(settings or {})}
        self._copy = copy
        self._start_timeout = start_timeout
        self._account: Account | None = None
        self._programs = Path()
        self._folder: DataFolder | None = None
        self._socket_dir: Path | None = None
        self._postgres: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self.data_dir = Path()
        self.dsn = ""

    def start(self) -> Self:
        """Starts PostgreSQL, also after `kill`, and returns when it accepts connections.

        Raises:
            EmbeddedPostgresError: with the reason and the end of the log.
        """
        if self._postgres is not None:
            raise EmbeddedPostgresError(f"the PostgreSQL in {self.data_dir} was started already")
        try:
            if self._folder is None:
                self._account = Account.for_this_process()
                self._programs = binaries(self._account)
                path = self._given_dir or Path(tempfile.mkdtemp(prefix="jobqueue-"))
                try:
                    self._folder = DataFolder(path, self._account, self._programs)
                except BaseException:
                    if self._given_dir is None:
                        shutil.rmtree(path, ignore_errors=True)
                    raise
                self.data_dir = self._folder.path
            if self._given_dir is None:
                self._set_guard(None)
            self._folder.prepare(self._copy)
            self._launch(self._folder)
        except BaseException:
            self._end(signal.SIGQUIT)
            self._let_go()
            raise
        return self

    def stop(self) -> None:
        """Stops PostgreSQL, if it runs, by a fast shutdown: it closes sessions and writes a checkpoint."""
        self._end(signal.SIGINT)
        self._let_go()

    def pause(self) -> None:
        """Stops PostgreSQL by a fast shutdown. The folder stays until `stop`; `start` starts it again."""
        self._end(signal.SIGINT, guarded=self._given_dir is None)

    def kill(self) -> None:
        """Ends every process of PostgreSQL by SIGKILL, like a crash. The folder stays until `stop`."""
        if self._postgres is not None:
            # A stopped parent starts no further children while the ones it has are counted.
            self._postgres.send_signal(signal.SIGSTOP)
            for pid in _children(self._postgres.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._end(signal.SIGKILL)

    @property
    def running(self) -> bool:
        """Whether the server process is alive."""
        return self._postgres is not None and self._postgres.poll() is None

    def dsn_of(self, database: str, *, user: str = SUPERUSER, password: str | None = None) -> str:
        """The URL of another database of this server, or for another user. A password counts only with `listen`."""
        if not self._listen:
            return (
                f"postgresql://{quote(user)}@/{quote(database)}?host={quote(str(self._socket_dir), safe='/')}"
            )
        if password is None and user == SUPERUSER and self._folder is not None:
            password = self._folder.password
        secret = f":{quote(password, safe='')}" if password else ""
        return f"postgresql://{quote(user)}{secret}@127.0.0.1:{self._port}/{quote(database)}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    def _launch(self, folder: DataFolder) -> None:
        """Starts the server and waits until it accepts connections."""
        self._socket_dir = _make_socket_dir(self._account)
        if self._listen and self._port is None:
            self._port = _free_port()
        settings = {
            **self._settings,
            "listen_addresses": "127.0.0.1" if self._listen else "",
            "port": str(self._port or 5432),
            "unix_socket_directories": str(self._socket_dir),
            "unix_socket_permissions": "0700",
        }
        command = [str(self._programs / "postgres"), "-D", str(folder.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        how = run_as(self._account, folder.path)
        patience = time.monotonic() + 10
        with folder.log.open("ab") as log:
            while True:
                seen = log.seek(0, os.SEEK_END)
                self._postgres = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **how
                )
                self._set_guard(self._postgres.pid)
                if self._came_up(self._postgres, folder):
                    break
                said = folder.log.read_bytes()[seen:].decode(errors="replace")
                # The children of a killed server hold its memory for a moment longer.
                if "is still in use" not in said or time.monotonic() > patience:
                    raise EmbeddedPostgresError(f"PostgreSQL did not start in {folder.path}:\n{end_of(said)}")
                self._dismiss_guard()
                time.sleep(0.1)
        self.dsn = self.dsn_of(DATABASE)

    def _came_up(self, postgres: subprocess.Popen[bytes], folder: DataFolder) -> bool:
        """Waits until the server is ready; False if it has ended instead."""
        pid_file = folder.data / "postmaster.pid"
        deadline = time.monotonic() + self._start_timeout.total_seconds()
        while postgres.poll() is None:
            with contextlib.suppress(FileNotFoundError):
                lines = pid_file.read_text().splitlines()
                # The first line is its process, the eighth its state; "standby" is one that takes connections to read.
                state = lines[7].strip() if len(lines) >= 8 and lines[0] == str(postgres.pid) else ""
                if state in ("ready", "standby"):
                    return True
            if time.monotonic() > deadline:
                said = end_of(folder.log.read_text(errors="replace"))
                raise EmbeddedPostgresError(
                    f"PostgreSQL in {folder.path} was not ready within {self._start_timeout}:\n{said}"
                )
            time.sleep(_POLL)
        return False

    def _set_guard(self, pid: int | None) -> None:
        leftovers = [self._socket_dir] if self._socket_dir is not None else []
        if self._given_dir is None:
            leftovers.append(self.data_dir)
        earlier = self._guard
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "jobqueue-guard", str(pid or ""), *map(str, leftovers)],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        _dismiss(earlier)

    def _dismiss_guard(self) -> None:
        _dismiss(self._guard)
        self._guard = None

    def _end(self, how: signal.Signals, *, guarded: bool = False) -> None:
        """Ends the server, if it runs, and removes what only a running server needs. The folder may stay guarded."""
        if self._postgres is not None:
            self._postgres.send_signal(how)
            try:
                self._postgres.wait(timeout=60)
            except subprocess.TimeoutExpired:
                # A crash on purpose: the next start recovers, and nothing that was committed is lost.
                self._postgres.send_signal(signal.SIGQUIT)
                self._postgres.wait()
            self._postgres = None
        if guarded:
            self._set_guard(None)
        else:
            self._dismiss_guard()
        if self._socket_dir is not None:
            shutil.rmtree(self._socket_dir, ignore_errors=True)
            self._socket_dir = None

    def _let_go(self) -> None:
        """Unlocks the folder; removes a temporary one."""
        if self._folder is not None:
            if self._given_dir is None:
                shutil.rmtree(self._folder.path, ignore_errors=True)
            self._folder.close()
            self._folder = None


def _dismiss(guard: subprocess.Popen[bytes] | None) -> None:
    if guard is not None:
        with contextlib.suppress(BrokenPipeError):
            guard.communicate(b"\n")


def _make_socket_dir(account: Account | None) -> Path:
    """A new folder for the socket. Only the account can enter it, and its path is short enough for a socket."""
    base = tempfile.gettempdir()
    # The path of a socket has room for 104 bytes at least.
    folder = Path(tempfile.mkdtemp(prefix="jq-", dir=base if len(base) < 60 else "/tmp"))
    if account is not None:
        os.chown(folder, account.uid, account.gid)
        if not account.may_enter(folder):
            folder.rmdir()
            raise EmbeddedPostgresError(
                f"PostgreSQL runs as `nobody` here, who may not enter {base}: set TMPDIR to a folder open to all"
            )
    return folder


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _children(pid: int) -> list[int]:
    """The processes whose parent is `pid`, if the system has /proc; without it, none: they end by themselves."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # The name, in parentheses, may hold spaces; the parent is the second field after it.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found
