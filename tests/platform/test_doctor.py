"""`jobqueue-server doctor` finds what is wrong, says what would be right and what to do, and changes nothing."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from jobqueue_server.condition import Condition
from jobqueue_server.doctor import rules
from jobqueue_server.doctor.findings import Finding, Grade
from jobqueue_server.store import migrate
from tests.conftest import Cluster
from tests.standby import a_primary_and_its_standby
from tests.standby import run as sql
from tests.tls.conftest import Authority

from .test_cli import run


@pytest.fixture(scope="module")
def service(cluster: Cluster, template: str) -> Iterator[str]:
    """A database as the runbook has it: servers have a role that owns nothing."""
    name, role = cluster.create(template), f"service_{secrets.token_hex(4)}"
    cluster.execute(f"create role {role} login password 'secret'")
    asyncio.run(migrate.up(cluster.dsn_of(name), role))
    asyncio.run(_partitions(cluster.dsn_of(name)))
    yield cluster.dsn_of(name, user=role, password="secret")
    cluster.drop(name)
    cluster.execute(f"drop role {role}")


async def _partitions(dsn: str) -> None:
    """Those that a server of seven days would make."""
    await sql(dsn, "select ensure_partitions(interval '6 hours', 1, 2)")


def _name_of(dsn: str) -> str:
    return dsn.partition("?")[0].rpartition("/")[2]


def told(dsn: str | None, code: int, **environment: str) -> dict[str, dict[str, Any]]:
    """What the doctor says, by what it is about; the worst of several."""
    done = run("doctor", "--json", **({"DATABASE_URL": dsn} if dsn else {}), **environment)
    said = json.loads(done.stdout)
    assert (done.returncode, said["exit_code"]) == (code, code), done.stdout + done.stderr
    order = list(Grade.__members__)
    found = sorted(said["findings"], key=lambda each: order.index(each["grade"].upper()))
    for each in found:
        assert bool(each["do"]) == (each["grade"] in ("warning", "broken")), each
    return {each["about"]: each for each in found}


@pytest.mark.slow
def test_a_sound_installation_has_nothing_wrong_and_nothing_is_written(
    cluster: Cluster, service: str
) -> None:
    async def next_number() -> int:
        return int(
            await sql(
                cluster.dsn_of(_name_of(service)),
                "select pg_snapshot_xmax(pg_current_snapshot())::text::int8",
            )
        )

    # PostgreSQL itself takes a number now and then; what wrote would take one each time.
    for _ in range(5):
        before = asyncio.run(next_number())
        found = told(service, 0)
        if asyncio.run(next_number()) == before:
            break
    else:
        pytest.fail("each look took the number of a transaction")
    assert {each["grade"] for each in found.values()} <= {"ok", "note"}
    assert {"settings", "connection", "PostgreSQL", "durability", "checksums", "standby", "pooler", "schema", "level",
            "role", "rights", "clock", "servers", "oldest snapshot", "partitions", "retention", "dead rows", "slots",
            "connections", "transaction numbers", "standstill"} == found.keys()  # fmt: skip
    table = run("doctor", DATABASE_URL=service)
    assert table.returncode == 0
    assert "all well" in table.stdout


def test_a_database_that_is_not_there_or_refuses_is_told_with_its_cause(service: str, data_dir: Path) -> None:
    away = told("postgresql://u:hunter2@127.0.0.1:1/x", 2)["connection"]
    assert "host=127.0.0.1 port=1 database=x" in away["seen"]
    assert "Connection refused" in away["seen"] or "Connect call failed" in away["seen"]
    assert "network" in away["do"]
    no_such = told(service.replace(_name_of(service), "nowhere"), 2)["connection"]
    assert 'database "nowhere" does not exist' in no_such["seen"]
    assert "login" in no_such["do"]
    embedded = told(None, 2, JOBQUEUE_DATA_DIR=str(data_dir))["connection"]
    assert "DATABASE_URL is not set" in embedded["seen"]


def test_an_empty_database_lacks_its_schema(cluster: Cluster, empty_dsn: str) -> None:
    found = told(empty_dsn, 2)
    assert "no schema of JobQueue yet" in found["schema"]["seen"]
    assert "migrate up" in found["schema"]["do"]


def test_settings_that_a_server_refuses_are_told_though_the_database_is_well(service: str) -> None:
    found = told(service, 2, JOBQUEUE_GRPC_ADDR="0.0.0.0:0", JOBQUEUE_AUTH="keys")
    assert "JOBQUEUE_GRPC_ADDR is no loopback" in found["settings"]["seen"]
    assert found["connection"]["grade"] == "ok"


def test_a_certificate_that_ends_soon_is_told(service: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    cert, key = authority.issue("server", lasts=timedelta(days=5))
    assert told(service, 1, JOBQUEUE_TLS_CERT=cert, JOBQUEUE_TLS_KEY=key)["certificate"]["grade"] == "warning"
    found = told(service, 2, JOBQUEUE_TLS_CERT=cert, JOBQUEUE_TLS_KEY=str(tmp_path / "none.key"))[
        "certificate"
    ]
    assert "none.key can't be read" in found["seen"]


#: (about, grade, words, what makes it so, what takes it back); {role} is the service's.
FAULTS = {
    "right": ("rights", "broken", "live_job: update", "revoke update on live_job from {role}",
              "grant update on live_job to {role}"),
    "function": ("rights", "broken", "ensure_partitions: execute",
                 "revoke execute on function ensure_partitions from {role}, public",
                 "grant execute on function ensure_partitions to {role}"),
    "durability": ("durability", "broken", "synchronous_commit = off", "alter role {role} set synchronous_commit = off",
                   "alter role {role} reset synchronous_commit"),
    "superuser": ("role", "warning", "has a superuser for its role", "alter role {role} superuser",
                  "alter role {role} nosuperuser"),
    "level": ("level", "broken", "requires servers of level 999", "update requirement set min_level = 999",
              "update requirement set min_level = 1"),
    "schema": ("schema", "broken", "has no schema of JobQueue yet",
               "create table kept as table schema_migration; delete from schema_migration",
               "insert into schema_migration select * from kept on conflict do nothing; drop table kept"),
    "newer schema": ("schema", "note", "it can run with that",
                     "insert into schema_migration select max(version) + 1, 'later', 'x' from schema_migration",
                     "delete from schema_migration where name = 'later'"),
    "silent server": ("servers", "warning", "the server gone was not heard for",
                      "insert into server (name, heartbeat_at) values ('gone', now() - interval '5 minutes')",
                      "delete from server"),
    "two versions": ("servers", "warning", "servers of 2 versions run",
                     ("insert into server (name, version, level, heartbeat_at) select name, version, level,"
                     " now() + '1 min' from (values ('a', '0.1.0', 8), ('b', '0.2.0', 9)) s (name, version, level)"),
                     "delete from server"),
    "partitions": ("partitions", "broken", "every enqueue fails",
                   "create table kept as table job_partition; delete from job_partition where uuid_time(to_id) > now()",
                   "insert into job_partition select * from kept on conflict do nothing; drop table kept"),
}  # fmt: skip


@pytest.mark.cases(3)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_named(cluster: Cluster, service: str, fault: str) -> None:
    about, grade, words, make, take_back = FAULTS[fault]
    role, name = service.partition("//")[2].partition(":")[0], _name_of(service)
    cluster.execute(make.format(role=role), name)
    try:
        found = told(service, {"broken": 2, "warning": 1, "note": 0}[grade])[about]
    finally:
        cluster.execute(take_back.format(role=role), name)
    assert found["grade"] == grade
    assert words in found["seen"]


async def test_the_session_that_holds_a_snapshot_and_a_slot_that_nobody_reads_are_named(
    cluster: Cluster, service: str
) -> None:
    connection = await asyncpg.connect(
        cluster.dsn_of(_name_of(service)), server_settings={"application_name": "dump"}
    )
    try:
        await connection.execute("select pg_create_physical_replication_slot('forgotten', true)")
        holds = connection.transaction(isolation="repeatable_read")
        await holds.start()
        await connection.fetchval("select 1")
        found = await asyncio.to_thread(told, service, 1)
        await holds.rollback()
    finally:
        await connection.execute("select pg_drop_replication_slot('forgotten')")
        await connection.close()
    assert found["oldest snapshot"]["seen"].endswith("s old")
    assert "forgotten keeps" in found["slots"]["seen"]
    assert "pg_drop_replication_slot('forgotten')" in found["slots"]["do"]


@pytest.mark.slow
async def test_a_standby_is_no_place_for_servers_and_commits_that_wait_for_none_are_told() -> None:
    async with a_primary_and_its_standby(synchronous=True) as pair:
        found = await asyncio.to_thread(told, pair.old.dsn, 2)
        assert found["standby"]["grade"] == "ok"
        assert "standby" in (await asyncio.to_thread(told, pair.new.dsn, 2))["PostgreSQL"]["seen"]
        await asyncio.to_thread(pair.new.stop)
        found = await asyncio.to_thread(told, pair.old.dsn, 2)
        assert "no enqueue is answered" in found["standby"]["seen"]


# ---- what the numbers mean

_WELL = Condition(
    snapshot_seconds=0,
    slot_bytes=0,
    dead_rows={"live_job": 0},
    partitions={"past": 1, "present": 1, "ahead": 2, "leftover": 0},
    partition_seconds=6 * 3600,
    retention_lag_seconds=0,
    migration=1,
    known_migration=1,
)  # fmt: skip
_ROW = {"connections": 1, "connections_most": 97, "xid_age": 0, "checksum_failures": 0, "checksums": True}


def _worst(found: Any) -> Grade:
    return max(each.grade for each in ([found] if isinstance(found, Finding) else found))


@pytest.mark.unit
@pytest.mark.parametrize(
    ("found", "grade"),
    [
        (rules.of_snapshot(replace(_WELL, snapshot_seconds=899), "x"), Grade.OK),
        (rules.of_snapshot(replace(_WELL, snapshot_seconds=901), "x"), Grade.WARNING),
        (rules.of_retention(replace(_WELL, retention_lag_seconds=43_199)), Grade.OK),
        (rules.of_retention(replace(_WELL, retention_lag_seconds=43_201)), Grade.WARNING),
        (rules.of_partitions(replace(_WELL, partitions={"present": 1, "ahead": 0})), Grade.WARNING),
        (rules.of_slots([{"name": "s", "active": True, "bytes": 11 << 30}]), Grade.BROKEN),
        (rules.of_slots([{"name": "s", "active": True, "bytes": 9 << 30}]), Grade.OK),
        (rules.of_connections(_ROW | {"connections": 87}, 10), Grade.OK),
        (rules.of_connections(_ROW | {"connections": 90}, 10), Grade.WARNING),
        (rules.of_xids(_ROW | {"xid_age": 999_999_999}), Grade.OK),
        (rules.of_xids(_ROW | {"xid_age": 1_200_000_000}), Grade.WARNING),
        (rules.of_xids(_ROW | {"xid_age": 1_900_000_000}), Grade.BROKEN),
        (rules.of_clock(timedelta(seconds=-0.9)), Grade.OK),
        (rules.of_clock(timedelta(seconds=-2)), Grade.WARNING),
        (rules.of_clock(timedelta(seconds=31)), Grade.BROKEN),
        (rules.of_tables(True, {"live_job": 1_000_001}, []), Grade.WARNING),
        (rules.of_tables(True, {"live_job": 9}, [{"name": "live_job", "bytes": 3 << 30, "rows": 9}]), Grade.WARNING),
        (rules.of_tables(True, {"live_job": 9}, [{"name": "live_job", "bytes": 3 << 30, "rows": 9_000_000}]), Grade.OK),
        (rules.of_tables(False, {"live_job": 9}, []), Grade.BROKEN),
        (rules.of_standbys("", []), Grade.NOTE),
        (rules.of_standbys("a", [{"name": "b", "sync_state": "async"}]), Grade.BROKEN),
        # A role without pg_monitor is not told.
        (rules.of_standbys("a", [{"name": "b", "sync_state": None}]), Grade.OK),
        (rules.of_certificate(timedelta(days=15)), Grade.OK),
        (rules.of_certificate(timedelta(days=1)), Grade.BROKEN),
    ],
)  # fmt: skip
def test_a_number_is_graded_at_its_bound(found: Any, grade: Grade) -> None:
    assert _worst(found) is grade


@pytest.mark.unit
def test_pages_that_failed_their_checksum_are_the_worst_there_is() -> None:
    row = _ROW | {"version": "15.1", "version_number": 150_001, "standby": False, "encrypted": True}
    assert _worst(rules.of_postgres(row, [])) is Grade.OK
    assert _worst(rules.of_postgres(row | {"checksum_failures": 1}, [])) is Grade.BROKEN
    assert _worst(rules.of_postgres(row | {"version_number": 140_010}, [])) is Grade.BROKEN
