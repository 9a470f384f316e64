"""Statements of schedules: what is due is locked once, is found by its index at any number, and no older plan stays.

And what is written of most fires in one statement is the same that others write in two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from jobqueue_server.model import NewJob
from jobqueue_server.store.database import HOT_SETTINGS
from jobqueue_server.store.schedule.fires import Advanced, FireStore, TickDecidedBefore
from jobqueue_server.store.schedule.values import Outcome, Policy, Run, Schedule, Spec
from jobqueue_server.store.statements import statement

from .stored import Stored
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
            mine = {row["id"] for row in await here.fetch(statement("due_schedules"), 5, [])}
            theirs = {row["id"] for row in await there.fetch(statement("due_schedules"), 50, [])}
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
    types, arguments = ("(int4, int4[])", "(200, '{}')") if "$2" in text else ("(int4[])", "('{}')")
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
    assert index in {node["Index Name"] for node in scans} <= {
        "schedule_due", "schedule_buffered", "schedule_by_principal", "schedule_pkey",
    }  # fmt: skip
    # Of each row a page of the table at most, and a few of the index; a look through all of them is 2,000 pages.
    read = found["Plan"]["Shared Hit Blocks"] + found["Plan"]["Shared Read Blocks"]
    assert read < 10 * finds + 100, f"it read {read} pages"


TICK = datetime(2026, 11, 28, 12, tzinfo=UTC)
JOBS = [UUID(int=number) for number in range(1, 4)]


def one_that_fired(number: int, *, waited: bool = False, outcome: Outcome = Outcome.FIRED) -> Advanced:
    """It had two runs and keeps two, has had failures, and another job of it is open."""
    schedule = Schedule(
        number, 1, f"s{number}", Spec(every=timedelta(minutes=1)), NewJob("work", b"1"), Policy(keep_runs=2),
        next_at=TICK + timedelta(minutes=1), last_tick=TICK, open=(JOBS[0], JOBS[1]), failures_in_a_row=3, runs=2,
    )  # fmt: skip
    return Advanced(schedule, [Run(TICK, outcome, job_id=JOBS[1])], 1, waited=waited)


async def written(s: Stored, *advanced: Advanced, ago: int = 1) -> None:
    """Schedules of these numbers with two runs each, the last `ago` minutes ago, and what became of their ticks."""
    await s.sql.execute("delete from schedule; delete from schedule_run")
    for each in advanced:
        await s.sql.execute(
            """
            insert into schedule (
                id, namespace_id, name, queue, kind, spec, job, payload, policy, time_zones, next_at,
                skipped_in_a_row, runs, fired, created_at, updated_at
            )
            values ($1, 1, 's' || $1::int4, 'default', 'work', '{}', '{}', '1', '{}', '2000a', $2, 4, 2, 7, $2, $2)
            """,
            each.schedule.id,
            TICK,
        )
        for number in (1, 2):
            await s.sql.execute(
                "insert into schedule_run (schedule_id, tick, nth, number, cause, outcome, job_id, decided_at) "
                "values ($1, $2, 0, $3, 1, 1, $4, $2)",
                each.schedule.id,
                TICK - timedelta(minutes=ago + 2 - number),
                number,
                JOBS[2],
            )
    store = FireStore(s.database)
    async with store.transaction() as session:
        await store.write(session, advanced, "2026z")


async def test_a_fire_that_is_written_in_one_statement_leaves_what_others_leave(s: Stored) -> None:
    plain, other = one_that_fired(1), one_that_fired(2, waited=True)
    assert plain.plain
    assert not other.plain
    await written(s, plain, other)
    left = [
        [
            dict(row)
            for table, key, own in (
                ("schedule", "id", ("id", "name")),
                ("schedule_run", "schedule_id", ("schedule_id",)),
            )
            for row in await s.sql.fetch(
                f"select to_jsonb(r) - $2::text[] as row from {table} r where {key} = $1 order by row",
                number,
                list(own),
            )
        ]
        for number in (1, 2)
    ]
    assert left[0] == left[1]
    # The schedule, and two of three runs.
    assert len(left[0]) == 3
    assert json.loads(left[0][0]["row"])["runs"] == 3
    assert json.loads(left[0][0]["row"])["skipped_in_a_row"] == 0


@pytest.mark.parametrize(
    "said",
    [
        {"waited": True},
        {"paused_for": "it fails"},
        {"enqueued": 0},
        {"runs": []},
        {"runs": [Run(TICK, Outcome.FIRED, nth=-1, job_id=JOBS[1])]},
        {"runs": [Run(TICK - timedelta(minutes=1), Outcome.FIRED, job_id=JOBS[1])]},
        {"runs": [Run(TICK, Outcome.FIRED, job_id=JOBS[1]), Run(TICK, Outcome.BUFFERED)]},
        {"buffered": TICK},
        {"skipped_in_a_row": 1},
    ],
    ids=lambda said: ",".join(said),
)
def test_where_there_is_more_to_say_of_a_fire_it_is_not_written_in_one_statement(
    said: dict[str, Any],
) -> None:
    plain = one_that_fired(1)
    schedule = plain.schedule.copied()
    for name in ("buffered", "skipped_in_a_row"):
        setattr(schedule, name, said.pop(name, getattr(schedule, name)))
    assert not Advanced(schedule, **{"runs": plain.runs, "enqueued": 1, **said}).plain


@pytest.mark.parametrize("waited", [False, True])
async def test_a_tick_that_has_fired_does_not_fire_again_whichever_way_it_is_written(
    s: Stored, waited: bool
) -> None:
    with pytest.raises(TickDecidedBefore):
        await written(s, one_that_fired(1, waited=waited), ago=0)
    assert await s.sql.fetchval("select count(*) from schedule_run") == 2
    assert await s.sql.fetchval("select runs from schedule") == 2


def test_a_copy_of_a_schedule_has_all_that_it_has() -> None:
    given = Schedule(*(f"field {number}" for number in range(len(fields(Schedule)))))  # type: ignore[arg-type]
    copy = given.copied()
    assert copy == given
    assert copy is not given


async def test_what_a_fire_writes_is_found_by_indexes_by_a_plan_that_was_made_before_there_was_any(
    dsn: str,
) -> None:
    arguments = (
        "array[7], array[now()], array[gen_random_uuid()], array[now()], array['{}'], array[0], array[5], 'z'"
    )
    async with connected(dsn, HOT_SETTINGS) as connection:
        await connection.execute("analyze schedule; analyze schedule_run")
        await connection.execute(
            "prepare made (int4[], timestamptz[], uuid[], timestamptz[], text[], int4[], int4[], text) as "
            + statement("fire_schedules")
        )
        await connection.fetch(f"execute made ({arguments})")
        (found,) = json.loads(await connection.fetchval(f"explain (format json) execute made ({arguments})"))
    scans = [
        node
        for node in nodes(found["Plan"])
        if node["Node Type"].endswith("Scan") and "Relation Name" in node
    ]
    assert {(node["Relation Name"], node.get("Index Cond", node.get("TID Cond"))) for node in scans} == {
        ("schedule", "(id = ANY ($1))"),
        ("schedule_run", "((schedule_id = f_1.id) AND (number <= (f_1.runs - f_1.keep_runs)))"),
        ("schedule_run", "(ctid = ANY ((InitPlan 3).col1))"),
    }


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A node of a plan and all below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)
