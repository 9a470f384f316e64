"""One of the two databases of a move: connections for its owner, and what both sides are asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from ..store.connect import NO_CONNECTION, dial
from ..store.dsn import cause_of, place_of
from .errors import MoveRefused

#: The name of the publication, of the subscription and of the replication slot.
NAME = "jobqueue_move"
#: Which of the sides may differ: what says how a database is laid out is made by its own migrations and servers.
OWN_TABLES = ("schema_migration", "job_partition", "audit_partition", "retention_sweep", "catalog_change")

# What libpq knows. Other parameters of a URL are asyncpg's: settings of PostgreSQL.
_LIBPQ = {
    *("host", "port", "user", "password", "dbname", "passfile", "connect_timeout", "application_name"),
    *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "gssencmode", "channel_binding"),
}

_TABLES = """
select c.relname as name, quote_ident(n.nspname) || '.' || quote_ident(c.relname) as full_name,
       coalesce((select sum(greatest(p.reltuples, 0)) from pg_partition_tree(c.oid) t join pg_class p on p.oid = t.relid
                 where t.isleaf), 0)::int8 as about_rows,
       exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary) as has_key
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = current_schema() and c.relkind in ('r', 'p') and not c.relispartition and c.relname <> all ($1)
order by c.relname
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that moves. `about_rows`: as PostgreSQL estimates."""

    name: str
    full_name: str
    about_rows: int
    has_key: bool


@dataclass(frozen=True, slots=True)
class Range:
    """A partition, by the ids that it holds."""

    name: str
    low: Any
    high: Any


def for_owner(dsn: str) -> str:
    """The same URL for an owner, who also enters a database that takes no writes."""
    parts = urlsplit(dsn)
    query = [
        (key, "primary" if key == "target_session_attrs" else value) for key, value in parse_qsl(parts.query)
    ]
    return urlunsplit(parts._replace(query=urlencode(query, safe="/")))


def for_libpq(dsn: str) -> str:
    """The same URL for PostgreSQL itself, which connects by libpq."""
    parts = urlsplit(for_owner(dsn))
    query = [(key, value) for key, value in parse_qsl(parts.query) if key in _LIBPQ]
    if "," in parts.netloc:
        query.append(("target_session_attrs", "primary"))
    return urlunsplit(parts._replace(query=urlencode(query, safe="/")))


class Reached:
    """A database that is connected. What it refuses is told with its name.

    Raises (every method): MoveRefused.
    """

    def __init__(self, connection: Any, named: str) -> None:
        self._connection = connection
        self._named = named

    async def execute(self, sql: str, *values: object) -> None:
        """Runs statements."""
        with self._told():
            await self._connection.execute(sql, *values)

    async def fetch(self, sql: str, *values: object) -> Sequence[Any]:
        """The rows."""
        with self._told():
            rows: Sequence[Any] = await self._connection.fetch(sql, *values)
            return rows

    async def fetchval(self, sql: str, *values: object) -> Any:
        """The first value of the first row; None: there is none."""
        with self._told():
            return await self._connection.fetchval(sql, *values)

    async def copy(self, table: str, value: str) -> None:
        """Adds a row of one value to a table. No log has the value: it is in no statement, and no parameter."""
        with self._told():
            await self._connection.copy_records_to_table(table, records=[(value,)])

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All or nothing of what is run within."""
        with self._told():
            async with self._connection.transaction():
                yield

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except asyncpg.QueryCanceledError:
            raise
        except asyncpg.PostgresError as error:
            raise MoveRefused(f"{self._named} refuses: {error}") from error
        except (asyncpg.InterfaceError, OSError) as error:
            raise MoveRefused(f"{self._named} went away: {cause_of(error)}; run this again") from error


@asynccontextmanager
async def connected(dsn: str, what: str, away: type[MoveRefused] = MoveRefused) -> AsyncIterator[Reached]:
    """A connection of the owner, which may write also where the database's default is not to.

    Args:
        dsn: The database, for its owner.
        what: How it is called in errors.
        away: Is raised where there is none to be had.
    """
    place = " ".join(f"{name}={value}" for name, value in place_of(dsn).items())
    try:
        connection = await dial(
            for_owner(dsn), timeout=10, server_settings={"application_name": "jobqueue-move"}
        )
    except NO_CONNECTION as error:
        raise away(f"{what} does not answer ({place}): {cause_of(error)}") from error
    try:
        reached = Reached(connection, f"{what} ({place})")
        await reached.execute("set default_transaction_read_only = off; set timezone = 'UTC'")
        yield reached
    finally:
        connection.terminate()


async def tables_of(connection: Reached) -> Sequence[Table]:
    """The tables that move."""
    return [Table(**row) for row in await connection.fetch(_TABLES, list(OWN_TABLES))]


async def migrations_of(connection: Reached) -> dict[int, str]:
    """The checksum of each migration; none where the schema was never made."""
    if await connection.fetchval("select to_regclass('schema_migration') is null"):
        return {}
    return {
        row["version"]: row["checksum"] for row in await connection.fetch("select * from schema_migration")
    }


async def mark_of(connection: Reached) -> Any:
    """What a cell and its copy alone have in common: when the schema was made. None: there is none."""
    if await connection.fetchval("select to_regclass('origin') is null"):
        return None
    return await connection.fetchval("select made_at from origin")


async def counts_of(connection: Reached, tables: Sequence[Table], *, within_ms: int) -> dict[str, int]:
    """How many rows each table has, of those that are counted within their share of this time."""
    found = {}
    await connection.execute(f"set statement_timeout = {within_ms}")
    try:
        for table in tables:
            try:
                found[table.name] = await connection.fetchval(f"select count(*) from {table.full_name}")
            except asyncpg.QueryCanceledError:
                continue
    finally:
        await connection.execute("set statement_timeout = 0")
    return found


async def closed(connection: Reached) -> bool:
    """Whether the database takes no writes of those who don't ask for it."""
    found: bool = await connection.fetchval(
        """select exists (
               select from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase
               where d.datname = current_database() and s.setrole = 0
                 and 'default_transaction_read_only=on' = any(s.setconfig)
           )"""
    )
    return found


async def close(connection: Reached) -> None:
    """The database takes no writes from here on, but of those who ask for it: replication, and the owner here."""
    await _change(connection, "set default_transaction_read_only = on")


async def open_again(connection: Reached) -> None:
    """It takes writes from here on."""
    await _change(connection, "reset default_transaction_read_only")


async def _change(connection: Reached, what: str) -> None:
    """Changes the database's default, and ends the sessions that don't know it.

    One that is starting may have read the default of before, and is not among the sessions yet. But it holds a lock of
    the database from before that until after it is among them. So starting ones are looked for first, then sessions.
    """
    name = await connection.fetchval("select quote_ident(current_database())")
    await connection.execute(f"alter database {name} {what}")
    since = await connection.fetchval("select clock_timestamp()")
    while await connection.fetchval(_STARTING) or await connection.fetchval(_END_OTHERS, since):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


_STARTING = """
select count(*)
from pg_locks l
join pg_database d on d.oid = l.objid
where l.locktype = 'object' and l.classid = 'pg_database'::regclass and l.mode = 'RowExclusiveLock' and l.granted
  and d.datname = current_database()
"""
_END_OTHERS = """
select count(pg_terminate_backend(a.pid))
from pg_stat_activity a
where a.datname = current_database() and a.backend_type = 'client backend'
  and a.application_name <> 'jobqueue-move' and a.backend_start < $1
"""
