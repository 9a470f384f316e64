"""Streams that misbehave: flooding, deaf, mute, forged."""

from __future__ import annotations

import asyncio
import contextlib
import time

import grpc.aio

from jobqueue.v1 import lease_pb2
from jobqueue_server.lifecycle import Event as Exit
from tests.faults.case import case
from tests.faults.locks import locked
from tests.faults.stage import Stage, refused
from tests.lease.hand_worker import StreamEnded, span

TTL = 5.0
_Verdict = lease_pb2.SettleResult.Verdict


@case(
    "flood",
    "streams opened and cut by the hundred beside honest work: nothing leaks, nobody waits",
    bound=120,
)
async def flood(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    await stage.database()
    server = await stage.server("server")
    await stage.workers(["honest"], server.address, ttl=TTL)
    producer = stage.producer(server.address)
    streams = stage.count(300)

    async def open_and_cut(number: int) -> None:
        # Some are cut before Welcome, some after, some with jobs in flight; some are left to fall silent.
        opening = asyncio.create_task(stage.hand(producer, f"flood-{number}", slots=2, ttl=TTL))
        await asyncio.sleep(stage.random.uniform(0, 0.2))
        if stage.random.random() < 0.5:
            opening.cancel()
        with contextlib.suppress(StreamEnded, grpc.aio.AioRpcError, asyncio.CancelledError):
            (await opening).cut()

    stage.fault(f"{streams} streams opened and cut")
    async with producer.load(40) as acknowledged:
        for start in range(0, streams, 20):
            await asyncio.gather(*(open_and_cut(number) for number in range(start, start + 20)))
    cut_at = time.monotonic()
    await stage.over()
    stage.figure("all jobs over after the flood", time.monotonic() - cut_at, TTL + 2)
    stage.figure("jobs", len(acknowledged), unit="")

    async def one_left() -> bool:
        return bool(await stage.value("select count(*) = 1 from worker_session where ended_at is null"))

    await stage.until(one_left, "one open session left: the honest worker's", 40)
    # One that was cut between its row and its Welcome is nobody's: two audits, 10 s apart, see it; then its ttl begins.
    stage.figure("sessions reaped after the flood", time.monotonic() - cut_at, 2 * 10 + TTL + 2)
    losses = await stage.value("select sum(losses)::int from finished_job")
    stage.figure("losses", losses, 0, "")


@case(
    "overload",
    "more is enqueued than the server may hold: refused at once, while what runs is settled and what was taken ends",
    bound=60,
)
async def overload(stage: Stage) -> None:
    await stage.database()
    limit = 50
    server = await stage.server("server", enqueue_queue_limit=str(limit))
    gate = stage.folder / "gate"
    await stage.workers(["w"], server.address, slots=8, ttl=TTL)
    producer = stage.producer(server.address)
    await producer.put_many(8, gate=str(gate))
    await stage.started(8)
    calls = stage.count(400, 150)
    async with locked(stage, "job"):
        stage.fault(f"{calls} enqueues while no insert gets through")
        putting = [asyncio.create_task(producer.put()) for _ in range(calls)]
        started = time.monotonic()
        await stage.until(lambda: sum(put.done() for put in putting) >= calls - limit, "refusals of the rest")
        stage.figure("flood to the last refusal", time.monotonic() - started, 5)
        # The oldest of them are still in the statement that waits, so all that was answered was refused.
        gate.touch()
        settled = time.monotonic()
        await stage.until(
            lambda: stage.value("select count(*) = 8 from finished_job"), "settlements of what runs", 4
        )
        stage.figure("settlements beside a full line", time.monotonic() - settled, 2)
    answers = await asyncio.gather(*putting, return_exceptions=True)
    codes = {answer.code() for answer in answers if isinstance(answer, grpc.aio.AioRpcError)}
    taken = sum(isinstance(answer, str) for answer in answers)
    assert codes == {grpc.StatusCode.RESOURCE_EXHAUSTED}, codes
    await stage.over()
    stage.figure("taken", taken, limit, "")
    ended = await stage.value("select count(*) from finished_job where attempts = 1")
    assert ended == taken + 8, f"{taken} were taken and 8 ran, {ended} ended"


@case(
    "deaf",
    "a worker that beats and reads nothing never holds more than its credit, and what it has goes elsewhere",
    bound=90,
)
async def deaf(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    await stage.database()
    server = await stage.server("server")
    producer = stage.producer(server.address)
    call = stage.producer(server.address).stub.Lease()
    hello = lease_pb2.Hello(
        worker="deaf",
        subscriptions=[lease_pb2.Subscription(kinds=["work"])],
        capacity=lease_pb2.Capacity(slots=10),
        session_ttl=span(TTL),
    )
    await call.write(lease_pb2.LeaseRequest(hello=hello))
    await stage.until(lambda: stage.value("select count(*) = 1 from worker_session"), "the deaf session")
    await stage.workers(["hearing"], server.address, ttl=TTL)

    async def beat() -> None:
        seq = 0
        while True:
            seq += 1
            await call.write(lease_pb2.LeaseRequest(heartbeat=lease_pb2.Heartbeat(seq=seq)))
            await asyncio.sleep(1)

    beating = asyncio.create_task(beat())
    jobs = stage.count(200, 40)
    stage.fault("a worker that reads nothing")
    started = time.monotonic()
    await producer.put_many(jobs, filling="x" * 20_000)

    async def all_but_its_own() -> bool:
        return bool(await stage.value("select count(*) <= 10 from live_job"))

    await stage.until(all_but_its_own, "an end of all jobs but those of the deaf worker", 30)
    stage.figure("jobs of the others", time.monotonic() - started, 10)
    held = await stage.value("select count(*) from live_job where state = 2")
    stage.figure("leases of the deaf worker", held, 10, "")
    # Three intervals of a quarter of the ttl, from when the last of them was handed over.
    await stage.over()
    stage.figure("enqueue to an end of all", time.monotonic() - started, 10 + 3 * TTL / 4 + 2)
    alive = await stage.value(
        "select count(*) = 2 from worker_session where ended_at is null and silent_since is null"
    )
    assert alive, "the deaf worker has lost its session, so that this shows nothing"
    beating.cancel()
    call.cancel()
    losses = await stage.value("select sum(losses)::int from finished_job")
    stage.figure("losses", losses, 0, "")


@case(
    "mute",
    "a worker that hears and never says a word: found by its silence, its jobs go back uncharged",
    bound=60,
)
async def mute(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    await stage.database()
    server = await stage.server("server")
    producer = stage.producer(server.address)
    silent = await stage.hand(producer, "mute", slots=4, ttl=TTL, receipts=False, heartbeats=False)
    said_at = time.time()
    await producer.put_many(4)
    await silent.jobs(4)
    await stage.workers(["heir"], server.address, ttl=TTL)
    await silent.end()
    # Three intervals of a quarter of the ttl, looked at twice a second.
    stage.figure("found silent", time.time() - said_at, 3 * TTL / 4 + 1)
    starts = await stage.started(4, who="heir")
    stage.figure("last frame to redelivery", max(event.at for event in starts) - said_at, TTL + 2)
    await stage.over()
    losses = await stage.value("select sum(losses)::int from finished_job")
    stage.figure("losses", losses, 0, "")


@case(
    "unseen",
    "streams that break with deliveries unread, and a ttl of minutes: what nobody saw starts elsewhere in 15 s + 2 s",
    bound=60,
)
async def unseen(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    await stage.database()
    server = await stage.server("server")
    producer = stage.producer(server.address)
    workers = [
        await stage.hand(producer, f"breaks-{number}", slots=4, ttl=300, receipts=False)
        for number in range(stage.count(20, 2))
    ]
    jobs = 4 * len(workers)
    await producer.put_many(jobs)
    await asyncio.gather(*(worker.jobs(4) for worker in workers))
    cut_at = stage.fault("streams that break before any receipt")
    for worker in workers:
        worker.cut()
    await stage.workers(["heir"], server.address, slots=jobs, ttl=TTL)
    starts = await stage.started(jobs, who="heir")
    stage.figure("last frame to redelivery", max(event.at for event in starts) - cut_at, 15 + 2)
    await stage.over()
    losses = await stage.value("select sum(losses)::int from finished_job")
    stage.figure("losses", losses, 0, "")


@case("forged", "forged, swapped and empty ids and tokens take nothing from anybody", bound=60)
async def forged(stage: Stage) -> None:
    await stage.database()
    server = await stage.server("server")
    producer = stage.producer(server.address)
    owner = await stage.hand(producer, "owner", slots=3, ttl=30)
    await producer.put_many(3)
    mine = await owner.jobs(3)
    thief = await stage.hand(producer, "thief", slots=3, ttl=30)
    number, _, secret = owner.welcome.session_token.partition(".")
    own_number, _, own_secret = thief.welcome.session_token.partition(".")
    stage.fault("forged tokens")
    tokens = {
        "swapped": f"{number}.{own_secret}",
        "of another number": f"{own_number}.{secret}",
        "cut": owner.welcome.session_token[:-1],
        "without a secret": f"{number}.",
        "without a number": f".{secret}",
        "of an unknown session": f"999999.{secret}",
        "long": "9" * 200,
        "not ours": "ключ",
    }
    tried = 0
    for name, token in tokens.items():
        resume = lease_pb2.Resume(session_token=token)
        opening = stage.hand(producer, f"forger-{tried}", slots=1, resume=resume)
        try:
            await refused(opening)
        except AssertionError as error:
            raise AssertionError(f"a token {name}: {error}") from None
        tried += 1
    stage.fault("forged leases")
    success = lease_pb2.Success()
    forged_outcomes = [
        *(lease_pb2.Outcome(job_id=job.id, attempt=job.attempt, success=success) for job in mine),
        *(lease_pb2.Outcome(lease_id=job.lease_id, success=success) for job in mine),
        lease_pb2.Outcome(lease_id=1 << 62, success=success),
        lease_pb2.Outcome(job_id=mine[0].id, attempt=0, success=success),
        lease_pb2.Outcome(job_id=mine[0].id, attempt=99, success=success),
        lease_pb2.Outcome(job_id="00000000-0000-7000-8000-000000000000", attempt=1, success=success),
        lease_pb2.Outcome(job_id="not a uuid", attempt=1, success=success),
        lease_pb2.Outcome(success=success),
        lease_pb2.Outcome(job_id=mine[0].id, attempt=mine[0].attempt),
    ]
    results = await thief.settle(outcomes=forged_outcomes)
    verdicts = [_Verdict.Name(result.verdict) for result in results]
    taken = (
        len(forged_outcomes)
        - len(results)
        + sum(verdict in ("APPLIED", "ALREADY_APPLIED") for verdict in verdicts)
    )
    stage.figure("forgeries taken", taken, 0, "")
    # And a heartbeat that claims to hold them.
    await thief.send(heartbeat=lease_pb2.Heartbeat(seq=70, held=[1 << 40, 7]))
    tried += len(forged_outcomes)
    stage.figure("forgeries tried", tried, unit="")
    still = await stage.value(
        "select count(*) from live_job where state = 2 and session_id = $1", int(number)
    )
    assert still == 3, f"the owner has {still} of its 3 leases"
    assert await owner.succeed(*mine) == []
    with contextlib.suppress(StreamEnded):
        await thief.close()
    await stage.over()
