"""Debian's PostgreSQL with pgbackrest beside it, in a folder of a test's own: archived WAL, backups, restores."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from jobqueue_server.embedded.binaries import Account, run_as
from tools import pgbackrest

_STANZA = "jobqueue"


class BackedUp:
    """`with BackedUp() as cluster`, then `cluster.dsn`.

    Attributes:
        dsn: Its database `jobqueue`.
    """

    def __init__(self) -> None:
        program, programs = pgbackrest.program(), pgbackrest.postgres()
        assert program is not None, pgbackrest.MISSING
        assert programs is not None, pgbackrest.MISSING
        self._program, self._programs = program, programs
        self._account = Account.for_this_process()
        self._folder = Path(tempfile.mkdtemp(prefix="jobqueue-pitr-"))
        self._data = self._folder / "data"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port = listener.getsockname()[1]
        self.dsn = f"postgresql://postgres@127.0.0.1:{self._port}/jobqueue"

    def __enter__(self) -> Self:
        if self._account is not None:
            os.chown(self._folder, self._account.uid, self._account.gid)
        self._run(self._programs / "initdb", "-D", self._data, "-U", "postgres", "--auth=trust", "-k")
        settings = {
            "port": self._port,
            "listen_addresses": "'127.0.0.1'",
            "unix_socket_directories": f"'{self._folder}'",
            "archive_mode": "on",
            "archive_command": f"'{' '.join(self._backrest('archive-push', '%p'))}'",
            "max_wal_senders": 3,
        }
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())
        for name in ("repo", "log", "lock", "spool"):
            self._run("/bin/mkdir", self._folder / name)
        (self._folder / "pgbackrest.conf").write_text(
            f"[global]\nrepo1-path={self._folder}/repo\nlog-path={self._folder}/log\nlock-path={self._folder}/lock\n"
            f"spool-path={self._folder}/spool\nlog-level-console=warn\nstart-fast=y\n"
            f"[{_STANZA}]\npg1-path={self._data}\npg1-port={self._port}\npg1-socket-path={self._folder}\npg1-user=postgres\n"
        )
        self.start()
        self._run(
            self._programs / "createdb",
            "-h",
            self._folder,
            "-p",
            str(self._port),
            "-U",
            "postgres",
            "jobqueue",
        )
        self._run(*self._backrest("stanza-create"))
        self._run(*self._backrest("check"))
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(
            self._pg_ctl("stop", "-m", "immediate"),
            capture_output=True,
            check=False,
            **run_as(self._account, self._folder),
        )
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Starts it, and waits until it takes writes."""
        self._run(*self._pg_ctl("start", "-w", "-l", str(self._folder / "postgres.log")))
        until = time.monotonic() + 60
        asked = [self._programs / "psql", "-h", self._folder, "-p", str(self._port), "-U", "postgres", "-Atc"]
        while self._run(*map(str, asked), "select pg_is_in_recovery()", "postgres").strip() != "f":
            assert time.monotonic() < until, "it still recovers"
            time.sleep(0.05)

    def stop(self) -> None:
        """Stops it. What was written is in the archive then."""
        self._run(*self._pg_ctl("stop", "-m", "fast"))

    def back_up(self) -> None:
        """A full backup. Its end has whole seconds, and no time before the next one can be restored from it."""
        self._run(*self._backrest("backup", "--type=full"))
        time.sleep(1.1)

    def restore(self, to: str) -> None:
        """The state at a time, in the place of the present one. It was stopped before, and `start` starts it."""
        target = f"--target={to.replace('T', ' ')}"
        self._run(*self._backrest("restore", "--delta", "--type=time", target, "--target-action=promote"))

    def _pg_ctl(self, *words: str) -> list[str]:
        return [str(self._programs / "pg_ctl"), "-D", str(self._data), *words]

    def _backrest(self, *words: str) -> list[str]:
        return [self._program, f"--config={self._folder}/pgbackrest.conf", f"--stanza={_STANZA}", *words]

    def _run(self, *words: str | Path) -> str:
        # A server that is started inherits pipes, so they would never end: what it says goes into a file.
        with (self._folder / "said").open("w+") as said:
            done = subprocess.run(
                list(map(str, words)),
                stdout=said,
                stderr=said,
                check=False,
                **run_as(self._account, self._folder),
            )
            said.seek(0)
            text = said.read()
        assert done.returncode == 0, f"{' '.join(map(str, words))}: {text}"
        return text
