"""Limits by key, with everything that dies."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from jobqueue.v1 import queue_admin_pb2
from jobqueue_server.lifecycle import Event as Exit
from tests.faults.case import case
from tests.faults.processes import FaultyWorker, Server
from tests.faults.producer import Producer
from tests.faults.stage import Stage, last_frame

TTL = 5.0
# Of a key: so many starts in so many seconds.
RATE, PERIOD = 5, 5
STARTS_IN_A_PERIOD = """
select coalesce(max(starts), 0) from (
    select count(*) over (
        partition by j.key order by f.started_at range between current row and $1 * interval '1 second' following
    ) as starts
    from finished_job f join job j on j.id = f.id
) s
"""
DRIFTED = """
with live as (
    select semaphore_id, count(*) filter (where hold is null) as taken, count(*) filter (where hold = 1) as waiting
    from live_job where semaphore_id is not null group by semaphore_id
)
select count(*) from semaphore t full join live l on l.semaphore_id = t.id
where coalesce(t.taken, 0) <> coalesce(l.taken, 0) or coalesce(t.waiting, 0) <> coalesce(l.waiting, 0)
"""


async def limit_keys(producer: Producer, most: int) -> None:
    """So many jobs of a key run at once in the default queue from now on."""
    policy = queue_admin_pb2.Queue(name="default", key_policy=queue_admin_pb2.KeyPolicy(max_running=most))
    request = queue_admin_pb2.UpdateQueueRequest(
        queue=policy, update_mask=FieldMask(paths=["key_policy"]), allow_missing=True
    )
    await producer.admin.UpdateQueue(request)


async def ended_of(stage: Stage, jobs: int, within: float) -> None:
    """Waits until so many jobs have ended. It looks once a second: there may be hundreds of thousands."""
    ends = time.monotonic() + within
    while await stage.value("select count(*) from finished_job") < jobs:
        assert time.monotonic() < ends, f"{jobs} jobs have not ended within {within:g} s"
        await asyncio.sleep(1)


def attempts_at_once(stage: Stage, key_of: Mapping[str, str], died: Mapping[str, float]) -> int:
    """How many handlers of one key ran at once, at most. What a killed worker ran ended with it."""
    changes: dict[str, list[tuple[float, int]]] = defaultdict(list)
    open_in = {}
    for event in stage.events("started", "ended"):
        step = 1 if event.what == "started" else -1
        changes[key_of[event.id]].append((event.at, step))
        if step == 1:
            open_in[event.lease] = event
        else:
            open_in.pop(event.lease, None)
    for event in open_in.values():
        changes[key_of[event.id]].append((died[event.who], -1))
    return max(max(accumulate(step for _, step in sorted(each))) for each in changes.values())


async def lose(
    stage: Stage,
    turn: int,
    workers: dict[str, FaultyWorker],
    servers: Sequence[Server],
    addresses: Sequence[str],
    *,
    slots: int,
) -> tuple[str, float]:
    """Kills the worker of this turn, in the second one a server too, and starts others in their places.

    Returns:
        The name of the worker, and when it was killed.
    """
    victim = f"w{turn}"
    died = stage.fault("kill -9 of a worker", worker=victim)
    workers[victim].kill()
    if turn == 1:
        stage.fault("kill -9 of a server")
        servers[1].kill()
        await servers[1].ended()
        await stage.server("second-again", grpc_addr=addresses[1])
    name = f"w{len(workers)}"
    [workers[name]] = await stage.workers([name], *addresses, slots=slots, ttl=TTL)
    return victim, died


@case(
    "limits",
    "kill -9 of workers and servers, limit 1 of a key: no two attempts of a key overlap, no token is lost",
    bound=240,
)
async def limits(stage: Stage) -> None:
    stage.explained = {Exit.LOST, Exit.UNDELIVERED, Exit.UNSEEN}
    await stage.database()
    servers = [await stage.server(name) for name in ("first", "second", "third")]
    addresses = [server.address for server in servers]
    producer = stage.producer(addresses[0])
    await limit_keys(producer, 1)
    keys = stage.count(300, least=20)
    names = [f"w{number}" for number in range(4)]
    workers = dict(zip(names, await stage.workers(names, *addresses, slots=20, ttl=TTL), strict=True))
    key_of: dict[str, str] = {}
    died: dict[str, float] = {}
    for turn in range(4):
        for number in range(keys):
            key = f"key-{number}"
            key_of |= dict.fromkeys(await producer.put_many(2, queue_key=key, seconds=0.02), key)
        victim = names[turn]
        died[victim] = stage.fault("kill -9 of a worker", worker=victim)
        workers[victim].kill()
        if turn == 2:
            stage.fault("kill -9 of a server")
            servers[2].kill()
        names.append(f"w{len(names)}")
        [workers[names[-1]]] = await stage.workers([names[-1]], *addresses[:2], slots=20, ttl=TTL)
    await stage.over(within=150)
    most = attempts_at_once(stage, key_of, died)
    stage.figure("attempts of a key at once", most, 1, "")
    stage.figure("counts that are not those of the jobs", await stage.value(DRIFTED), 0, "")
    out = await stage.value("select coalesce(sum(taken + waiting), 0) from semaphore")
    stage.figure("tokens out at the end", out, 0, "")


@case(
    "limits_large",
    "the same of 100,000 keys with three jobs each, while all of them wait for workers that are killed in turn",
    bound=1800,
    by_name=True,
)
async def limits_large(stage: Stage) -> None:
    stage.explained = {Exit.LOST, Exit.UNDELIVERED, Exit.UNSEEN}
    await stage.database()
    servers = [await stage.server(name) for name in ("first", "second", "third")]
    addresses = [server.address for server in servers]
    producer = stage.producer(addresses[0])
    await limit_keys(producer, 1)
    keys = [f"key-{number}" for number in range(stage.count(100_000, least=60))]
    of_each = 3
    names = [f"w{number}" for number in range(3)]
    workers = dict(zip(names, await stage.workers(names, *addresses, slots=200, ttl=TTL), strict=True))
    key_of: dict[str, str] = {}
    died: dict[str, float] = {}

    async def kill_a_worker() -> None:
        victim = names[len(died)]
        died[victim] = stage.fault("kill -9 of a worker", worker=victim)
        workers[victim].kill()
        names.append(f"w{len(names)}")
        alive = [server.address for server in servers if server.runs]
        [workers[names[-1]]] = await stage.workers([names[-1]], *alive, slots=200, ttl=TTL)

    for turn in range(of_each):
        key_of |= dict(zip(await producer.put_keyed(keys, seconds=0.02), keys, strict=True))
        await kill_a_worker()
        if turn:
            stage.fault("kill -9 of a server")
            servers[turn].kill()
            servers[turn] = await stage.server(f"{servers[turn].name}-again")
    # The rest of them, of which most wait for their key.
    for ended in (0.5, 0.75):
        await ended_of(stage, round(ended * len(key_of)), within=1500)
        await kill_a_worker()
    await stage.over(within=1500)
    most = attempts_at_once(stage, key_of, died)
    stage.figure("keys", len(keys), None, "")
    stage.figure("jobs", len(key_of), None, "")
    stage.figure("attempts of a key at once", most, 1, "")
    stage.figure("counts that are not those of the jobs", await stage.value(DRIFTED), 0, "")
    out = await stage.value("select coalesce(sum(taken + waiting), 0) from semaphore")
    stage.figure("tokens out at the end", out, 0, "")


@case(
    "key_rates",
    "many keys with a rate, no worker at first, kill -9 of a worker and a server: no key starts more than its rate",
    bound=300,
)
async def key_rates(stage: Stage) -> None:
    stage.explained = {Exit.LOST, Exit.UNDELIVERED, Exit.UNSEEN}
    await stage.database()
    servers = [await stage.server(name) for name in ("first", "second")]
    addresses = [server.address for server in servers]
    producer = stage.producer(addresses[0])
    rate = queue_admin_pb2.Rate(count=RATE, period=Duration(seconds=PERIOD), burst=1)
    policy = queue_admin_pb2.KeyPolicy(rate=rate)
    request = queue_admin_pb2.UpdateQueueRequest(
        queue=queue_admin_pb2.Queue(name="default", key_policy=policy), allow_missing=True
    )
    await producer.admin.UpdateQueue(request)
    keys = stage.count(1000, least=20)
    for number in range(keys):
        await producer.put_many(3 * RATE, queue_key=f"key-{number}", seconds=0.0)
    # What two periods would allow has not gathered in the line.
    await asyncio.sleep(2 * PERIOD)
    in_line = await stage.value(
        "select coalesce(max(n), 0) from (select count(*) n from live_job where hold is null group by semaphore_id) l"
    )
    stage.figure("jobs of a key in line without workers", in_line, 1, "")
    names = ["w0", "w1", "w2"]
    workers = await stage.workers(names[:2], *addresses, slots=100, ttl=TTL)
    await stage.started(2 * keys, within=120)
    stage.fault("kill -9 of a worker", worker=names[0])
    workers[0].kill()
    stage.fault("kill -9 of a server")
    servers[1].kill()
    await stage.workers(names[2:], addresses[0], slots=100, ttl=TTL)
    await stage.over(within=200)
    # By the database's time, in which the rate is counted; of a job that was lost its last start.
    most = await stage.value(STARTS_IN_A_PERIOD, PERIOD)
    stage.figure(f"starts of a key in {PERIOD} s", most, RATE + 1, "")
    stage.figure("counts that are not those of the jobs", await stage.value(DRIFTED), 0, "")


@case(
    "lost_tokens",
    "kill -9 of a worker with a hundred keys, ten times: each key's next job starts within ttl and two seconds",
    bound=300,
)
async def lost_tokens(stage: Stage) -> None:
    stage.explained = {Exit.LOST, Exit.UNDELIVERED, Exit.UNSEEN}
    await stage.database()
    servers = [await stage.server(name) for name in ("first", "second")]
    addresses = [server.address for server in servers]
    producer = stage.producer(addresses[0])
    await limit_keys(producer, 1)
    keys = [f"key-{number}" for number in range(100)]
    rounds = stage.count(10, least=2)
    [victim] = await stage.workers(["w0"], *addresses, slots=len(keys), ttl=TTL)
    longest = 0.0
    for turn in range(rounds):
        # It holds every key, and never ends; where it is tried again it does.
        holding = await producer.put_keyed(keys, gate=str(stage.folder / f"never-{turn}"))
        waiting = await producer.put_keyed(keys)
        key_of = dict(zip([*holding, *waiting], [*keys, *keys], strict=True))
        await stage.started(len(keys), who=f"w{turn}")
        [following] = await stage.workers([f"w{turn + 1}"], *addresses, slots=len(keys), ttl=TTL)
        killed = stage.fault("kill -9 of a worker", worker=f"w{turn}")
        victim.kill()
        heard = last_frame(stage.journals.read(), f"w{turn}", killed)
        await stage.over(within=60)
        next_of: dict[str, float] = {}
        for event in sorted(stage.events("started", who=f"w{turn + 1}"), key=lambda event: event.at):
            next_of.setdefault(key_of[event.id], event.at - heard)
        assert len(next_of) == len(keys)
        longest = max(longest, *next_of.values())
        victim = following
    stage.figure("keys that lost their worker", rounds * len(keys), None, "")
    stage.figure("until the next job of a key", longest, TTL + 2)
    stage.figure("counts that are not those of the jobs", await stage.value(DRIFTED), 0, "")
    out = await stage.value("select coalesce(sum(taken + waiting), 0) from semaphore")
    stage.figure("tokens out at the end", out, 0, "")
