"""Keys that a worker pauses, and jobs that take several slots, with everything that dies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from google.protobuf.field_mask_pb2 import FieldMask

from jobqueue.v1 import queue_admin_pb2
from jobqueue_server.lifecycle import Event as Exit
from tests.faults.case import case
from tests.faults.stage import Stage
from tests.faults.worker_program import PAUSE

from .limits import DRIFTED, TTL, attempts_at_once, limit_keys, lose

OF_A_KEY = 3
SLOTS, WEIGHT = 10, 4
#: A claim that began before the pause may be committed after it.
SEEN_WITHIN = 0.5
#: Starts of jobs of a key while it was paused, by the clock of the database alone.
STARTS_IN_A_PAUSE = """
with pause as (
    select j.key, a.ended_at as begins
    from attempt a join job j on j.id = a.job_id
    where a.outcome = 1 and a.error_type = 'Retry'
),
start as (
    select j.key, s.started_at
    from (select id, started_at from finished_job union all select job_id, started_at from attempt) s
    join job j on j.id = s.id
)
select count(*)
from pause p
join start s on s.key = p.key
where s.started_at > p.begins + $1 * interval '1 second' and s.started_at < p.begins + $2 * interval '1 second'
"""


@case(
    "key_pauses",
    "kill -9 of workers and a server: of a key that a worker pauses none starts before that time, and all end",
    bound=240,
)
async def key_pauses(stage: Stage) -> None:
    stage.explained = {Exit.LOST, Exit.UNDELIVERED, Exit.UNSEEN}
    await stage.database()
    servers = [await stage.server(name) for name in ("first", "second")]
    addresses = [server.address for server in servers]
    producer = stage.producer(addresses[0])
    await limit_keys(producer, OF_A_KEY)
    names = [f"w{number}" for number in range(3)]
    workers = dict(zip(names, await stage.workers(names, *addresses, slots=20, ttl=TTL), strict=True))
    keys = [f"customer-{number}" for number in range(stage.count(40, least=12))]
    key_of: dict[str, str] = {}
    died: dict[str, float] = {}
    for turn in range(3):
        for key in keys:
            ids = await producer.put_many(4, queue_key=key, seconds=0.05)
            ids += await producer.put_many(1, "throttled", queue_key=key, seconds=0.02)
            ids += await producer.put_many(8, queue_key=key, seconds=0.05)
            key_of |= dict.fromkeys(ids, key)
        await stage.started(len(keys) * 5 * (turn + 1), within=60)
        victim, at = await lose(stage, turn, workers, servers, addresses, slots=20)
        died[victim] = at
    await stage.over(within=150)
    pauses = await stage.value("select count(*) from attempt where outcome = 1 and error_type = 'Retry'")
    stage.figure("keys that were paused too seldom", max(len(keys) - pauses, 0), 0, "")
    stage.figure(
        "starts while a key was paused", await stage.value(STARTS_IN_A_PAUSE, SEEN_WITHIN, PAUSE), 0, ""
    )
    stage.figure("attempts of a key at once", attempts_at_once(stage, key_of, died), OF_A_KEY, "")
    stage.figure("keys that are counted wrong", await stage.value(DRIFTED), 0, "")


@case(
    "slot_weights",
    "kill -9 of workers and a server: what a worker runs at once takes no more slots than it has",
    bound=240,
)
async def slot_weights(stage: Stage) -> None:
    stage.explained = {Exit.LOST, Exit.UNDELIVERED, Exit.UNSEEN}
    await stage.database()
    servers = [await stage.server(name) for name in ("first", "second")]
    addresses = [server.address for server in servers]
    producer = stage.producer(addresses[0])
    kind = queue_admin_pb2.Kind(name="snoozing", slot_weight=WEIGHT)
    await producer.admin.PutKind(
        queue_admin_pb2.PutKindRequest(kind=kind, update_mask=FieldMask(paths=["slot_weight"]))
    )
    names = [f"w{number}" for number in range(4)]
    workers = dict(zip(names, await stage.workers(names, *addresses, slots=SLOTS, ttl=TTL), strict=True))
    weight_of: dict[str, int] = {}
    for turn in range(3):
        for name, jobs, weight in (("work", 200, 1), ("snoozing", 60, WEIGHT), ("work", 200, 1)):
            ids = await producer.put_many(stage.count(jobs, least=30), name, seconds=0.05)
            weight_of |= dict.fromkeys(ids, weight)
        await stage.started(SLOTS, who=names[turn] if turn < 2 else None)
        await lose(stage, turn, workers, servers, addresses, slots=SLOTS)
    await stage.over(within=150)
    stage.figure("slots of a worker at once", slots_at_once(stage, weight_of), SLOTS, "")


def slots_at_once(stage: Stage, weight_of: Mapping[str, int]) -> int:
    """How many slots the handlers of one worker took at once, at most."""
    taken: dict[str, int] = defaultdict(int)
    most = 0
    for event in sorted(stage.events("started", "ended"), key=lambda event: event.at):
        taken[event.who] += weight_of[event.id] * (1 if event.what == "started" else -1)
        most = max(most, taken[event.who])
    return most
