"""Statements of schedules: what is due is locked once, is found by its index at any number, and no older plan stays."""

from __future__ import annotations

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
async def test_the_plans_hold_with_a_hundred_thousand_schedules(dsn: str) -> None:
    async with connected(dsn, HOT_SETTINGS) as connection:
        await connection.execute("analyze schedule; analyze schedule_run; analyze live_job")
        prepared = {
            name: await connection.prepare(statement(name))
            for name in ("due_schedules", "freed_schedules", "soonest_schedule")
        }
        await connection.fetch(statement("due_schedules"), 200)
        await connection.execute(_FILL.replace("$1::int4", str(COUNT)).replace("$2", "500"))
        for name, arguments in (
            ("due_schedules", (200,)),
            ("freed_schedules", (200,)),
            ("soonest_schedule", ()),
        ):
            started = await connection.fetchval("select clock_timestamp()")
            rows = await prepared[name].fetch(*arguments)
            took = (await connection.fetchval("select clock_timestamp()") - started).total_seconds()
            assert rows
            assert took < 0.1, f"{name} took {took:g} s"
        plan = await connection.fetch(
            f"explain (format text) {statement('due_schedules').replace('$1', '200')}"
        )
        text = "\n".join(row[0] for row in plan)
        assert "schedule_due" in text
        assert "Seq Scan on schedule" not in text
