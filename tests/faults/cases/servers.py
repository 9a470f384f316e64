"""Servers killed at the worst moment, cut off from the database, restarted in turn; and what passes between them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio

from jobqueue.v1 import lease_pb2
from jobqueue_server.core.digest import key_digest
from jobqueue_server.lifecycle import Event as Exit
from jobqueue_server.lifecycle import Status
from tests.faults.case import case
from tests.faults.journal import Event
from tests.faults.processes import FaultyWorker
from tests.faults.stage import Stage

TTL = 5.0
# A statement that is not yet prepared on its connection is two messages, and the second needs the answer to the first.
# Each try prepares one connection of four.
_TRIES = 8
# $1 digest of the key, $2 anything.
_SAME_KEY = """
insert into idempotency_key (namespace_id, digest, job_id, request_digest, expires_at)
values (1, $1, gen_random_uuid(), $2, now() + interval '1 day')
"""
_Verdict = lease_pb2.SettleResult.Verdict


@asynccontextmanager
async def locked(stage: Stage, table: str) -> AsyncIterator[None]:
    """Holds a lock on a table for the body, so that what would write to it waits."""
    connection = await stage.connection()
    async with connection.transaction():
        await connection.execute(f"lock table {table} in exclusive mode")
        yield


@asynccontextmanager
async def same_key(stage: Stage, key: str) -> AsyncIterator[None]:
    """For the body, whoever enqueues under the same key waits, its look at the session's epoch behind it."""
    connection = await stage.connection()
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(_SAME_KEY, key_digest(1, key), key.encode())
    try:
        yield
    finally:
        await transaction.rollback()


async def waits_for_lock(stage: Stage, statement: str) -> None:
    """Waits until a statement, by its transition's name, waits for a lock."""
    waiting = (
        "select exists (select from pg_stat_activity where wait_event_type = 'Lock'"
        " and datname = current_database() and query like $1)"
    )
    await stage.until(
        lambda: stage.value(waiting, f"-- {statement}%"), f"a {statement} that waits for the lock"
    )


async def came(stage: Stage, look: str, *arguments: object) -> bool:
    """Whether a statement answers true within two seconds."""
    try:
        await stage.until(lambda: stage.value(look, *arguments), look, 2)
    except AssertionError:
        return False
    return True


@case(
    "killed_after_claim",
    "kill -9 of the server between a claim's commit and its hand-over: given again, uncharged",
    bound=60,
)
async def killed_after_claim(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    await stage.database()
    to_database, dsn = await stage.database_proxy()
    first, second = await stage.server("first", dsn), await stage.server("second")
    here, there = stage.producer(first.address), stage.producer(second.address)
    worker = await stage.hand(here, "worker", slots=0, ttl=TTL)
    leased = "select count(*) = 4 from live_job where state = 2"
    for _ in range(_TRIES):
        ids = await here.put_many(4)
        async with locked(stage, "live_job"):
            await worker.capacity(4)
            await waits_for_lock(stage, "claim")
            to_database.one_way(to_database.down)
        # The claim goes on now, and commits; its answer stays in the proxy.
        if await came(stage, leased):
            break
        to_database.passing()
        await worker.succeed(*await worker.jobs(4))
        await worker.capacity(0)
        await worker.heartbeat()
    else:
        raise AssertionError("no claim committed without a further message")
    stage.fault("kill -9 of the server, whose claim has committed")
    first.kill()
    again = await stage.hand(there, "worker", slots=4, ttl=TTL, resume=worker.resume())
    at = time.time()
    jobs = await again.jobs(4)
    stage.figure("resume to delivery", time.time() - at, 1)
    assert {job.id for job in jobs} == set(ids), "other jobs were delivered"
    await again.succeed(*jobs)
    await stage.over()
    charged = await stage.value("select count(*) from finished_job where losses + failures > 0")
    stage.figure("jobs charged", charged, 0, "")


@case(
    "killed_after_settle",
    "kill -9 of the server between a settlement's commit and its answer: told once more",
    bound=60,
)
async def killed_after_settle(stage: Stage) -> None:
    await stage.database()
    to_database, dsn = await stage.database_proxy()
    first, second = await stage.server("first", dsn), await stage.server("second")
    here, there = stage.producer(first.address), stage.producer(second.address)
    worker = await stage.hand(here, "worker", slots=4, ttl=TTL)
    for number in range(_TRIES):
        await here.put_many(4)
        jobs = await worker.jobs(4)
        await worker.heartbeat()
        to_database.one_way(to_database.down)
        await worker.report([job.lease_id for job in jobs])
        if await came(stage, "select count(*) = $1 from finished_job", 4 * (number + 1)):
            break
        to_database.passing()
        await worker.next("settled")
    else:
        raise AssertionError("no settlement committed without a further message")
    assert not worker.has("settled"), "the answer came"
    stage.fault("kill -9 of the server, whose settlement has committed")
    first.kill()
    again = await stage.hand(there, "worker", slots=4, ttl=TTL, resume=worker.resume(unanswered=jobs))
    results = await again.settle([job.lease_id for job in jobs])
    verdicts = [_Verdict.Name(result.verdict) for result in results]
    assert verdicts == ["ALREADY_APPLIED"] * 4, verdicts
    await stage.over()
    again_run = await stage.value("select count(*) from finished_job where attempts > 1")
    stage.figure("jobs that ran again", again_run, 0, "")


@case(
    "killed_after_enqueue",
    "kill -9 of the server between an enqueue's commit and its answer: the key finds the job",
    bound=60,
)
async def killed_after_enqueue(stage: Stage) -> None:
    await stage.database()
    stage.all_jobs_over = False
    to_database, dsn = await stage.database_proxy()
    first, second = await stage.server("first", dsn), await stage.server("second")
    here, there = stage.producer(first.address), stage.producer(second.address)
    stored = "select exists (select from job where idempotency_key = $1)"
    await here.put()
    for number in range(_TRIES):
        key = f"key-{number}"
        to_database.one_way(to_database.down)
        putting = asyncio.create_task(here.put(key=key, token=key))
        if await came(stage, stored, key):
            break
        to_database.passing()
        await putting
    else:
        raise AssertionError("no enqueue committed without a further message")
    assert not putting.done(), "the answer came"
    stage.fault("kill -9 of the server, whose enqueue has committed")
    first.kill()
    [outcome] = await asyncio.gather(putting, return_exceptions=True)
    assert isinstance(outcome, grpc.aio.AioRpcError), f"acknowledged by a server that was killed: {outcome}"
    id = await there.put(key=key, token=key)
    kept = await stage.sql("select id::text from job where idempotency_key = $1", key)
    assert [row["id"] for row in kept] == [id], f"the replay answered {id}, and {kept} is stored"
    stage.figure("jobs of one key", len(kept), 1, "")


@case(
    "late_hand_off",
    "a hand-off commits after its session went on elsewhere, its server alive or dead: found, given again",
    bound=90,
)
async def late_hand_off(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    await stage.database()
    servers = [await stage.server(name) for name in ("first", "second")]
    callers = [stage.producer(server.address) for server in servers]
    worker = await stage.hand(callers[0], "worker", slots=2, ttl=30)
    await callers[0].put()
    await worker.succeed(await worker.job())
    for fate, here, there in (("alive", 0, 1), ("dead", 1, 0)):
        async with same_key(stage, fate):
            putting = asyncio.create_task(callers[here].put(key=fate))
            await waits_for_lock(stage, "enqueue")
            stage.fault(f"the session goes on elsewhere before its hand-off commits; the server is {fate}")
            if fate == "dead":
                servers[here].kill()
                worker.cut()
            resume = worker.resume()
            worker = await stage.hand_back(callers[there], "worker", slots=2, ttl=30, resume=resume)
            leased = await stage.value("select count(*) from live_job where state = 2")
            assert leased == 0, "the hand-off did not wait"
        at = time.time()
        await asyncio.gather(putting, return_exceptions=True)
        job = await worker.job(30)
        assert job.attempt == 2, "it was stored to wait: the race was missed"
        # The audit looks every 10 s at leases that are older than 10 s.
        stage.figure(f"commit to delivery, server {fate}", time.time() - at, 22)
        await worker.succeed(job)
    await stage.over()
    charged = await stage.value("select sum(losses + failures)::int from finished_job")
    stage.figure("jobs charged", charged, 0, "")


@case(
    "server_cut_off",
    "one server of two can't reach the database: its workers go to the other, no job harmed",
    bound=90,
)
async def server_cut_off(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    await stage.database()
    to_database, dsn = await stage.database_proxy()
    first, second = await stage.server("first", dsn), await stage.server("second")
    gate = stage.folder / "gate"
    await stage.workers(["w0", "w1"], first.address, second.address, slots=4, ttl=TTL)
    here, there = stage.producer(first.address), stage.producer(second.address)
    await here.put_many(8, gate=str(gate))
    await stage.started(8)
    at = stage.fault("the first server can't reach the database")
    to_database.black_hole()

    def moved() -> float:
        back = {event.who: event.at for event in stage.events("welcome", since=at)}
        return max(back.values()) if len(back) == 2 else 0

    # A server that could not renew for 8 s sends GoAway; its heartbeat is tried for 2 s each half second.
    stage.figure("silence to workers moved", await stage.until(moved, "both workers elsewhere", 30) - at, 14)
    started = time.monotonic()
    try:
        await here.put(timeout=20)
        raise AssertionError("acknowledged without a database")
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
    stage.figure("refusal of the one cut off", time.monotonic() - started, 13)
    await there.put_many(20)
    gate.touch()
    await stage.over()
    # Longer than ttl and 12 s: the sessions that it may still count as its own are not its to end.
    await asyncio.sleep(12)
    back_at = stage.fault("the database can be reached again")
    to_database.passing()
    to_database.reset()

    async def serves() -> bool:
        try:
            await here.put(timeout=5)
            return True
        except grpc.aio.AioRpcError:
            return False

    await stage.until(serves, "service of the one that was cut off", 20)
    stage.figure("back to the first OK", time.time() - back_at, 2)
    await stage.over()
    harmed = await stage.value("select count(*) from finished_job where losses + failures > 0")
    stage.figure("jobs harmed", harmed, 0, "")


@case(
    "rolling_restart",
    "two servers and four workers restarted in turn under load: no job is interrupted",
    bound=180,
)
async def rolling_restart(stage: Stage) -> None:
    # A delivery that crosses a Drain goes back unstarted.
    stage.explained = {Exit.UNDELIVERED, Exit.RELEASE}
    await stage.database()
    servers = [await stage.server(name, shutdown_grace="3s") for name in ("first", "second")]
    addresses = [server.address for server in servers]
    workers: list[FaultyWorker] = []
    for number in range(4):
        order = addresses[number % 2 :] + addresses[: number % 2]
        workers += await stage.workers([f"w{number}"], *order, slots=8, ttl=10)
    producers = [stage.producer(address) for address in addresses]
    async with (
        producers[0].load(50, seconds=0.05) as here,
        producers[1].load(50, seconds=0.05) as there,
        producers[0].load(3, seconds=4) as long_here,
    ):
        await stage.started(50)
        for round_number in range(stage.count(2)):
            for number, address in enumerate(addresses):
                stage.fault(f"SIGTERM of server {number + 1}, round {round_number + 1}")
                servers[number].terminate()
                assert await servers[number].ended() == 0
                servers[number] = await stage.server(
                    f"server-{number}-{round_number}", grpc_addr=address, shutdown_grace="3s"
                )
                await asyncio.sleep(stage.random.uniform(0.5, 1.5))
        for number, worker in enumerate(workers):
            stage.fault(f"SIGTERM of worker {number + 1}")
            worker.terminate()
            order = addresses[number % 2 :] + addresses[: number % 2]
            await stage.workers([f"w{number}-next"], *order, slots=8, ttl=10)
            assert await worker.ended() == 0
    await stage.over()
    stage.figure("acknowledged", len(here) + len(there) + len(long_here), unit="")
    interrupted = [event for event in stage.events("ended") if event.how != "returned"]
    stage.figure("handlers interrupted", len(interrupted), 0, "")
    again = {event.lease for event in stage.events("started") if event.attempt > 1}
    stage.figure("jobs started again", len(again), 0, "")
    harmed = await stage.value("select count(*) from finished_job where losses + failures > 0")
    stage.figure("jobs charged", harmed, 0, "")


@case(
    "delivered_while_moving",
    "a job comes on the old stream when a worker has asked to go on elsewhere: it is not run here and there",
    bound=60,
)
async def delivered_while_moving(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    await stage.database()
    first, second = await stage.server("first", shutdown_grace="10s"), await stage.server("second")
    to_second = await stage.proxy(second.address)
    await stage.workers(["w"], first.address, to_second.address, ttl=30)
    here = stage.producer(first.address)
    await here.put()
    await stage.started(1)
    # Its Hello to the second server stays in the proxy; a hand-off of the first one waits to commit.
    to_second.one_way(to_second.up)
    async with same_key(stage, "late"):
        putting = asyncio.create_task(here.put(key="late"))
        await waits_for_lock(stage, "enqueue")
        at = stage.fault("SIGTERM of the server, with a hand-off that waits to commit")
        first.terminate()
        await stage.until(lambda: stage.events("go_away"), "GoAway")
        await stage.until(lambda: stage.events("capacity", since=at), "a Hello to the second server")
    await asyncio.gather(putting, return_exceptions=True)
    await stage.until(lambda: stage.events("delivered", since=at), "the delivery on the old stream")
    to_second.passing()
    await stage.over()
    starts = [event.id for event in stage.events("started")]
    stage.figure("jobs that ran twice", len(starts) - len(set(starts)), 0, "")


@case(
    "servers_killed",
    "kill -9 of one server of two under load, again and again: workers resume, nothing is lost",
    bound=150,
)
async def servers_killed(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    await stage.database()
    servers = [await stage.server(name) for name in ("first", "second")]
    addresses = [server.address for server in servers]
    for number in range(3):
        order = addresses[number % 2 :] + addresses[: number % 2]
        await stage.workers([f"w{number}"], *order, slots=8, ttl=10)
    producers = [stage.producer(address) for address in addresses]
    async with producers[0].load(50, seconds=0.05) as here, producers[1].load(50, seconds=0.05) as there:
        for number in range(stage.count(8, 2)):
            await asyncio.sleep(stage.random.uniform(0.5, 1.5))
            which = stage.random.randrange(2)
            stage.fault(f"kill -9 of server {which + 1}, {number + 1}")
            servers[which].kill()
            await asyncio.sleep(stage.random.uniform(0, 1))
            servers[which] = await stage.server(f"server-{number}", grpc_addr=addresses[which])
    await stage.over()
    stage.figure("acknowledged", len(here) + len(there), unit="")
    harmed = await stage.value("select count(*) from finished_job where losses + failures > 0")
    stage.figure("jobs harmed", harmed, 0, "")
    again = await stage.value("select count(*) from finished_job where attempts > 1")
    stage.figure("jobs delivered again", again, unit="")


@case("across_servers", "enqueued and cancelled on one server, run on another: told at once", bound=90)
async def across_servers(stage: Stage) -> None:
    await told_across(stage, "on", to_start=0.5, to_cancel=0.5)


@case(
    "across_servers_by_polling", "the same without notices between servers: within a second or so", bound=90
)
async def across_servers_by_polling(stage: Stage) -> None:
    # Each looks once a second.
    await told_across(stage, "off", to_start=1.5, to_cancel=1.5)


async def told_across(stage: Stage, notify: str, *, to_start: float, to_cancel: float) -> None:
    """Enqueues and cancels on one server what runs on the other; the limits are in seconds."""
    stage.explained = {Exit.CANCELLED}
    await stage.database()
    first, second = [await stage.server(name, notify=notify) for name in ("first", "second")]
    await stage.workers(["w"], first.address, slots=4, ttl=TTL)
    there = stage.producer(second.address)
    await there.put()
    await stage.started(1)

    async def seen(what: str, id: str) -> Event:
        """What a handler noted of a job."""
        events = lambda: [event for event in stage.events(what) if event.id == id]  # noqa: E731
        found: list[Event] = await stage.until(events, f"a job that {what}", 35)
        return found[0]

    waits = []
    for _ in range(stage.count(10, 3)):
        at = time.time()
        waits.append((await seen("started", await there.put())).at - at)
    stage.figure("enqueue to start elsewhere, most", max(waits), to_start)
    cancels = []
    for _ in range(stage.count(5, 2)):
        id = await there.put(gate="never")
        await seen("started", id)
        at = time.time()
        stage.journal.note("cancel_asked", id=id)
        await there.cancel(id)
        end = await seen("ended", id)
        assert end.how == "cancel", end
        cancels.append(end.at - at)
    stage.figure("cancel to handler elsewhere, most", max(cancels), to_cancel)
    await stage.over()
    cancelled = await stage.value(
        "select count(*) from finished_job where status = $1", int(Status.CANCELLED)
    )
    assert cancelled == len(cancels), f"{cancelled} of {len(cancels)} are CANCELLED"
