"""The clock of one database, set by a test. That of the machine, and so of all other databases, stays as it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg

# PostgreSQL looks into pg_catalog first, unless the path names it later. So the statements of the service, the
# functions of the migrations and the defaults of columns, which are all that reads the clock, read this one.
_SCHEMA = """
create schema stepped;
create table stepped.step (by interval not null);
insert into stepped.step values ('0');
create function stepped.now() returns timestamptz language sql stable
    as 'select pg_catalog.now() + (select by from stepped.step)';
create function stepped.clock_timestamp() returns timestamptz language sql volatile
    as 'select pg_catalog.clock_timestamp() + (select by from stepped.step)';
"""
_PATH = "public, stepped, pg_catalog"
_DEFAULTS = """
select format('alter table %I.%I alter column %I set default stepped.now()', table_schema, table_name, column_name)
from information_schema.columns
where column_default = 'now()' and table_schema = 'public'
"""
_FUNCTIONS = """
select format('alter function %s set search_path = %s, pg_temp', oid::regprocedure, $1::text)
from pg_proc
where pronamespace = 'public'::regnamespace and exists (select from unnest(proconfig) c where c like 'search_path=%')
"""


async def make_settable(dsn: str) -> None:
    """From now on the clock of a migrated database can be set, for connections that are made after this."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(_SCHEMA)
        rows = [*await connection.fetch(_DEFAULTS), *await connection.fetch(_FUNCTIONS, _PATH)]
        for (statement,) in rows:
            await connection.execute(statement)
        database = urlsplit(dsn).path.lstrip("/")
        await connection.execute(f'alter database "{database}" set search_path = {_PATH}')
    finally:
        await connection.close()


async def set_clock(connection: Any, by: timedelta) -> None:
    """It shows so much more than the right time."""
    await connection.execute("update stepped.step set by = $1", by)
