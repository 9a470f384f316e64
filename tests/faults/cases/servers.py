"""Servers killed at the worst moment, cut off from the database, restarted in turn; and what passes between them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio

from jobqueue.v1 import lease_pb2
from jobqueue_server.lifecycle import Event as Exit
from jobqueue_server.lifecycle import Status
from tests.faults.case import case
from tests.faults.journal import Event
from tests.faults.processes import FaultyWorker
from tests.faults.stage import Stage

TTL = 5.0
_Verdict = lease_pb2.SettleResult.Verdict


@asynccontextmanager
async def locked(stage: Stage, table: str) -> AsyncIterator[None]:
    """Holds a lock on a table for the body, so that what would write to it waits."""
    connection = await stage.connection()
    async with connection.transaction():
        await connection.execute(f"lock table {table} in exclusive mode")
        yield


async def waits_for_lock(stage: Stage, statement: str) -> None:
    """Waits until a statement, by its transition's name, waits for a lock."""
    waiting = (
        "select exists (select from pg_stat_activity where wait_event_type = 'Lock'"
        " and datname = current_database() and query like $1)"
    )
    await stage.until(
        lambda: stage.value(waiting, f"-- {statement}%"), f"a {statement} that waits for the lock"
    )


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
    # The claim is prepared on its connection: it is then one message to the database.
    for _ in range(3):
        await here.put_many(4)
        await worker.capacity(4)
        await worker.succeed(*await worker.jobs(4))
        await worker.capacity(0)
        await worker.heartbeat()
    ids = await here.put_many(4)
    async with locked(stage, "live_job"):
        await worker.capacity(4)
        await waits_for_lock(stage, "claim")
        to_database.one_way(to_database.down)
    # The claim goes on now, and commits; its answer stays in the proxy.
    leased = "select count(*) = 4 from live_job where state = 2"
    await stage.until(lambda: stage.value(leased), "four claimed jobs")
    stage.fault("kill -9 of the server, whose claim has committed")
    first.kill()
    again = await stage.hand(there, "worker", slots=4, ttl=TTL, resume=worker.resume())
    at = time.time()
    jobs = await again.jobs(4)
    stage.figure("resume to delivery", time.time() - at, 1)
    assert {job.id for job in jobs} == set(ids)
    await again.succeed(*jobs)
    await stage.over()
    charged = await stage.value("select count(*) from finished_job where losses + failures > 0")
    stage.figure("jobs charged", charged, 0, "")


@case(
    "killed_before_answer",
    "kill -9 of the server between the commit and the answer, of settlements and enqueues",
    bound=60,
)
async def killed_before_answer(stage: Stage) -> None:
    await stage.database()
    to_database, dsn = await stage.database_proxy()
    first, second = await stage.server("first", dsn), await stage.server("second")
    here, there = stage.producer(first.address), stage.producer(second.address)
    worker = await stage.hand(here, "worker", slots=4, ttl=TTL)
    # The statements are prepared on their connections: each is then one message to the database.
    for number in range(3):
        await here.put("later", key=f"prepared-{number}")
        await here.put_many(4)
        await worker.succeed(*await worker.jobs(4))
    await here.put_many(4)
    jobs = await worker.jobs(4)
    await worker.heartbeat()
    to_database.one_way(to_database.down)
    await worker.report([job.lease_id for job in jobs])
    enqueuing = asyncio.create_task(here.put("later", key="a key", token="keyed"))
    settled = "select count(*) = 16 from finished_job"
    stored = "select exists (select from job where idempotency_key = 'a key')"
    await stage.until(lambda: stage.value(settled), "four settled jobs in the database")
    await stage.until(lambda: stage.value(stored), "the job in the database")
    assert not worker.has("settled")
    assert not enqueuing.done()
    stage.fault("kill -9 of the server, which has answered nothing")
    first.kill()
    outcome = (await asyncio.gather(enqueuing, return_exceptions=True))[0]
    assert isinstance(outcome, grpc.aio.AioRpcError), outcome
    again = await stage.hand(there, "worker", slots=4, ttl=TTL, resume=worker.resume(unanswered=jobs))
    results = await again.settle([job.lease_id for job in jobs])
    verdicts = [_Verdict.Name(result.verdict) for result in results]
    assert verdicts == ["ALREADY_APPLIED"] * 4, verdicts
    # The caller doesn't know whether its job is stored; the key lets it ask again.
    id = await there.put("later", key="a key", token="keyed")
    kept = await stage.value("select id::text from job where idempotency_key = 'a key'")
    assert id == kept, f"the replay answered {id}, and {kept} is stored"
    stage.figure("settled or stored twice", 0, 0, "")
    stage.all_jobs_over = False


@case(
    "late_hand_off",
    "a hand-off that commits after its session went on elsewhere: found by the audit",
    bound=90,
)
async def late_hand_off(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    await stage.database()
    first, second = await stage.server("first"), await stage.server("second")
    here, there = stage.producer(first.address), stage.producer(second.address)
    worker = await stage.hand(here, "worker", slots=2, ttl=30)
    await here.put()
    await worker.succeed(await worker.job())
    async with locked(stage, "job"):
        putting = asyncio.create_task(here.put())
        await waits_for_lock(stage, "enqueue")
        stage.fault("the session goes on elsewhere while its hand-off waits to commit")
        again = await stage.hand(there, "worker", slots=2, ttl=30, resume=worker.resume())
    at = time.time()
    id = await putting
    job = await again.job(30)
    assert job.id == id
    stage.figure("commit to delivery", time.time() - at, 22)
    await again.succeed(job)
    await stage.over()
    losses = await stage.value("select sum(losses + failures)::int from finished_job")
    stage.figure("jobs charged", losses, 0, "")


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


@case(
    "across_servers",
    "enqueued and cancelled on one server, run on another: told at once, by polling too",
    bound=90,
)
async def across_servers(stage: Stage) -> None:
    stage.explained = {Exit.CANCELLED}
    await stage.database()
    first, second = await stage.server("first"), await stage.server("second")
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
    stage.figure("enqueue to start elsewhere, most", max(waits), 0.2)
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
    stage.figure("cancel to handler elsewhere, most", max(cancels), 1)
    await stage.over()
    cancelled = await stage.value(
        "select count(*) from finished_job where status = $1", int(Status.CANCELLED)
    )
    assert cancelled == len(cancels), f"{cancelled} of {len(cancels)} are CANCELLED"
