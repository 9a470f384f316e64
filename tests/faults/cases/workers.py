"""Workers that die, stop, leave in the middle of their work, kill one another's neighbours."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc.aio

from jobqueue.v1 import lease_pb2
from jobqueue_server.lifecycle import Event as Exit
from jobqueue_server.lifecycle import Status
from tests.faults.case import case
from tests.faults.stage import Stage, last_frame, refused
from tests.lease.hand_worker import reason_of, span

TTL = 5.0
_Verdict = lease_pb2.SettleResult.Verdict


def redelivered(stage: Stage, victim: str, killed_at: float) -> tuple[float, float]:
    """The longest and the shortest time from a victim's last frame to the start of its jobs elsewhere."""
    heard = last_frame(stage.journals.read(), victim, killed_at)
    starts = [event.at - heard for event in stage.events("started") if event.attempt == 2]
    return max(starts), min(starts)


@case(
    "worker_killed",
    "kill -9 of a worker: its jobs start elsewhere within ttl + 2 s of its last frame",
    bound=60,
)
async def worker_killed(stage: Stage) -> None:
    stage.explained = {Exit.LOST}
    await stage.database()
    server = await stage.server("server")
    [victim] = await stage.workers(["victim"], server.address, ttl=TTL)
    producer = stage.producer(server.address)
    await producer.put_many(8, gate="never")
    await stage.started(8)
    await stage.heard("victim")
    await stage.workers(["heir"], server.address, ttl=TTL)
    await asyncio.sleep(stage.random.uniform(0, 2))
    killed_at = stage.fault("kill -9 of the worker")
    victim.kill()
    await stage.over()
    most, least = redelivered(stage, "victim", killed_at)
    stage.figure("last frame to redelivery", most, TTL + 2)
    assert least >= TTL, f"redelivered {TTL - least:.3f} s before the ttl was over"
    losses = await stage.value("select count(*) from finished_job where losses = 1 and failures = 0")
    assert losses == 8, f"{losses} of 8 jobs are charged with one loss and no failure"


@case(
    "worker_and_server_killed",
    "kill -9 of a worker and its server at once: its jobs start on another within 12 s + 2 s",
    bound=60,
)
async def worker_and_server_killed(stage: Stage) -> None:
    stage.explained = {Exit.LOST, Exit.UNDELIVERED}
    await stage.database()
    first, second = await stage.server("first"), await stage.server("second")
    [victim] = await stage.workers(["victim"], first.address, ttl=TTL)
    await stage.producer(second.address).put_many(8, gate="never")
    await stage.started(8)
    await stage.heard("victim")
    await stage.workers(["heir"], second.address, ttl=TTL)
    killed_at = stage.fault("kill -9 of server and worker")
    first.kill()
    victim.kill()
    await stage.over()
    most, least = redelivered(stage, "victim", killed_at)
    stage.figure("last frame to redelivery", most, 14)
    assert least >= TTL, f"redelivered {TTL - least:.3f} s before the ttl was over"


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
    await refused(stage.hand(direct, "back", slots=1, ttl=TTL, resume=victim.resume(held=jobs)))
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
        stage.figure("late calls not refused as SESSION_UNKNOWN", refused_as != "SESSION_UNKNOWN", 0, "")
    await stage.over()


@case(
    "poison", "jobs that kill their workers end at their cap, and take no innocent one with them", bound=150
)
async def poison(stage: Stage) -> None:
    stage.explained = {Exit.LOST, Exit.UNDELIVERED, Exit.RELEASE}
    await stage.database()
    server = await stage.server("server")
    names = ["w0", "w1", "w2"]
    running = await stage.workers(names, server.address, slots=4, ttl=TTL)
    workers = dict(zip(names, running, strict=True))
    producer = stage.producer(server.address)
    deaths = 0

    async def supervise() -> None:
        nonlocal deaths
        while True:
            for name, worker in workers.items():
                if not worker.runs:
                    deaths += 1
                    # Another journal: a name has one session at a time, and the number of its leases begins anew.
                    workers[name] = stage.worker(f"{name}-{deaths}", server.address, slots=4, ttl=TTL)
            await asyncio.sleep(0.05)

    supervisor = asyncio.create_task(supervise())
    try:
        async with producer.load(20, seconds=0.3):
            await stage.started(12)
            stage.fault("two poison jobs")
            bad = [await producer.put("poison") for _ in range(2)]

            async def both() -> bool:
                rows = await stage.sql("select id from finished_job where id = any($1::uuid[])", bad)
                return len(rows) == 2

            await stage.until(both, "an end of the poison", 100)
        await stage.over()
    finally:
        supervisor.cancel()
    ends = {
        str(row["id"]): row
        for row in await stage.sql("select id, status, reason, losses, failures from finished_job")
    }
    for id in bad:
        found = (ends[id]["status"], ends[id]["reason"], ends[id]["losses"], ends[id]["failures"])
        assert found == (Status.FAILED_PERMANENT, "LOST_TOO_OFTEN", 3, 0), found
    innocents = [row for id, row in ends.items() if id not in bad]
    assert {(row["status"], row["failures"]) for row in innocents} == {(Status.SUCCEEDED, 0)}
    stage.figure("deaths of workers", deaths, 6, "")
    stage.figure("most losses of an innocent", max(row["losses"] for row in innocents), 2, "")


@case(
    "drain_unfinished",
    "SIGTERM with work that does not end: it goes back uncharged and starts elsewhere",
    bound=60,
)
async def drain_unfinished(stage: Stage) -> None:
    stage.explained = {Exit.RELEASE}
    await stage.database()
    server = await stage.server("server")
    gate = stage.folder / "gate"
    [leaver] = await stage.workers(["leaver"], server.address, ttl=TTL, grace=1)
    await stage.producer(server.address).put_many(8, gate=str(gate))
    await stage.started(8)
    await stage.workers(["stayer"], server.address, ttl=TTL)
    at = stage.fault("SIGTERM of the worker")
    leaver.terminate()
    starts = await stage.started(8, who="stayer")
    stage.figure("SIGTERM to redelivery", max(event.at for event in starts) - at, 1 + 2)
    code = await leaver.ended()
    assert code == 0, f"the worker ended with {code}"
    gate.touch()
    await stage.over()
    charged = await stage.value("select count(*) from finished_job where failures + losses > 0")
    assert charged == 0, f"{charged} jobs were charged for a drain"
