"""A server for each test of the lease protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import Cluster

from .place import Place

# In the order of their references. Partitions, migrations and the default namespace stay.
_TABLES = [
    "operation",
    "lane_stat",
    "live_job",
    "queue_key",
    "queue_rate",
    "queue_running",
    "kind_rate",
    "kind_declaration",
    "semaphore",
    "job",
    "finished_job",
    "attempt",
    "job_progress",
    "idempotency_key",
    "unique_hold",
    "worker_session",
    "server",
    "lane",
    "kind",
    "queue",
]
_EMPTY = "; ".join(
    [
        *(f"delete from {table}" for table in _TABLES),
        "update amnesty set granted_at = default, left_at = default",
        "update requirement set min_level = 1",
    ]
)


@pytest.fixture(scope="module")
def kept_database(cluster: Cluster, template: str) -> Iterator[str]:
    name = cluster.create(template)
    yield name
    cluster.drop(name)


@pytest.fixture
def dsn(cluster: Cluster, kept_database: str) -> Iterator[str]:
    """A database that is empty again after each test: 0.03 s, and 0.24 s for a new one."""
    yield cluster.dsn_of(kept_database)
    cluster.execute(_EMPTY, kept_database)


@pytest.fixture
async def place(dsn: str) -> AsyncIterator[Place]:
    # Longer than a busy machine may take from a cancel to its worker's answer.
    async with Place(dsn, cancel_grace="30s") as place:
        yield place


@pytest.fixture(autouse=True)
def over_each_engine(engine: str) -> None:
    """The protocol is that of each engine."""
