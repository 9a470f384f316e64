"""Statements of schedules: what is due is locked once, is found by its index at any number, and no older plan stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from jobqueue_server.store.database import HOT_SETTINGS
from jobqueue_server.store.statements import statement

from .test_plans import connected

COUNT = 100_000
_FILL = """
insert into schedule (
    namespace_id, name, queue, kind, spec, job, payload, policy, time_zones, next_at, paused_at, buffered_at
)
select 1, 's' || i, 'default', 'work', '{"every_us": 60000000}', '{}', '1',
    '{"overlap": 1, "catch_up_window_us": 0, "catch_up": 1, "pause_after_failures": 0, "keep_runs": 100}', '2026a',
    now() + (i - $2) * interval '1 millisecond', case when i % 10 = 0 then now() end,
    case when i % 1000 = 1 then now() end
from generate_series(1, $1::int4) i
"""


async def test_what_one_server_fires_another_passes_over(dsn: str) -> None:
    here, there = [await asyncpg.connect(dsn) for _ in range(2)]
    try:
        await here.execute(_FILL.replace("$1::int4", "20").replace("$2", "20"))
        async with here.transaction(), there.transaction():
            mine = {row["id"] for row in await here.fetch(statement("due_schedules"), 5)}
            theirs = {row["id"] for row in await there.fetch(statement("due_schedules"), 50)}
            assert len(mine) == 5
            # Two of the twenty are paused.
            assert len(theirs) == 13
            assert not mine & theirs
    finally:
        await here.close()
        await there.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "index", "finds"),
    [
        ("due_schedules", "schedule_due", 200),
        ("freed_schedules", "schedule_buffered", 100),
        ("soonest_schedule", "schedule_due", 1),
    ],
)
async def test_what_is_due_is_read_by_its_index_at_a_hundred_thousand_schedules(
    dsn: str, name: str, index: str, finds: int
) -> None:
    """The plan is of when there was no schedule yet."""
    text = statement(name)
    types, arguments = ("(int4)", "(200)") if "$1" in text else ("", "")
    async with connected(dsn, HOT_SETTINGS) as connection:
        await connection.execute("alter table schedule set (autovacuum_enabled = off)")
        await connection.execute("analyze schedule; analyze live_job")
        await connection.execute(f"prepare made{types} as {text}")
        await connection.fetch(f"execute made{arguments}")
        await connection.execute(_FILL.replace("$1::int4", str(COUNT)).replace("$2", "500"))
        assert len(await connection.fetch(f"execute made{arguments}")) == finds
        plan = await connection.fetchval(
            f"explain (analyze, buffers, timing off, format json) execute made{arguments}"
        )
    (found,) = json.loads(plan)
    scans = [node for node in nodes(found["Plan"]) if node.get("Relation Name") == "schedule"]
    assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}
    assert index in {node["Index Name"] for node in scans} <= {"schedule_due", "schedule_buffered"}
    # Of each row a page of the table at most, and a few of the index; a look through all of them is 2,000 pages.
    read = found["Plan"]["Shared Hit Blocks"] + found["Plan"]["Shared Read Blocks"]
    assert read < 10 * finds + 100, f"it read {read} pages"


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A node of a plan and all below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)
