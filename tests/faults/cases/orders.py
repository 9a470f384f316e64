"""Strict order of keys, with everything that dies and jobs that fail."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import grpc.aio
from google.protobuf.field_mask_pb2 import FieldMask

from jobqueue.v1 import jobqueue_pb2, queue_admin_pb2
from jobqueue_server.lifecycle import Event as Exit
from jobqueue_server.lifecycle import Status
from tests.faults.case import case
from tests.faults.journal import Event
from tests.faults.producer import Producer
from tests.faults.stage import Stage

from .limits import DRIFTED, TTL, attempts_at_once, lose

#: Jobs of a key, one after the other. Some fail once or for good, some ask for more time, some lose their worker.
KINDS = ("work", "flaky", "work", "breaks", "work", "snoozing")
# Not those whose rest is being cancelled.
BLOCKED = """
select blocked_by::text as id, key from semaphore join job on job.id = blocked_by where cancels_to is null
"""

FAILED = "select id::text, extract(epoch from finished_at)::float8 as at from finished_job where status = $1"
# Until an end is committed, and seen by who enqueues.
SEEN_WITHIN = 0.5


@dataclass(frozen=True, slots=True)
class Size:
    """How many keys there are and jobs of each, at scale 1; how long a job takes, and all of them, in seconds."""

    keys: int
    jobs: int
    seconds: float
    within: float


USUAL = Size(60, 10, seconds=0.2, within=150)


@case(
    "order_with_hold",
    "kill -9 of workers and a server, strict order: a key that a failed job holds starts none until it may go on",
    bound=240,
)
async def order_with_hold(stage: Stage) -> None:
    await in_order(stage, queue_admin_pb2.ON_KEY_FAILURE_HOLD)


@case(
    "order_with_continue",
    "kill -9 of workers and a server, strict order: jobs of a key start as their enqueues were answered",
    bound=240,
)
async def order_with_continue(stage: Stage) -> None:
    await in_order(stage, queue_admin_pb2.ON_KEY_FAILURE_CONTINUE)


@case(
    "order_with_cancel_rest",
    "kill -9 of workers and a server, strict order: a failure ends what waits for its key, and none that comes later",
    bound=240,
)
async def order_with_cancel_rest(stage: Stage) -> None:
    await in_order(stage, queue_admin_pb2.ON_KEY_FAILURE_CANCEL_REST)


@case(
    "order_large",
    "order_with_hold with 50 keys of 1,000 jobs each",
    bound=1800,
    by_name=True,
)
async def order_large(stage: Stage) -> None:
    await in_order(stage, queue_admin_pb2.ON_KEY_FAILURE_HOLD, Size(50, 1000, seconds=0.02, within=1200))


async def in_order(
    stage: Stage, on_failure: queue_admin_pb2.OnKeyFailure.ValueType, size: Size = USUAL
) -> None:
    """Enqueues jobs of many keys over two servers while workers and a server are killed."""
    stage.explained = {Exit.LOST, Exit.UNDELIVERED, Exit.UNSEEN}
    await stage.database()
    servers = [await stage.server(name) for name in ("first", "second")]
    addresses = [server.address for server in servers]
    producers = [stage.producer(address) for address in addresses]
    policy = queue_admin_pb2.KeyPolicy(order=queue_admin_pb2.KEY_ORDER_STRICT, on_failure=on_failure)
    await producers[0].admin.UpdateQueue(
        queue_admin_pb2.UpdateQueueRequest(
            queue=queue_admin_pb2.Queue(name="default", key_policy=policy),
            update_mask=FieldMask(paths=["key_policy"]),
            allow_missing=True,
        )
    )
    names = [f"w{number}" for number in range(3)]
    workers = dict(zip(names, await stage.workers(names, *addresses, slots=20, ttl=TTL), strict=True))
    cancels = on_failure == queue_admin_pb2.ON_KEY_FAILURE_CANCEL_REST
    died: dict[str, float] = {}
    answered: dict[str, list[str]] = {}
    keys = [f"account-{number}" for number in range(stage.count(size.keys, least=15))]
    async with asyncio.TaskGroup() as meanwhile:
        unblocking = meanwhile.create_task(_unblock(stage, producers))
        async with asyncio.TaskGroup() as group:
            for place, key in enumerate(keys):
                answered[key] = []
                pause = 0.5 if cancels else 0.0
                group.create_task(_produce(stage, producers, key, place, answered[key], pause, size))
            for turn in range(3):
                await stage.started(len(keys) * (turn + 1), within=60)
                victim, at = await lose(stage, turn, workers, servers, addresses, slots=20)
                died[victim] = at
        await stage.over(within=size.within)

        async def none_blocked() -> bool:
            return not await stage.sql(BLOCKED)

        await stage.until(none_blocked, "an end of what blocks keys")
        unblocking.cancel()
    key_of = {id: key for key, ids in answered.items() for id in ids}
    starts: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(stage.events("started"), key=lambda event: event.at):
        starts[key_of[event.id]].append(event)
    rows = await stage.sql("select id::text from finished_job where reason = 'KEY_CANCELLED'")
    cancelled = {row["id"] for row in rows}
    started = [[id for id in answered[key] if id not in cancelled] for key in keys]
    broken = [key for key, ids in zip(keys, started, strict=True) if not _kept(ids, starts[key])]
    stage.figure("keys whose order was broken", len(broken), 0, "")
    lost = await stage.value("select count(*) from attempt where outcome = $1", Exit.LOST)
    stage.figure("attempts that lost their worker", lost, None, "")
    stage.figure("attempts of a key at once", attempts_at_once(stage, key_of, died), 1, "")
    if on_failure == queue_admin_pb2.ON_KEY_FAILURE_HOLD:
        allowed = {event.id: event.at for event in reversed(stage.events("unblocking"))}
        early = [key for key in keys if _went_on_early(starts[key], stage.events("settled"), allowed)]
        stage.figure("jobs that blocked their keys", len(allowed), None, "")
        stage.figure("keys that went on while they were blocked", len(early), 0, "")
        assert allowed, "no job blocked its key"
    if cancels:
        stage.figure("jobs that were cancelled after a failure", len(cancelled), None, "")
        failed = {row["id"]: row["at"] for row in await stage.sql(FAILED, Status.FAILED_PERMANENT)}
        wrong = [id for key in keys for id in _wrongly_cancelled(stage, answered[key], cancelled, failed)]
        stage.figure("jobs that a failure cancelled and should not, or should and did not", len(wrong), 0, "")
        assert cancelled, "nothing was cancelled"
    else:
        assert not cancelled
    stage.figure("counts that are not those of the jobs", await stage.value(DRIFTED), 0, "")
    out = await stage.value("select coalesce(sum(taken + waiting), 0) from semaphore")
    stage.figure("tokens out at the end", out, 0, "")


async def _produce(
    stage: Stage,
    producers: Sequence[Producer],
    key: str,
    place: int,
    answered: list[str],
    pause: float,
    size: Size,
) -> None:
    """Enqueues the jobs of a key on one server after the other, each once the one before it was answered."""
    for number in range(stage.count(size.jobs, least=5)):
        kind = KINDS[(number + place) % len(KINDS)]
        token = f"{key}-{number}"
        await asyncio.sleep(stage.random.uniform(0, pause))
        for turn in itertools.count():
            producer = producers[(number + turn) % len(producers)]
            try:
                # One that got no answer may be there: the same token finds it.
                answered.append(
                    await producer.put(
                        kind,
                        key=token,
                        token=token,
                        timeout=5,
                        queue_key=key,
                        backoff=0.1,
                        seconds=size.seconds,
                    )
                )
                break
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.1)


async def _unblock(stage: Stage, producers: Sequence[Producer]) -> None:
    """Lets blocked keys go on, by a retry of the job or without it. Says so before, and once the end was noted."""
    connection = await stage.connection()
    for turn in itertools.count():
        noted = {event.id for event in stage.events("terminal")}
        for row in await connection.fetch(BLOCKED):
            if row["id"] not in noted:
                continue
            stage.journal.note("unblocking", id=row["id"])
            try:
                if stage.random.random() < 0.5:
                    stage.journal.note("retry_asked", id=row["id"])
                    retry = jobqueue_pb2.RetryJobRequest(id=row["id"])
                    await producers[turn % 2].stub.RetryJob(retry, timeout=5)
                else:
                    request = queue_admin_pb2.UnblockQueueKeyRequest(queue="default", key=row["key"])
                    await producers[turn % 2].admin.UnblockQueueKey(request, timeout=5)
            except grpc.aio.AioRpcError:
                # It is seen again, or has gone on.
                continue
        await asyncio.sleep(0.2)


def _kept(answered: Sequence[str], starts: Sequence[Event]) -> bool:
    """Whether each job's attempts began before those of all that were answered after it, and each job had one."""
    place = {id: number for number, id in enumerate(answered)}
    began = [place[event.id] for event in starts]
    return began == sorted(began) and set(began) == set(place.values())


def _went_on_early(starts: Sequence[Event], settled: Sequence[Event], allowed: Mapping[str, float]) -> bool:
    """Whether a job began behind one that had failed for good, before that was let go on."""
    failed = {event.lease for event in settled if event.outcome == "failure" and event.verdict == "APPLIED"}
    for event, following in itertools.pairwise(starts):
        broke = event.lease in failed and event.said["kind"] == "breaks"
        if broke and following.at < allowed.get(event.id, float("inf")):
            return True
    return False


def _wrongly_cancelled(
    stage: Stage, answered: Sequence[str], cancelled: Collection[str], failed_at: Mapping[str, float]
) -> Iterator[str]:
    """The jobs of a key that came after each failure was known and were cancelled, or waited before it and were not."""
    asked: dict[str, float] = {}
    for event in stage.events("enqueuing"):
        asked.setdefault(event.token, event.at)
    stored = {
        event.id: (event.at, asked[event.token]) for event in stage.events("enqueued") if event.code == "OK"
    }
    broke: dict[str, float] = {}
    for event in stage.events("settling"):
        if event.id in failed_at:
            broke.setdefault(event.id, event.at)
    for place, id in enumerate(answered):
        failed = [other for other in answered[:place] if other in broke]
        if id in cancelled:
            if not any(failed_at[other] + SEEN_WITHIN >= stored[id][1] for other in failed):
                yield id
        elif any(stored[id][0] < broke[other] for other in failed):
            yield id
