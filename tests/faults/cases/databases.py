"""The database goes: for longer than any ttl, or by kill -9 again and again."""

from __future__ import annotations

import asyncio
import time

import grpc.aio

from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.lifecycle import Event as Exit
from tests.faults.case import case
from tests.faults.producer import Producer
from tests.faults.stage import Stage

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
