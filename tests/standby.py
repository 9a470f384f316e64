"""A primary and its standby, two real PostgreSQLs: to be promoted, frozen, thawed, and brought back."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.embedded.binaries import Account, binaries, run_as


class Pair:
    """A primary and its standby.

    Attributes:
        old: The primary; after `promote`, the former one.
        new: The standby; after `promote`, the primary.
        dsn: Both, the old one first: that which takes writes is meant, as the runbook recommends.
    """

    def __init__(self, old: EmbeddedPostgres, new: EmbeddedPostgres) -> None:
        self.old = old
        self.new = new
        self.dsn = both(old.dsn, new.dsn)

    async def promote(self) -> None:
        """Makes the standby a primary, on the next timeline."""
        await run(self.new.dsn, "select pg_promote(true, 60)")


def both(first: str, second: str) -> str:
    """One DSN of two; user, password and database are those of the first."""
    parts = urlsplit(first)
    hosts = ",".join(f"127.0.0.1:{urlsplit(dsn).port}" for dsn in (first, second))
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@{hosts}", query="target_session_attrs=read-write"))


async def run(dsn: str, query: str, *args: object) -> Any:
    """The first value of a statement, on a connection of its own."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return await connection.fetchval(query, *args)
    finally:
        connection.terminate()


def freeze(postgres: EmbeddedPostgres) -> list[int]:
    """Stops every process of it, so that connections stay and hear nothing. The processes, for `thaw`."""
    main = int((postgres.data_dir / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
    # A stopped parent starts no further children while the ones that it has are found.
    os.kill(main, signal.SIGSTOP)
    pids = [main]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == main:
                pids.append(int(stat.parent.name))
                os.kill(pids[-1], signal.SIGSTOP)
    return pids


def thaw(pids: list[int]) -> None:
    """Lets them go on."""
    for pid in reversed(pids):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def a_primary_and_its_standby(*, synchronous: bool = False) -> AsyncIterator[Pair]:
    """Both run. With `synchronous` a commit waits for the standby, so that a promotion loses nothing."""
    folder = Path(tempfile.mkdtemp(prefix="jobqueue-standby-"))
    try:
        async with EmbeddedPostgres(listen=True) as old:
            await asyncio.to_thread(_copy, old, folder)
            async with EmbeddedPostgres(folder, listen=True) as new:
                if synchronous:
                    await run(old.dsn, "alter system set synchronous_standby_names = '*'")
                    await run(old.dsn, "select pg_reload_conf()")
                yield Pair(old, new)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(old: EmbeddedPostgres, folder: Path) -> None:
    """A base backup that follows its primary, as the folder of another embedded PostgreSQL."""
    account = Account.for_this_process()
    shutil.copy(old.data_dir / "password", folder / "password")
    if account is not None:
        for path in (folder, folder / "password"):
            os.chown(path, account.uid, account.gid)
    program = str(binaries(account) / "pg_basebackup")
    arguments = ["-d", old.dsn, "-D", str(folder / "data"), "-R", "-X", "stream", "-c", "fast"]
    subprocess.run([program, *arguments], check=True, capture_output=True, **run_as(account, folder))
