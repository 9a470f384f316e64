"""The database goes: for longer than any ttl, or by kill -9 again and again."""

from __future__ import annotations

import asyncio
import json
import time

import grpc.aio

from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.lifecycle import Event as Exit
from jobqueue_server.store import migrate
from tests.conftest import Cluster
from tests.faults.case import case
from tests.faults.producer import Producer
from tests.faults.stage import Stage
from tests.login import HOWS, Login
from tests.pgbouncer import PROGRAM, PgBouncer
from tests.standby import freeze, run, thaw

TTL = 5.0


async def first_answer(producer: Producer) -> float:
    """Enqueues until it is acknowledged; when that was."""
    while True:
        try:
            await producer.put()
            return time.time()
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.02)


async def back(stage: Stage, postgres: EmbeddedPostgres) -> float:
    """Starts it again; when it took connections."""
    await asyncio.to_thread(postgres.start)
    return stage.fault("PostgreSQL is back")


@case(
    "database_away",
    "the database is away for three times the ttl, for one server of two for longer: nobody is lost",
    bound=120,
)
async def database_away(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    postgres = await stage.own_cluster()
    to_database, dsn = await stage.database_proxy()
    first, second = await stage.server("first"), await stage.server("second", dsn)
    gate = stage.folder / "gate"
    for name, server, other in (("w0", first, second), ("w1", second, first)):
        await stage.workers([name], server.address, other.address, slots=8, ttl=TTL)
    producer = stage.producer(first.address)
    await producer.put_many(12, gate=str(gate))
    await stage.started(12)
    for name in ("w0", "w1"):
        await stage.heard(name)
    stage.fault("kill -9 of PostgreSQL")
    await asyncio.to_thread(postgres.kill)
    to_database.refuse()
    slowest = await slowest_refusal(producer, 3 * TTL)
    stage.figure("slowest refusal", slowest, 1)
    back_at = await back(stage, postgres)
    stage.figure("back to the first OK", await first_answer(producer) - back_at, 2)
    # To the first server the second one looks dead for longer than 12 s, and its sessions with it.
    await asyncio.sleep(2)
    to_database.passing()
    await stage.started(13)
    gate.touch()
    await stage.over()
    # The reaper has its chance.
    await asyncio.sleep(TTL)
    losses = await stage.value("select sum(losses)::int from finished_job")
    stage.figure("jobs lost by the outage", losses, 0, "")
    ended = await stage.value("select count(*) from worker_session where ended_at is not null")
    stage.figure("sessions ended", ended, 0, "")


@case(
    "database_returns",
    "the database is away for three seconds: service resumes within 2 s, no restart",
    bound=60,
)
async def database_returns(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    postgres = await stage.own_cluster()
    server = await stage.server("server")
    await stage.workers(["w0"], server.address, ttl=TTL)
    producer = stage.producer(server.address)
    await producer.put()
    for number in range(stage.count(3)):
        stage.fault(f"kill -9 of PostgreSQL {number + 1}")
        await asyncio.to_thread(postgres.kill)
        await slowest_refusal(producer, stage.random.uniform(2, 4))
        back_at = await back(stage, postgres)
        stage.figure(f"back to the first OK, {number + 1}", await first_answer(producer) - back_at, 2)
        starts = await stage.until(lambda: stage.events("started", since=back_at), "a start of a handler")  # noqa: B023
        stage.figure(f"back to the first start, {number + 1}", starts[0].at - back_at, 2)
    await stage.over()


async def slowest_refusal(producer: Producer, seconds: float) -> float:
    """Enqueues for so long while there is no database, and answers how long the slowest refusal took.

    Raises:
        AssertionError: An enqueue was acknowledged.
    """
    until = time.monotonic() + seconds
    slowest = 0.0
    while time.monotonic() < until:
        started = time.monotonic()
        try:
            await producer.put()
            raise AssertionError("an enqueue was acknowledged without a database")
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
        slowest = max(slowest, time.monotonic() - started)
        await asyncio.sleep(0.2)
    return slowest


@case(
    "database_refuses",
    "the database refuses logins in six ways: it is away without a traceback, and back within 2 s of letting them in",
    bound=150,
)
async def database_refuses(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    postgres = await stage.own_cluster(migrated=False)
    login = await asyncio.to_thread(Login, Cluster(postgres.dsn))
    await migrate.up(login.owner_dsn, login.role)
    stage.use(login.owner_dsn)
    server = await stage.server("server", login.dsn)
    await stage.workers(["w0"], server.address, ttl=20)
    producer = stage.producer(server.address)
    await producer.put()
    resumed = 0.0
    for how in stage.random.sample(HOWS, stage.count(len(HOWS), 2)):
        stage.fault(f"logins are refused: {how}")
        await asyncio.to_thread(login.refuse, how)
        await asyncio.to_thread(login.hang_up)
        await slowest_refusal(producer, stage.random.uniform(2, 4))
        await asyncio.to_thread(login.let_in, how)
        back_at = stage.fault("logins are let in again")
        resumed = max(resumed, await first_answer(producer) - back_at)
    await stage.over()
    stage.figure("let in to the first OK, the slowest", resumed, 2)
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    stage.figure("tracebacks", sum("exception" in line for line in lines), 0, "")
    untold = [
        line for line in lines if line["level"] == "error" and "the database is away: " not in line["message"]
    ]
    stage.figure("other lines of level error", len(untold), 0, "")


@case(
    "former_primary",
    "a primary freezes, its standby is promoted, it thaws and comes back read-write: it gets no job, nothing is lost",
    bound=150,
)
async def former_primary(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    pair = await stage.own_pair()
    servers = [await stage.server(name, pair.dsn) for name in ("first", "second")]
    for number, server in enumerate(servers):
        await stage.workers([f"w{number}"], server.address, ttl=20)
    producers = [stage.producer(server.address) for server in servers]
    async with producers[0].load(40, seconds=0.02) as here, producers[1].load(40, seconds=0.02) as there:
        await asyncio.sleep(1)
        stage.fault("the primary freezes")
        frozen = freeze(pair.old)
        try:
            await asyncio.sleep(stage.random.uniform(0, 3))
            await pair.promote()
            promoted_at = stage.fault("its standby is promoted")
            resumed = max(await asyncio.gather(*map(first_answer, producers))) - promoted_at
        finally:
            thaw(frozen)
        stage.fault("the former primary thaws")
        await asyncio.sleep(1)
        stage.fault("the former primary is started again, and takes writes")
        await asyncio.to_thread(pair.old.kill)
        await asyncio.to_thread(pair.old.start)
        # What it had written before, and could not tell its standby, waits no more.
        await run(pair.old.dsn, "alter system reset synchronous_standby_names")
        await run(pair.old.dsn, "select pg_reload_conf()")
        before = await run(pair.old.dsn, "select count(*) from job")
        for _ in range(stage.count(6, 2)):
            stage.fault("every connection to the new primary ends")
            await run(
                pair.new.dsn,
                "select count(pg_terminate_backend(pid)) from pg_stat_activity "
                "where application_name like 'jobqueue-server %'",
            )
            await asyncio.sleep(stage.random.uniform(0.3, 1))
    await stage.over()
    stage.figure("acknowledged", len(here) + len(there), unit="")
    stage.figure("promotion to the first OK", resumed, 5)
    written = await run(pair.old.dsn, "select count(*) from job") - before
    stage.figure("jobs written to the former primary", written, 0, "")


@case(
    "pooler",
    "behind pgbouncer in session mode, which is killed again and again: service resumes within 2 s",
    bound=120,
    lacks="" if PROGRAM else "pgbouncer",
)
async def pooler(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    postgres = await stage.own_cluster()
    pooler = PgBouncer(postgres.dsn, "session")
    with pooler:
        servers = [await stage.server(name, pooler.dsn) for name in ("first", "second")]
        for number, server in enumerate(servers):
            await stage.workers([f"w{number}"], server.address, ttl=20)
        producers = [stage.producer(server.address) for server in servers]
        resumed = 0.0
        async with producers[0].load(40, seconds=0.02) as here, producers[1].load(40, seconds=0.02) as there:
            for number in range(stage.count(5, 2)):
                await asyncio.sleep(stage.random.uniform(0.5, 1.5))
                stage.fault(f"kill -9 of pgbouncer {number + 1}")
                await asyncio.to_thread(pooler.kill)
                await asyncio.sleep(stage.random.uniform(0, 2))
                await asyncio.to_thread(pooler.start)
                back_at = stage.fault("pgbouncer is back")
                resumed = max(
                    resumed, *[at - back_at for at in await asyncio.gather(*map(first_answer, producers))]
                )
        await stage.over()
    stage.figure("acknowledged", len(here) + len(there), unit="")
    stage.figure("slowest return of service", resumed, 2)


@case(
    "database_killed", "kill -9 of PostgreSQL under load, ten times: nothing acknowledged is lost", bound=240
)
async def database_killed(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    postgres = await stage.own_cluster()
    servers = [await stage.server(name) for name in ("first", "second")]
    for number in range(3):
        addresses = [server.address for server in servers]
        await stage.workers(
            [f"w{number}"], *addresses[number % 2 :], *addresses[: number % 2], slots=8, ttl=10
        )
    producers = [stage.producer(server.address) for server in servers]
    kills = stage.count(10, 2)
    resumed = 0.0
    async with producers[0].load(80, seconds=0.02) as here, producers[1].load(80, seconds=0.02) as there:
        for number in range(kills):
            await asyncio.sleep(stage.random.uniform(0.5, 1.5))
            stage.fault(f"kill -9 of PostgreSQL, {number + 1} of {kills}")
            await asyncio.to_thread(postgres.kill)
            await asyncio.sleep(stage.random.uniform(0, 1))
            back_at = await back(stage, postgres)
            resumed = max(resumed, *(await asyncio.gather(*map(first_answer, producers))), back_at) - back_at
    await stage.over()
    stage.figure("acknowledged", len(here) + len(there), unit="")
    stage.figure("slowest return of service", resumed, 2)
    harmed = await stage.value("select count(*) from finished_job where losses + failures > 0")
    stage.figure("jobs harmed", harmed, 0, "")
    again = await stage.value("select count(*) from finished_job where attempts > 1")
    stage.figure("jobs delivered again", again, unit="")
