"""What the pages of jobs cost the database, by its own count of statements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.store import migrate
from tests.abuse.statements import COUNTING
from tests.conftest import Cluster, run_apart

from .conftest import Tab
from .driver import expect
from .jobs import batch, cancelled, enqueued
from .servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

#: A count of all rows of a table that grows.
_COUNT = re.compile(
    r"select\s+count\s*\([^)]*\)(\s*::\w+)?(\s+(as\s+)?\w+)?\s+from\s+(job|finished_job|jobs)\b",
    re.IGNORECASE,
)


@pytest.fixture
def counting() -> Iterator[str]:
    """A database of a PostgreSQL that counts statements."""
    with EmbeddedPostgres(listen=True, settings=COUNTING) as postgres:
        cluster = Cluster(postgres.dsn)
        dsn = cluster.dsn_of(cluster.create())
        run_apart(migrate.up(dsn))
        fetched(dsn, "create extension pg_stat_statements")
        yield dsn


@pytest.fixture
def server(counting: str) -> Iterator[Server]:
    server = Server(counting)
    yield server
    server.kill()


def fetched(dsn: str, sql: str) -> list[Any]:
    """Rows of a query, asked in a thread of its own: the browser's driver has a loop in this one."""
    rows: list[Any] = []

    async def work() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            rows.extend(await connection.fetch(sql))
        finally:
            await connection.close()

    run_apart(work())
    return rows


def test_no_page_counts_jobs_and_no_statement_of_one_takes_long(counting: str, server: Server, tab: Tab):
    cancelled(server, 3000)
    job = enqueued(server, "works")
    batch(server, [{"kind": "works", "queue": "backlog"} for _ in range(11_000)])
    fetched(counting, "analyze")
    fetched(counting, "select pg_stat_statements_reset()")
    for place in (
        "",
        "queues",
        "jobs",
        "jobs?q=status:cancelled",
        "jobs?q=queue:backlog",
        f"jobs/{job}",
        "dead",
        "operations",
        "audit",
    ):
        tab.go(place)
        expect(tab.page.locator("main h1")).to_be_visible()
        expect(tab.page.locator("main .loading")).to_have_count(0)
    ran = fetched(counting, "select query, calls, max_exec_time from pg_stat_statements")
    assert any("candidate as not materialized" in row["query"] for row in ran), "nothing was captured"
    assert [row["query"] for row in ran if _COUNT.search(row["query"])] == []
    slow = [(row["query"][:80], row["max_exec_time"]) for row in ran if row["max_exec_time"] > 300]
    assert [each for each in slow if "pg_stat" not in each[0]] == []
    # What is deeper than the bound of counting says so, and nobody counted further.
    tab.go("queues")
    expect(tab.row("backlog")).to_contain_text("10,000+")
