"""Limits of keys that change under load, and backlogs of keys and of a queue, with everything that dies."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import grpc.aio
from google.protobuf.field_mask_pb2 import FieldMask

from jobqueue.v1 import queue_admin_pb2
from jobqueue_server.lifecycle import Event as Exit
from tests.faults.case import case
from tests.faults.producer import Producer
from tests.faults.stage import Stage

from .limits import DRIFTED, limit_keys

TTL = 5.0
LIMITS = (5, 50, 1)
KEYS = tuple(f"key-{number}" for number in range(10))
MOST_WAITING = 20
LET_IN = """
select semaphore_id as id, count(*) as jobs from live_job
where semaphore_id is not null and hold is null group by semaphore_id
"""
# A job that comes back waits for its key whatever waits there.
WAIT = """
select coalesce(max(jobs), 0) from (
    select count(*) as jobs from live_job where hold = 1 and attempts = 0 group by semaphore_id
) w
"""

# Those that no worker has, for whatever reason.
WAIT_IN_QUEUE = "select count(*) from live_job where session_id is null"
MOST_IN_QUEUE = 400
#: So many jobs a second on each server, more than the workers end.
ENQUEUED = 150
#: In seconds: each server counts the queue so often, and a little for the count and what is under way.
COUNTED = 1.25


@case(
    "limit_changes",
    "the limit of keys goes from 5 to 50 to 1 and on while workers and a server are killed: none passes it",
    bound=300,
)
async def limit_changes(stage: Stage) -> None:
    stage.explained = {Exit.LOST, Exit.UNDELIVERED, Exit.UNSEEN}
    await stage.database()
    servers = [await stage.server(name) for name in ("first", "second")]
    addresses = [server.address for server in servers]
    producer = stage.producer(addresses[0])
    await limit_keys(producer, LIMITS[-1])
    workers = await stage.workers(["w0", "w1", "w2"], *addresses, slots=100, ttl=TTL)
    feeding = asyncio.create_task(_feed(stage, producer))
    above = 0
    try:
        for turn in range(stage.count(24, least=6)):
            limit = LIMITS[turn % len(LIMITS)]
            # With two servers it answers once both of them know, which takes two seconds.
            await limit_keys(producer, limit)
            above += await _looks(stage, limit)
            if turn == 3:
                stage.fault("kill -9 of a worker", worker="w0")
                workers[0].kill()
                await stage.workers(["w3"], *addresses, slots=100, ttl=TTL)
            elif turn == 4:
                stage.fault("kill -9 of a server")
                servers[1].kill()
                await servers[1].ended()
                await stage.server("second-again", grpc_addr=addresses[1])
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
    await limit_keys(producer, LIMITS[1])
    await stage.over(within=100)
    stage.figure("times that a key was above its limit, or a count wrong", above, 0, "")
    stage.figure("counts that are not those of the jobs", await stage.value(DRIFTED), 0, "")
    out = await stage.value("select coalesce(sum(taken + waiting), 0) from semaphore")
    stage.figure("tokens out at the end", out, 0, "")


async def _feed(stage: Stage, producer: Producer) -> None:
    """Keeps a few hundred jobs there."""
    while True:
        if await stage.value("select count(*) from (select from live_job limit 600) l") < 600:
            with_keys = [stage.random.choice(KEYS) for _ in range(200)]
            await producer.put_keyed(with_keys, seconds=0.1)
        await asyncio.sleep(0.1)


async def _looks(stage: Stage, limit: int) -> int:
    """Looks for half a second. Nothing is revoked where a limit is lowered, but none is let in until there is room.

    Returns:
        How often a key had more than its limit lets: more than at the look before, or once it had come down to it, or
        in the end. And how many counts are not right.
    """
    connection = await stage.connection()
    before: dict[int, int] = {}
    within: set[int] = set()
    wrong = 0
    for look in range(20):
        now = {row["id"]: row["jobs"] for row in await connection.fetch(LET_IN)}
        most = {each: limit if each in within else max(limit, before.get(each, 0)) for each in now}
        wrong += sum(look > 0 and jobs > most[each] for each, jobs in now.items())
        wrong += await connection.fetchval(DRIFTED)
        within |= {each for each, jobs in now.items() if jobs <= limit}
        before = now
        await asyncio.sleep(0.025)
    connection.terminate()
    return wrong + len(before.keys() - within)


@case(
    "key_backlog",
    "many callers on two servers flood a few keys while workers and a server are killed: no more wait than may",
    bound=240,
)
async def key_backlog(stage: Stage) -> None:
    stage.explained = {Exit.LOST, Exit.UNDELIVERED, Exit.UNSEEN}
    await stage.database()
    servers = [await stage.server(name) for name in ("first", "second")]
    addresses = [server.address for server in servers]
    producers = [stage.producer(address) for address in addresses]
    policy = queue_admin_pb2.KeyPolicy(max_running=2, max_waiting=MOST_WAITING)
    await producers[0].admin.UpdateQueue(
        queue_admin_pb2.UpdateQueueRequest(
            queue=queue_admin_pb2.Queue(name="default", key_policy=policy),
            update_mask=FieldMask(paths=["key_policy"]),
            allow_missing=True,
        )
    )
    names = [f"w{number}" for number in range(3)]
    workers = await stage.workers(names, *addresses, slots=10, ttl=TTL)
    flood = [
        asyncio.create_task(_flood(stage, producers, number)) for number in range(stage.count(16, least=8))
    ]
    most = 0
    try:
        for turn in range(stage.count(100, least=30)):
            most = max(most, await stage.value(WAIT))
            if turn == 10:
                stage.fault("kill -9 of a worker", worker=names[0])
                workers[0].kill()
            elif turn == 20:
                stage.fault("kill -9 of a server")
                servers[1].kill()
                await servers[1].ended()
                await stage.server("second-again", grpc_addr=addresses[1])
            await asyncio.sleep(0.1)
    finally:
        for each in flood:
            each.cancel()
        refused = sum(count for count in await asyncio.gather(*flood) if isinstance(count, int))
    await stage.over(within=100)
    stage.figure("jobs that waited for a key", most, MOST_WAITING, "")
    stage.figure("calls that were refused", refused, None, "")
    assert refused, "no call was refused"
    assert most == MOST_WAITING, "no key was ever full"
    stage.figure("counts that are not those of the jobs", await stage.value(DRIFTED), 0, "")
    out = await stage.value("select coalesce(sum(taken + waiting), 0) from semaphore")
    stage.figure("tokens out at the end", out, 0, "")


@case(
    "queue_backlog",
    "producers on two servers fill a queue while workers and servers are killed: what waits is above its limit by no "
    "more than the other server stores between two counts, and a queue that has room refuses none",
    bound=240,
)
async def queue_backlog(stage: Stage) -> None:
    stage.explained = {Exit.LOST, Exit.UNDELIVERED, Exit.UNSEEN}
    await stage.database()
    servers = {name: await stage.server(name) for name in ("first", "second")}
    addresses = [server.address for server in servers.values()]
    producers = [stage.producer(address) for address in addresses]
    queue = queue_admin_pb2.Queue(name="default", max_waiting=MOST_IN_QUEUE)
    await producers[0].admin.UpdateQueue(queue_admin_pb2.UpdateQueueRequest(queue=queue, allow_missing=True))
    names = [f"w{number}" for number in range(2)]
    workers = dict(zip(names, await stage.workers(names, *addresses, slots=5, ttl=TTL), strict=True))
    most = 0
    async with producers[0].load(ENQUEUED, seconds=0.1), producers[1].load(ENQUEUED, seconds=0.1):
        for turn in range(stage.count(200, least=100)):
            most = max(most, await stage.value(WAIT_IN_QUEUE))
            if turn in (60, 75):
                name = "second" if turn == 60 else "first"
                stage.fault("kill -9 of a server", server=name)
                servers[name].kill()
                await servers[name].ended()
                servers[name] = await stage.server(f"{name}-again", grpc_addr=servers[name].address)
            elif turn == 45:
                stage.fault("kill -9 of a worker", worker=names[0])
                workers[names[0]].kill()
                await stage.workers(["w2"], *addresses, slots=5, ttl=TTL)
            await asyncio.sleep(0.1)
    full = len([event for event in stage.events("enqueued") if event.code == "RESOURCE_EXHAUSTED"])
    stage.figure("calls that were refused", full, None, "")
    assert full, "no call was refused"
    above = (len(producers) - 1) * ENQUEUED * COUNTED
    stage.figure("jobs that waited", most, MOST_IN_QUEUE + above, "")
    # Many workers come, and the queue has room again.
    await stage.workers(["w3"], *addresses, slots=200, ttl=TTL)
    await stage.over(within=60)
    await asyncio.sleep(2 * COUNTED)
    since = stage.fault("the queue is empty")
    await producers[0].put_many(MOST_IN_QUEUE // 2)
    await producers[1].put_many(MOST_IN_QUEUE // 4)
    refused = [event for event in stage.events("enqueued", since=since) if event.code != "OK"]
    stage.figure("calls that were refused though there was room", len(refused), 0, "")
    await stage.over()


async def _flood(stage: Stage, producers: Sequence[Producer], number: int) -> int:
    """Enqueues three jobs at a time until it is cancelled; how many calls were refused."""
    refused = 0
    try:
        for turn in itertools.count(number):
            try:
                key = stage.random.choice(KEYS)
                await producers[turn % 2].put_many(3, queue_key=key, seconds=0.1)
            except grpc.aio.AioRpcError as error:
                refused += error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        pass
    return refused
