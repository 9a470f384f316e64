"""Whether something between us and PostgreSQL gives our connections to others: then nothing of a session would last."""

from __future__ import annotations

import secrets
from typing import Any

import asyncpg

from . import migrate

# A pooler that gives connections in turn gives the same one again while it has made but one: so it is asked more often.
_ROUNDS = 3
#: What asyncpg meets where a statement was prepared on another connection than the one that it is to run on.
OTHERS_STATEMENT = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)


class PoolerUnusable(Exception):
    """The pooler before the database can't be used. The text says what would be right."""

    def __init__(self) -> None:
        super().__init__(
            "the pooler before this database gives each transaction another connection, and JobQueue needs its own "
            "(settings, prepared statements, LISTEN): set pool_mode=session in pgbouncer for this database, "
            "or let DATABASE_URL name PostgreSQL itself"
        )


async def check(dsn: str) -> None:
    """Returns if what is set on a connection is there afterwards, also while another one is amid a transaction.

    A pooler in transaction mode would give the connection away between two statements: to the transaction, or to
    the next in turn.

    Raises:
        PoolerUnusable: It is not.
        MigrationError: The database refuses the connection.
        DatabaseAway: The database does not answer.
    """
    try:
        async with migrate.connected(dsn) as first, migrate.connected(dsn) as second:
            for _ in range(_ROUNDS):
                await _try(first, second)
    except migrate.MigrationError as error:
        if isinstance(error.__cause__, OTHERS_STATEMENT):
            raise PoolerUnusable from error
        raise


async def _try(first: Any, second: Any) -> None:
    # By execute without arguments, which prepares nothing.
    token = secrets.token_hex(8)
    await first.execute(f"set jobqueue.probe = '{token}'")
    await _kept(first, token)
    try:
        await second.execute("begin")
    except asyncpg.PostgresConnectionError as error:
        # pgbouncer in statement mode hangs up: "transaction blocks not allowed in statement pooling mode".
        if "pooling mode" in str(error):
            raise PoolerUnusable from error
        raise
    await _kept(first, token)
    await second.execute("rollback")


async def _kept(connection: Any, token: str) -> None:
    found = await connection.execute(f"select where current_setting('jobqueue.probe', true) = '{token}'")
    if found != "SELECT 1":
        raise PoolerUnusable
