"""The PostgreSQL of a run: an embedded one, durable, with the same settings for everybody who is measured on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.store import migrate

#: Over those of the embedded PostgreSQL: room for a machine of today, and checkpoints that do not fall into a
#: measurement. What makes a commit durable is as it is by default, and is read back into every result.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "16GB",
    "min_wal_size": "2GB",
    "checkpoint_timeout": "30min",
    "max_connections": "300",
    "shared_preload_libraries": "pg_stat_statements",
    # Counted where it is asked for, in the database of ours.
    "pg_stat_statements.track": "none",
    "track_io_timing": "off",
}
# As much as shared_buffers and min_wal_size have. A row fills a page, and is not compressed.
_PAGES = 131_072
_WARM_WAL = 2 << 30
_SAID = (
    "server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers",
    "max_wal_size", "checkpoint_timeout", "autovacuum_naptime", "jit", "wal_compression",
)  # fmt: skip


class Cluster:
    """The server, from `async with` on. Everybody reaches it by TCP on loopback, with a password."""

    def __init__(self) -> None:
        self._postgres = EmbeddedPostgres(listen=True, settings=SETTINGS)

    async def __aenter__(self) -> Cluster:
        await self._postgres.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._postgres.__aexit__()

    async def warm(self) -> None:
        """Makes it one that has run for a while, for all who are measured on it, also for the first.

        A new one clears each page of its memory and writes each file of its WAL when it is first used: a sixth of its
        CPU in a drain. Afterwards the memory is there, and WAL goes into files that were used before.
        """
        async with self.connected("postgres") as connection:
            begin = await connection.fetchval("select pg_current_wal_lsn()")
            await connection.execute("create unlogged table warm (filler text storage plain)")
            await connection.execute(
                "insert into warm select repeat('x', 7900) from generate_series(1, $1)", _PAGES
            )
            while await connection.fetchval("select pg_current_wal_lsn() - $1", begin) < _WARM_WAL:
                await connection.execute("select pg_logical_emit_message(false, 'warm', ''), pg_switch_wal()")
            await connection.execute("drop table warm")
            await connection.execute("checkpoint")

    @property
    def pid(self) -> int:
        """Of the process whose children are all others of it."""
        return int((Path(self._postgres.data_dir) / "data" / "postmaster.pid").read_text().split("\n", 1)[0])

    async def settings(self) -> dict[str, str]:
        """The settings that matter, as the server has them."""
        async with self.connected("postgres") as connection:
            return {name: await connection.fetchval(f"show {name}") for name in _SAID}

    @asynccontextmanager
    async def connected(self, database: str) -> AsyncIterator[Any]:
        """A connection."""
        connection = await asyncpg.connect(self._postgres.dsn_of(database))
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def fresh(self, *, ours: bool, migrations: Path | None = None) -> AsyncIterator[str]:
        """An empty database for one measurement, with our schema or without any; its DSN.

        `migrations`: the folder of our schema, if it is not that of the working tree.

        After a checkpoint, so that what was measured before leaves nothing to be written.
        """
        name = f"bench_{uuid4().hex[:12]}"
        async with self.connected("postgres") as connection:
            await connection.execute(f'create database "{name}" template template0')
        dsn = self._postgres.dsn_of(name)
        try:
            if ours:
                await migrate.up(dsn, folder=migrations)
                async with self.connected(name) as connection:
                    await connection.execute("create extension pg_stat_statements")
                    await connection.execute(
                        f"alter database \"{name}\" set pg_stat_statements.track = 'top'"
                    )
            async with self.connected("postgres") as connection:
                await connection.execute("checkpoint")
            yield dsn
        finally:
            async with self.connected("postgres") as connection:
                await connection.execute(f'drop database if exists "{name}" with (force)')
