"""The database goes and comes back: calls fail fast, nothing acknowledged is lost, the service resumes by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest

from jobqueue.v1 import job_pb2, jobqueue_pb2, lease_pb2
from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.store import migrate
from tests.lease.hand_worker import reason_of
from tests.lease.place import Place, Status, eventually

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]

Verdict = lease_pb2.SettleResult.Verdict


@pytest.fixture
def postgres() -> Iterator[EmbeddedPostgres]:
    """One of the test's own; it listens on a port, so that it is the same address after a restart."""
    with EmbeddedPostgres(listen=True) as postgres:
        yield postgres


@pytest.fixture
async def place(postgres: EmbeddedPostgres) -> AsyncIterator[Place]:
    await migrate.up(postgres.dsn)
    async with Place(postgres.dsn) as place:
        yield place


async def away(call):
    """The call's error; it must come fast, and say that the database is away."""
    started = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    # Who waited for a connection would wait for 5 s.
    assert time.monotonic() - started < 4
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(raised.value) == "DATABASE_AWAY"


@pytest.mark.alone
async def test_calls_fail_fast_and_the_service_resumes_without_a_restart(place, postgres):
    worker = await place.worker(slots=4)
    acknowledged = [(await place.enqueue(priority=1)).id for _ in range(4)]
    held = await worker.jobs(4)
    acknowledged += await place.batch(30)
    dsn = postgres.dsn

    async def produce(until):
        """Enqueues until it is told to stop, and keeps what was answered OK."""
        while not until.is_set():
            try:
                acknowledged.append((await place.enqueue()).id)
            except grpc.aio.AioRpcError as error:
                refused.add(error.code())
                await asyncio.sleep(0.01)

    refused: set[grpc.StatusCode] = set()
    stop = asyncio.Event()
    producing = [asyncio.create_task(produce(stop)) for _ in range(4)]
    await asyncio.sleep(0.2)
    # Crashed while inserts and settlements are under way.
    await worker.report([held[0].lease_id])
    await asyncio.to_thread(postgres.kill)
    await asyncio.sleep(0.1)
    for call in (place.enqueue(), place.get(acknowledged[0]), place.cancel(acknowledged[0]), place.batch(3)):
        await away(call)

    async def not_serving():
        return await place.health() == "NOT_SERVING"

    await eventually(not_serving)
    # The worker's stream stays, its heartbeats are answered, and its settlements are to be sent again.
    await worker.heartbeat()
    results = await worker.succeed(held[1])
    assert [Verdict.Name(result.verdict) for result in results] == ["TRY_AGAIN"]
    # Away for so long that workers are told to look for a better server; this one finds none, and stays.
    go_away = await worker.next("go_away", 15)
    assert (go_away.reason, go_away.HasField("drain")) == ("DATABASE_AWAY", False)

    await asyncio.to_thread(postgres.start)
    back = time.monotonic()
    assert postgres.dsn == dsn

    async def serving():
        return await place.health() == "SERVING"

    await eventually(serving, 2)
    job = await place.enqueue("other")
    acknowledged.append(job.id)
    assert time.monotonic() - back < 2
    results = await worker.succeed(*held)
    assert {Verdict.Name(result.verdict) for result in results} <= {"ALREADY_APPLIED"}
    await worker.job()
    assert time.monotonic() - back < 2
    stop.set()
    await asyncio.gather(*producing)
    assert refused == {grpc.StatusCode.UNAVAILABLE}

    other = await place.worker(kinds=["work", "other"], slots=200)
    while True:
        await worker.succeed(*list(worker.held.values()))
        await other.succeed(*list(other.held.values()))
        if not await place.value("select count(*) from live_job"):
            break
        await asyncio.sleep(0.05)
    ended = {
        str(row["id"]): row
        for row in await place.sql("select id, status, attempts, losses from finished_job")
    }
    assert set(acknowledged) <= set(ended)
    assert {row["status"] for row in ended.values()} == {Status.Value("SUCCEEDED")}
    assert max(row["losses"] for row in ended.values()) == 0
    # What a claim or hand-off took whose answer the crash swallowed went back by the audit; nothing else ran twice.
    assert max(row["attempts"] for row in ended.values()) <= 2


async def test_an_enqueue_with_a_key_that_met_a_crash_and_is_repeated_is_one_job(place, postgres):
    await place.enqueue()

    async def one(key):
        new = job_pb2.NewJob(kind="work", payload_json=b"{}", idempotency_key=key)
        request = jobqueue_pb2.EnqueueJobRequest(job=new, payload_format=job_pb2.PAYLOAD_FORMAT_JSON)
        while True:
            try:
                return (await place.stub.EnqueueJob(request, timeout=20)).job.id
            except grpc.aio.AioRpcError as error:
                met.add(reason_of(error))
                await asyncio.sleep(0.01)

    met: set[str] = set()
    calls = []
    for number in range(300):
        calls.append(asyncio.create_task(one(f"{number}")))
        if number == 150:
            await asyncio.to_thread(postgres.kill)
        await asyncio.sleep(0)
    await asyncio.to_thread(postgres.start)
    ids = await asyncio.gather(*calls)
    assert met == {"DATABASE_AWAY"}
    assert len(set(ids)) == 300
    assert ids == await asyncio.gather(*(one(f"{number}") for number in range(300)))
    assert await place.value("select count(*) from job where idempotency_key is not null") == 300


@pytest.mark.alone
async def test_a_stream_that_opens_while_the_database_is_away_is_refused_and_later_taken(place, postgres):
    worker = await place.worker()
    job = await place.enqueue()
    leased = await worker.job()
    await worker.heartbeat()
    await asyncio.to_thread(postgres.kill)
    worker.cut()
    with pytest.raises(Exception, match="UNAVAILABLE"):
        await place.worker(resume=worker.resume(held=[leased]))
    with pytest.raises(Exception, match="UNAVAILABLE"):
        await place.worker(name="new")
    await asyncio.to_thread(postgres.start)
    again = await place.worker_within(2, resume=worker.resume(held=[leased]))
    assert await again.succeed(leased) == []
    done = await place.wait(job.id)
    assert (done.attempts, done.losses) == (1, 0)
