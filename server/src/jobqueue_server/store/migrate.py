"""Brings the schema up to date: numbered files, forward only, each applied once.

A file is `NNNN_name.sql`. It runs in one transaction together with the row that records it, so it is applied whole or
not at all. A file whose first line is `-- no-transaction` holds one statement that can't be in one (`create index
concurrently`); it must do no harm when it runs again, since its row is written afterwards.

The version before runs with the new schema while servers are replaced one by one: a migration only adds. What an older
server would break is not used before all servers know it (core/upkeep/levels.py).

Who migrates owns everything. Where the service has a role of its own, `up` gives that role what it needs and no more.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import asyncpg

from .. import logs
from ..errors import DatabaseAway
from .connect import dial
from .database import scrubbed
from .dsn import cause_of, place_of

log = logs.get(__name__)

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_MARKER = "-- no-transaction"
# What the first migration was called before there was one baseline.
_BEFORE_THE_BASELINE = "spine"

# One run at a time in a database. The number is arbitrary, and must never change.
_ADVISORY_LOCK = 7_203_114_581

# A change of a table waits for its readers, and all other statements wait behind it. So it gives up soon, to try again.
_LOCK_TIMEOUT_MS = 500
_LOCK_TRIES = 60

_TABLE = """
create table if not exists schema_migration (
    version    int4 primary key,
    name       text not null,
    checksum   text not null,
    applied_at timestamptz not null default now()
)"""

# What the service's role needs of what the migrating role owns. Partitions are reached through their parents, so they
# are left out; those of tomorrow would be too. All roles may call functions of extensions. Rows of the audit log can be
# added, and neither changed nor deleted.
_GRANTS = """
with mine as (
    select c.oid, c.relkind, c.relname from pg_class c
    where c.relnamespace = current_schema()::regnamespace and c.relowner = current_user::regrole
      and not c.relispartition
)
select format('grant usage on schema %I to %I', current_schema(), $1::text)
union all
select format('grant %s on %s to %I',
              case relname
                  when 'schema_migration' then 'select'
                  when 'audit_partition' then 'select'
                  when 'audit' then 'select, insert'
                  else 'select, insert, update, delete'
              end,
              oid::regclass, $1::text)
from mine where relkind in ('r', 'p', 'v')
union all
select format('grant usage, select on sequence %s to %I', oid::regclass, $1::text) from mine where relkind = 'S'
union all
select format('grant execute on function %s to %I', p.oid::regprocedure, $1::text) from pg_proc p
where p.pronamespace = current_schema()::regnamespace and p.proowner = current_user::regrole and p.prokind = 'f'
  and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
"""


# Indexes of the files that are left invalid; quoted where that is needed.
_INVALID = """
select c.oid::regclass::text as name
from pg_index i join pg_class c on c.oid = i.indexrelid
where not i.indisvalid and c.relname = any($1) and c.relnamespace = current_schema()::regnamespace
"""
_WORD = re.compile(r"\w+")


class MigrationError(Exception):
    """The schema can't be brought up to date. The text says what is wrong and what would help."""


class SchemaUnknown(MigrationError):
    """The schema in the database is not the one that this version knows, so the server does not start on it."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    version: int
    name: str
    sql: str
    checksum: str

    @property
    def file(self) -> str:
        """Its name in the folder."""
        return f"{self.version:04}_{self.name}.sql"

    @property
    def transactional(self) -> bool:
        """Whether it runs in a transaction."""
        return not self.sql.startswith(_MARKER)


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """How one migration stands: `changed` was applied in another form, `unknown` has no file here."""

    version: int
    name: str
    state: Literal["applied", "pending", "changed", "unknown"]
    applied_at: datetime | None


def default_folder() -> Path:
    """Where the files are: inside an installed package, next to the server in a checkout."""
    package = Path(__file__).parents[1]
    shipped = package / "migrations"
    return shipped if shipped.is_dir() else package.parents[2] / "migrations"


def load(folder: Path | None = None) -> list[Migration]:
    """The files in order.

    Raises:
        MigrationError: there are none, or their numbers are not 1, 2, 3 and so on.
    """
    folder = folder or default_folder()
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path.name} should be called NNNN_name.sql, with a name of a-z, 0-9 and _")
        sql = path.read_text(encoding="utf-8")
        checksum = hashlib.sha256(sql.encode()).hexdigest()
        found.append(Migration(int(match[1]), match[2], sql, checksum))
    if not found:
        raise MigrationError(f"there are no migrations in {folder}")
    for number, migration in enumerate(found, start=1):
        if migration.version != number:
            raise MigrationError(f"{migration.file} stands where {number:04}_*.sql should be")
    return found


async def up(dsn: str, service_role: str | None = None, *, folder: Path | None = None) -> list[Migration]:
    """Applies what is missing, then gives `service_role` its rights. Two at once take turns.

    Args:
        dsn: The database, as the role that owns the schema or will.
        service_role: Who runs the service, where it is another role.
        folder: Where the files are, if not where they are shipped.

    Returns:
        What was applied, in order.

    Raises:
        MigrationError: a file failed, or what the database has does not fit the files.
        DatabaseAway: the database does not answer.
    """
    migrations = load(folder)
    applied = []
    async with connected(dsn) as connection:
        await _take_turn(connection)
        await connection.execute(_TABLE)
        await _mend(connection, migrations)
        for migration in _pending(migrations, await _recorded(connection)):
            await _apply_patiently(connection, migration)
            log.info("migration applied", file=migration.file)
            applied.append(migration)
        if service_role is not None:
            await _grant(connection, service_role)
    return applied


async def status(dsn: str, *, folder: Path | None = None) -> list[MigrationStatus]:
    """How every migration stands, by version. Changes nothing.

    Raises:
        MigrationError: the files make no sense.
        DatabaseAway: the database does not answer.
    """
    files = {migration.version: migration for migration in load(folder)}
    async with connected(dsn) as connection:
        recorded = {row["version"]: row for row in await _recorded(connection)}
    found = []
    for version in sorted(files.keys() | recorded.keys()):
        file, row = files.get(version), recorded.get(version)
        state: Literal["applied", "pending", "changed", "unknown"] = "applied"
        if row is None:
            state = "pending"
        elif file is None:
            state = "unknown"
        elif file.checksum != row["checksum"]:
            state = "changed"
        name = file.name if file is not None else recorded[version]["name"]
        found.append(MigrationStatus(version, name, state, row and row["applied_at"]))
    return found


async def plan(dsn: str, *, folder: Path | None = None) -> list[Migration]:
    """What `up` would apply. Changes nothing.

    Raises:
        MigrationError: what the database has does not fit the files.
        DatabaseAway: the database does not answer.
    """
    migrations = load(folder)
    async with connected(dsn) as connection:
        return _pending(migrations, await _recorded(connection))


async def verify(dsn: str, *, folder: Path | None = None) -> None:
    """`check`, on a connection of its own."""
    async with connected(dsn) as connection:
        await check(connection, folder=folder)


async def check(connection: Any, *, folder: Path | None = None) -> None:
    """Returns if the schema is the one of this version, or one to which newer versions only added.

    Raises:
        SchemaUnknown: it lacks migrations, or has others.
    """
    migrations = load(folder)
    try:
        recorded = await _recorded(connection)
    except asyncpg.InsufficientPrivilegeError:
        raise SchemaUnknown(
            "the role of DATABASE_URL may not read the schema: run `jobqueue-server migrate up` with "
            "JOBQUEUE_MIGRATE_DATABASE_URL set to the owner and DATABASE_URL to this role"
        ) from None
    if not recorded:
        raise SchemaUnknown("the database has no schema of JobQueue yet: run `jobqueue-server migrate up`")
    pending = _pending(migrations, recorded)
    newer = recorded[len(migrations) :]
    if newer:
        log.warning(
            "the schema is newer than this server, which can run with it", newest=newer[-1]["version"]
        )
    if pending:
        missing = ", ".join(migration.file for migration in pending)
        raise SchemaUnknown(
            f"the schema is older than this server: run `jobqueue-server migrate up` to apply {missing}"
        )


@asynccontextmanager
async def connected(dsn: str, name: str = "jobqueue-migrate") -> AsyncIterator[Any]:
    """A connection for a while. An answer such as a wrong password is an error that waiting won't mend."""
    try:
        with scrubbed():
            connection = await dial(dsn, timeout=10, server_settings={"application_name": name})
    except DatabaseAway as error:
        place = " ".join(f"{name}={value}" for name, value in place_of(dsn).items())
        raise DatabaseAway(f"the database does not answer ({place}): {cause_of(error)}") from error.__cause__
    except asyncpg.PostgresError as error:
        raise MigrationError(f"the database refuses the connection: {error}") from error
    try:
        with scrubbed():
            yield connection
    except asyncpg.PostgresError as error:
        raise MigrationError(f"the database refuses: {error}") from error
    finally:
        try:
            await connection.close(timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection.terminate()


async def _take_turn(connection: Any) -> None:
    """Waits for the lock, by asking.

    Who waits inside a statement holds a snapshot, and `create index concurrently` of the one whose turn it is would
    wait for that.
    """
    while not await connection.fetchval("select pg_try_advisory_lock($1)", _ADVISORY_LOCK):  # noqa: ASYNC110
        await asyncio.sleep(0.1)


async def _recorded(connection: Any) -> Sequence[Any]:
    """The rows of what was applied, by version; none in a database that was never migrated."""
    if await connection.fetchval("select to_regclass('schema_migration') is null"):
        return []
    rows: Sequence[Any] = await connection.fetch(
        "select version, name, checksum, applied_at from schema_migration order by version"
    )
    return rows


def _pending(migrations: Sequence[Migration], recorded: Sequence[Any]) -> list[Migration]:
    """The files that are not in the database, once it is sure that all others are the same."""
    if recorded and recorded[0]["name"] == _BEFORE_THE_BASELINE:
        raise SchemaUnknown(
            "this database has the schema of a version from before 0.1.0, which was not released, and no migration "
            "leads on from it (docs/upgrades.md): make a new database and run `jobqueue-server migrate up` on it, or, "
            "with the embedded PostgreSQL, name another folder by --data-dir"
        )
    for row, number in zip(recorded, range(1, len(recorded) + 1), strict=True):
        if row["version"] != number:
            raise SchemaUnknown(
                f"the database records migration {row['version']:04} but not {number:04}: is it the right one?"
            )
        if number > len(migrations):
            continue
        migration = migrations[number - 1]
        if row["checksum"] != migration.checksum:
            raise SchemaUnknown(
                f"{migration.file} is not what was applied to this database as {number:04}_{row['name']}: "
                "use the file that was applied, and put the change into a new migration"
            )
    return list(migrations[len(recorded) :])


async def _apply_patiently(connection: Any, migration: Migration) -> None:
    """Applies one file, again and again while others hold a lock that it needs."""
    for tries in range(1, _LOCK_TRIES + 1):
        try:
            return await _apply(connection, migration)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            if tries == _LOCK_TRIES:
                raise MigrationError(
                    f"{migration.file} got no lock in {tries} tries, nothing of it was kept: {error}"
                ) from error
            log.warning("migration waits for a lock", file=migration.file, tries=tries)
            await asyncio.sleep(random.uniform(0.25, 0.75))
        except asyncpg.PostgresError as error:
            kept = (
                "nothing of it was kept"
                if migration.transactional
                else "look at what it has left, then run it again"
            )
            raise MigrationError(
                f"{migration.file} failed, {kept}: {_located(error, migration.sql)}"
            ) from error


async def _apply(connection: Any, migration: Migration) -> None:
    """Runs one file and records it."""
    record = "insert into schema_migration (version, name, checksum) values ($1, $2, $3)"
    row = (migration.version, migration.name, migration.checksum)
    if not migration.transactional:
        await connection.execute("set lock_timeout = 0")
        await connection.execute(migration.sql)
        await connection.execute(record, *row)
        return
    async with connection.transaction():
        await connection.execute(f"set local lock_timeout = {_LOCK_TIMEOUT_MS}")
        await connection.execute(migration.sql)
        await connection.execute(record, *row)


async def _mend(connection: Any, migrations: Sequence[Migration]) -> None:
    """Builds anew what an interrupted `create index concurrently` has left: each write maintains it for no query."""
    names = {word for one in migrations if not one.transactional for word in _WORD.findall(one.sql)}
    for row in await connection.fetch(_INVALID, list(names)):
        log.warning("an index that was left half made is built anew", index=row["name"])
        await connection.execute("set lock_timeout = 0")
        await connection.execute(f"reindex index concurrently {row['name']}")


async def _grant(connection: Any, role: str) -> None:
    """Gives the service's role what it needs."""
    if not await connection.fetchval("select exists (select from pg_roles where rolname = $1)", role):
        raise MigrationError(
            f"the role {role} of DATABASE_URL does not exist: create it (create role ... login) first"
        )
    async with connection.transaction():
        for row in await connection.fetch(_GRANTS, role):
            await connection.execute(row[0])


def _located(error: asyncpg.PostgresError, sql: str) -> str:
    """The message, and the line where PostgreSQL says in which it is."""
    position = getattr(error, "position", None)
    if not position:
        return str(error)
    return f"line {sql.count(chr(10), 0, int(position) - 1) + 1}: {error}"
