"""Workers that were given up and speak on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import grpc.aio

from jobqueue.v1 import lease_pb2
from jobqueue_server.lifecycle import Event as Exit
from jobqueue_server.lifecycle import Status
from tests.faults.case import case
from tests.faults.stage import Stage, redelivered, refused
from tests.lease.hand_worker import StreamEnded, reason_of, span

TTL = 5.0
_Verdict = lease_pb2.SettleResult.Verdict


@case("zombie", "a worker stopped past its ttl comes back with everything that it had to say", bound=90)
async def zombie(stage: Stage) -> None:
    stage.explained = {Exit.LOST}
    await stage.database()
    server = await stage.server("server")
    gate = stage.folder / "gate"
    [victim] = await stage.workers(["victim"], server.address, slots=4, ttl=TTL)
    producer = stage.producer(server.address)
    await producer.put_many(4, gate=str(gate))
    await stage.started(4)
    await stage.heard("victim")
    stopped_at = stage.fault("SIGSTOP of the worker")
    victim.stop()
    await stage.workers(["heir"], server.address, slots=4, ttl=TTL)
    # Jobs that lost a worker are dealt to a session one at a time; these end at once.
    await stage.started(4, who="heir")
    most, _ = redelivered(stage, "victim", stopped_at)
    stage.figure("last frame to redelivery", most, TTL + 2)
    # Its handlers end in the very moment in which it comes back: it says so, and that it lives.
    gate.touch()
    stage.fault("SIGCONT of the worker")
    victim.go_on()
    await stage.over()
    await stage.until(
        lambda: len(stage.events("welcome", who="victim")) == 2, "another session of the zombie"
    )
    taken = [event for event in stage.events("settled", who="victim") if event.verdict == "APPLIED"]
    stage.figure("stale settlements accepted", len(taken), 0, "")


@case("zombie_by_hand", "every kind of late message, held up past the ttl and then let through", bound=90)
async def zombie_by_hand(stage: Stage) -> None:
    stage.explained = {Exit.LOST, Exit.UNDELIVERED}
    await stage.database()
    server = await stage.server("server")
    direct = stage.producer(server.address)
    proxy = await stage.proxy(server.address)
    victim = await stage.hand(stage.producer(proxy.address), "victim", slots=6, ttl=TTL)
    await direct.put_many(6)
    jobs = await victim.jobs(6)
    await victim.heartbeat()
    stage.fault("the cable of the worker is pulled")
    proxy.black_hole()
    heir = await stage.hand(direct, "heir", slots=6, ttl=TTL)
    # A job that lost its worker is dealt to a session that holds no other such job.
    taken = []
    for _ in range(6):
        taken.append(await heir.job())
        if len(taken) < 6:
            await heir.succeed(taken[-1])
    late: list[dict[str, Any]] = [
        {"success": lease_pb2.Success()},
        {"success": lease_pb2.Success(output_json=b"1")},
        {"failure": lease_pb2.Failure(error="late")},
        {"snooze": lease_pb2.Snooze(delay=span(1))},
        {"release": lease_pb2.Release()},
        {"cancellation": lease_pb2.Cancellation()},
    ]
    outcomes = [
        lease_pb2.Outcome(lease_id=job.lease_id, **said) for job, said in zip(jobs, late, strict=True)
    ]
    held = list(victim.held)
    await victim.send(heartbeat=lease_pb2.Heartbeat(seq=99, held=held))
    await victim.send(progress=lease_pb2.Progress(lease_id=held[0], fraction=0.5, checkpoint=b"late"))
    await victim.report(outcomes=outcomes)
    await victim.capacity(100)
    await victim.drain("late")
    stage.fault("the cable is put back")
    proxy.passing()
    ended = await victim.end()
    assert ended.error is not None, "the stream of a zombie ended as if all were well"
    # The same from its next session, and by calls.
    again = await stage.hand(direct, "zombie", slots=1, ttl=TTL)
    by_name = [
        lease_pb2.Outcome(job_id=job.id, attempt=job.attempt, **said)
        for job, said in zip(jobs, late, strict=True)
    ]
    results = await again.settle(outcomes=by_name)
    stale = [result for result in results if result.verdict == _Verdict.STALE_LEASE]
    stage.figure("late outcomes that were not called stale", len(by_name) - len(stale), 0, "")
    await refused(
        stage.hand(direct, "back", slots=1, ttl=TTL, resume=victim.resume(held=jobs)), "SESSION_ENDED"
    )
    await heir.succeed(taken[-1])
    await stage.over()
    ends = await stage.sql("select status, attempts, losses from finished_job")
    assert {tuple(row) for row in ends} == {(Status.SUCCEEDED, 2, 1)}, ends


@case(
    "silent_caller",
    "a worker by calls says no more: its jobs start elsewhere within ttl + 2 s, and its late outcomes are refused",
    bound=60,
)
async def silent_caller(stage: Stage) -> None:
    stage.explained = {Exit.LOST}
    await stage.database()
    first, second = await stage.server("first"), await stage.server("second")
    here, there = stage.producer(first.address), stage.producer(second.address)
    await here.put_many(4)
    hello = lease_pb2.Hello(
        worker="caller", subscriptions=[lease_pb2.Subscription(kinds=["work"])], session_ttl=span(TTL)
    )
    welcome = (await here.stub.OpenSession(lease_pb2.OpenSessionRequest(hello=hello))).welcome
    said_at = time.time()
    claim = lease_pb2.ClaimJobsRequest(session_token=welcome.session_token, max_jobs=4, wait=span(5))
    jobs = (await here.stub.ClaimJobs(claim)).jobs
    assert len(jobs) == 4, f"claimed {len(jobs)} of 4 jobs"
    answered_at = time.time()
    stage.fault("the worker says no more")
    heirs = [f"heir-{number}" for number in range(2)]
    await stage.workers(heirs, second.address, ttl=TTL)
    starts = await stage.started(4)
    stage.figure("last call to redelivery", max(event.at for event in starts) - said_at, TTL + 2)
    early = answered_at + TTL - min(event.at for event in starts)
    # Heard when the call came, which was before its answer.
    assert early <= answered_at - said_at, f"redelivered {early:.3f} s before the ttl was over"
    late = lease_pb2.SettleJobsRequest(
        session_token=welcome.session_token,
        outcomes=[
            lease_pb2.Outcome(job_id=job.id, attempt=job.attempt, success=lease_pb2.Success()) for job in jobs
        ],
    )
    try:
        answer = await there.stub.SettleJobs(late)
        taken = [result for result in answer.results if result.verdict != _Verdict.STALE_LEASE]
        stage.figure("late outcomes that were not called stale", len(taken), 0, "")
    except grpc.aio.AioRpcError as error:
        refused_as = reason_of(error)
        stage.figure("late calls not refused as SESSION_ENDED", refused_as != "SESSION_ENDED", 0, "")
    await stage.over()


@case("superseded", "a stream whose session went on elsewhere speaks on: nothing of it counts", bound=60)
async def superseded(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    await stage.database()
    first, second = await stage.server("first"), await stage.server("second")
    here, there = stage.producer(first.address), stage.producer(second.address)
    old = await stage.hand(here, "worker", slots=4, ttl=TTL)
    ids = await here.put_many(4)
    jobs = await old.jobs(4)
    await old.heartbeat()
    stage.fault("the session goes on elsewhere, the old stream speaks on")
    new = await stage.hand(there, "worker", slots=4, ttl=TTL, resume=old.resume(held=jobs[:2]))
    assert len(new.welcome.kept) == 2
    new.held.update({job.lease_id: job for job in jobs[:2]})
    with contextlib.suppress(StreamEnded, grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
        # A server that has not yet heard of the resume may answer; the fence must hold all the same.
        await old.send(heartbeat=lease_pb2.Heartbeat(seq=50, held=[job.lease_id for job in jobs]))
        await old.send(progress=lease_pb2.Progress(lease_id=jobs[0].lease_id, fraction=0.9))
        await old.capacity(100)
        await old.report([jobs[3].lease_id])
    await here.put_many(8)
    await new.heartbeat()
    late = await old.end(timeout=25)
    assert late.error is not None
    stage.figure("reason other than SESSION_SUPERSEDED", late.reason != "SESSION_SUPERSEDED", 0, "")

    async def finish() -> bool:
        await new.succeed(*list(new.held.values()))
        return not await stage.value("select exists (select from live_job)")

    await stage.until(finish, "an end of every job", 30)
    rows = await stage.sql("select attempts, losses from finished_job where id = any($1::uuid[])", ids)
    assert all(row["losses"] == 0 for row in rows), rows
