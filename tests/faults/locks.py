"""Locks that hold a server's statement where a case wants it: before it is done, its look at the rest behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .stage import Stage

# After its last look, and whatever the insert's patience with locks.
_HELD_INSERT = """
create or replace function held_insert() returns trigger language plpgsql as $$ begin
    perform set_config('lock_timeout', '0', true);
    perform pg_advisory_xact_lock_shared(hashtext('held_insert'));
    return null;
end $$;
create or replace trigger held_insert after insert on idempotency_key for each row execute function held_insert();
"""


@asynccontextmanager
async def locked(stage: Stage, table: str) -> AsyncIterator[None]:
    """Holds a lock on a table for the body, so that what would write to it waits."""
    connection = await stage.connection()
    async with connection.transaction():
        await connection.execute(f"lock table {table} in exclusive mode")
        yield


@asynccontextmanager
async def held_insert(stage: Stage) -> AsyncIterator[None]:
    """For the body, an insert under an idempotency key waits at its end, its look at the session's epoch behind it."""
    connection = await stage.connection()
    await connection.execute(_HELD_INSERT)
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock(hashtext('held_insert'))")
        yield


async def waits_for_lock(stage: Stage, statement: str) -> None:
    """Waits until a statement, by its transition's name, waits for a lock."""
    waiting = (
        "select exists (select from pg_stat_activity where wait_event_type = 'Lock'"
        " and datname = current_database() and query like $1)"
    )
    await stage.until(
        lambda: stage.value(waiting, f"-- {statement}%"), f"a {statement} that waits for the lock"
    )


async def came(stage: Stage, look: str, *arguments: object) -> bool:
    """Whether a statement answers true within two seconds."""
    try:
        await stage.until(lambda: stage.value(look, *arguments), look, 2)
    except AssertionError:
        return False
    return True
