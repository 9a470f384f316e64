from __future__ import annotations

import json
from datetime import timedelta

import asyncpg
import pytest

from jobqueue_server.store.upkeep.retention import RetentionStore

from .past import RETENTION, WIDTH, ago, connected, id_at, lane, opened
from .stored import right

COLUMNS = {
    "id": "uuid", "kind": "text", "payload": "json", "status": "text", "attempts": "integer", "max_attempts": "integer",
    "last_error": "text", "run_at": "timestamp with time zone", "locked_at": "timestamp with time zone",
    "locked_by": "text", "cancel_requested": "boolean", "idempotency_key": "text",
    "created_at": "timestamp with time zone", "updated_at": "timestamp with time zone", "hold": "text",
    "key": "text",
}  # fmt: skip


async def _job(connection, *, payload=b'{"n": 12345678901234567890}', key=None, content_type=None, **live):
    id = id_at(ago())
    lane_id = await lane(connection)
    await connection.execute(
        "insert into job (id, run_at, lane_id, priority, max_attempts, idempotency_key, content_type, payload) "
        "values ($1, $2, $3, 0, 3, $4, $5, $6)",
        id, ago(hours=1), lane_id, key, content_type, payload,
    )  # fmt: skip
    if live:
        names = ", ".join(live)
        places = ", ".join(f"${n}" for n in range(3, 3 + len(live)))
        await connection.execute(
            "insert into live_job (id, run_at, lane_id, priority, max_attempts, "
            f"{names}) values ($1, now(), $2, 0, 3, {places})",
            id, lane_id, *live.values(),
        )  # fmt: skip
    return id


async def _finish(connection, id, status, reason=None):
    await connection.execute(
        "insert into finished_job (id, started_at, attempts, status, reason, failures, losses) "
        "values ($1, now(), 2, $2, $3, 1, 0)",
        id, status, reason,
    )  # fmt: skip


async def _row(connection, id) -> asyncpg.Record:
    found = await connection.fetch("select * from jobs where id = $1", id)
    assert len(found) == 1
    return found[0]


async def test_its_columns_are_the_fourteen_then_hold_and_key_each_with_a_comment(dsn):
    async with connected(dsn) as connection:
        columns = await connection.fetch(
            "select attname, format_type(atttypid, atttypmod) as type, col_description(attrelid, attnum) as says "
            "from pg_attribute where attrelid = 'jobs'::regclass and attnum > 0 order by attnum"
        )
        assert {row["attname"]: row["type"] for row in columns} == COLUMNS
        assert [row["attname"] for row in columns] == list(COLUMNS)
        assert all(row["says"] for row in columns)
        assert await connection.fetchval("select obj_description('jobs'::regclass)")


@pytest.mark.parametrize(
    ("live", "status"),
    [
        ({"state": 1}, "queued"),
        ({"state": 3, "hold": 4}, "queued"),
        ({"state": 1, "attempts": 1, "failures": 1}, "retrying"),
        ({"state": 4, "attempts": 1, "losses": 1}, "retrying"),
        ({"state": 2, "attempts": 1, "session_id": 1}, "running"),
        ({"state": 2, "attempts": 2, "failures": 1, "session_id": 1}, "running"),
    ],
)
async def test_a_job_that_has_not_ended_has_its_status(dsn, live, status):
    async with connected(dsn) as connection:
        row = await _row(connection, await _job(connection, **live))
        assert row["status"] == status
        assert row["attempts"] == live.get("attempts", 0)
        assert row["max_attempts"] == 3
        assert row["cancel_requested"] is False


@pytest.mark.parametrize(("number", "status"), [(3, "succeeded"), (5, "failed_permanent"), (6, "cancelled")])
async def test_a_job_that_has_ended_has_its_status_and_its_last_error_stays(dsn, number, status):
    async with connected(dsn) as connection:
        id = await _job(connection)
        await _finish(connection, id, number)
        await connection.executemany(
            "insert into attempt (job_id, attempt, started_at, outcome, message) values ($1, $2, now(), $3, $4)",
            [(id, 1, 1, "first"), (id, 2, 8, "second"), (id, 3, 4, None), (id, 4, 7, None)],
        )
        row = await _row(connection, id)
        assert (row["status"], row["last_error"], row["attempts"]) == (status, "second", 2)
        assert row["updated_at"] == await connection.fetchval(
            "select finished_at from finished_job where id = $1", id
        )
        assert row["locked_at"] is None
        assert row["locked_by"] is None


@pytest.mark.parametrize(
    ("reason", "asked"),
    [("CANCELLED_BY_CALLER", True), ("CANCEL_GRACE_ENDED", True), ("CANCELLED_BY_WORKER", False)],
)
async def test_a_cancelled_job_says_whether_that_was_asked_for(dsn, reason, asked):
    async with connected(dsn) as connection:
        id = await _job(connection)
        await _finish(connection, id, 6, reason)
        assert (await _row(connection, id))["cancel_requested"] is asked


async def test_a_running_job_says_since_when_and_by_whom_and_whether_it_was_asked_to_stop(dsn):
    async with connected(dsn) as connection:
        session_id = await connection.fetchval(
            "insert into worker_session (server_id, name, ttl, token_hash) "
            "values (1, 'w1', '30 s', sha256('')) returning id"
        )
        began, asked = ago(minutes=2), ago(minutes=1)
        id = await _job(
            connection,
            key="k-1",
            state=2,
            attempts=1,
            session_id=session_id,
            changed_at=began,
            cancel_requested_at=asked,
        )
        row = await _row(connection, id)
        assert (row["locked_at"], row["locked_by"], row["cancel_requested"]) == (began, "w1", True)
        assert row["updated_at"] == asked
        assert (row["kind"], row["idempotency_key"]) == ("send_email", "k-1")
        assert row["payload"] == '{"n": 12345678901234567890}'
        assert abs(row["created_at"] - ago()) < timedelta(minutes=1)
        await connection.execute(
            "update live_job set state = 1, session_id = null, cancel_requested_at = null where id = $1", id
        )
        row = await _row(connection, id)
        assert (row["locked_at"], row["locked_by"], row["updated_at"]) == (None, None, began)


async def test_a_payload_that_is_no_json_is_null(dsn):
    async with connected(dsn) as connection:
        id = await _job(connection, payload=b"\xff\x00", content_type="application/octet-stream", state=1)
        assert (await _row(connection, id))["payload"] is None


def _nodes(plan):
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


async def test_one_job_is_found_by_indexes_alone_in_the_one_partition_that_can_hold_it(dsn):
    async with opened(dsn) as database, connected(dsn) as connection:
        await RetentionStore(database, retention=RETENTION, expected=right).ensure_partitions(
            WIDTH, behind=30, ahead=2
        )
        lane_id = await lane(connection)
        await connection.execute(
            "insert into job (id, run_at, lane_id, priority, max_attempts, payload) "
            "select (left(uuid_at(now() - n * interval '1 minute')::text, 24) || lpad(n::text, 12, '0'))::uuid, "
            "now(), $1, 0, 3, '{}' from generate_series(1, 5000) n",
            lane_id,
        )
        await connection.execute(
            "insert into live_job (id, run_at, lane_id, priority, max_attempts, state) "
            "select id, run_at, lane_id, 0, 3, 1 from job"
        )
        # A table that nearly nothing is in is read whole, whatever its indexes.
        await connection.execute(
            "insert into finished_job (id, attempts, status, failures, losses) select id, 1, 3, 0, 0 from job"
        )
        await connection.execute(
            "insert into attempt (job_id, attempt, started_at, outcome) "
            "select id, n, now(), 1 from job, generate_series(1, 3) n"
        )
        await connection.execute("analyze")
        id = await connection.fetchval("select id from job order by id offset 2500 limit 1")
        for mode in ("force_custom_plan", "force_generic_plan"):
            await connection.execute(f"set plan_cache_mode = {mode}")
            await connection.execute("prepare one (uuid) as select * from jobs where id = $1")
            text = await connection.fetchval(f"explain (format json, analyze) execute one ('{id}')")
            await connection.execute("deallocate one")
            scans = [node for node in _nodes(json.loads(text)[0]["Plan"]) if "Relation Name" in node]
            run = [node for node in scans if node["Actual Loops"] > 0]
            partitioned = ("job_2", "finished_job_2", "attempt_2")
            seen = {node["Relation Name"] for node in run if node["Relation Name"].startswith(partitioned)}
            assert len(seen) <= 3
            hot = {*seen, "live_job"}
            # kind and lane are small catalogues of names, read whole when that is cheaper.
            assert {node["Node Type"] for node in run if node["Relation Name"] in hot} <= {
                "Index Scan", "Index Only Scan", "Bitmap Heap Scan",
            }  # fmt: skip
            assert "Seq Scan" not in {node["Node Type"] for node in scans if node["Relation Name"] in hot}
