"""JobQueue on one highly available database: a leader, a synchronous standby, Patroni and etcd, under load."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.pgbouncer import PgBouncer
from tests.standby import run

from .patroni import LOOP, TTL
from .scene import Scene

pytestmark = [pytest.mark.ha, pytest.mark.timeout(300)]

# What follows the lease of a leader that is gone: Patroni's turn, the promotion, and our way to the new one.
FAILOVER = TTL + 3.0
SWITCHOVER = 3.0
# From RECONNECT: what was waiting for the former leader has failed by then.
RECONNECTED = 3.0


async def new_leader(scene: Scene) -> None:
    """Waits until the standby leads."""
    cluster = scene.cluster
    await asyncio.to_thread(cluster.until, lambda: cluster.leader is scene.standby, "a new leader", 40)


async def test_a_leader_that_is_killed(scene: Scene, database: str) -> None:
    await scene.begin(database, scene.cluster.dsn(database, scene.leader), scene.standby)
    async with scene.load():
        scene.fault("kill -9 of the leader's PostgreSQL and Patroni")
        await asyncio.to_thread(scene.leader.kill_both)
        await new_leader(scene)
        await scene.back()
        await asyncio.to_thread(scene.leader.kill)
        await asyncio.to_thread(scene.cluster.whole)
    await scene.over("leader killed", FAILOVER, promoted=True)


async def test_a_leader_whose_host_stops_and_returns(scene: Scene, database: str) -> None:
    cluster, leader = scene.cluster, scene.leader
    await scene.begin(database, cluster.dsn(database, leader), scene.standby)
    async with scene.load():
        scene.fault("the leader's host stops")
        await asyncio.to_thread(leader.freeze)
        await new_leader(scene)
        await scene.back()
        # PostgreSQL comes back first, so nothing tells it that it leads no more: it takes writes.
        await asyncio.to_thread(lambda: leader.send(signal.SIGCONT, leader.postgres()))
        await run(leader.dsn(), "alter system set synchronous_standby_names = ''")
        await run(leader.dsn(), "select pg_reload_conf()")
        await run(leader.dsn(database), "create table takes_writes ()")
        # What had waited for the standby is let go, and its callers are no more.
        await asyncio.sleep(0.5)
        before = await run(leader.dsn(database), "select count(*) from job")
        for _ in range(4):
            await run(
                scene.standby.dsn(),
                "select count(pg_terminate_backend(pid)) from pg_stat_activity "
                "where application_name like 'jobqueue-server %'",
            )
            await asyncio.sleep(0.5)
        written = await run(leader.dsn(database), "select count(*) from job") - before
        await run(leader.dsn(), "alter system reset synchronous_standby_names")
        await asyncio.to_thread(cluster.whole)
    await scene.over("leader's host stopped, and back", FAILOVER, promoted=True)
    assert written == 0, "a former primary that takes writes was written to"


async def test_a_switchover(scene: Scene, database: str) -> None:
    await scene.begin(database, scene.cluster.dsn(database, scene.leader), scene.standby)
    async with scene.load():
        scene.fault("switchover by patronictl")
        await asyncio.to_thread(scene.cluster.switch_over)
        await new_leader(scene)
        await scene.back()
    await scene.over("switchover", SWITCHOVER, promoted=True, planned=True)


async def test_a_standby_that_is_lost(scene: Scene, database: str) -> None:
    await scene.begin(database, scene.cluster.dsn(database, scene.leader), scene.leader)
    async with scene.load():
        scene.fault("kill -9 of the standby")
        await asyncio.to_thread(scene.standby.kill)
        await scene.back()
        await asyncio.to_thread(scene.cluster.whole)
    await scene.over("standby lost", LOOP + 1.0, promoted=False)


async def test_a_standby_that_is_lost_where_commits_must_be_on_two(scene: Scene, database: str) -> None:
    cluster = scene.cluster
    await scene.begin(database, cluster.dsn(database, scene.leader), scene.leader)
    await asyncio.to_thread(cluster.strict, True)
    try:
        await asyncio.sleep(2 * LOOP)
        async with scene.load():
            scene.fault("kill -9 of the standby, strict")
            await asyncio.to_thread(scene.standby.kill)
            await asyncio.sleep(1)
            before = scene.acks
            await asyncio.sleep(12)
            assert scene.acks == before, "an enqueue was acknowledged that one PostgreSQL alone has"
            await asyncio.to_thread(scene.standby.start)
            await cluster.streams(scene.leader)
            scene.fault("the standby is back")
            await scene.back()
            await asyncio.to_thread(cluster.whole)
        await scene.over("standby lost, strict; from its return", LOOP + 1.0, promoted=False)
    finally:
        await asyncio.to_thread(cluster.whole)
        await asyncio.to_thread(cluster.strict, False)


async def test_an_etcd_that_is_lost_and_returns(scene: Scene, database: str) -> None:
    cluster = scene.cluster
    await scene.begin(database, cluster.dsn(database, scene.leader), scene.standby)
    async with scene.load():
        scene.fault("kill -9 of etcd")
        await asyncio.to_thread(cluster.etcd.kill)
        await asyncio.sleep(TTL + 2 * LOOP)
        assert await asyncio.to_thread(lambda: cluster.leader) is None, "it leads without a lease"
        scene.fault("etcd is started again")
        await asyncio.to_thread(cluster.start_etcd)
        await scene.back()
        await asyncio.to_thread(cluster.whole)
    await scene.over("etcd lost, from its return", FAILOVER, promoted=True)


@pytest.mark.pgbouncer
async def test_a_pooler_that_is_led_to_the_new_leader(scene: Scene, database: str) -> None:
    # After a login that failed pgbouncer waits 15 s by default before it tries again.
    with PgBouncer(scene.leader.dsn(database), "session", server_login_retry="1") as pooler:
        await scene.begin(database, pooler.dsn, scene.standby)
        async with scene.load():
            scene.fault("kill -9 of the leader's PostgreSQL and Patroni, behind pgbouncer")
            await asyncio.to_thread(scene.leader.kill_both)
            await new_leader(scene)
            scene.fault("RELOAD and RECONNECT of pgbouncer")
            await pooler.lead_to(scene.standby.dsn(database))
            await scene.back()
            await asyncio.to_thread(scene.leader.kill)
            await asyncio.to_thread(scene.cluster.whole)
        await scene.over("leader killed, pgbouncer led to the new one", RECONNECTED, promoted=True)
