"""Rows, targets and whole tables for the tests of the store; what a test does not say has a plain value here."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from jobqueue_server.core.catalog.catalog import Lane
from jobqueue_server.core.intake.names import UniqueNames
from jobqueue_server.fields import milliseconds
from jobqueue_server.model import NewJob
from jobqueue_server.store.claim.claims import ClaimTarget
from jobqueue_server.store.intake.intake import Conflict, NewRows
from jobqueue_server.store.intake.intake import Stored as StoredRows

from .stored import SCOPE, Stored

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
ROW_FIELDS = {"key_digest", "request_digest", "namespace", "headers"}


@dataclass
class Slot:
    """Of the session with this number, as somebody believes it to be."""

    id: int
    epoch: int


def new_row(
    s: Stored,
    lane: Lane,
    *,
    slot: tuple[int, int] | None = None,
    payloads: list[bytes] | None = None,
    **fields: Any,
) -> NewRows:
    """A job to be stored, or as many as there are payloads; with a slot, handed off.

    `fields` are those of NewJob, and of NewRows where it has its own.
    """
    own = {name: fields.pop(name) for name in ROW_FIELDS & fields.keys()}
    labels_text = fields.pop("labels_text", None)
    payloads = payloads or [fields.pop("payload", b"{}")]
    job = NewJob(lane.kind, payloads[0], lane.queue, **fields)
    row = NewRows(
        s.mint.mint_many(len(payloads)), payloads, lane.id, job, job.max_attempts, milliseconds(job.timeout),
        labels=labels_text, keys=None if job.key is None else [job.key] * len(payloads), **own,
    )  # fmt: skip
    if slot is not None:
        row.slots = [(Slot(*slot), len(payloads))]
    return row


async def store_named(names: UniqueNames, rows: Sequence[NewRows]) -> StoredRows:
    """Stores or answers unique jobs in the ways that there are now: what the last way did, with all conflicts."""
    left, stored = list(rows), None
    conflicts: dict[UUID, Conflict] = {}
    for way in names.ways():
        done = await way.store(left, None)
        left = [row for row in left if row.id in done.left]
        if done.stored is not None:
            stored = done.stored
            conflicts.update(stored.conflicts)
        if not left:
            break
    assert stored is not None
    return replace(stored, conflicts=conflicts, lost_keys=frozenset(conflicts))


def key_digest(key: str) -> bytes:
    """Any digest of 16 bytes will do: which one is the core's affair."""
    return hashlib.sha256(key.encode()).digest()[:16]


def keyed_row(s: Stored, lane: Lane, key: str, request: str = "one", **fields: Any) -> NewRows:
    """A job with an idempotency key, for a request of this name."""
    return new_row(
        s,
        lane,
        idempotency_key=key,
        namespace=SCOPE.namespace,
        key_digest=key_digest(key),
        request_digest=hashlib.sha256(request.encode()).digest()[:16],
        **fields,
    )


async def enqueue(s: Stored, lane: Lane, count: int = 1, **fields: Any) -> list[UUID]:
    """Stores jobs in one statement; their ids, in order."""
    rows = [new_row(s, lane, **fields) for _ in range(count)]
    await s.intake.enqueue(rows)
    return [row.id for row in rows]


def look(
    lane: Lane,
    take: int = 1000,
    *,
    priority: int = 0,
    floor: datetime = LONG_AGO,
    queue: int = 0,
    most: int = 1000,
) -> ClaimTarget:
    return ClaimTarget(lane.id, priority, take, floor, queue, most)


async def lease(s: Stored, lane: Lane, count: int, session: tuple[int, int]) -> list[tuple[UUID, int, int]]:
    """Enqueues jobs and claims them for a session: sorted leases (id, attempt, session id)."""
    await enqueue(s, lane, count)
    rows = await s.claims.claim([look(lane)], [session[0]] * count, dict([session]))
    assert len(rows) == count
    return sorted((row["id"], row["attempts"], row["session_id"]) for row in rows)


async def everything(connection: Any, job_id: UUID) -> dict[str, list[dict[str, Any]]]:
    """All that is stored of a job, table by table."""
    tables = {
        "job": "id",
        "live_job": "id",
        "finished_job": "id",
        "attempt": "job_id",
        "job_progress": "job_id",
    }
    return {
        table: [
            dict(row)
            for row in await connection.fetch(f"select * from {table} t where {key} = $1 order by t", job_id)
        ]
        for table, key in tables.items()
    }


async def pass_deadline(connection: Any, job_id: UUID) -> None:
    """Makes the deadline of a running job one that is over, as if time had passed."""
    await connection.execute(
        "update live_job set deadline = now() - interval '1 second' where id = $1", job_id
    )


async def make_due(connection: Any) -> None:
    """Lets the time pass that every waiting job still had to wait."""
    await connection.execute("update live_job set run_at = now() where state in (1, 4) and run_at > now()")


async def until_waiting_for_a_lock(connection: Any, sessions: int = 1) -> None:
    """Returns once so many sessions of this database wait for a lock."""
    async with asyncio.timeout(10):
        while (
            await connection.fetchval(
                "select count(*) from pg_stat_activity where datname = current_database() "
                "and wait_event_type = 'Lock'"
            )
            < sessions
        ):
            await asyncio.sleep(0.005)
