"""Workers that die, leave in the middle of their work, kill one another's neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from jobqueue_server.lifecycle import Event as Exit
from jobqueue_server.lifecycle import Status
from tests.faults.case import case
from tests.faults.stage import Stage, redelivered

TTL = 5.0


@case(
    "worker_killed",
    "kill -9 of a worker: its jobs start elsewhere within ttl + 2 s of its last frame",
    bound=60,
)
async def worker_killed(stage: Stage) -> None:
    stage.explained = {Exit.LOST}
    await stage.database()
    server = await stage.server("server")
    [victim] = await stage.workers(["victim"], server.address, ttl=TTL)
    producer = stage.producer(server.address)
    await producer.put_many(8, gate="never")
    await stage.started(8)
    await stage.heard("victim")
    await stage.workers(["heir"], server.address, ttl=TTL)
    await asyncio.sleep(stage.random.uniform(0, 2))
    killed_at = stage.fault("kill -9 of the worker")
    victim.kill()
    await stage.over()
    most, least = redelivered(stage, "victim", killed_at)
    stage.figure("last frame to redelivery", most, TTL + 2)
    assert least >= TTL, f"redelivered {TTL - least:.3f} s before the ttl was over"
    losses = await stage.value("select count(*) from finished_job where losses = 1 and failures = 0")
    assert losses == 8, f"{losses} of 8 jobs are charged with one loss and no failure"


@case(
    "worker_and_server_killed",
    "kill -9 of a worker and its server at once: its jobs start on another within 12 s + 2 s",
    bound=60,
)
async def worker_and_server_killed(stage: Stage) -> None:
    stage.explained = {Exit.LOST, Exit.UNDELIVERED}
    await stage.database()
    first, second = await stage.server("first"), await stage.server("second")
    [victim] = await stage.workers(["victim"], first.address, ttl=TTL)
    await stage.producer(second.address).put_many(8, gate="never")
    await stage.started(8)
    await stage.heard("victim")
    await stage.workers(["heir"], second.address, ttl=TTL)
    killed_at = stage.fault("kill -9 of server and worker")
    first.kill()
    victim.kill()
    await stage.over()
    most, least = redelivered(stage, "victim", killed_at)
    stage.figure("last frame to redelivery", most, 14)
    assert least >= TTL, f"redelivered {TTL - least:.3f} s before the ttl was over"


@asynccontextmanager
async def replaced(stage: Stage, names: list[str], address: str) -> AsyncIterator[list[str]]:
    """Workers that are started anew as often as they die; yields the names of those that died, one for each death."""
    running = await stage.workers(names, address, slots=4, ttl=TTL)
    workers = dict(zip(names, running, strict=True))
    deaths: list[str] = []

    async def supervise() -> None:
        while True:
            for name, worker in workers.items():
                if not worker.runs:
                    deaths.append(name)
                    # Another journal: a name has one session at a time, and the number of its leases begins anew.
                    workers[name] = stage.worker(f"{name}-{len(deaths)}", address, slots=4, ttl=TTL)
            await asyncio.sleep(0.05)

    supervisor = asyncio.create_task(supervise())
    try:
        yield deaths
    finally:
        supervisor.cancel()


@case(
    "poison", "jobs that kill their workers end at their cap, and take no innocent one with them", bound=150
)
async def poison(stage: Stage) -> None:
    stage.explained = {Exit.LOST, Exit.UNDELIVERED, Exit.RELEASE}
    await stage.database()
    server = await stage.server("server")
    producer = stage.producer(server.address)
    async with replaced(stage, ["w0", "w1", "w2"], server.address) as deaths:
        async with producer.load(20, seconds=0.3):
            await stage.started(12)
            stage.fault("two poison jobs")
            bad = [await producer.put("poison") for _ in range(2)]

            async def both() -> bool:
                rows = await stage.sql("select id from finished_job where id = any($1::uuid[])", bad)
                return len(rows) == 2

            await stage.until(both, "an end of the poison", 100)
        await stage.over()
    ends = {
        str(row["id"]): row
        for row in await stage.sql("select id, status, reason, losses, failures from finished_job")
    }
    for id in bad:
        found = (ends[id]["status"], ends[id]["reason"], ends[id]["losses"], ends[id]["failures"])
        assert found == (Status.FAILED_PERMANENT, "LOST_TOO_OFTEN", 5, 0), found
    innocents = [row for id, row in ends.items() if id not in bad]
    assert {(row["status"], row["failures"]) for row in innocents} == {(Status.SUCCEEDED, 0)}
    stage.figure("deaths of workers", len(deaths), 10, "")
    stage.figure("most losses of an innocent", max(row["losses"] for row in innocents), 4, "")


@case(
    "kills_at_once",
    "a job that kills its worker in the first line of its handler is charged, isolated, and ends at its cap",
    bound=150,
)
async def kills_at_once(stage: Stage) -> None:
    stage.explained = {Exit.LOST, Exit.UNDELIVERED}
    await stage.database()
    server = await stage.server("server")
    producer = stage.producer(server.address)
    async with replaced(stage, ["w0", "w1"], server.address) as deaths:
        async with producer.load(20, seconds=0.3):
            await stage.started(8)
            stage.fault("a job that kills at once")
            bad = await producer.put("kills_at_once")
            ended = "select exists (select from finished_job where id = $1::uuid)"
            await stage.until(lambda: stage.value(ended, bad), "an end of the job that kills", 120)
        await stage.over()
    [end] = await stage.sql(
        "select status, reason, losses, attempts from finished_job where id = $1::uuid", bad
    )
    assert (end["status"], end["reason"], end["losses"]) == (Status.FAILED_PERMANENT, "LOST_TOO_OFTEN", 5), (
        end
    )
    # Two that isolate it, whether they were seen or not, and five losses.
    stage.figure("deaths of workers", len(deaths), 7, "")
    others = await stage.sql("select losses, status, failures from finished_job where id <> $1::uuid", bad)
    assert {(row["status"], row["failures"]) for row in others} == {(Status.SUCCEEDED, 0)}
    stage.figure("most losses of an innocent", max(row["losses"] for row in others), 2, "")


@case(
    "many_lost",
    "a hundred workers die with five jobs each: all start again within ttl + 2 s, not one at a time",
    bound=90,
)
async def many_lost(stage: Stage) -> None:
    stage.explained = {Exit.LOST}
    await stage.database()
    server = await stage.server("server")
    producer = stage.producer(server.address)
    victims = [
        await stage.hand(producer, f"victim-{number}", slots=5, ttl=TTL)
        for number in range(stage.count(100, 10))
    ]
    jobs = 5 * len(victims)
    await producer.put_many(jobs)
    await asyncio.gather(*(victim.jobs(5) for victim in victims))
    await asyncio.gather(*(victim.heartbeat() for victim in victims))
    lost_at = stage.fault("all of them are cut")
    for victim in victims:
        victim.cut()
    await stage.workers(["heir-1", "heir-2"], server.address, slots=jobs, ttl=TTL)
    starts = sorted(event.at - lost_at for event in await stage.started(jobs) if event.attempt == 2)
    assert len(starts) == jobs, f"{len(starts)} of {jobs} lost jobs started again"
    stage.figure("p99, last frame to redelivery", starts[jobs * 99 // 100 - 1], TTL + 2)
    await stage.over()
    charged = await stage.value("select count(*) from finished_job where losses = 1 and failures = 0")
    assert charged == jobs, f"{charged} of {jobs} jobs are charged with one loss and no failure"


@case(
    "drain_unfinished",
    "SIGTERM with work that does not end: it goes back uncharged and starts elsewhere",
    bound=60,
)
async def drain_unfinished(stage: Stage) -> None:
    stage.explained = {Exit.RELEASE}
    await stage.database()
    server = await stage.server("server")
    gate = stage.folder / "gate"
    [leaver] = await stage.workers(["leaver"], server.address, ttl=TTL, grace=1)
    await stage.producer(server.address).put_many(8, gate=str(gate))
    await stage.started(8)
    await stage.workers(["stayer"], server.address, ttl=TTL)
    at = stage.fault("SIGTERM of the worker")
    leaver.terminate()
    starts = await stage.started(8, who="stayer")
    stage.figure("SIGTERM to redelivery", max(event.at for event in starts) - at, 1 + 2)
    code = await leaver.ended()
    assert code == 0, f"the worker ended with {code}"
    gate.touch()
    await stage.over()
    charged = await stage.value("select count(*) from finished_job where failures + losses > 0")
    assert charged == 0, f"{charged} jobs were charged for a drain"
