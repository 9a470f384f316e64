"""The plans of what counts the jobs that run: made while all is empty, they hold beside 100,000 other ones that run."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueue_server.fields import COLUMNS
from jobqueue_server.store.database import HOT_SETTINGS

from .test_plans import Prepared, connected
from .test_semaphore_plans import new_ids

pytestmark = pytest.mark.slow

SLOTS = 100
COUNTED = 200

_WORLD = """
alter table live_job set (autovacuum_enabled = off);
insert into queue (namespace_id, name, max_running) values (1, 'few', 1000), (1, 'other', null);
insert into kind (namespace_id, name, max_running) values (1, 'kind', 1000);
insert into lane (namespace_id, queue_id, kind_id, closed)
select 1, id, (select max(id) from kind), max_running is not null from queue;
insert into server (name) values ('server');
insert into worker_session (server_id, name, ttl, token_hash)
values (1, 'worker', '30 s', decode(repeat('00', 32), 'hex'));
analyze;
"""
# In the queue with a limit 200 run and 50,000 wait; of the other one 100,000 run.
_FILL = f"""
insert into live_job (id, run_at, lane_id, priority, max_attempts, state, attempts, session_id, counted, changed_at)
select gen_random_uuid(), now() - interval '1 hour', n.id, 0, 3, case when i <= {COUNTED} then 2 else 1 end,
    case when i <= {COUNTED} then 1 else 0 end, case when i <= {COUNTED} then 1 end, i <= {COUNTED}, clock_timestamp()
from lane n, generate_series(1, 50000) i where n.closed;
insert into live_job (id, run_at, lane_id, priority, max_attempts, state, attempts, session_id)
select gen_random_uuid(), now() - interval '1 hour', n.id, 0, 3, 2, 1, 1 from lane n, generate_series(1, 100000) i
where not n.closed;
"""


async def arguments(connection: Any, name: str) -> list[Any]:
    lane, queue, kind = await connection.fetchrow("select id, queue_id, kind_id from lane where closed")
    floor = await connection.fetchval("select now() - interval '2 hours'")
    if name == "claim_counted":
        return [[lane], [0], [SLOTS], [floor], queue, [1] * SLOTS, [1], [1], kind]
    return [[lane], queue, [1], [1], kind]


async def test_claims_that_count_read_what_runs_in_their_queue_and_what_they_take_alone(
    cluster: Any, template: str
) -> None:
    name = cluster.create(template)
    try:
        cluster.execute(_WORLD, name)
        async with connected(cluster.dsn_of(name), HOT_SETTINGS) as connection:
            statements = ("claim_counted", "claim_isolated_counted")
            made = {
                each: Prepared(connection, each, await arguments(connection, each)) for each in statements
            }
            for prepared in made.values():
                await prepared.prepare()
                await prepared.run(6)
            cluster.execute(_FILL, name)
            for each, taken in (("claim_counted", SLOTS), ("claim_isolated_counted", 0)):
                plan = await made[each].explain()
                (counts,) = (node for node in plan.nodes() if node.get("Subplan Name") == "CTE allowed")
                assert counts["Shared Hit Blocks"] + counts["Shared Read Blocks"] <= 4 * COUNTED, each
                for node in plan.on("live_job"):
                    assert node["Node Type"] in ("Index Scan", "Tid Scan"), each
                    looked_at = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
                    assert looked_at * node["Actual Loops"] <= taken, each
    finally:
        cluster.drop(name)


# One runs, and those before it have ended since a snapshot began that is held. Each has an entry in the index of what
# a session holds as well, which is a fifth as large.
_ENDED = """
insert into live_job (id, run_at, lane_id, priority, max_attempts, state, attempts, session_id, counted, changed_at)
select gen_random_uuid(), now(), n.id, 0, 3, 2, 1, 1, true, clock_timestamp()
from lane n, generate_series(1, 100000) i where n.closed;
delete from live_job where id not in (select id from live_job order by changed_at desc limit 1);
analyze live_job;
"""


async def test_under_a_snapshot_a_count_leaves_out_what_ended_before_the_oldest_lease_that_runs(
    cluster: Any, template: str
) -> None:
    name = cluster.create(template)
    try:
        cluster.execute(_WORLD, name)
        async with (
            connected(cluster.dsn_of(name), HOT_SETTINGS) as connection,
            connected(cluster.dsn_of(name), HOT_SETTINGS) as other,
        ):
            await other.execute("begin isolation level repeatable read")
            await other.fetch("select from live_job")
            cluster.execute("update kind set max_running = null", name)
            *given, _ = await arguments(connection, "claim_counted")
            prepared = Prepared(connection, "claim_counted", [*given, None])
            await prepared.prepare()
            cluster.execute(_ENDED, name)
            # As after some calls: planned for any arguments, by what is known of the few that run and of the indexes.
            await connection.execute("set plan_cache_mode = force_generic_plan")
            reads = []
            for _ in range(3):
                plan = await prepared.explain()
                (counts,) = (node for node in plan.nodes() if node.get("Subplan Name") == "CTE allowed")
                reads.append(counts["Shared Hit Blocks"] + counts["Shared Read Blocks"])
                # As what is explained is taken back.
                await connection.fetch("select starts_of_queue($1)", given[4])
            assert reads[0] > 1000, "the first count passes over all"
            assert max(reads[1:]) < 50
            await other.execute("rollback")
    finally:
        cluster.drop(name)


_KINDS = """
insert into kind (namespace_id, name) select 1, 'kind ' || i from generate_series(1, 3000) i;
insert into lane (namespace_id, queue_id, kind_id, closed)
select 1, q.id, k.id, q.max_running is not null
from queue q join kind k on k.id % 100 = q.id % 2 where k.name <> 'kind';
"""


async def test_an_insert_that_asks_its_queue_reads_what_runs_there_alone(cluster: Any, template: str) -> None:
    name = cluster.create(template)
    try:
        cluster.execute(_WORLD, name)
        async with connected(cluster.dsn_of(name), HOT_SETTINGS) as connection:
            cluster.execute("update kind set max_running = null", name)
            lane, queue = await connection.fetchrow("select id, queue_id from lane where closed")
            none: list[None] = []
            new = new_ids(SLOTS)
            numbers = list(range(1, SLOTS + 1))
            empty = [[0] * SLOTS if column.unset is not None else none for column in COLUMNS]
            given = [
                new, ["{}"] * SLOTS, numbers, [lane] * SLOTS, [1] * SLOTS, [1] * SLOTS,
                none, none, none, none, none, None, none, None, *empty, [queue],
            ]  # fmt: skip
            prepared = Prepared(connection, "enqueue_counted", given)
            await prepared.prepare()
            await prepared.run(6)
            cluster.execute(_FILL, name)
            cluster.execute(_KINDS, name)
            plan = await prepared.explain()
            (counts,) = (node for node in plan.nodes() if node.get("Subplan Name") == "CTE allowed")
            assert counts["Shared Hit Blocks"] + counts["Shared Read Blocks"] <= 5 * COUNTED
            for node in [*plan.on("kind"), *plan.on("lane")]:
                looked_at = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
                assert looked_at * node["Actual Loops"] <= 2, node
    finally:
        cluster.drop(name)
