"""The plans of the statements that move jobs, on tables of every size and with statistics of every age.

A plan is held by what it reads: the index it goes by, and how many rows and pages it looks at. A plan that is right by
luck, a wholesale scan of an index among them, reads too much.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from jobqueue_server.lifecycle import Event
from jobqueue_server.store.database import HOT_SETTINGS
from jobqueue_server.store.statements import statement

from .stored import right

pytestmark = pytest.mark.slow

BATCH = 300
SESSIONS = 20
LEASED = 600
DUE = 40
CANCELLING = 20
LANES = 3
PRIORITIES = (0, 1, 2)
SIZES = (0, 50_000, 1_000_000)

# Jobs in equal parts over the lanes and priorities; the first 600 are leased, 40 of them past their deadline, 20 of
# these to be cancelled. The ids are of today and increase, as those of the mint do, so that they fall into one
# partition.
_FILL = """
with fresh as (
    select i, id, now() - interval '1 hour' + i * interval '1 millisecond' as run_at
    from (
        select i, (left(uuid_at(now())::text, 15) || substr(to_hex(4096 + i % 4096), 2) || '-8000-'
                   || lpad(to_hex(i), 12, '0'))::uuid as id
        from generate_series({first}, {last}) i
    ) made
),
body as (
    insert into job (id, run_at, lane_id, priority, max_attempts, payload)
    select id, run_at, 1 + i % 3, i / 3 % 3, 3, '{{}}' from fresh where i <= {bodies}
)
insert into live_job (
    id, run_at, lane_id, priority, max_attempts, state, attempts, session_id, changed_at, cancel_requested_at, deadline)
select id, run_at, 1 + i % 3, i / 3 % 3, 3, case when i <= 600 then 2 else 1 end, case when i <= 600 then 1 else 0 end,
    case when i <= 600 then 1 + i % 20 end, now() - interval '1 minute', case when i <= 20 then now() end,
    case when i <= 40 then now() - interval '1 second' when i <= 600 then now() + interval '1 hour' end
from fresh
"""
_WORLD = """
alter table live_job set (autovacuum_enabled = off);
insert into queue (namespace_id, name) values (1, 'default');
insert into kind (namespace_id, name) select 1, 'kind-' || i from generate_series(1, 3) i;
insert into lane (namespace_id, queue_id, kind_id) select 1, 1, i from generate_series(1, 3) i;
insert into server (name) values ('server');
insert into worker_session (server_id, name, ttl, token_hash)
select 1, 'worker-' || i, '30 s', decode(repeat('00', 32), 'hex') from generate_series(1, 20) i;
analyze;
"""
# Bodies are needed to see that a failure finds its policy by the key; 50,000 of them show it as a million would.
BODIES = 50_000


@dataclass(frozen=True)
class Table:
    """A database with so many jobs."""

    dsn: str
    jobs: int
    statistics: str


def fill(first: int, last: int) -> str:
    """The statement that makes the jobs numbered `first` to `last`."""
    return _FILL.format(first=first, last=last, bodies=BODIES)


@pytest.fixture(scope="module")
def databases(cluster: Any, template: str) -> Iterator[dict[tuple[int, str], str]]:
    """By size and statistics: stale ones say that the tables are empty, fresh ones are an ANALYZE away."""
    made: dict[tuple[int, str], str] = {}
    for jobs in SIZES:
        stale = cluster.create(template)
        cluster.execute(_WORLD, stale)
        if jobs:
            cluster.execute(fill(1, jobs), stale)
        fresh = cluster.create(stale)
        cluster.execute("analyze", fresh)
        made |= {(jobs, "stale"): stale, (jobs, "fresh"): fresh}
    yield made
    for name in made.values():
        cluster.drop(name)


@pytest.fixture(
    params=[(jobs, age) for jobs in SIZES for age in ("stale", "fresh")], ids=lambda p: f"{p[0]} {p[1]}"
)
def table(request: pytest.FixtureRequest, cluster: Any, databases: dict[tuple[int, str], str]) -> Table:
    jobs, statistics = request.param
    return Table(cluster.dsn_of(databases[jobs, statistics]), jobs, statistics)


@asynccontextmanager
async def connected(dsn: str, settings: dict[str, str]):
    connection = await asyncpg.connect(
        dsn, server_settings={"jit": "off", "timezone": "UTC", "statement_timeout": "20000", **settings}
    )
    try:
        yield connection
    finally:
        await connection.close()


# ---- statements with arguments, as the store gives them


async def leases(connection: Any, count: int = BATCH) -> tuple[list[UUID], list[int], list[int]]:
    rows = await connection.fetch(
        "select id, attempts, session_id from live_job where state = 2 order by id limit $1", count
    )
    if not rows:
        # An empty list proves any predicate of a partial index, so nothing is learned from it.
        return sorted(uuid4() for _ in range(count)), [1] * count, [1] * count
    return [row["id"] for row in rows], [row["attempts"] for row in rows], [row["session_id"] for row in rows]


async def claim(connection: Any) -> list[Any]:
    targets = [(lane + 1, priority) for lane in range(LANES) for priority in PRIORITIES]
    floor = await connection.fetchval("select now() - interval '2 hours'")
    slots = [1 + index % SESSIONS for index in range(BATCH)]
    sessions = list(range(1, SESSIONS + 1))
    return [
        [lane for lane, _ in targets], [priority for _, priority in targets], [BATCH // 9 + 1] * 9, [floor] * 9,
        [0] * 9, slots, sessions, [1] * SESSIONS, [BATCH] * 9,
    ]  # fmt: skip


async def peek(connection: Any) -> list[Any]:
    return [*(await claim(connection))[:5], BATCH, True]


async def claim_isolated(connection: Any) -> list[Any]:
    return [list(range(1, LANES + 1)), list(range(1, SESSIONS + 1)), [1] * SESSIONS]


async def peek_isolated(connection: Any) -> list[Any]:
    return [list(range(1, LANES + 1))]


async def settle(connection: Any) -> list[Any]:
    ids, attempts, sessions = await leases(connection)
    return [ids, list(range(1, len(ids) + 1)), attempts, sessions]


async def end_succeeded(connection: Any) -> list[Any]:
    return [*await leases(connection), [b"{}"] * BATCH]


async def end_attempt(connection: Any) -> list[Any]:
    ids, attempts, sessions = await leases(connection)
    count = len(ids)
    events = [(Event.FAIL, Event.SNOOZE, Event.LOST)[index % 3] for index in range(count)]
    nothing = [None] * count
    return [
        ids,
        attempts,
        sessions,
        events,
        [False] * count,
        nothing,
        nothing,
        nothing,
        nothing,
        1000,
        60000,
        3,
        right(),
    ]


async def held(connection: Any) -> list[Any]:
    return [[1, 2], right()]


async def stray(connection: Any) -> list[Any]:
    return [timedelta(hours=1), right()]


async def due(connection: Any) -> list[Any]:
    return [0, 1000, right()]


async def cancelling(connection: Any) -> list[Any]:
    return [1]


async def heads(connection: Any) -> list[Any]:
    _, _, _, floors, *_ = targets = await claim(connection)
    return [targets[0], targets[1], floors]


async def settled_before(connection: Any) -> list[Any]:
    ids, attempts, _ = await leases(connection)
    return [ids, attempts, [1] * len(ids)]


async def bodies(connection: Any) -> list[Any]:
    ids, _, _ = await leases(connection)
    return [ids, min(ids), max(ids)]


async def named_jobs(connection: Any) -> list[Any]:
    return [*await bodies(connection), 1]


#: A row is found by its place, which a statement reads and locks before.
WHERE_IT_LIES = "Tid Scan"
#: Statement: its arguments, the index of live_job that it goes by, and how many rows it may look at there.
GOES_BY = {
    "claim": (claim, {"live_job_ready", WHERE_IT_LIES}, 3 * BATCH),
    "peek": (peek, {"live_job_ready"}, 2 * BATCH),
    "claim_isolated": (claim_isolated, {"live_job_ready_isolated", WHERE_IT_LIES}, 0),
    "peek_isolated": (peek_isolated, {"live_job_ready_isolated"}, 0),
    "named_jobs": (named_jobs, set(), 0),
    "end_plain": (settle, {"live_job_pkey"}, BATCH),
    "end_succeeded": (end_succeeded, {"live_job_pkey"}, BATCH),
    # Read for the lock; then by key for the update or the delete, each of them over its own part.
    "end_attempt": (end_attempt, {"live_job_pkey"}, 3 * BATCH),
    "settled_before": (settled_before, {"live_job_pkey"}, BATCH),
    "held": (held, {"live_job_held"}, 2 * LEASED // SESSIONS),
    "stray": (stray, {"live_job_held"}, 0),
    "due": (due, {"live_job_due"}, DUE),
    "cancelling": (cancelling, {"live_job_cancelling"}, CANCELLING),
    "heads": (heads, {"live_job_ready"}, 9),
    "bodies": (bodies, set(), 0),
}
LOCKS_BY_ID = {"end_plain", "end_succeeded", "end_attempt"}


def literal(value: Any) -> str:
    """A value as the text of an EXECUTE."""
    if value is None:
        return "null"
    if isinstance(value, list):
        items = ",".join("null" if item is None else f'"{plain(item)}"' for item in value)
        return "'{" + items.replace("\\", "\\\\").replace("\\\\\\\\x", "\\\\x") + "}'"
    return f"'{plain(value)}'"


def plain(value: Any) -> str:
    if isinstance(value, bytes):
        return "\\\\x" + value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.total_seconds()} s"
    return str(int(value)) if isinstance(value, int) else str(value)


class Prepared:
    """A statement prepared on one connection, as the driver keeps it."""

    def __init__(self, connection: Any, name: str, arguments: Sequence[Any]) -> None:
        self._connection = connection
        self._name = name
        self._call = f"execute {name}" + (
            f" ({', '.join(literal(value) for value in arguments)})" if arguments else ""
        )

    async def prepare(self) -> None:
        await self._connection.execute(f"prepare {self._name} as {statement(self._name)}")

    async def run(self, times: int) -> None:
        """Runs it and lets nothing of that remain."""
        for _ in range(times):
            transaction = self._connection.transaction()
            await transaction.start()
            await self._connection.execute(self._call)
            await transaction.rollback()

    async def explain(self) -> Plan:
        transaction = self._connection.transaction()
        await transaction.start()
        try:
            text = await self._connection.fetchval(f"explain (analyze, buffers, format json) {self._call}")
        finally:
            await transaction.rollback()
        return Plan(json.loads(text)[0]["Plan"])


class Plan:
    """What an EXPLAIN (ANALYZE) said."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root

    def nodes(self) -> Iterator[dict[str, Any]]:
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            waiting += node.get("Plans", [])
            yield node

    def on(self, *relations: str) -> list[dict[str, Any]]:
        """The nodes that read a table, or a partition of it."""
        return [
            node
            for node in self.nodes()
            if "Scan" in node["Node Type"]
            and any(
                node.get("Relation Name", "") == relation
                or node.get("Relation Name", "").startswith(f"{relation}_2")
                for relation in relations
            )
        ]

    @property
    def pages(self) -> int:
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])

    def __str__(self) -> str:
        return "\n".join(self._lines(self.root, 0))

    def _lines(self, node: dict[str, Any], depth: int) -> Iterator[str]:
        named = (
            "Subplan Name",
            "Node Type",
            "Relation Name",
            "Index Name",
            "Index Cond",
            "Filter",
            "Join Type",
        )
        told = [str(node[name]) for name in named if name in node]
        yield "  " * depth + f"{', '.join(told)}: {looked_at(node):g} rows in {node['Actual Loops']} loops"
        for child in node.get("Plans", []):
            yield from self._lines(child, depth + 1)


def looked_at(node: dict[str, Any]) -> float:
    """How many rows a scan passed over, those that it threw away included."""
    thrown = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float((node["Actual Rows"] + thrown) * node["Actual Loops"])


def assert_holds(name: str, plan: Plan, where: str) -> None:
    """The plan goes by its index, in the order of ids where it locks, and looks at nothing that it need not."""
    _, indexes, most = GOES_BY[name]
    bitmaps = [node for node in plan.nodes() if "Bitmap" in node["Node Type"]]
    assert not bitmaps, f"{name} {where}: a bitmap scan locks in the order of the heap\n{plan}"
    scans = plan.on("live_job")
    for node in scans:
        assert node["Node Type"] in ("Index Scan", "Index Only Scan", WHERE_IT_LIES), (
            f"{name} {where}\n{plan}"
        )
        way = node.get("Index Name", WHERE_IT_LIES)
        assert way in indexes, f"{name} {where}: by {way}\n{plan}"
    assert sum(map(looked_at, scans)) <= most, f"{name} {where}: looks at too many rows\n{plan}"
    for node in plan.on("job", "finished_job", "attempt"):
        assert node["Node Type"] != "Seq Scan", f"{name} {where}\n{plan}"
        assert looked_at(node) <= 2 * BATCH, f"{name} {where}\n{plan}"
    if name in LOCKS_BY_ID:
        by_list = [node for node in scans if "= ANY" in node.get("Index Cond", "")]
        assert len(by_list) == 1, f"{name} {where}: not by the list of ids\n{plan}"
        assert by_list[0]["Actual Loops"] <= 1, f"{name} {where}: one by one, in no order\n{plan}"
        assert looked_at(by_list[0]) <= BATCH, f"{name} {where}\n{plan}"
    # A row costs a few pages of index and heap, whatever the size of the table: a wholesale scan costs thousands.
    assert plan.pages <= 40 * BATCH + 2000, f"{name} {where}: {plan.pages} pages\n{plan}"


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_the_hot_statements_hold_their_plans(table, mode):
    async with connected(table.dsn, HOT_SETTINGS | {"plan_cache_mode": mode}) as connection:
        for name, (arguments, _, _) in GOES_BY.items():
            prepared = Prepared(connection, name, await arguments(connection))
            await prepared.prepare()
            assert_holds(name, await prepared.explain(), f"at {table.jobs} jobs, {table.statistics}, {mode}")


@pytest.mark.parametrize("name", [name for name in GOES_BY if not name.endswith("_isolated")])
async def test_the_arguments_of_these_tests_find_what_they_should(cluster, databases, name):
    """Else a plan that reads nothing would be praised."""
    async with connected(cluster.dsn_of(databases[50_000, "fresh"]), HOT_SETTINGS) as connection:
        transaction = connection.transaction()
        await transaction.start()
        rows = await connection.fetch(statement(name), *await GOES_BY[name][0](connection))
        await transaction.rollback()
    if name in ("end_plain", "end_succeeded"):
        assert rows[0]["settled"] is None, "all of them"
    else:
        some = {"held": 2 * LEASED // SESSIONS, "stray": 0, "due": DUE, "cancelling": CANCELLING, "heads": 9}
        assert len(rows) == some.get(name, BATCH)


@pytest.mark.parametrize("small", [20, 600])
async def test_statements_prepared_on_a_small_table_hold_after_it_grew(cluster, template, small):
    """A generic plan made at 600 rows was kept at 300,000 and took 370 ms instead of 2; with no ANALYZE in between."""
    name = cluster.create(template)
    cluster.execute(_WORLD, name)
    cluster.execute(fill(1, small) + "; analyze live_job, job", name)
    try:
        async with (
            connected(cluster.dsn_of(name), HOT_SETTINGS) as chosen,
            connected(
                cluster.dsn_of(name), HOT_SETTINGS | {"plan_cache_mode": "force_generic_plan"}
            ) as forced,
        ):
            ready = []
            for connection in (chosen, forced):
                for statement_name, (arguments, _, _) in GOES_BY.items():
                    prepared = Prepared(connection, statement_name, await arguments(connection))
                    await prepared.prepare()
                    await prepared.run(7)
                    ready.append((statement_name, prepared))
            generic = await forced.fetchval(
                "select min(generic_plans) from pg_prepared_statements where from_sql"
            )
            assert generic == 7, "the plans in question are made"
            cluster.execute(fill(small + 1, 300_000), name)
            for statement_name, prepared in ready:
                assert_holds(
                    statement_name, await prepared.explain(), f"after growth from {small} to 300,000"
                )
            again = await forced.fetchval(
                "select min(generic_plans) from pg_prepared_statements where from_sql"
            )
            assert again == 8, "and kept"
    finally:
        cluster.drop(name)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("left", [0, LEASED])
async def test_settlements_hold_their_plan_when_an_analyze_found_the_table_all_but_empty(
    cluster, databases, mode, left
):
    """As after a minute of hand-offs. Each row was compared with all ids: 200 ms for 1,000 instead of 4."""
    name = cluster.create(databases[50_000, "stale"])
    cluster.execute(
        f"delete from live_job where id not in (select id from live_job where state = 2 limit {left});"
        "analyze live_job",
        name,
    )
    cluster.execute(fill(1_000_001, 1_000_600), name)
    cluster.execute(
        "update live_job set state = 2, attempts = 1, session_id = 1, deadline = null where state = 1", name
    )
    try:
        async with connected(cluster.dsn_of(name), HOT_SETTINGS | {"plan_cache_mode": mode}) as connection:
            for settle in ("end_plain", "end_succeeded"):
                prepared = Prepared(connection, settle, await GOES_BY[settle][0](connection))
                await prepared.prepare()
                plan = await prepared.explain()
                assert_holds(settle, plan, f"over {left} of what was 50,000, {mode}")
                compared = [each.get("Rows Removed by Join Filter", 0) for each in plan.nodes()]
                assert sum(compared) <= BATCH, f"{settle}: each row with all ids\n{plan}"
    finally:
        cluster.drop(name)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("statistics", ["stale", "fresh"])
async def test_expired_sessions_are_found_among_those_that_are_open(cluster, databases, mode, statistics):
    """50,000 sessions ended and wait for retention; the reaper, four times a second, looks at the open ones alone."""
    async with connected(
        cluster.dsn_of(databases[0, "fresh"]), HOT_SETTINGS | {"plan_cache_mode": mode}
    ) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "insert into worker_session (server_id, name, ttl, token_hash, ended_at) "
            "select 1, 'gone', '30 s', decode(repeat('00', 32), 'hex'), now() from generate_series(1, 50000)"
        )
        await connection.execute(
            "update worker_session set silent_since = now() - interval '31 s' where id <= 5"
        )
        await connection.execute("update server set heartbeat_at = now()")
        if statistics == "fresh":
            await connection.execute("analyze worker_session")
        prepared = Prepared(connection, "expired_sessions", [1, 1000, right()])
        await prepared.prepare()
        plan = await prepared.explain()
        await transaction.rollback()
    (scan,) = plan.on("worker_session")
    assert scan.get("Index Name") == "worker_session_open", str(plan)
    assert plan.root["Actual Rows"] == 5
    assert looked_at(scan) <= SESSIONS, str(plan)
    assert [each.get("Index Name") for each in plan.on("live_job")] == ["live_job_held"], str(plan)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("statistics", ["stale", "fresh"])
async def test_a_heartbeat_looks_for_times_of_the_future_among_the_sessions_that_are_open(
    cluster, databases, mode, statistics
):
    """50,000 sessions ended and wait for retention; each server, every two seconds, looks at the open ones alone."""
    async with connected(
        cluster.dsn_of(databases[0, "fresh"]), HOT_SETTINGS | {"plan_cache_mode": mode}
    ) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "insert into worker_session (server_id, name, ttl, token_hash, ended_at) "
            "select 1, 'gone', '30 s', decode(repeat('00', 32), 'hex'), now() from generate_series(1, 50000)"
        )
        await connection.execute(
            "update worker_session set silent_since = now() + interval '1 hour' where id <= 5"
        )
        server = await connection.fetchval("insert into server (name) values ('one') returning id")
        if statistics == "fresh":
            await connection.execute("analyze worker_session")
        prepared = Prepared(connection, "server_heartbeat", [server, None])
        await prepared.prepare()
        plan = await prepared.explain()
        await transaction.rollback()
    nodes = [each for each in plan.on("worker_session") if each["Node Type"] != "ModifyTable"]
    assert {each.get("Index Name") for each in nodes} == {"worker_session_open", "worker_session_pkey"}, str(
        plan
    )
    # Those that are open, and by their keys those that are written.
    assert sum(looked_at(each) for each in nodes) <= SESSIONS + 5, str(plan)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("statistics", ["stale", "fresh"])
async def test_strays_are_looked_for_in_the_sessions_that_ended_lately(cluster, databases, mode, statistics):
    """50,000 sessions ended long ago, and 50,000 jobs wait; the audit reads neither these nor those."""
    async with connected(
        cluster.dsn_of(databases[50_000, "fresh"]), HOT_SETTINGS | {"plan_cache_mode": mode}
    ) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "insert into worker_session (server_id, name, ttl, token_hash, ended_at) "
            "select 1, 'gone', '30 s', decode(repeat('00', 32), 'hex'), now() - interval '2 days' "
            "from generate_series(1, 50000)"
        )
        await connection.execute("update worker_session set ended_at = now() where id <= 2")
        if statistics == "fresh":
            await connection.execute("analyze worker_session")
        prepared = Prepared(connection, "stray", [timedelta(hours=1), right()])
        await prepared.prepare()
        plan = await prepared.explain()
        await transaction.rollback()
    assert plan.root["Actual Rows"] == 2 * LEASED // SESSIONS
    (sessions,) = plan.on("worker_session")
    assert sessions.get("Index Name") == "worker_session_ended", str(plan)
    assert looked_at(sessions) <= 2, str(plan)
    (jobs,) = plan.on("live_job")
    assert jobs.get("Index Name") == "live_job_held", str(plan)
    assert looked_at(jobs) <= LEASED, str(plan)


async def test_with_the_settings_of_a_plain_connection_the_plan_does_not_hold(cluster, template):
    """That the danger is real, and seen: a settle prepared small, without the settings, reads the table whole."""
    name = cluster.create(template)
    cluster.execute(_WORLD, name)
    cluster.execute(fill(1, 20) + "; analyze live_job, job", name)
    try:
        async with connected(cluster.dsn_of(name), {"plan_cache_mode": "force_generic_plan"}) as connection:
            prepared = Prepared(connection, "end_plain", await settle(connection))
            await prepared.prepare()
            await prepared.run(1)
            cluster.execute(fill(21, 50_000), name)
            with pytest.raises(AssertionError):
                assert_holds("end_plain", await prepared.explain(), "without settings")
    finally:
        cluster.drop(name)
