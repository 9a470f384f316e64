"""The plans of the statements of limits: made while all is empty, they hold with 100,000 keys and their jobs."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID, uuid4

import pytest

from jobqueue_server.fields import COLUMNS
from jobqueue_server.store.database import HOT_SETTINGS

from .test_plans import Plan, Prepared, connected

pytestmark = pytest.mark.slow

KEYS = 100_000
CALLED = 500

_WORLD = """
alter table live_job set (autovacuum_enabled = off);
alter table semaphore set (autovacuum_enabled = off);
insert into queue (namespace_id, name, key_max_running, key_max_waiting) values (1, 'limited', 1, 1000);
insert into kind (namespace_id, name) values (1, 'kind');
insert into lane (namespace_id, queue_id, kind_id) values (1, 1, (select max(id) from kind));
insert into server (name) values ('server');
insert into worker_session (server_id, name, ttl, token_hash)
values (1, 'worker', '30 s', decode(repeat('00', 32), 'hex'));
analyze;
"""
# Of each key one runs and two wait; of every tenth one more waits for its time.
_FILL = f"""
insert into semaphore (id, queue_id, taken, waiting, granted, admit_at)
select i::int8 * 1000003, 1, 1, 2, 0, case when i % 100 = 0 then now() end from generate_series(1, {KEYS}) i;
insert into live_job (id, run_at, lane_id, priority, max_attempts, state, hold, semaphore_id, attempts, session_id)
select (left(uuid_at(now())::text, 15) || substr(gen_random_uuid()::text, 16))::uuid,
    now() - interval '1 minute', (select max(id) from lane), 0, 3,
    case n when 1 then 2 else 3 end, case n when 1 then null when 4 then 2 else 1 end, i::int8 * 1000003,
    case n when 1 then 1 else 0 end, case n when 1 then 1 end
from generate_series(1, {KEYS}) i, generate_series(1, 4) n where n < 4 or i % 10 = 0;
"""
# The queue keeps a strict order, and of every thousandth key what waits is to be cancelled.
_ORDERED = f"""
update queue set key_order = 1, key_on_failure = 3;
update semaphore set taken = 0, blocked_by = gen_random_uuid(), cancels_to = now() where id in (
    select i::int8 * 1000003 from generate_series(1000, {KEYS}, 1000) i);
"""


async def _running(connection: Any) -> list[UUID]:
    rows = await connection.fetch("select id from live_job where state = 2 limit $1", CALLED)
    return [row["id"] for row in rows] or new_ids(CALLED)


def new_ids(count: int) -> list[UUID]:
    """Ids of now, for which there is a partition."""
    now = (time.time_ns() // 1_000_000) << 80
    return [UUID(int=now | (uuid4().int & ((1 << 80) - 1))) for _ in range(count)]


def _keys() -> list[int]:
    return [number * 100 * 1000003 for number in range(1, CALLED + 1)]


async def arguments(connection: Any, name: str) -> list[Any]:
    ids = await _running(connection)
    match name:
        case "admit":
            lane = await connection.fetchval("select max(id) from lane")
            slots = [lane], [0], [CALLED], [1] * CALLED, [1], [1]
            return [_keys(), 1000, *slots, 1]
        case "release_due":
            return [CALLED]
        case "calling":
            return [CALLED]
        case "call_keys":
            return [-(2**63), CALLED]
        case "audit_keys":
            return [-(2**63), CALLED, 1000]
        case "end_succeeded":
            return [ids, [1] * len(ids), [1] * len(ids), []]
        case "end_and_admit":
            lane = await connection.fetchval("select max(id) from lane")
            slots = [lane], [0], [CALLED], [1] * CALLED, [1], [1]
            return [ids, [1] * len(ids), [1] * len(ids), [], 1000, *slots]
        case "enqueue_limited":
            lane = await connection.fetchval("select max(id) from lane")
            new = new_ids(CALLED)
            numbers = list(range(1, CALLED + 1))
            none: list[None] = []
            empty = [[0] * CALLED if column.unset is not None else none for column in COLUMNS]
            return [
                new, ["{}"] * CALLED, numbers, [lane] * CALLED, [0] * CALLED, [0] * CALLED,
                none, none, none, none, none, None, none, None, *empty, _keys(),
            ]  # fmt: skip
        case "pause_keys":
            return [ids, [1] * len(ids), [1] * len(ids), [60_000] * len(ids)]
        case "hold_line":
            return [_keys(), 1000]
        case "end_pauses":
            paused = "update semaphore set paused_until = now() + interval '1 hour' where id = any($1)"
            await connection.execute(paused, _keys())
            return [_keys()]
        case "get_queue_key":
            return [1, "limited", "key 1", 20]
        case "cancel_rest":
            return [CALLED]
        case "unblock_deleted":
            return [_keys(), ids]
        case "unblock_retried":
            rows = await connection.fetch("select id from live_job where hold = 2 limit $1", CALLED)
            return [[row["id"] for row in rows] or new_ids(CALLED)]
    raise AssertionError(name)


#: Statement: how many rows of `semaphore` and of `live_job` one of its nodes may look at.
LOOKS_AT = {
    "admit": (CALLED, 2 * CALLED),
    "release_due": (CALLED, CALLED),
    "calling": (KEYS // 100, 0),
    "call_keys": (CALLED, 0),
    "audit_keys": (CALLED, 3 * CALLED),
    "end_succeeded": (CALLED, CALLED),
    "end_and_admit": (CALLED, 2 * CALLED),
    "enqueue_limited": (CALLED, 0),
    "pause_keys": (0, CALLED),
    "hold_line": (CALLED, CALLED),
    "end_pauses": (CALLED, CALLED),
    "get_queue_key": (1, 1000),
    "cancel_rest": (CALLED, CALLED),
    "unblock_deleted": (CALLED, 0),
    "unblock_retried": (CALLED, CALLED),
}


def looked_at(plan: Plan, relation: str) -> int:
    """The most rows that one of its nodes read of a table, also those that its filter left out."""
    return max(
        (
            (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            for node in plan.on(relation)
        ),
        default=0,
    )


@pytest.mark.parametrize("more", ["", _ORDERED], ids=["limits", "strict order"])
async def test_statements_of_limits_that_were_prepared_on_empty_tables_hold_with_100_000_keys(
    cluster: Any, template: str, more: str
) -> None:
    name = cluster.create(template)
    try:
        cluster.execute(_WORLD, name)
        async with connected(cluster.dsn_of(name), HOT_SETTINGS) as connection:
            # What a statement is given is no part of its plan.
            small = [
                Prepared(connection, each, await arguments(connection, each))
                for each in LOOKS_AT
                if " " not in each
            ]
            for prepared in small:
                await prepared.prepare()
                await prepared.run(6)
            cluster.execute(_FILL + more, name)
            for each, (keys, jobs) in LOOKS_AT.items():
                plan = await Prepared(
                    connection, each.split()[0], await arguments(connection, each)
                ).explain()
                scans = plan.on("semaphore", "live_job")
                assert not [
                    node for node in scans if node["Node Type"] in ("Seq Scan", "Bitmap Heap Scan")
                ], each
                assert looked_at(plan, "semaphore") <= keys, each
                assert looked_at(plan, "live_job") <= jobs, each
                # A key of which nothing is said costs those that let jobs in no look-up.
                read = [node for node in plan.on("queue_key") if node["Actual Loops"]]
                assert each == "get_queue_key" or not read, each
    finally:
        cluster.drop(name)


@pytest.mark.parametrize(
    "name",
    ["admit", "end_and_admit", "end_succeeded", "enqueue_limited", "unblock_deleted", "hold_line"],
)
async def test_semaphores_are_locked_by_their_primary_key_in_its_order(
    cluster: Any, template: str, name: str
) -> None:
    database = cluster.create(template)
    try:
        cluster.execute(_WORLD, database)
        async with connected(cluster.dsn_of(database), HOT_SETTINGS) as connection:
            prepared = Prepared(connection, name.split()[0], await arguments(connection, name))
            await prepared.prepare()
            plan = await prepared.explain()
            scans = plan.on("semaphore")
            assert name == "enqueue_limited" or scans
            for node in scans:
                assert (node["Node Type"], node.get("Index Name")) == ("Index Scan", "semaphore_pkey")
    finally:
        cluster.drop(database)


@pytest.mark.parametrize("order", ["name", "waiting"])
async def test_a_list_of_100_000_keys_reads_each_semaphore_once_and_names_no_more_than_it_keeps(
    cluster: Any, template: str, order: str
) -> None:
    database = cluster.create(template)
    try:
        cluster.execute(_WORLD, database)
        cluster.execute(_FILL, database)
        async with connected(cluster.dsn_of(database), {}) as connection:
            kept, after = (100, "") if order == "name" else (51, None)
            which = [1, "limited", 3, 2 * KEYS, kept, None, None, after, 51]
            listing = Prepared(connection, "list_queue_keys", which)
            await listing.prepare()
            plan = await listing.explain()
            assert looked_at(plan, "semaphore") <= KEYS
            assert looked_at(plan, "live_job") <= 2 * kept
            bounded = Prepared(connection, "list_queue_keys", [*which[:3], 1000, *which[4:]])
            assert looked_at(await bounded.explain(), "semaphore") <= 1001
    finally:
        cluster.drop(database)
