"""Each place that callers share: one principal takes all that it can get, and another one is served meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import asyncpg
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration

from jobqueue.v1 import job_pb2, jobqueue_pb2, stats_pb2
from jobqueue_server.fair.owner import OWNER, Owner
from jobqueue_server.fair.places import PLACES
from jobqueue_server.fair.share import Share
from jobqueue_server.fair.turns import Turns
from jobqueue_server.http.large_bodies import LargeBodies
from jobqueue_server.rpc.keda import externalscaler_pb2
from tests.access.house import ALL, House, grant
from tests.lease.hand_worker import PATIENCE, StreamEnded, reason_of
from tests.lease.place import Caller, eventually

WAITING = (
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
)


@dataclass(frozen=True, slots=True)
class Key:
    """A caller with a key, and whose share it uses."""

    caller: Caller
    owner: Owner


@dataclass(frozen=True, slots=True)
class Town:
    """A server with two callers."""

    house: House
    greedy: Key
    modest: Key

    @property
    def app(self) -> Any:
        return self.house.app


@asynccontextmanager
async def town_of(dsn: str, **settings: object) -> AsyncIterator[Town]:
    async with House(dsn, **settings) as house:
        pair = []
        for _ in range(2):
            key = await house.key(grant(ALL))
            caller = house.with_key(key.text)
            scope = house.app.access.access.scope_of(key.text)
            assert scope is not None
            pair.append(Key(caller, scope.owner))
        assert pair[0].owner != pair[1].owner
        assert None not in (pair[0].owner, pair[1].owner)
        yield Town(house, *pair)


@pytest.fixture
async def town(dsn: str) -> AsyncIterator[Town]:
    async with town_of(dsn) as made:
        yield made


# ---- what a caller does in each place

Call = Callable[[Caller], Awaitable[object]]


async def enqueue(caller: Caller) -> None:
    await caller.enqueue()


async def read(caller: Caller) -> None:
    await caller.stub.ListJobs(jobqueue_pb2.ListJobsRequest(), timeout=PATIENCE)


async def wait(caller: Caller) -> None:
    request = jobqueue_pb2.WaitJobRequest(id=str(uuid4()), timeout=Duration(seconds=5))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await caller.stub.WaitJob(request, timeout=PATIENCE)
    if reason_of(raised.value) != "JOB_NOT_FOUND":
        raise raised.value


async def watch(caller: Caller) -> None:
    call = caller.stub.WatchJobs(jobqueue_pb2.WatchJobsRequest())
    try:
        assert await asyncio.wait_for(call.read(), PATIENCE) is not grpc.aio.EOF
    finally:
        call.cancel()


async def scale(caller: Caller) -> None:
    stub: Any = externalscaler_pb2_grpc_stub(caller)
    call = stub(
        externalscaler_pb2.ScaledObjectRef(name="x", namespace="y", scalerMetadata={"queue": "default"})
    )
    try:
        assert await asyncio.wait_for(call.read(), PATIENCE) is not grpc.aio.EOF
    finally:
        call.cancel()


def externalscaler_pb2_grpc_stub(caller: Caller) -> Any:
    return caller.channel.unary_stream(
        "/externalscaler.ExternalScaler/StreamIsActive",
        request_serializer=externalscaler_pb2.ScaledObjectRef.SerializeToString,
        response_deserializer=externalscaler_pb2.IsActiveResponse.FromString,
    )


async def count(caller: Caller) -> None:
    await caller.insight.CountJobs(stats_pb2.CountJobsRequest(kind=f"k{uuid4()}"), timeout=PATIENCE)


async def history(caller: Caller) -> None:
    await caller.insight.QueryStats(stats_pb2.QueryStatsRequest(kind=f"k{uuid4()}"), timeout=PATIENCE)


async def batch_with_keys(caller: Caller) -> None:
    jobs = [job_pb2.NewJob(kind="work", payload_json=b"{}", idempotency_key=str(uuid4())) for _ in range(2)]
    await caller.stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs), timeout=PATIENCE)


async def work(caller: Caller) -> None:
    await (await caller.worker()).close()


async def refusal(call: Awaitable[object]) -> str:
    """The reason for which it is refused; empty where it is not."""
    try:
        await call
    except StreamEnded as error:
        return error.reason
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return ""


# ---- places that are refused

SHARES: dict[str, tuple[Callable[[Any], Share], Call, str]] = {
    "calls under way": (lambda app: app.chain._calls, read, "TOO_MANY_CALLS"),
    "calls that wait: WaitJob, ClaimJobs, WaitOperation": (
        lambda app: app.chain._waits,
        wait,
        "TOO_MANY_CALLS",
    ),
    "watches": (lambda app: app.query.watch_limit._open, watch, "TOO_MANY_WATCHES"),
    "streams of autoscalers": (lambda app: app.insight.scaling._streams, scale, "TOO_MANY_WATCHES"),
    "sessions of streams": (lambda app: app.session.sessions._sessions._share, work, "TOO_MANY_STREAMS"),
    "jobs that wait to be stored": (lambda app: app.intake.waiting._share, enqueue, "QUEUE_FULL"),
}


@pytest.mark.parametrize("name", SHARES)
async def test_a_principal_that_takes_all_it_can_get_is_refused_alone(town: Town, name: str) -> None:
    share_of, call, reason = SHARES[name]
    share = share_of(town.app)
    await call(town.greedy.caller)
    if call is not work:  # a session goes on for a while without its stream
        await eventually(lambda: asyncio.sleep(0, not share.held(town.greedy.owner)))
    hogged = 0
    while share.has_room(town.greedy.owner):
        share.take(town.greedy.owner)
        hogged += 1
    try:
        assert await refusal(call(town.greedy.caller)) == reason
        for _ in range(3):
            await call(town.modest.caller)
    finally:
        share.give_back(town.greedy.owner, hogged)
    await call(town.greedy.caller)


async def test_waits_are_no_calls_under_way(town: Town) -> None:
    share = town.app.chain._waits
    share.take(town.greedy.owner, 7000)
    await enqueue(town.greedy.caller)
    await enqueue(town.modest.caller)
    share.give_back(town.greedy.owner, 7000)


async def test_lease_streams_of_one_principal_leave_some_for_another(dsn: str) -> None:
    async with town_of(dsn, max_streams=10) as town:
        workers = [await town.greedy.caller.worker() for _ in range(8)]
        with pytest.raises(StreamEnded) as refused:
            await town.greedy.caller.worker()
        assert refused.value.reason == "TOO_MANY_STREAMS"
        await work(town.modest.caller)
        for worker in workers:
            await worker.close()


async def test_streams_without_hello_of_one_principal_leave_some_for_another(dsn: str) -> None:
    async with town_of(dsn, max_streams=10) as town:
        calls = [town.greedy.caller.stub.Lease() for _ in range(8)]
        await eventually(lambda: asyncio.sleep(0, town.app.chain.open_streams == 8))
        with pytest.raises(StreamEnded) as refused:
            await town.greedy.caller.worker()
        assert refused.value.reason == "TOO_MANY_STREAMS"
        await work(town.modest.caller)
        for call in calls:
            call.cancel()


# ---- places that are waited for

TURNS: dict[str, tuple[Callable[[Any], Turns], Call]] = {
    "transactions of jobs with keys or names": (lambda app: app.intake.keyed_batches._turns, batch_with_keys),
    "connections to the database": (lambda app: app.stores.database._turns[False], read),
    "searches of watches": (lambda app: app.query.watches._searches, watch),
    "counts of jobs": (lambda app: app.stats.counts._turns, count),
    "statistics that are read": (lambda app: app.stats.histories._turns, history),
}


@asynccontextmanager
async def hogged(turns: Turns, owner: Owner) -> AsyncIterator[None]:
    """One principal takes all places that it can get, and nine more of it wait."""
    tasks = [asyncio.create_task(turns.take(owner)) for _ in range(turns._places + 9)]
    await eventually(lambda: asyncio.sleep(0, turns.waiting(owner) >= 9))
    try:
        yield
    finally:
        done = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in done:
            turns.give_back(owner)


@pytest.mark.parametrize("name", TURNS)
async def test_a_principal_that_takes_all_it_can_get_leaves_the_next_one_its_turn(
    town: Town, name: str
) -> None:
    turns_of, call = TURNS[name]
    turns = turns_of(town.app)
    async with hogged(turns, town.greedy.owner):
        for _ in range(3):
            await call(town.modest.caller)
    await call(town.greedy.caller)


async def test_a_count_too_many_is_refused_and_those_of_another_principal_are_not(town: Town) -> None:
    turns = town.app.stats.counts._turns
    async with hogged(turns, town.greedy.owner):
        waiting = [asyncio.create_task(count(town.greedy.caller)) for _ in range(2)]
        await eventually(lambda: asyncio.sleep(0, turns.waiting(town.greedy.owner) >= 10))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await count(town.greedy.caller)
        assert reason_of(refused.value) == "TOO_MANY_CALLS"
        await count(town.modest.caller)
        for task in waiting:
            task.cancel()


async def test_lists_of_one_principal_that_go_on_leave_the_next_one_its_turn(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = town.app.query.reads
    scan = reads._store.list
    again: list[bool] = []

    async def gives_up_once(*args: Any, **more: Any) -> Any:
        again.append(more.get("again", False))
        found = await scan(*args, **more)
        return found if again[-1] else replace(found, gave_up=True)

    monkeypatch.setattr(reads._store, "list", gives_up_once)
    async with hogged(reads._long, town.greedy.owner):
        for _ in range(3):
            await read(town.modest.caller)
    assert again == [False, True] * 3


async def test_what_one_principal_wants_of_locked_rows_leaves_the_next_one_its_turn(
    town: Town, dsn: str
) -> None:
    await town.modest.caller.enqueue(idempotency_key="locked")
    turns = town.app.intake._slow_lane._turns
    connection = await asyncpg.connect(dsn)
    async with hogged(turns, town.greedy.owner):
        async with connection.transaction():
            await connection.execute("update idempotency_key set expires_at = now()")
            modest = asyncio.create_task(town.modest.caller.enqueue(idempotency_key="locked"))
            await eventually(lambda: asyncio.sleep(0, bool(town.app.intake._slow_lane._tasks)))
        await modest
    await connection.close()


async def test_large_bodies_of_one_principal_leave_the_next_one_its_turn() -> None:
    bodies = LargeBodies()
    came: list[str] = []

    async def one(name: str, owner: Owner) -> None:
        OWNER.set(owner)
        await bodies.wait(1 << 20)
        came.append(name)

    tasks = [asyncio.create_task(one(f"greedy {number}", (1, "greedy"))) for number in range(5)]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(one("modest", (2, "modest"))))
    await asyncio.gather(*tasks)
    # One more of the other principal goes before it at the most, beside the one that is being read.
    assert "modest" in came[:4]


async def test_the_job_of_one_principal_is_stored_before_all_of_another_ones_flood(
    town: Town, dsn: str
) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("lock table job in exclusive mode")
            flood = [asyncio.create_task(town.greedy.caller.batch(1000)) for _ in range(6)]
            await eventually(lambda: town.house.value(WAITING))
            await eventually(lambda: asyncio.sleep(0, town.app.intake.waiting.jobs == 6000))
            modest = asyncio.create_task(town.modest.caller.enqueue())
            await eventually(lambda: asyncio.sleep(0, town.app.intake.waiting.jobs == 6001))
        stored = await modest
        await asyncio.gather(*flood)
    finally:
        await connection.close()
    later = await town.house.value(
        f"select count(*) from live_job where changed_at > '{stored.updated_at.ToDatetime().isoformat()}Z'"
    )
    assert later >= 4000


#: The others are in tests/serve/test_turns_of_principals.py.
TESTED_APART = {
    "inserts that wait for a locked row",
    "lists that go on after their first scan",
    "operations on many jobs",
    "schedules that are due",
    "large bodies over HTTP",
    "streams without Hello",
    "Lease streams",
    "their turn to be stored",
}


def test_each_place_has_its_test() -> None:
    assert {place.name for place in PLACES} == SHARES.keys() | TURNS.keys() | TESTED_APART
