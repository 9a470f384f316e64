"""Jobs that are held back, and their releases, while servers die."""

from __future__ import annotations

import asyncio
from collections import Counter

import grpc.aio

from jobqueue.v1 import jobqueue_pb2
from jobqueue_server.lifecycle import Event as Exit
from jobqueue_server.lifecycle import Hold
from tests.faults.case import case
from tests.faults.processes import Server
from tests.faults.producer import Producer
from tests.faults.stage import Stage
from tests.lease.hand_worker import reason_of

TTL = 30.0


@case(
    "held_jobs",
    "releases of held jobs, each asked for twice, while servers are killed: started once by them, never without",
    bound=150,
)
async def held_jobs(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED, Exit.RELEASE}
    await stage.database()
    servers = [await stage.server(name) for name in ("first", "second")]
    addresses = [server.address for server in servers]
    callers = [stage.producer(address) for address in addresses]
    held: list[str] = []
    for number in range(2):
        held += await callers[number].put_many(stage.count(300, 20), hold=True)
    released, kept = held[::2], held[1::2]
    for number in range(2):
        order = addresses[number:] + addresses[:number]
        await stage.workers([f"w{number}"], *order, slots=8, ttl=TTL)
    answers: Counter[str] = Counter()
    dying = asyncio.create_task(_die_in_turn(stage, servers, addresses))
    try:
        # Jobs that are not held run meanwhile, in the same line.
        async with callers[0].load(20), callers[1].load(20):
            turns = asyncio.Semaphore(8)
            first = [(id, by) for id in released for by in (0, 1)]
            await asyncio.gather(*(_release(id, callers, by, answers, turns) for id, by in first))
            await dying
    finally:
        dying.cancel()

    async def over() -> bool:
        return not await stage.value("select exists (select from live_job where hold is null)")

    await stage.until(over, "an end of every job that is not held", 90)
    still = await stage.value("select count(*) from live_job where hold = $1", Hold.HAND)
    assert still == len(kept), f"{still} of {len(kept)} jobs are held that nobody has released"
    starts = Counter(event.id for event in stage.events("started"))
    stage.figure("started without a release", sum(starts[id] for id in kept), 0, "")
    stage.figure("released and not started", sum(not starts[id] for id in released), 0, "")
    stage.figure("started twice", sum(count > 1 for count in starts.values()), 0, "")
    stage.figure("releases of one job that were answered OK", max(answers.values(), default=0), 1, "")
    for id in kept:
        await callers[0].cancel(id)
    await stage.over()


async def _release(
    id: str, callers: list[Producer], by: int, answers: Counter[str], turns: asyncio.Semaphore
) -> None:
    """Asks one server after the other, from this one on, until one answers."""
    async with turns:
        while True:
            try:
                request = jobqueue_pb2.ReleaseJobRequest(id=id)
                await callers[by].stub.ReleaseJob(request, timeout=5)
                answers[id] += 1
                return
            except grpc.aio.AioRpcError as error:
                if reason_of(error) == "JOB_NOT_HELD":
                    return
                by = 1 - by
                await asyncio.sleep(0.05)


async def _die_in_turn(stage: Stage, servers: list[Server], addresses: list[str]) -> None:
    for number, server in enumerate(servers):
        await asyncio.sleep(stage.random.uniform(0.1, 0.5))
        stage.fault(f"kill -9 of server {number + 1}")
        server.kill()
        await server.ended()
        await stage.server(f"server-{number}-again", grpc_addr=addresses[number])
