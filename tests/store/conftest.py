"""What the tests of the store ask for: the stores over a database that nobody else uses meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from .stored import Stored, stored

EVERYTHING = (
    "operation", "queue_key", "queue_rate", "queue_running", "kind_rate", "kind_declaration",
    "semaphore", "job", "live_job", "finished_job", "attempt",
    "job_progress", "idempotency_key", "unique_hold", "worker_session",
    "server", "lane", "queue", "kind",
)  # fmt: skip


@pytest.fixture(scope="module")
def module_dsn(cluster: Any, template: str) -> Iterator[str]:
    """A migrated database for this file."""
    name = cluster.create(template)
    yield cluster.dsn_of(name)
    cluster.drop(name)


@pytest.fixture
async def s(module_dsn: str) -> AsyncIterator[Stored]:
    """The stores over the file's database, emptied: 0.02 s, where a database of its own costs 0.3 s."""
    connection = await asyncpg.connect(module_dsn)
    try:
        await connection.execute(";".join(f"delete from {table}" for table in EVERYTHING))
        await connection.execute("update amnesty set granted_at = default, left_at = default")
    finally:
        await connection.close()
    async with stored(module_dsn) as made:
        yield made
