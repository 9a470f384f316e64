"""Settlements that come twice, late, or together with a cancel; follow-ups and retries among them."""

from __future__ import annotations

import asyncio
import time

import grpc.aio

from jobqueue.v1 import lease_pb2
from jobqueue_server.lifecycle import Event as Exit
from jobqueue_server.lifecycle import Status
from tests.faults.case import case
from tests.faults.stage import Stage
from tests.lease.hand_worker import reason_of

TTL = 5.0
_Verdict = lease_pb2.SettleResult.Verdict


@case(
    "settle_twice",
    "settled, cut before the answer, resumed and settled again: applied once, whatever is said",
    bound=60,
)
async def settle_twice(stage: Stage) -> None:
    await stage.database()
    first, second = await stage.server("first"), await stage.server("second")
    callers = [stage.producer(first.address), stage.producer(second.address)]
    proxies = [await stage.proxy(server.address) for server in (first, second)]
    ways = [stage.producer(proxy.address) for proxy in proxies]
    by = 0
    worker = await stage.hand(ways[by], "worker", slots=10, ttl=TTL)
    rounds = stage.count(20, 4)
    seen: dict[str, int] = {}
    for number in range(rounds):
        await callers[number % 2].put_many(10)
        jobs = await worker.jobs(10)
        await worker.heartbeat()
        # Either the settlement never arrives, or its answer does not; or nobody can say.
        proxy, dead = proxies[by], stage.random.choice(["up", "down", "neither"])
        stage.fault(f"round {number + 1}: cut before the answer", dead=dead)
        if dead != "neither":
            proxy.one_way(proxy.up if dead == "up" else proxy.down)
        await worker.report([job.lease_id for job in jobs])
        await asyncio.sleep(stage.random.choice([0.002, 0.01, 0.1]))
        proxy.reset()
        proxy.passing()
        by = stage.random.randrange(2)
        resume = worker.resume(unanswered=jobs)
        worker = await stage.hand_back(ways[by], "worker", slots=10, ttl=TTL, resume=resume)
        kept = {(lease.job_id, lease.attempt) for lease in worker.welcome.kept}
        results = await worker.settle([job.lease_id for job in jobs])
        verdicts = {result.lease_id: _Verdict.Name(result.verdict) for result in results}
        for job in jobs:
            verdict = verdicts.get(job.lease_id, "APPLIED")
            seen[verdict] = seen.get(verdict, 0) + 1
            assert verdict in ("APPLIED", "ALREADY_APPLIED"), f"sent again: {verdict}"
            if verdict == "APPLIED":
                assert (job.id, job.attempt) in kept, "applied although its lease was not kept"
        # Another outcome for a lease that is settled.
        refused = await worker.settle(
            outcomes=[
                lease_pb2.Outcome(job_id=job.id, attempt=job.attempt, failure=lease_pb2.Failure(error="late"))
                for job in jobs
            ]
        )
        assert {_Verdict.Name(result.verdict) for result in refused} == {"STALE_LEASE"}, refused
    await stage.over()
    stage.figure("applied before the cut", seen.get("ALREADY_APPLIED", 0), unit="")
    stage.figure("applied after the resume", seen.get("APPLIED", 0), unit="")
    rows = await stage.sql("select status, attempts from finished_job")
    assert {tuple(row) for row in rows} == {(Status.SUCCEEDED, 1)}, (
        "a job ended otherwise than once, as succeeded"
    )


@case(
    "cancel_against_complete",
    "cancel against complete, thousands of times in both orders: one end each",
    bound=240,
)
async def cancel_against_complete(stage: Stage) -> None:
    await stage.database()
    server = await stage.server("server", cancel_grace="30s")
    caller = stage.producer(server.address)
    slots = 100
    worker = await stage.hand(caller, "worker", slots=slots, ttl=30)
    races = stage.count(5000, 200)
    first = {"the cancel": 0, "the outcome": 0}
    expected: dict[str, Status] = {}

    async def cancel(id: str, *, fails: bool) -> None:
        await asyncio.sleep(stage.random.choice([0, 0, 0.001, 0.003]))
        stage.journal.note("cancel_asked", id=id)
        try:
            await caller.cancel(id)
        except grpc.aio.AioRpcError as error:
            if reason_of(error) != "JOB_TERMINAL":
                raise
            first["the outcome"] += 1
            expected[id] = Status.FAILED_PERMANENT if fails else Status.SUCCEEDED
        else:
            first["the cancel"] += 1
            # It was asked for before the end: a failure is then the end of it, and a success stays a success.
            expected[id] = Status.CANCELLED if fails else Status.SUCCEEDED

    async def end(job: lease_pb2.LeasedJob, *, fails: bool) -> None:
        await asyncio.sleep(stage.random.choice([0, 0, 0.001, 0.003]))
        if fails:
            failure = lease_pb2.Failure(error="no", permanent=True)
            await worker.report(outcomes=[lease_pb2.Outcome(lease_id=job.lease_id, failure=failure)])
        else:
            await worker.report([job.lease_id])

    async def race(job: lease_pb2.LeasedJob) -> None:
        fails = stage.random.random() < 0.5
        await asyncio.gather(cancel(job.id, fails=fails), end(job, fails=fails))

    started = time.monotonic()
    for start in range(0, races, slots):
        stage.tell(f"race {start} of {races}")
        await caller.put_many(min(slots, races - start))
        jobs = await worker.jobs(min(slots, races - start))
        await asyncio.gather(*(race(job) for job in jobs))
        await worker.heartbeat()
    await stage.over()
    rows = await stage.sql("select id, status from finished_job")
    ends = {str(row["id"]): Status(row["status"]) for row in rows}
    wrong = [f"{id} is {ends[id].name}" for id, right in expected.items() if ends[id] is not right]
    assert not wrong, f"{len(wrong)} ends that the answer to the cancel does not allow: {wrong[:3]}"
    stage.figure("races", races, unit="")
    stage.figure("a second", races / (time.monotonic() - started), unit="")
    for who, times in first.items():
        stage.figure(f"{who} came first", times, unit="")
        assert times, f"{who} never came first"


@case(
    "failures_and_snoozes",
    "jobs that fail and snooze under load: again only after their run_at, charged as they should",
    bound=90,
)
async def failures_and_snoozes(stage: Stage) -> None:
    stage.explained = {Exit.FAIL, Exit.SNOOZE}
    await stage.database()
    first, second = await stage.server("first"), await stage.server("second")
    await stage.workers(["w0"], first.address, second.address, slots=16, ttl=TTL)
    await stage.workers(["w1"], second.address, first.address, slots=16, ttl=TTL)
    producers = [stage.producer(first.address), stage.producer(second.address)]
    jobs = stage.count(100, 10)
    for number, kind in enumerate(("flaky", "snoozing", "work", "flaky")):
        await producers[number % 2].put_many(jobs, kind)
    await stage.over()
    rows = await stage.sql(
        "select status, attempts, failures, losses, count(*) from finished_job group by 1, 2, 3, 4"
    )
    found = {tuple(row)[:4]: row[4] for row in rows}
    succeeded = Status.SUCCEEDED
    assert found == {
        (succeeded, 2, 1, 0): 2 * jobs,
        (succeeded, 2, 0, 0): jobs,
        (succeeded, 1, 0, 0): jobs,
    }, found
    stage.figure("jobs", 4 * jobs, unit="")
