"""What a job costs the database: bytes of WAL, commits and statements, by hand-off and through the backlog.

Measured as on a server that has run for a while: every page is known to the WAL since its last checkpoint, so that no
image of a whole page blurs the count.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from jobqueue_server.lifecycle import Event
from jobqueue_server.store.attempt.attempts import AttemptEnd, AttemptStore
from jobqueue_server.store.claim.claims import ClaimStore
from jobqueue_server.store.connect import Connector
from jobqueue_server.store.database import Database, Record
from jobqueue_server.store.intake.intake import IntakeStore
from jobqueue_server.store.lineage import Lineage

from .factories import look, new_row
from .stored import right

JOBS = 1000
PAYLOAD = b'{"to":"' + b"a" * 119 + b'"}'


class Counting(Database):
    """Counts the statements by name."""

    def __init__(self, dsn: str) -> None:
        connector = Connector(dsn, name="counting", lineage=Lineage())
        super().__init__(connector, pool_size=4, acquire_timeout=timedelta(seconds=5))
        self.statements: Counter[str] = Counter()

    async def fetch(self, name: str, *args: object, **options: Any) -> list[Record]:
        self.statements[name] += 1
        return await super().fetch(name, *args, **options)

    async def fetchrow(self, name: str, *args: object, **options: Any) -> Record | None:
        self.statements[name] += 1
        return await super().fetchrow(name, *args, **options)


class Stores:
    """What moves jobs, over one database."""

    def __init__(self, database: Database) -> None:
        self.intake = IntakeStore(database, key_ttl=timedelta(days=1))
        self.claims = ClaimStore(database)
        self.attempts = AttemptStore(database, max_losses=3, expected=right)


async def meter(connection: Any) -> tuple[int, int]:
    """Where the WAL ends, and the number of the next transaction that writes."""
    row = await connection.fetchrow(
        "select (pg_current_wal_insert_lsn() - '0/0')::int8 as lsn, "
        "pg_snapshot_xmax(pg_current_snapshot())::text::int8 as xid"
    )
    return row["lsn"], row["xid"]


@pytest.fixture
async def costs(s, module_dsn):
    """Runs a way of life for several batches of jobs; what the cheapest cost: bytes a job, commits, statements."""
    database = Counting(module_dsn)
    await database.open()
    store = Stores(database)
    await s.sql.execute("alter table live_job set (autovacuum_enabled = off)")

    async def measure(life):
        lane, session = await s.lane(), await s.session()
        found = []
        for _ in range(6):
            database.statements.clear()
            before = await meter(s.sql)
            await life(store, lane, session)
            after = await meter(s.sql)
            found.append(((after[0] - before[0]) / JOBS, after[1] - before[1]))
        assert await s.sql.fetchval("select count(*) from live_job") == 0, "they all ended"
        # The first batches touch the pages; the cheapest has none to log whole, and no checkpoint in it.
        bytes_a_job, commits = min(found)
        return bytes_a_job, commits, dict(database.statements)

    yield measure
    await database.close()


async def by_hand_off(s, store, lane, session):
    rows = [new_row(s, lane, payload=PAYLOAD, slot=session) for _ in range(JOBS)]
    assert not (await store.intake.enqueue(rows)).refused
    _, settled, _ = await store.attempts.end_plain([([row.id for row in rows], 1, session[0])])
    assert settled is None


async def through_the_backlog(s, store, lane, session):
    await store.intake.enqueue([new_row(s, lane, payload=PAYLOAD) for _ in range(JOBS)])
    rows = await store.claims.claim([look(lane)], [session[0]] * JOBS, dict([session]))
    assert len(await store.claims.bodies([row["id"] for row in rows])) == JOBS
    _, settled, _ = await store.attempts.end_plain([(sorted(row["id"] for row in rows), 1, session[0])])
    assert settled is None


async def with_one_failure(s, store, lane, session):
    rows = [new_row(s, lane, payload=PAYLOAD, slot=session) for _ in range(JOBS)]
    await store.intake.enqueue(rows)
    await store.attempts.end_attempt(
        [AttemptEnd(row.id, 1, session[0], Event.FAIL, after=timedelta(), message="no luck") for row in rows]
    )
    again = await store.claims.claim([look(lane)], [session[0]] * JOBS, dict([session]))
    _, settled, _ = await store.attempts.end_plain([(sorted(row["id"] for row in again), 2, session[0])])
    assert settled is None


@pytest.mark.parametrize(
    ("life", "most_bytes", "statements"),
    [
        # Measured: 827, 1,250 and 1,842 B; what the design allows is 900 and 1,350 B.
        (by_hand_off, 900, {"enqueue": 1, "end_plain": 1}),
        (through_the_backlog, 1350, {"enqueue": 1, "claim": 1, "bodies": 1, "end_plain": 1}),
        (with_one_failure, 1950, {"enqueue": 1, "end_attempt": 1, "claim": 1, "end_plain": 1}),
    ],
    ids=["hand-off", "backlog", "one failure"],
)
async def test_a_job_costs_its_bytes_of_wal_and_a_batch_its_few_commits(
    s, costs, life, most_bytes, statements
):
    bytes_a_job, commits, counted = await costs(lambda *args: life(s, *args))
    assert 500 < bytes_a_job <= most_bytes
    assert counted == statements, "a thousand jobs, and each statement once"
    # Each statement that writes is one transaction; the room is for what the server does by itself.
    assert commits <= len(statements) - ("bodies" in statements) + 3
