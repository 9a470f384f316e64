"""Servers that end, as told or by kill -9, and workers that go on with the next."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time

from jobqueue_server.lifecycle import Event as Exit
from tests.faults.case import case
from tests.faults.locks import held_insert, waits_for_lock
from tests.faults.processes import FaultyWorker, Server
from tests.faults.stage import Stage
from tests.lease.hand_worker import HandWorker

TTL = 5.0


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
    starts = [event.id for event in stage.events("started")]
    stage.figure("jobs that ran twice", len(starts) - len(set(starts)), 0, "")
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
    async with held_insert(stage):
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


@case(
    "processes_killed",
    "kill -9 of one process of a server with two, again and again: started anew, nothing is lost",
    bound=120,
)
async def processes_killed(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    await stage.database()
    server = await stage.server("server", processes="2")
    await server.line("all processes are ready")
    await stage.workers([f"w{number}" for number in range(4)], server.address, slots=8, ttl=10)
    producer = stage.producer(server.address)
    async with producer.load(60, seconds=0.05) as acknowledged:
        # In turn: one that dies again and again is started after a wait that doubles each time.
        for number in range(stage.count(6, 2)):
            await asyncio.sleep(stage.random.uniform(0.5, 1.5))
            which, ready = number % 2, readied(server)
            stage.fault(f"kill -9 of process {which}, {number + 1}")
            os.kill(processes_of(server)[which], signal.SIGKILL)
            await stage.until(lambda: readied(server) > ready, "another process that is ready")  # noqa: B023
    await stage.over()
    stage.figure("acknowledged", len(acknowledged), unit="")
    harmed = await stage.value("select count(*) from finished_job where losses + failures > 0")
    stage.figure("jobs harmed", harmed, 0, "")


def readied(server: Server) -> int:
    """How often a process of it was ready."""
    return server.log.read_text().count("jobqueue-server is ready")


def processes_of(server: Server) -> dict[int, int]:
    """The process id of each number, as the server has logged it last."""
    found: dict[int, int] = {}
    for line in server.log.read_text().splitlines():
        if "a server process starts" in line:
            said = json.loads(line)
            found[said["process"]] = said["pid"]
    return found


@case(
    "old_connections",
    "connections that may get two seconds old, under load: workers move on, no job notices",
    bound=90,
)
async def old_connections(stage: Stage) -> None:
    # What is delivered while a worker moves is not begun.
    stage.explained = {Exit.UNDELIVERED, Exit.RELEASE}
    await stage.database()
    servers = [await stage.server(name, connection_max_age="2s") for name in ("first", "second")]
    addresses = [server.address for server in servers]
    for number in range(4):
        order = addresses[number % 2 :] + addresses[: number % 2]
        await stage.workers([f"w{number}"], *order, slots=8, ttl=10)
    producers = [stage.producer(address) for address in addresses]
    async with producers[0].load(60, seconds=0.02) as here, producers[1].load(60, seconds=0.3) as there:
        await asyncio.sleep(stage.count(15, 5))
    await stage.over()
    stage.figure("acknowledged", len(here) + len(there), unit="")
    stage.figure("moves", len(stage.events("welcome")) - 4, unit="")
    interrupted = [event for event in stage.events("ended") if event.how != "returned"]
    stage.figure("handlers interrupted", len(interrupted), 0, "")
    starts = [event.id for event in stage.events("started")]
    stage.figure("jobs that ran twice", len(starts) - len(set(starts)), 0, "")
    refused = [event for event in stage.events("enqueued") if event.code != "OK"]
    stage.figure("enqueues refused", len(refused), 0, "")


@case("comeback", "500 workers lose their server and come back at once: each keeps its job", bound=150)
async def comeback(stage: Stage) -> None:
    await stage.database()
    first = await stage.server("first")
    producer = stage.producer(first.address)
    workers = stage.count(500, 20)
    hands = []
    for start in range(0, workers, 50):
        names = [f"w{number}" for number in range(start, min(workers, start + 50))]
        hands += await asyncio.gather(*(stage.hand(producer, name, slots=1, ttl=30) for name in names))
    await producer.put_many(workers)
    jobs = await asyncio.gather(*(hand.job(30) for hand in hands))
    await asyncio.gather(*(hand.heartbeat() for hand in hands))
    at = stage.fault("kill -9 of the server")
    first.kill()
    second = await stage.server("second", grpc_addr=first.address)
    stage.tell(f"{workers} workers come back")
    ready_at = time.time()
    other = stage.producer(second.address)

    async def back(number: int) -> HandWorker:
        resume = hands[number].resume(held=[jobs[number]])
        return await stage.hand_back(other, f"w{number}", slots=1, ttl=30, resume=resume)

    again = await asyncio.gather(*(back(number) for number in range(workers)))
    stage.figure("server ready to all back", time.time() - ready_at, 15)
    stage.figure("kill to all back", time.time() - at, unit="s")
    kept = sum(len(hand.welcome.kept) for hand in again)
    stage.figure("jobs not kept", workers - kept, 0, "")
    await asyncio.gather(*(hand.succeed(job) for hand, job in zip(again, jobs, strict=True)))
    await stage.over()
