"""A backlog of all sorts: jobs that wait for a worker, for their time, their queue, their kind, their key or a hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import asyncpg
import grpc.aio
from google.protobuf.duration_pb2 import Duration

from jobqueue.v1 import job_pb2, jobqueue_pb2, jobqueue_pb2_grpc, queue_admin_pb2, queue_admin_pb2_grpc

from .errors import BenchError
from .load import KIND, padded
from .scale import Scale
from .server import Server

_FILL = (Path(__file__).parent / "fill_waiting.sql").read_text()
_CHUNK = 500_000
_BATCH = 1000
_KEY, _HAND = 1, 4
_DAY = 86_400
_ONE_A_DAY = queue_admin_pb2.Rate(count=1, period=Duration(seconds=_DAY), burst=1)
# From the oldest, the newest, and from anywhere between.
_SOME_OF = """
select l.id from live_job l
where l.id between $1 and $2 and l.lane_id = $3 and l.state <> 2
"""


@dataclass(frozen=True, slots=True)
class Sort:
    """Jobs that wait for the same.

    Attributes:
        code: The reason that ExplainJob gives first, or behind what holds all jobs of its sort.
        jobs: How many at full scale.
        queue, kind: Theirs.
        keys: How many keys they have in turns; 0: none.
        held: Whether they are held back, and are in no line.
        delay: Seconds until they are due.
        priority: Theirs.
        first: How many of each key are enqueued by calls, before the others are written.
    """

    code: str
    jobs: int
    queue: str = "default"
    kind: str = KIND
    keys: int = 0
    held: bool = False
    delay: int = 0
    priority: int = 0
    first: int = 1


#: All together 10,000,000 that wait in line, and 1,000,000 that are held back.
SORTS = {
    "plain": Sort("NO_CREDIT", 8_990_000),
    "low priority": Sort("BEHIND", 10_000, priority=-10),
    "due later": Sort("NOT_DUE", 500_000, delay=_DAY),
    "paused queue": Sort("QUEUE_PAUSED", 100_000, queue="paused"),
    "queue's limit": Sort("QUEUE_AT_LIMIT", 100_000, queue="total"),
    "queue's rate": Sort("QUEUE_RATE", 100_000, queue="rate"),
    "kind's limit": Sort("KIND_AT_LIMIT", 100_000, kind="kind-total"),
    "kind's rate": Sort("KIND_RATE", 50_000, kind="kind-rate"),
    "no worker": Sort("NO_WORKER", 50_000, kind="unwatched"),
    "one key": Sort("KEY_AT_LIMIT", 400_000, queue="one-key", keys=1, held=True),
    "100,000 keys": Sort("KEY_AT_LIMIT", 400_000, queue="keys", keys=100_000, held=True),
    "by hand": Sort("HELD_BY_HAND", 100_000, held=True),
    "key's rate": Sort("KEY_RATE", 20_000, queue="key-rate", keys=1, held=True, first=2),
    "paused key": Sort("KEY_PAUSED", 20_000, queue="key-paused", keys=1, held=True),
    "key's order": Sort("KEY_ORDER", 20_000, queue="key-order", keys=1, held=True),
    "blocked key": Sort("KEY_BLOCKED", 20_000, queue="key-blocked", keys=1, held=True, first=2),
    "key's turn": Sort("KEY_TURN", 20_000, queue="key-turn", keys=1, held=True, first=100),
}
#: The queues and kinds that workers take, and how many jobs of these may run; 0: any number.
WORKERS = (
    (("total", "rate"), (KIND,), 2),
    (("default",), ("kind-total", "kind-rate"), 2),
    (("default", "paused"), (KIND,), 0),
)
_ONE = queue_admin_pb2.KeyPolicy(max_running=1)
_POLICIES = {
    "one-key": _ONE,
    "keys": _ONE,
    "key-paused": _ONE,
    "key-rate": queue_admin_pb2.KeyPolicy(rate=_ONE_A_DAY),
    "key-order": queue_admin_pb2.KeyPolicy(max_running=1, order=queue_admin_pb2.KEY_ORDER_STRICT),
    "key-blocked": queue_admin_pb2.KeyPolicy(
        max_running=1,
        order=queue_admin_pb2.KEY_ORDER_STRICT,
        on_failure=queue_admin_pb2.ON_KEY_FAILURE_HOLD,
    ),
    "key-turn": queue_admin_pb2.KeyPolicy(fair=True),
}


@dataclass(frozen=True, slots=True)
class Filled:
    """Where the jobs of a sort are: in their lane, between two ids."""

    sort: Sort
    lane: int
    first: UUID
    last: UUID
    jobs: int

    async def ids(self, connection: Any, count: int, place: str, chance: Random) -> list[str]:
        """So many of them: the `oldest`, the `newest`, or `any`."""
        if place == "any":
            found = [await self._one(connection, chance) for _ in range(count)]
        else:
            way = "desc" if place == "newest" else "asc"
            query = f"{_SOME_OF} order by l.id {way} limit $4"
            rows = await connection.fetch(query, self.first, self.last, self.lane, count)
            found = [row["id"] for row in rows]
        if not found or None in found:
            raise BenchError(f"there are no jobs that wait for {self.sort.code}")
        return [str(each) for each in found]

    async def _one(self, connection: Any, chance: Random) -> UUID | None:
        low, high = self.first.int, self.last.int
        some = UUID(int=chance.randint(low, high))
        query = f"{_SOME_OF} order by l.id limit 1"
        found: UUID | None = await connection.fetchval(query, some, self.last, self.lane)
        return found or self.last


async def declare(server: Server) -> None:
    """Makes queues and kinds with their limits."""
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        admin = queue_admin_pb2_grpc.QueueAdminStub(channel)
        limits = {
            "kind-total": queue_admin_pb2.Limits(max_running=1),
            "kind-rate": queue_admin_pb2.Limits(rate=_ONE_A_DAY),
        }
        for kind in {sort.kind for sort in SORTS.values()}:
            told = queue_admin_pb2.Kind(name=kind, limits=limits.get(kind))
            await admin.PutKind(queue_admin_pb2.PutKindRequest(kind=told))
        queues = [
            queue_admin_pb2.Queue(name="total", limits=queue_admin_pb2.Limits(max_running=1)),
            queue_admin_pb2.Queue(name="rate", limits=queue_admin_pb2.Limits(rate=_ONE_A_DAY)),
            *(queue_admin_pb2.Queue(name=name, key_policy=policy) for name, policy in _POLICIES.items()),
        ]
        for queue in queues:
            await admin.UpdateQueue(queue_admin_pb2.UpdateQueueRequest(queue=queue, allow_missing=True))


async def begin(server: Server, scale: Scale) -> None:
    """Enqueues the first job of each sort and key, by calls, and then pauses and blocks what is to be so."""
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        stub = jobqueue_pb2_grpc.JobQueueStub(channel)
        admin = queue_admin_pb2_grpc.QueueAdminStub(channel)
        firsts: dict[str, str] = {}
        for name, sort in SORTS.items():
            jobs = [
                _job(sort, f"key-{number}" if sort.keys else "")
                for number in range(keys_of(sort, scale) or 1)
                for _ in range(sort.first)
            ]
            for start in range(0, len(jobs), _BATCH):
                request = jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs[start : start + _BATCH])
                results = (await stub.BatchEnqueueJobs(request)).results
                firsts.setdefault(name, results[0].id)
        await admin.PauseQueue(queue_admin_pb2.PauseQueueRequest(name="paused"))
        key = queue_admin_pb2.QueueKey(queue="key-paused", key="key-0", paused=True)
        await admin.UpdateQueueKey(queue_admin_pb2.UpdateQueueKeyRequest(queue_key=key))
        await stub.CancelJob(jobqueue_pb2.CancelJobRequest(id=firsts["blocked key"]))


def _job(sort: Sort, key: str) -> job_pb2.NewJob:
    job = job_pb2.NewJob(kind=sort.kind, queue=sort.queue, key=key, priority=sort.priority)
    job.payload_json = padded(128)
    job.hold = sort.held and not sort.keys
    if sort.delay:
        job.delay.seconds = sort.delay
    return job


def keys_of(sort: Sort, scale: Scale) -> int:
    """How many keys its jobs have; no more than jobs."""
    return min(sort.keys, scale.jobs(sort.jobs) // 4)


async def fill(dsn: str, scale: Scale, names: Sequence[str] = tuple(SORTS)) -> dict[str, Filled]:
    """Writes them."""
    connection = await asyncpg.connect(dsn)
    found = {}
    try:
        for name in names:
            sort = SORTS[name]
            lane = await connection.fetchval(
                "select l.id from lane l join kind k on k.id = l.kind_id join queue q on q.id = l.queue_id "
                "where k.name = $1 and q.name = $2",
                sort.kind,
                sort.queue,
            )
            jobs = scale.jobs(round(sort.jobs * scale.large_backlog / Scale().large_backlog))
            hold = (_KEY if sort.keys else _HAND) if sort.held else None
            delay, keys = timedelta(seconds=sort.delay), keys_of(sort, scale)
            ends = []
            for start in range(0, jobs, _CHUNK):
                count = min(_CHUNK, jobs - start)
                given = (lane, count, padded(128), delay, sort.priority, hold, keys)
                ends.append(await connection.fetchrow(_FILL, *given))
            found[name] = Filled(sort, lane, ends[0]["first"], ends[-1]["last"], jobs)
        await connection.execute("vacuum (analyze) live_job, job, semaphore")
        await connection.execute("checkpoint")
    finally:
        await connection.close()
    return found
