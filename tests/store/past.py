"""Jobs and partitions of the past, for the tests of retention: made by hand, since nothing enqueues yesterday."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from jobqueue_server.store.connect import Connector
from jobqueue_server.store.database import Database
from jobqueue_server.store.lineage import Lineage
from jobqueue_server.store.upkeep.retention import Partition, RetentionStore

RETENTION = timedelta(days=7)
WIDTH = timedelta(hours=6)


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Database]:
    database = Database(
        Connector(dsn, name="test", lineage=Lineage()), pool_size=6, acquire_timeout=timedelta(seconds=5)
    )
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


def id_at(moment: datetime) -> UUID:
    return UUID(int=int(moment.timestamp() * 1000) << 80 | uuid4().int & (1 << 76) - 1 | 0x7 << 76)


def ago(**parts: float) -> datetime:
    return datetime.now(UTC) - timedelta(**parts)


async def lane(connection: Any, kind: str = "send_email", /, **kept: timedelta) -> int:
    """Of a new queue, which keeps what ended so long: `succeeded`, `failed_permanent`, `cancelled`."""
    queue_id = await connection.fetchval(
        "insert into queue (namespace_id, name, retention_succeeded, retention_failed_permanent, retention_cancelled) "
        "values (1, $1, $2, $3, $4) returning id",
        uuid4().hex,
        *(kept.get(status) for status in ("succeeded", "failed_permanent", "cancelled")),
    )
    kind_id = await connection.fetchval(
        "insert into kind (namespace_id, name) values (1, $1) "
        "on conflict (namespace_id, name) do update set updated_at = now() returning id",
        kind,
    )
    found: int = await connection.fetchval(
        "insert into lane (namespace_id, queue_id, kind_id) values (1, $1, $2) returning id",
        queue_id,
        kind_id,
    )
    return found


async def live(connection: Any, ids: Sequence[UUID], payload: bytes = b"{}") -> None:
    """Jobs that wait."""
    lane_id = await lane(connection)
    async with connection.transaction():
        await connection.execute(
            "insert into job (id, run_at, lane_id, priority, max_attempts, payload) "
            "select id, now(), $2, 0, 3, $3 from unnest($1::uuid[]) id",
            ids,
            lane_id,
            payload,
        )
        await connection.execute(
            "insert into live_job (id, run_at, lane_id, priority, max_attempts, state) "
            "select id, now(), $2, 0, 3, 1 from unnest($1::uuid[]) id",
            ids,
            lane_id,
        )


async def finished(
    connection: Any,
    ids: Sequence[UUID],
    finished_at: datetime,
    *,
    session_id: int | None = None,
    lane_id: int | None = None,
    status: int = 3,
) -> None:
    """Jobs that failed once, then ended, and said how far they were."""
    lane_id = await lane(connection) if lane_id is None else lane_id
    async with connection.transaction():
        await connection.execute(
            "insert into job (id, run_at, lane_id, priority, max_attempts, payload) "
            "select id, now(), $2, 0, 3, '{}' from unnest($1::uuid[]) id",
            ids,
            lane_id,
        )
        await connection.execute(
            "insert into finished_job (id, finished_at, started_at, session_id, attempts, status, failures, losses) "
            "select id, $2, $2, $3, 2, $4, 1, 0 from unnest($1::uuid[]) id",
            ids,
            finished_at,
            session_id,
            status,
        )
        await connection.execute(
            "insert into attempt (job_id, attempt, started_at, ended_at, session_id, outcome, message) "
            "select id, 1, $2, $2, $3, 1, 'no' from unnest($1::uuid[]) id",
            ids,
            finished_at,
            session_id,
        )
        await connection.execute(
            "insert into job_progress (job_id, attempt, fraction) select id, 2, 1 from unnest($1::uuid[]) id",
            ids,
        )


async def rows(connection: Any, ids: Sequence[UUID]) -> dict[str, int]:
    """How many rows of these jobs each table holds."""
    tables = {
        "job": "id",
        "live_job": "id",
        "finished_job": "id",
        "attempt": "job_id",
        "job_progress": "job_id",
    }
    return {
        table: await connection.fetchval(f"select count(*) from {table} where {key} = any($1)", ids)
        for table, key in tables.items()
    }


async def partition_of(store: RetentionStore, id: UUID) -> Partition | None:
    return next((p for p in await store.list_partitions() if p.from_id <= id < p.to_id), None)
