"""Limits of a queue and of a kind in total, with everything that dies."""

from __future__ import annotations

import asyncio
import time

from google.protobuf.duration_pb2 import Duration

from jobqueue.v1 import queue_admin_pb2
from jobqueue_server.lifecycle import Event as Exit
from tests.faults.case import case
from tests.faults.stage import Stage

from .limits import TTL, attempts_at_once, ended_of, lose

OF_QUEUE, OF_KIND = 12, 3
RATE, BURST = 100, 5
# By the database's clock, in which the rate is counted. A job that was lost has started twice.
STARTS = """
with start as (
    select started_at
    from (select id, started_at from finished_job union all select job_id, started_at from attempt) s
    join job using (id)
    join lane l on l.id = job.lane_id
    join kind k on k.id = l.kind_id
    where k.name = 'work'
)
"""
MOST_IN_A_SECOND = (
    STARTS
    + """
select max(starts) from (
    select count(*) over (order by started_at range between current row and interval '999.999 ms' following) as starts
    from start
) s
"""
)
A_SECOND = (
    STARTS
    + """
select (count(*) - 1) / extract(epoch from max(started_at) - min(started_at))::float8 from start
"""
)


@case(
    "totals",
    "kill -9 of workers and a server: no more jobs of a queue and of a kind run at once than each of them lets",
    bound=240,
)
async def totals(stage: Stage) -> None:
    stage.explained = {Exit.LOST, Exit.UNDELIVERED, Exit.UNSEEN}
    await stage.database()
    servers = [await stage.server(name) for name in ("first", "second")]
    addresses = [server.address for server in servers]
    producer = stage.producer(addresses[0])
    queue = queue_admin_pb2.Queue(name="default", limits=queue_admin_pb2.Limits(max_running=OF_QUEUE))
    await producer.admin.UpdateQueue(queue_admin_pb2.UpdateQueueRequest(queue=queue, allow_missing=True))
    kind = queue_admin_pb2.Kind(name="snoozing", limits=queue_admin_pb2.Limits(max_running=OF_KIND))
    await producer.admin.PutKind(queue_admin_pb2.PutKindRequest(kind=kind))
    names = [f"w{number}" for number in range(4)]
    workers = dict(zip(names, await stage.workers(names, *addresses, slots=10, ttl=TTL), strict=True))
    kind_of: dict[str, str] = {}
    died: dict[str, float] = {}
    for turn in range(3):
        for name, jobs in (("work", 300), ("snoozing", 60)):
            ids = await producer.put_many(stage.count(jobs, least=40), name, seconds=0.05)
            kind_of |= dict.fromkeys(ids, name)
        await stage.started(OF_QUEUE, who=names[turn] if turn < 2 else None)
        victim, at = await lose(stage, turn, workers, servers, addresses, slots=10)
        died[victim] = at
    await stage.over(within=150)
    most = attempts_at_once(stage, dict.fromkeys(kind_of, "default"), died)
    stage.figure("attempts of the queue at once", most, OF_QUEUE, "")
    snoozing = {id: kind if kind == "snoozing" else id for id, kind in kind_of.items()}
    stage.figure("attempts of the kind at once", attempts_at_once(stage, snoozing, died), OF_KIND, "")


@case(
    "total_rate",
    "a queue of 100 starts a second on two servers: no second has more than the burst beside it, and the rate is used",
    bound=240,
)
async def total_rate(stage: Stage) -> None:
    await at_rate(stage, of_kind=False)


@case(
    "kind_rate",
    "the same of a kind, whose jobs are in line with those of another kind that has no limit",
    bound=240,
)
async def kind_rate(stage: Stage) -> None:
    await at_rate(stage, of_kind=True)


async def at_rate(stage: Stage, *, of_kind: bool) -> None:
    """Jobs start at the rate of their queue, or of their kind beside others, while a worker and a server are killed."""
    stage.explained = {Exit.LOST, Exit.UNDELIVERED, Exit.UNSEEN}
    await stage.database()
    servers = [await stage.server(name) for name in ("first", "second")]
    addresses = [server.address for server in servers]
    producer = stage.producer(addresses[0])
    limits = queue_admin_pb2.Limits(
        rate=queue_admin_pb2.Rate(count=RATE, period=Duration(seconds=1), burst=BURST)
    )
    if of_kind:
        kind = queue_admin_pb2.Kind(name="work", limits=limits)
        await producer.admin.PutKind(queue_admin_pb2.PutKindRequest(kind=kind))
    else:
        queue = queue_admin_pb2.Queue(name="default", limits=limits)
        await producer.admin.UpdateQueue(queue_admin_pb2.UpdateQueueRequest(queue=queue, allow_missing=True))
    steady = RATE * stage.count(60, least=5)
    await producer.put_many(steady + 5 * RATE, seconds=0.05)
    others = set(await producer.put_many(RATE, "snoozing")) if of_kind else set()
    since = time.time()
    workers = await stage.workers(["w0", "w1", "w2"], *addresses, slots=20, ttl=TTL)
    await ended_of(stage, steady, within=120)
    if others:
        ends = [
            event.at - since for event in stage.events("ended") if event.id in others and event.attempt == 2
        ]
        assert len(ends) == len(others), "jobs of the kind without a limit have not ended"
        stage.figure("until the last job of the kind without a limit had ended", max(ends), 10)
    stage.figure(
        "starts a second that the rate lets and that were not", RATE - await stage.value(A_SECOND), 1, ""
    )
    stage.fault("kill -9 of a worker", worker="w0")
    workers[0].kill()
    await asyncio.sleep(1)
    stage.fault("kill -9 of a server")
    servers[1].kill()
    await stage.over(within=60)
    stage.figure("starts in a second", await stage.value(MOST_IN_A_SECOND), RATE + BURST - 1, "")
