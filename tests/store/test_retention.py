from __future__ import annotations

import asyncio
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from jobqueue_server.core.upkeep import retention as core
from jobqueue_server.core.upkeep.retention import Retention
from jobqueue_server.errors import DatabaseAway
from jobqueue_server.store import migrate
from jobqueue_server.store.upkeep.retention import RetentionStore

from .past import RETENTION, WIDTH, ago, connected, finished, id_at, live, opened, partition_of, rows
from .stored import right

pytestmark = pytest.mark.slow


def test_a_retention_under_an_hour_is_refused():
    with pytest.raises(ValueError, match="one hour or more"):
        Retention(RetentionStore(None, retention=RETENTION, expected=right), retention=timedelta(minutes=59))  # type: ignore[arg-type]


async def test_finished_jobs_go_in_batches_with_all_that_belongs_to_them_and_others_stay(dsn):
    async with opened(dsn) as database, connected(dsn) as connection, connected(dsn) as other:
        store = RetentionStore(database, retention=RETENTION, expected=right, batch=10)
        await store.ensure_partitions(WIDTH, behind=33, ahead=0)
        base = id_at(ago(days=8)).int
        expired = [type(id_at(ago()))(int=base + n) for n in range(25)]
        recent, waiting = [type(expired[0])(int=base + 100)], [type(expired[0])(int=base + 101)]
        await finished(connection, expired, ago(days=7, minutes=1))
        await finished(connection, recent, ago(days=6))
        await live(connection, waiting)
        partition = await partition_of(store, expired[0])
        assert partition is not None
        async with other.transaction():
            # An operator's retry holds this one: it is skipped, not waited for.
            await other.execute("select from finished_job where id = $1 for update", expired[3])
            assert [swept async for swept in store.sweep_finished(partition)] == [9, 10, 5]
        assert (await rows(connection, expired)) == {
            "job": 1, "live_job": 0, "finished_job": 1, "attempt": 1, "job_progress": 1,
        }  # fmt: skip
        assert [swept async for swept in store.sweep_finished(partition)] == [1]
        assert not any((await rows(connection, expired)).values())
        assert (await rows(connection, recent + waiting))["job"] == 2


async def test_expired_keys_go_and_others_stay(dsn):
    async with opened(dsn) as database, connected(dsn) as connection:
        store = RetentionStore(database, retention=RETENTION, expected=right, batch=10)
        await connection.execute(
            "insert into idempotency_key select 1, decode(md5(n::text), 'hex'), '', gen_random_uuid(), '', "
            "now() + case when n <= 25 then interval '-1 s' else interval '1 hour' end from generate_series(1, 30) n"
        )
        assert [swept async for swept in store.sweep_keys()] == [10, 10, 5]
        assert await connection.fetchval("select count(*) from idempotency_key") == 5


async def test_sessions_and_servers_go_when_no_attempt_names_them(dsn):
    async with opened(dsn) as database, connected(dsn) as connection:
        store = RetentionStore(database, retention=RETENTION, expected=right, batch=2)
        await store.ensure_partitions(WIDTH, behind=80, ahead=0)

        async def server(name: str, heard: timedelta) -> int:
            return await connection.fetchval(
                "insert into server (name, heartbeat_at) values ($1, now() - $2::interval) returning id",
                name,
                heard,
            )

        async def session(name: str, server_id: int, ended: timedelta | None) -> int:
            return await connection.fetchval(
                "insert into worker_session (server_id, name, ttl, token_hash, opened_at, ended_at) "
                "values ($1, $2, '30 s', sha256($2::text::bytea), now() - interval '20 days', now() - $3::interval) "
                "returning id",
                server_id, name, ended,
            )  # fmt: skip

        dead, idle, present = (
            await server("dead", timedelta(days=9)),
            await server("idle", timedelta(days=9)),
            await server("present", timedelta(0)),
        )
        for n in range(5):
            await session(f"gone-{n}", dead, timedelta(days=9))
        named = await session("named", idle, timedelta(days=9))
        await session("lately", present, timedelta(days=7))
        await session("open", present, None)
        await finished(connection, [id_at(ago(days=15))], ago(days=1), session_id=named)

        assert sum([swept async for swept in store.sweep_sessions()]) == 5
        left = await connection.fetch("select name from worker_session order by name")
        assert [row["name"] for row in left] == ["lately", "named", "open"]
        assert await store.sweep_servers() == 1
        left = await connection.fetch("select name from server order by name")
        assert [row["name"] for row in left] == ["idle", "present"]


async def test_one_server_sweeps_in_a_minute(dsn):
    async with opened(dsn) as one, opened(dsn) as two:
        stores = [
            RetentionStore(database, retention=RETENTION, expected=right)
            for database in (one, two)
            for _ in range(3)
        ]
        won = await asyncio.gather(*(store.claim_sweep(timedelta(minutes=1)) for store in stores))
        assert sum(won) == 1
        assert await stores[0].claim_sweep(timedelta(0))


async def test_a_sweep_drops_what_ended_and_gathers_the_few_that_live_in_one_partition(dsn):
    async with opened(dsn) as database, connected(dsn) as connection:
        store = RetentionStore(database, retention=RETENTION, expected=right)
        retention = Retention(store, retention=RETENTION)
        await store.ensure_partitions(WIDTH, behind=100, ahead=2)
        # A job waits in every fourth partition of the past, among many that ended.
        partitions = await store.list_partitions()
        old = [p for p in partitions if p.ended_at < ago(days=7)]
        waiting = [id_at(p.ended_at - timedelta(minutes=1)) for p in old[::4]]
        expired = [id_at(p.ended_at - timedelta(minutes=2)) for p in old for _ in range(20)]
        await live(connection, waiting)
        await finished(connection, expired, ago(days=7, minutes=1))
        lately = id_at(ago(days=7, hours=7))
        await finished(connection, [lately], ago(days=6))
        await retention.sweep()

        kept = [p for p in await store.list_partitions() if p.ended_at < ago(days=7)]
        assert len([p for p in kept if p.leftover]) == 1
        # What is past its time by less than one width is given that long to empty by itself.
        assert len(kept) <= 3
        assert (await rows(connection, waiting))["job"] == len(waiting)
        assert (await rows(connection, [lately]))["finished_job"] == 1
        late = [p for p in kept if not p.leftover]
        gone = [id for id in expired if not any(p.from_id <= id < p.to_id for p in late)]
        assert not any((await rows(connection, gone)).values())

        # The one that ended lately may be in the same partition, by the time of the day.
        await connection.execute("delete from live_job")
        await connection.execute("delete from finished_job where id = $1", lately)
        await retention.sweep()
        kept = [p for p in await store.list_partitions() if p.ended_at < ago(days=7)]
        assert not any(p.leftover for p in kept)


async def test_there_are_never_more_than_64_partitions_though_most_jobs_of_the_past_live(dsn, monkeypatch):
    monkeypatch.setattr(core, "MERGE_ROWS", 4)
    async with opened(dsn) as database, connected(dsn) as connection:
        store = RetentionStore(database, retention=RETENTION, expected=right)
        retention = Retention(store, retention=RETENTION)
        await store.ensure_partitions(WIDTH, behind=110, ahead=2)
        old = [p for p in await store.list_partitions() if p.ended_at < ago(days=8)]
        waiting = [id_at(p.ended_at - timedelta(minutes=m)) for p in old for m in range(1, 6)]
        expired = [id_at(p.ended_at - timedelta(minutes=9)) for p in old]
        await live(connection, waiting)
        await finished(connection, expired, ago(days=7, minutes=1))
        await retention.sweep()
        assert len(await store.list_partitions()) <= 64
        assert (await rows(connection, waiting))["live_job"] == len(waiting)
        assert (await rows(connection, waiting))["job"] == len(waiting)
        assert not any((await rows(connection, expired)).values())


async def test_a_service_whose_role_owns_nothing_makes_and_drops_partitions(cluster, empty_dsn):
    role = f"service_{uuid4().hex[:12]}"
    name = urlsplit(empty_dsn).path.lstrip("/")
    cluster.execute(f"create role {role} login password 'secret'")
    try:
        await migrate.up(empty_dsn, role)
        async with (
            opened(cluster.dsn_of(name, user=role, password="secret")) as database,
            connected(empty_dsn) as owner,
        ):
            store = RetentionStore(database, retention=RETENTION, expected=right)
            await store.ensure_partitions(WIDTH, behind=40, ahead=2)
            waiting, expired = id_at(ago(days=8)), id_at(ago(days=9))
            await live(owner, [waiting])
            await finished(owner, [expired], ago(days=8))
            assert await store.claim_sweep(timedelta(minutes=1))
            await Retention(store, retention=RETENTION).sweep()
            assert await partition_of(store, expired) is None
            kept = await partition_of(store, waiting)
            assert kept is not None
            assert kept.leftover
    finally:
        cluster.execute(f"drop owned by {role}", database=name)
        cluster.execute(f"drop role {role}")


async def test_it_goes_on_after_the_database_was_away(dsn, monkeypatch):
    monkeypatch.setattr(core, "RETRY_SOON", timedelta(milliseconds=10))
    async with opened(dsn) as database:
        store = RetentionStore(database, retention=RETENTION, expected=right)
        done = asyncio.Event()
        failures = 2

        async def ensure_partitions(width: timedelta, *, behind: int, ahead: int) -> int:
            nonlocal failures
            if failures:
                failures -= 1
                raise DatabaseAway("the database does not answer; try again")
            made = await RetentionStore.ensure_partitions(store, width, behind=behind, ahead=ahead)
            done.set()
            return made

        monkeypatch.setattr(store, "ensure_partitions", ensure_partitions)
        running = asyncio.create_task(Retention(store, retention=RETENTION).run())
        await asyncio.wait_for(done.wait(), 10)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
