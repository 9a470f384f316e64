"""Keys that take turns, with everything that dies."""

from __future__ import annotations

from jobqueue.v1 import queue_admin_pb2
from jobqueue_server.lifecycle import Event as Exit
from tests.faults.case import case
from tests.faults.stage import Stage

from .limits import DRIFTED, ended_of

TTL = 5.0
WITHIN = 5.0


@case(
    "fair",
    "one tenant has very many jobs, 99 have one: these start at once, while workers and a server are killed",
    bound=400,
)
async def fair(stage: Stage) -> None:
    await one_large(stage, 10_000, within=200)


@case("fair_large", "the same with 100,000 jobs of the one tenant", bound=1800, by_name=True)
async def fair_large(stage: Stage) -> None:
    await one_large(stage, 100_000, within=1200)


async def one_large(stage: Stage, jobs: int, within: float) -> None:
    """Enqueues so many jobs of one tenant, and one of each of 99 others. All have ended within so many seconds."""
    stage.explained = {Exit.LOST, Exit.UNDELIVERED, Exit.UNSEEN}
    await stage.database()
    servers = [await stage.server(name) for name in ("first", "second")]
    addresses = [server.address for server in servers]
    producer = stage.producer(addresses[0])
    policy = queue_admin_pb2.KeyPolicy(fair=True)
    queue = queue_admin_pb2.Queue(name="default", key_policy=policy)
    await producer.admin.UpdateQueue(queue_admin_pb2.UpdateQueueRequest(queue=queue, allow_missing=True))
    names = [f"w{number}" for number in range(3)]
    workers = await stage.workers(names, *addresses, slots=20, ttl=TTL)
    large = stage.count(jobs, least=1000)
    await producer.put_many(large, queue_key="large", seconds=0.05)
    tenants = [f"tenant-{number}" for number in range(99)]
    few = set(await producer.put_keyed(tenants, seconds=0.05))
    asked = max(event.at for event in stage.events("enqueued") if event.said.get("id") in few)

    def started() -> list[float]:
        return [
            event.at - asked for event in stage.events("started") if event.id in few and event.attempt == 1
        ]

    await stage.until(lambda: len(started()) == len(few), "a start of each tenant's job", within=60)
    left = large + len(few) - await stage.value("select count(*) from finished_job")
    stage.figure("until the last of 99 tenants had its start", max(started()), WITHIN)
    stage.figure("jobs of the large tenant then", left, None, "")
    assert left > large / 2, "the large tenant was nearly through"
    for turn in range(2):
        await ended_of(stage, round(large * (0.5 + turn / 4)), within=within)
        stage.fault("kill -9 of a worker", worker=names[turn])
        workers[turn].kill()
        if turn:
            stage.fault("kill -9 of a server")
            servers[1].kill()
        names.append(f"w{len(names)}")
        workers += await stage.workers([names[-1]], addresses[0], slots=20, ttl=TTL)
    await stage.over(within=within)
    stage.figure("counts that are not those of the jobs", await stage.value(DRIFTED), 0, "")
    out = await stage.value("select coalesce(sum(taken + waiting), 0) from semaphore")
    stage.figure("tokens out at the end", out, 0, "")
