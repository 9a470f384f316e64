"""The schema says its promises in constraints, each index serves its path, and the service's role owns nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from jobqueue_server.lifecycle import TERMINAL, Event, Hold, State
from jobqueue_server.store import migrate
from jobqueue_server.store.attempt.attempts import AttemptEnd, Report
from jobqueue_server.store.session.sessions import Told
from jobqueue_server.store.upkeep.retention import RetentionStore

from .factories import keyed_row, look
from .stored import SCOPE, Stored, right, stored

HOT = ("job", "live_job", "finished_job", "attempt")


async def refused(s: Stored, constraint: str, sql: str, *args: Any) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as caught:
        await s.sql.execute(sql, *args)
    assert caught.value.constraint_name == constraint


# ---- constraints


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("state = 0", "a state is ready, leased, held back or ready but isolated"),
        ("state = 5", "a state is ready, leased, held back or ready but isolated"),
        ("state = 2", "a leased job names its session and no other job does"),
        ("session_id = 1", "a leased job names its session and no other job does"),
        ("attempts = -1", "counters are never negative"),
        ("failures = -1", "counters are never negative"),
        ("losses = -1", "counters are never negative"),
        ("max_attempts = 0", "at least one attempt is allowed"),
        ("failures = 4", "failures never pass max_attempts"),
    ],
)
async def test_a_live_job_can_not_be_made_nonsense(s, change, constraint):
    job_id = await s.queued()
    await refused(s, constraint, f"update live_job set {change} where id = $1", job_id)


@pytest.mark.parametrize("status", range(8))
async def test_only_a_terminal_status_is_finished(s, status):
    job_id = await s.succeeded()
    change = f"update finished_job set status = {status} where id = $1"
    if status in TERMINAL:
        await s.sql.execute(change, job_id)
    else:
        await refused(s, "only a terminal status is finished", change, job_id)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("min_backoff_ms = 1", "the backoff of a kind is given whole"),
        ("max_backoff_ms = 1", "the backoff of a kind is given whole"),
        ("min_backoff_ms = 0, max_backoff_ms = 5", "the backoff of a kind is a range"),
        ("min_backoff_ms = 6, max_backoff_ms = 5", "the backoff of a kind is a range"),
        ("max_attempts = 0", "a kind allows at least one attempt"),
        ("max_attempts = 1001", "a kind allows at least one attempt"),
    ],
)
async def test_a_kind_can_not_be_made_nonsense(s, change, constraint):
    await s.lane()
    await refused(s, constraint, f"update kind set {change} where name = 'hello'")


async def test_the_backoff_of_a_job_is_given_whole(s):
    job_id = await s.queued()
    await refused(
        s, "the backoff of a job is given whole", "update job set min_backoff_ms = 1 where id = $1", job_id
    )


async def test_names_and_lanes_are_there_once(s):
    lane = await s.lane()
    await refused(
        s,
        "a queue has one name in its namespace",
        "insert into queue (namespace_id, name) values (1, $1)",
        lane.queue,
    )
    await refused(
        s,
        "a kind has one name in its namespace",
        "insert into kind (namespace_id, name) values (1, $1)",
        lane.kind,
    )
    await refused(
        s,
        "a queue has one lane for each kind",
        "insert into lane (namespace_id, queue_id, kind_id) select 1, queue_id, kind_id from lane where id = $1",
        lane.id,
    )


async def test_secrets_and_keys_are_kept_as_digests_of_their_length(s):
    number, _ = await s.session()
    await refused(
        s,
        "a token is kept as its SHA-256",
        "update worker_session set token_hash = 'secret' where id = $1",
        number,
    )
    await refused(s, "an epoch counts from one", "update worker_session set epoch = 0 where id = $1", number)
    row = keyed_row(s, await s.lane(), "k")
    row.key_digest = b"too short"
    with pytest.raises(asyncpg.CheckViolationError, match="a key is kept as a 16-byte digest"):
        await s.intake.enqueue([row])


async def test_every_check_is_named_as_a_sentence(s):
    rows = await s.sql.fetch(
        "select conname from pg_constraint where contype = 'c' and connamespace = current_schema()::regnamespace"
    )
    assert rows
    assert [row["conname"] for row in rows if not re.fullmatch(r"[a-z]+( \S+)+", row["conname"])] == []


async def test_what_churns_has_no_foreign_key_and_no_trigger(s):
    """They cost MultiXact waits and WAL on every job."""
    keys = await s.sql.fetch(
        "select conrelid::regclass::text as t from pg_constraint where contype = 'f' "
        "and (conrelid = any($1::regclass[]) or confrelid = any($1::regclass[]))",
        list(HOT),
    )
    triggers = await s.sql.fetch(
        "select tgrelid from pg_trigger where tgrelid = any($1::regclass[])", list(HOT)
    )
    assert (keys, triggers) == ([], [])


async def test_the_table_that_churns_is_whole_and_leaves_room_in_its_pages(s):
    row = await s.sql.fetchrow(
        "select relkind = 'r' as plain, reloptions from pg_class where relname = 'live_job'"
    )
    assert row["plain"]
    assert {"fillfactor=85", "autovacuum_vacuum_scale_factor=0.01"} <= set(row["reloptions"])


# ---- indexes


async def test_each_index_of_the_table_that_churns_serves_a_path_and_there_are_no_others(s):
    """Five indexes are what a job pays for; another one wants its reason here.

    That of the jobs to be cancelled is paid for by these alone: without it each server would read, once a second, every
    running job whose deadline is within the grace. That of the jobs that are held back is paid for by these alone too:
    without it watches would not find them, and depths not count them. The last three are paid for by the jobs that
    their queue limits by their key: who holds the tokens, who is next, and whose time has come. No job is in two.
    """
    rows = await s.sql.fetch("select indexname, indexdef from pg_indexes where tablename = 'live_job'")
    found = {
        row["indexname"]: " ".join(row["indexdef"].partition(" USING btree ")[2].split()) for row in rows
    }
    counted = "CASE WHEN (state = 2) THEN counted ELSE NULL::boolean END"
    assert found == {
        "live_job_pkey": "(id)",
        "live_job_ready": "(lane_id, priority, run_at, id) WHERE (state = 1)",
        "live_job_ready_isolated": "(lane_id, priority, run_at, id) WHERE (state = 4)",
        "live_job_held": "(session_id) WHERE (state = 2)",
        "live_job_due": "(deadline) WHERE (deadline IS NOT NULL)",
        "live_job_cancelling": "(session_id) WHERE (cancel_requested_at IS NOT NULL)",
        "live_job_held_back": "(lane_id, run_at, id) WHERE (state = 3)",
        "live_job_with_permit": (
            "(semaphore_id) WITH (deduplicate_items=off) WHERE ((semaphore_id IS NOT NULL) AND (hold IS NULL))"
        ),
        "live_job_waits_for_permit": "(semaphore_id, priority DESC, run_at, id) WHERE (hold = 1)",
        "live_job_ripens": "(run_at) WHERE ((state = 3) AND (hold = 2))",
        "live_job_counted_by_start": f"(lane_id, changed_at) WHERE {counted}",
    }


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
async def test_a_job_stands_in_the_indexes_of_its_state_alone(s, state):
    session = await s.session()
    job_id = await s.queued()
    if state is State.LEASED:
        await s.claim(job_id, session)
    else:
        hold = Hold.HAND if state is State.HELD_BACK else None
        await s.sql.execute("update live_job set state = $1, hold = $2", state, hold)
    rows = await s.sql.fetch(
        "select c.relname, pg_get_expr(i.indpred, i.indrelid) as predicate from pg_index i "
        "join pg_class c on c.oid = i.indexrelid where i.indrelid = 'live_job'::regclass"
    )
    stands_in = {
        row["relname"]
        for row in rows
        if row["predicate"] is None
        or await s.sql.fetchval(f"select {row['predicate']} from live_job where id = $1", job_id)
    }
    own = {
        State.READY: {"live_job_ready"},
        State.LEASED: {"live_job_held"},
        State.HELD_BACK: {"live_job_held_back"},
        State.READY_ISOLATED: {"live_job_ready_isolated"},
    }[state]
    assert stands_in == {"live_job_pkey"} | own


async def test_a_success_pays_for_no_index_of_failures(s):
    ids = [await s.succeeded(), await s.failed(), await s.cancelled()]
    predicate = await s.sql.fetchval(
        "select pg_get_expr(indpred, indrelid) from pg_index where indexrelid = 'finished_job_not_succeeded'::regclass"
    )
    rows = await s.sql.fetch(f"select id from finished_job where {predicate}")
    assert {row["id"] for row in rows} == set(ids[1:])


# ---- the role of the service


@pytest.fixture
def service_dsn(cluster: Any, empty_dsn: str) -> Iterator[str]:
    """A database migrated by its owner, as the service's role reaches it."""
    role = f"service_{uuid4().hex[:8]}"
    database = empty_dsn.partition("?")[0].rpartition("/")[2]
    cluster.execute(f"create role {role} login password 'secret'")
    yield cluster.dsn_of(database, user=role, password="secret")
    cluster.execute(f"drop owned by {role}", database)
    cluster.execute(f"drop role {role}")


def released(row: Any) -> AttemptEnd:
    return AttemptEnd(row["id"], row["attempts"], row["session_id"], Event.RELEASE)


async def test_a_service_that_owns_nothing_can_do_all_that_it_does(empty_dsn: str, service_dsn: str):
    role = service_dsn.partition("//")[2].partition(":")[0]
    await migrate.up(empty_dsn, role)
    await migrate.verify(service_dsn)
    async with stored(service_dsn) as s:
        owned = "select count(*) from pg_class where relowner = current_user::regrole"
        assert await s.sql.fetchval(owned) == 0
        lane, session = await s.lane(), await s.session()
        rows = [keyed_row(s, lane, str(number)) for number in range(6)]
        await s.intake.enqueue(rows)
        leases = await s.claims.claim([look(lane)], [session[0]] * 5, dict([session]))
        await s.claims.bodies([row["id"] for row in leases])
        first, second, third, *_ = leases
        await s.attempts.report_progress([Report(first["id"], 1, session[0], 0.5, "half", b"here")])
        assert await s.claims.checkpoints([first["id"]]) == {first["id"]: b"here"}
        assert await s.succeed(first["id"], 1, session[0], b"1")
        await s.end_attempt(second["id"], 1, session[0], Event.FAIL)
        await s.end_attempt(third["id"], 1, session[0], Event.UNSEEN)
        await s.end_attempt(third["id"], *await s.claim(third["id"]), Event.LOST)
        assert await s.claims.claim_isolated([lane.id], dict([session]))
        await s.changes.cancel(SCOPE, rows[5].id)
        await s.changes.retry(SCOPE, rows[5].id)
        await s.changes.cancel(SCOPE, rows[5].id)
        await s.changes.delete(SCOPE, rows[5].id)
        assert await s.reads.get(SCOPE, first["id"]) is not None
        assert await s.attempts.settled_before([(SCOPE, first["id"], 1)])
        assert await s.sessions.due(0, 10) == []
        assert await s.sessions.stray(timedelta(hours=1)) == []
        resumed = await s.sessions.resume(
            SCOPE, Told("worker"), session[0], os.urandom(32), os.urandom(32), 1
        )
        assert resumed is None
        assert await s.sessions.expired(0, 10) == []
        assert await s.sessions.end(*session, released) is not None
        retention = RetentionStore(s.database, retention=timedelta(days=7), expected=right)
        assert await retention.ensure_partitions(timedelta(hours=6), behind=1, ahead=4) > 0
        assert await s.sql.fetchval("select count(*) from jobs") == 5


@pytest.mark.cases(3)
@pytest.mark.parametrize(
    "sql",
    [
        "drop table live_job",
        "truncate live_job",
        "alter table job add column mine int",
        "create index mine on live_job (changed_at)",
        "create table mine (n int)",
        "delete from schema_migration",
        "insert into schema_migration (version, name, checksum) values (99, 'x', 'x')",
    ],
)
async def test_a_service_that_owns_nothing_can_not_change_the_schema(
    empty_dsn: str, service_dsn: str, sql: str
):
    await migrate.up(empty_dsn, service_dsn.partition("//")[2].partition(":")[0])
    connection = await asyncpg.connect(service_dsn)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(sql)
    finally:
        await connection.close()
