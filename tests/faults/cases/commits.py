"""Servers killed, and sessions gone elsewhere, between a statement's commit and what follows it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import grpc.aio

from jobqueue.v1 import lease_pb2
from jobqueue_server.lifecycle import Event as Exit
from tests.faults.case import case
from tests.faults.locks import came, held_insert, locked, waits_for_lock
from tests.faults.stage import Stage

TTL = 5.0
# A statement that is not yet prepared on its connection is two messages, and the second needs the answer to the first.
# Each try prepares one connection of four.
_TRIES = 8
_Verdict = lease_pb2.SettleResult.Verdict


@case(
    "killed_after_claim",
    "kill -9 of the server between a claim's commit and its hand-over: given again, uncharged",
    bound=60,
)
async def killed_after_claim(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    await stage.database()
    to_database, dsn = await stage.database_proxy()
    first, second = await stage.server("first", dsn), await stage.server("second")
    here, there = stage.producer(first.address), stage.producer(second.address)
    worker = await stage.hand(here, "worker", slots=0, ttl=TTL)
    leased = "select count(*) = 4 from live_job where state = 2"
    for _ in range(_TRIES):
        ids = await here.put_many(4)
        async with locked(stage, "live_job"):
            await worker.capacity(4)
            await waits_for_lock(stage, "claim")
            to_database.one_way(to_database.down)
        # The claim goes on now, and commits; its answer stays in the proxy.
        if await came(stage, leased):
            break
        to_database.passing()
        await worker.succeed(*await worker.jobs(4))
        await worker.capacity(0)
        await worker.heartbeat()
    else:
        raise AssertionError("no claim committed without a further message")
    stage.fault("kill -9 of the server, whose claim has committed")
    first.kill()
    again = await stage.hand(there, "worker", slots=4, ttl=TTL, resume=worker.resume())
    at = time.time()
    jobs = await again.jobs(4)
    stage.figure("resume to delivery", time.time() - at, 1)
    assert {job.id for job in jobs} == set(ids), "other jobs were delivered"
    await again.succeed(*jobs)
    await stage.over()
    charged = await stage.value("select count(*) from finished_job where losses + failures > 0")
    stage.figure("jobs charged", charged, 0, "")


@case(
    "killed_after_settle",
    "kill -9 of the server between a settlement's commit and its answer: told once more",
    bound=60,
)
async def killed_after_settle(stage: Stage) -> None:
    await stage.database()
    to_database, dsn = await stage.database_proxy()
    first, second = await stage.server("first", dsn), await stage.server("second")
    here, there = stage.producer(first.address), stage.producer(second.address)
    worker = await stage.hand(here, "worker", slots=4, ttl=TTL)
    for number in range(_TRIES):
        await here.put_many(4)
        jobs = await worker.jobs(4)
        await worker.heartbeat()
        to_database.one_way(to_database.down)
        await worker.report([job.lease_id for job in jobs])
        if await came(stage, "select count(*) = $1 from finished_job", 4 * (number + 1)):
            break
        to_database.passing()
        await worker.next("settled")
    else:
        raise AssertionError("no settlement committed without a further message")
    assert not worker.has("settled"), "the answer came"
    stage.fault("kill -9 of the server, whose settlement has committed")
    first.kill()
    again = await stage.hand(there, "worker", slots=4, ttl=TTL, resume=worker.resume(unanswered=jobs))
    results = await again.settle([job.lease_id for job in jobs])
    verdicts = [_Verdict.Name(result.verdict) for result in results]
    assert verdicts == ["ALREADY_APPLIED"] * 4, verdicts
    await stage.over()
    again_run = await stage.value("select count(*) from finished_job where attempts > 1")
    stage.figure("jobs that ran again", again_run, 0, "")


@case(
    "killed_after_enqueue",
    "kill -9 of the server between an enqueue's commit and its answer: the key finds the job",
    bound=60,
)
async def killed_after_enqueue(stage: Stage) -> None:
    await stage.database()
    stage.all_jobs_over = False
    to_database, dsn = await stage.database_proxy()
    first, second = await stage.server("first", dsn), await stage.server("second")
    here, there = stage.producer(first.address), stage.producer(second.address)
    stored = "select exists (select from job where idempotency_key = $1)"
    await here.put()
    for number in range(_TRIES):
        key = f"key-{number}"
        to_database.one_way(to_database.down)
        putting = asyncio.create_task(here.put(key=key, token=key))
        if await came(stage, stored, key):
            break
        to_database.passing()
        await putting
    else:
        raise AssertionError("no enqueue committed without a further message")
    assert not putting.done(), "the answer came"
    stage.fault("kill -9 of the server, whose enqueue has committed")
    first.kill()
    [outcome] = await asyncio.gather(putting, return_exceptions=True)
    assert isinstance(outcome, grpc.aio.AioRpcError), f"acknowledged by a server that was killed: {outcome}"
    id = await there.put(key=key, token=key)
    kept = await stage.sql("select id::text from job where idempotency_key = $1", key)
    assert [row["id"] for row in kept] == [id], f"the replay answered {id}, and {kept} is stored"
    stage.figure("jobs of one key", len(kept), 1, "")


@case(
    "late_hand_off",
    "a hand-off commits after its session went on elsewhere, its server alive or dead: found, given again",
    bound=90,
)
async def late_hand_off(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    await stage.database()
    servers = [await stage.server(name) for name in ("first", "second")]
    callers = [stage.producer(server.address) for server in servers]
    worker = await stage.hand(callers[0], "worker", slots=2, ttl=30)
    await callers[0].put()
    await worker.succeed(await worker.job())
    for fate, here, there in (("alive", 0, 1), ("dead", 1, 0)):
        async with held_insert(stage):
            putting = asyncio.create_task(callers[here].put(key=fate))
            await waits_for_lock(stage, "enqueue")
            stage.fault(f"the session goes on elsewhere before its hand-off commits; the server is {fate}")
            if fate == "dead":
                servers[here].kill()
                worker.cut()
            resume = worker.resume()
            worker = await stage.hand_back(callers[there], "worker", slots=2, ttl=30, resume=resume)
            leased = await stage.value("select count(*) from live_job where state = 2")
            assert leased == 0, "the hand-off did not wait"
        at = time.time()
        await asyncio.gather(putting, return_exceptions=True)
        job = await worker.job(30)
        assert job.attempt == 2, "it was stored to wait: the race was missed"
        # The audit looks every 10 s at leases that are older than 10 s.
        stage.figure(f"commit to delivery, server {fate}", time.time() - at, 22)
        await worker.succeed(job)
    await stage.over()
    charged = await stage.value("select sum(losses + failures)::int from finished_job")
    stage.figure("jobs charged", charged, 0, "")


@case(
    "killed_amid_follow_ups",
    "kill -9 of the server between a success and the insert of its follow-ups: neither; told once more, both, once",
    bound=60,
)
async def killed_amid_follow_ups(stage: Stage) -> None:
    await stage.database()
    first, second = await stage.server("first"), await stage.server("second")
    here, there = stage.producer(first.address), stage.producer(second.address)
    worker = await stage.hand(here, "worker", slots=1, ttl=TTL)
    await here.put()
    job = await worker.job()
    await worker.heartbeat()
    success = lease_pb2.Success(follow_ups=[here.follow_up() for _ in range(3)])
    stored = "select (select count(*) from job), (select count(*) from finished_job)"
    async with locked(stage, "job"):
        await worker.report(outcomes=[lease_pb2.Outcome(lease_id=job.lease_id, success=success)])
        await waits_for_lock(stage, "enqueue")
        stage.fault("kill -9 of the server, whose success waits for its follow-ups")
        first.kill()
    again = await stage.hand(there, "worker", slots=3, ttl=TTL, resume=worker.resume(unanswered=[job]))
    [half] = await stage.sql(stored)
    assert tuple(half) == (1, 0), f"of a success with 3 follow-ups {tuple(half)} jobs and ends are stored"
    by_name = lease_pb2.Outcome(job_id=job.id, attempt=job.attempt, success=success)
    assert await again.settle(outcomes=[by_name]) == [], "the success sent again was not applied"
    thief = await stage.hand(there, "thief", slots=0, ttl=TTL)
    verdicts = [
        _Verdict.Name(result.verdict)
        for each in (again, thief)
        for result in await each.settle(outcomes=[by_name])
    ]
    assert verdicts == ["ALREADY_APPLIED", "STALE_LEASE"], verdicts
    await again.succeed(*await again.jobs(3))
    await stage.over()
    [whole] = await stage.sql(stored)
    stage.figure("jobs of one success and its three follow-ups", whole[0], 4, "")
    assert tuple(whole) == (4, 4), tuple(whole)


@case(
    "killed_amid_unique",
    "kill -9 of the server whose enqueue has taken a name and not committed: the call that waits for the name has it",
    bound=60,
)
async def killed_amid_unique(stage: Stage) -> None:
    await stage.database()
    stage.all_jobs_over = False
    first, second = await stage.server("first"), await stage.server("second")
    here, there = stage.producer(first.address), stage.producer(second.address)
    await here.put()
    await there.put()
    async with locked(stage, "job"):
        # With idempotency keys a name is locked by a statement of its own.
        losing = asyncio.create_task(here.put(unique="user-7", key="lost"))
        await waits_for_lock(stage, "enqueue")
        winning = asyncio.create_task(there.put(unique="user-7", key="won"))
        await waits_for_lock(stage, "names")
        stage.fault("kill -9 of the server, whose enqueue has taken the name")
        first.kill()
        [outcome] = await asyncio.gather(losing, return_exceptions=True)
        assert isinstance(outcome, grpc.aio.AioRpcError), f"acknowledged before its commit: {outcome}"
    id = await winning
    named = await stage.sql(
        "select u.job_id::text as id from unique_hold u join live_job l on l.id = u.job_id"
    )
    assert [row["id"] for row in named] == [id], f"{named} holds the name, and {id} was answered"
    stage.figure(
        "jobs stored, two of them without a name", await stage.value("select count(*) from job"), 3, ""
    )


@case(
    "killed_amid_replace",
    "kill -9 of the server whose REPLACE or DEBOUNCE has locked its job: nothing stays, the next one counts",
    bound=90,
)
async def killed_amid_replace(stage: Stage) -> None:
    await stage.database()
    last = await stage.server("last")
    there = stage.producer(last.address)
    # One token: the calls are about one job, which is stored once.
    seven: dict[str, Any] = {"unique": "user-7", "token": "seven"}
    id = await there.put(**seven, says="stored")
    says = "select convert_from(payload, 'UTF8')::json ->> 'says' from job"
    for how, delay in (("REPLACE", None), ("DEBOUNCE", 3600.0)):
        first = await stage.server(how)
        here = stage.producer(first.address)
        async with locked(stage, "job"):
            losing = asyncio.create_task(
                here.put(**seven, key=f"lost by {how}", on_conflict=how, delay=delay, says=f"lost by {how}")
            )
            await waits_for_lock(stage, "jobs")
            after = f"said after {how}"
            winning = asyncio.create_task(there.put(**seven, key=after, on_conflict="REPLACE", says=after))
            await waits_for_lock(stage, "names")
            stage.fault(f"kill -9 of the server, whose {how} has locked the job")
            first.kill()
            [outcome] = await asyncio.gather(losing, return_exceptions=True)
            assert isinstance(outcome, grpc.aio.AioRpcError), f"acknowledged before its commit: {outcome}"
        assert await winning == id, "another job was answered"
        assert await stage.value(says) == f"said after {how}"
        assert await stage.value("select run_at <= now() from live_job"), f"the {how} moved the start"
    worker = await stage.hand(there, "worker", slots=2, ttl=TTL)
    [job] = await worker.jobs(1)
    assert json.loads(job.payload_json)["says"] == "said after DEBOUNCE", job.payload_json
    await worker.succeed(job)
    await stage.over()
    stage.figure("jobs stored", await stage.value("select count(*) from job"), 1, "")
