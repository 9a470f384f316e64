"""Jobs in a real database, moved by the stores themselves: what the tests of store and core stand on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from jobqueue_server.core.catalog.catalog import Catalog, Lane
from jobqueue_server.core.catalog.queues import QueueService
from jobqueue_server.fields import milliseconds
from jobqueue_server.ids import IdMint
from jobqueue_server.lifecycle import Event
from jobqueue_server.model import DEFAULT_NAMESPACE, Kind, NewJob
from jobqueue_server.scope import Scope
from jobqueue_server.store.attempt.attempts import AttemptEnd, AttemptStore
from jobqueue_server.store.bulk.changes import ChangeStore
from jobqueue_server.store.bulk.jobs import BulkStore
from jobqueue_server.store.bulk.operations import OperationStore
from jobqueue_server.store.catalog.catalog import CatalogStore
from jobqueue_server.store.claim.claims import ClaimStore, ClaimTarget
from jobqueue_server.store.connect import Connector
from jobqueue_server.store.database import Database
from jobqueue_server.store.intake.intake import IntakeStore, NewRows
from jobqueue_server.store.lineage import Lineage
from jobqueue_server.store.query.reads import ReadStore
from jobqueue_server.store.session.sessions import SessionStore, Told
from jobqueue_server.store.upkeep.clock import Expected

GRACE = timedelta(seconds=30)
#: Whose everything is, where a test says nothing else.
SCOPE = Scope(DEFAULT_NAMESPACE, "tests")


def right() -> datetime:
    """What the database's clock should show, where nobody sets it."""
    return datetime.now(UTC)


class _Now:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class Stored:
    """The stores over one database, and short ways to bring a job into any status.

    Attributes:
        expected: What the database's clock should show.
    """

    def __init__(self, database: Database, connection: Any) -> None:
        self.database = database
        self.sql = connection
        self.catalog_store = CatalogStore(database)
        self.catalog = Catalog(self.catalog_store, open_kinds=False)
        self.queues = QueueService(self.catalog, self.catalog_store)
        self.expected: Expected = right
        self.intake = IntakeStore(database, key_ttl=timedelta(days=1))
        self.claims = ClaimStore(database)
        self.attempts = AttemptStore(database, max_losses=3, expected=lambda: self.expected())
        self.sessions = SessionStore(database, self.attempts, expected=lambda: self.expected())
        self.reads = ReadStore(database)
        self.changes = ChangeStore(database, cancel_grace=GRACE)
        self.operations = OperationStore(database)
        self.bulk = BulkStore(database, cancel_grace=GRACE)
        self.mint = IdMint(_Now())

    async def lane(self, queue: str = "default", kind: str = "hello") -> Lane:
        if self.catalog.kind(SCOPE, kind) is None:
            await self.catalog.put_kind(SCOPE, Kind(kind))
        return await self.catalog.lane(SCOPE, queue, kind)

    async def queued(self, new: NewJob | None = None, **fields: Any) -> UUID:
        """Enqueues a job of the kind hello; its id."""
        row = await self.row(replace(new or NewJob("hello", b"{}"), **fields))
        await self.intake.enqueue([row])
        return row.id

    async def row(self, new: NewJob) -> NewRows:
        """A job as it is stored."""
        lane = await self.lane(new.queue, new.kind)
        return NewRows(
            [self.mint.mint()],
            [new.payload],
            lane.id,
            new,
            new.max_attempts,
            milliseconds(new.timeout),
            labels=None if not new.labels else json.dumps(dict(new.labels)),
            headers=None if not new.headers else json.dumps(dict(new.headers)).encode(),
            keys=None if new.key is None else [new.key],
        )

    async def session(self, name: str = "worker-1") -> tuple[int, int]:
        server = (await self.sessions.register_server("server", 1))["id"]
        return await self.sessions.open(SCOPE, server, Told(name), timedelta(seconds=30), os.urandom(32))

    async def claim(self, job_id: UUID, session: tuple[int, int] | None = None) -> tuple[int, int]:
        """Leases this job, which must be the first in its line: (attempt, session id)."""
        number, epoch = session or await self.session()
        live = await self.sql.fetchrow(
            "select lane_id, priority, state, run_at from live_job where id = $1", job_id
        )
        if live["state"] == 4:
            rows = await self.claims.claim_isolated([live["lane_id"]], {number: epoch})
        else:
            target = ClaimTarget(live["lane_id"], live["priority"], 1, live["run_at"], 1)
            rows = await self.claims.claim([target], [number], {number: epoch})
        assert [row["id"] for row in rows] == [job_id]
        return rows[0]["attempts"], number

    async def running(self, new: NewJob | None = None, **fields: Any) -> tuple[UUID, int, int]:
        """A job under a lease: (id, attempt, session id)."""
        job_id = await self.queued(new, **fields)
        return (job_id, *await self.claim(job_id))

    async def succeed(self, job_id: UUID, attempt: int, session_id: int, output: bytes | None = None) -> bool:
        """Settles the lease as succeeded; whether it matched."""
        settled = await self.attempts.end_succeeded([(job_id, attempt, session_id, output)])
        return settled.ids is None

    async def end_attempt(
        self, job_id: UUID, attempt: int, session_id: int, event: Event, **more: Any
    ) -> None:
        rows = await self.attempts.end_attempt([AttemptEnd(job_id, attempt, session_id, event, **more)])
        assert len(rows) == 1

    async def succeeded(self, output: bytes | None = None, **fields: Any) -> UUID:
        job_id, attempt, session_id = await self.running(**fields)
        assert await self.succeed(job_id, attempt, session_id, output)
        return job_id

    async def retrying(self, message: str = "no luck", **fields: Any) -> UUID:
        """A job that failed once, due at once."""
        job_id, attempt, session_id = await self.running(**fields)
        await self.end_attempt(
            job_id, attempt, session_id, Event.FAIL, after=timedelta(), error_type="Oops", message=message
        )
        return job_id

    async def failed(self, message: str = "for good", **fields: Any) -> UUID:
        job_id, attempt, session_id = await self.running(**fields)
        await self.end_attempt(
            job_id, attempt, session_id, Event.FAIL, permanent=True, error_type="Oops", message=message
        )
        return job_id

    async def many(self, count: int, queue: str, *, ended: bool = False, state: int = 1) -> list[UUID]:
        """So many jobs of a queue, written past the stores: in this state, or succeeded. Oldest first."""
        lane, ids = await self.lane(queue), self.mint.mint_many(count)
        await self.sql.execute(
            """insert into job (id, run_at, lane_id, priority, max_attempts, payload)
               select id, now(), $2, 0, 3, '{}' from unnest($1::uuid[]) id""",
            ids,
            lane.id,
        )
        if ended:
            await self.sql.execute(
                """insert into finished_job (id, attempts, status, failures, losses)
                   select id, 1, 3, 0, 0 from unnest($1::uuid[]) id""",
                ids,
            )
        else:
            await self.sql.execute(
                """insert into live_job (id, run_at, lane_id, priority, max_attempts, state, hold, session_id)
                   select id, now(), $2, 0, 3, $3::int2, case when $3::int2 = 3 then 2 end,
                          case when $3::int2 = 2 then 1 end
                   from unnest($1::uuid[]) id""",
                ids,
                lane.id,
                state,
            )
        return ids

    async def cancelled(self, **fields: Any) -> UUID:
        job_id = await self.queued(**fields)
        await self.changes.cancel(SCOPE, job_id)
        return job_id


@asynccontextmanager
async def stored(dsn: str) -> AsyncIterator[Stored]:
    """The stores over the database at `dsn`."""
    database = Database(
        Connector(dsn, name="test", lineage=Lineage()), pool_size=8, acquire_timeout=timedelta(seconds=5)
    )
    await database.open()
    connection = await asyncpg.connect(dsn)
    try:
        made = Stored(database, connection)
        await made.catalog.load()
        yield made
    finally:
        await connection.close()
        await database.close()
