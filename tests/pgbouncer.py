"""Debian's pgbouncer before a PostgreSQL of a test, on a socket in a folder of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

import asyncpg

from jobqueue_server.embedded.binaries import Account, run_as
from tests import orphans

#: The program; None where it is not installed. Debian has it where only root looks.
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_PORT = 6432


class PgBouncer:
    """`with PgBouncer(dsn, "session") as pooler`, then `pooler.dsn`. Its other settings are those that it comes with.

    Attributes:
        dsn: The same database, through it.
    """

    def __init__(self, dsn: str, pool_mode: str, **settings: str) -> None:
        """`dsn` names a PostgreSQL that listens on a port, with a password."""
        assert PROGRAM is not None, "pgbouncer is not installed"
        self._folder = Path(tempfile.mkdtemp(prefix="jobqueue-pgbouncer-"))
        self._account = Account.for_this_process()
        self._process: subprocess.Popen[bytes] | None = None
        parts = urlsplit(dsn)
        self._settings = {
            "auth_type": "trust",
            "auth_file": str(self._folder / "users"),
            "admin_users": str(parts.username),
            "listen_port": str(_PORT),
            "unix_socket_dir": str(self._folder),
            "pool_mode": pool_mode,
            **settings,
        }
        (self._folder / "users").write_text(f'"{parts.username}" ""\n')
        self._configure(dsn)
        if self._account is not None:
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, self._account.uid, self._account.gid)
        self.dsn = f"postgresql://{parts.username}@{parts.path}?host={self._folder}&port={_PORT}"

    def _configure(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        login = f"user={parts.username} password={unquote(parts.password or '')}"
        text = f"[databases]\n* = host={parts.hostname} port={parts.port} {login}\n[pgbouncer]\n"
        lines = [f"{name} = {value}" for name, value in self._settings.items()]
        (self._folder / "pgbouncer.ini").write_text(text + "\n".join(lines) + "\n")

    async def lead_to(self, dsn: str) -> None:
        """Leads to another PostgreSQL from now on, as what promotes it tells pgbouncer."""
        self._configure(dsn)
        user, database = self._settings["admin_users"], "pgbouncer"
        console = await asyncpg.connect(host=str(self._folder), port=_PORT, user=user, database=database)
        try:
            for command in ("reload", "reconnect"):
                await console.execute(command)
        finally:
            console.terminate()

    def start(self) -> None:
        """Starts it, again too, and waits until it listens."""
        with (self._folder / "pgbouncer.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(PROGRAM), str(self._folder / "pgbouncer.ini")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **run_as(self._account, self._folder),
            )
        orphans.started(self._process.pid)
        until = time.monotonic() + 10
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(self._folder / f".s.PGSQL.{_PORT}"))
                    return
                except OSError:
                    ended = self._process.poll() is not None or time.monotonic() > until
                    assert not ended, (self._folder / "pgbouncer.log").read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            orphans.ended(self._process.pid)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
