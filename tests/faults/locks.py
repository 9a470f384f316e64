"""Locks that hold a server's statement where a case wants it: before it is done, its look at the rest behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from jobqueue_server.core.intake.digest import key_digest

from .stage import Stage

# $1 digest of the key, $2 anything.
_SAME_KEY = """
insert into idempotency_key (namespace_id, key_digest, owner, job_id, request_digest, expires_at)
values (1, $1, substring(sha256('anonymous') for 8), gen_random_uuid(), $2, now() + interval '1 day')
"""


@asynccontextmanager
async def locked(stage: Stage, table: str) -> AsyncIterator[None]:
    """Holds a lock on a table for the body, so that what would write to it waits."""
    connection = await stage.connection()
    async with connection.transaction():
        await connection.execute(f"lock table {table} in exclusive mode")
        yield


@asynccontextmanager
async def same_key(stage: Stage, key: str) -> AsyncIterator[None]:
    """For the body, whoever enqueues under the same key waits, its look at the session's epoch behind it."""
    connection = await stage.connection()
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(_SAME_KEY, key_digest(1, key), key.encode())
    try:
        yield
    finally:
        await transaction.rollback()


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
