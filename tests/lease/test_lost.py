"""Workers that fall silent or die: their jobs start elsewhere in time, and a job that kills its worker is bounded."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from jobqueue.v1 import lease_pb2

from .hand_worker import PATIENCE, StreamEnded, span
from .place import Place, Status, eventually

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]

Verdict = lease_pb2.SettleResult.Verdict

TTL = 5.0
# Promise 6: within ttl + 2 s of its last frame.
MARGIN = 2.0
LINE = {"line": ["work"]}


async def started_after(worker, patience=TTL + MARGIN + 10):
    """The next job, and when it came."""
    job = await worker.job(patience)
    return job, time.monotonic()


async def jobs_of_a_worker_whose_stream_is_cut_or_silent_start_elsewhere_within_ttl_and_two_seconds(
    place,
):
    """Both at once, and a worker that goes on beside them is left alone."""
    cut = await place.worker(name="cut", ttl=TTL, kinds=["cut"])
    silent = await place.worker(name="silent", ttl=TTL, kinds=["silent"], heartbeats=False)
    alive = await place.worker(name="alive", ttl=TTL, kinds=["alive"])
    jobs = {kind: await place.enqueue(kind) for kind in ("cut", "silent", "alive")}
    first = {"cut": await cut.job(), "silent": await silent.job(), "alive": await alive.job()}
    elsewhere = {
        kind: await place.worker(name=f"second {kind}", kinds=[kind]) for kind in ("cut", "silent", "alive")
    }
    await asyncio.gather(cut.heartbeat(), silent.heartbeat())
    last_frame = time.monotonic()
    cut.cut()
    again, times = {}, {}
    for kind in ("cut", "silent"):
        again[kind], times[kind] = await started_after(elsewhere[kind])
    # The row of the silence counts from the last frame heard, not from when it was noticed.
    for kind, at in times.items():
        assert TTL - 0.2 < at - last_frame < TTL + MARGIN, (kind, at - last_frame)
        assert (again[kind].id, again[kind].attempt, again[kind].failures) == (jobs[kind].id, 2, 0)
        lost = await place.get(jobs[kind].id)
        assert (Status.Name(lost.status), lost.losses, lost.failures) == ("RUNNING", 1, 0)
        assert [(each.attempt, each.reason, each.worker) for each in lost.failed_attempts] == [
            (1, "SESSION_LOST", kind)
        ]
    assert (await silent.end()).reason == "SESSION_SILENT"
    with pytest.raises(StreamEnded) as raised:
        await place.worker(resume=silent.resume(held=[first["silent"]]))
    assert raised.value.reason == "SESSION_ENDED"
    # Who was lost settles nothing, also not in a new session.
    new = await place.worker(kinds=["none"])
    outcome = lease_pb2.Outcome(job_id=jobs["cut"].id, attempt=1, success=lease_pb2.Success())
    assert [result.verdict for result in await new.settle(outcomes=[outcome])] == [Verdict.STALE_LEASE]
    await elsewhere["alive"].no_job(0.1)
    assert await alive.succeed(first["alive"]) == []
    assert await elsewhere["cut"].succeed(again["cut"]) == []


async def a_silent_connection_is_found_within_16_seconds_and_its_session_lives_on(place):
    worker = await place.worker(kinds=["quiet"], heartbeats=False)
    await place.enqueue("quiet")
    leased = await worker.job()
    last_frame = time.monotonic()
    ended = await worker.end(timeout=18)
    assert 14 < time.monotonic() - last_frame < 16
    assert ended.reason == "SESSION_SILENT"
    # Its ttl, 30 s, is not over.
    again = await place.worker(kinds=["quiet"], resume=worker.resume(held=[leased]))
    assert await again.succeed(leased) == []


async def receipts_decide_what_is_lost_and_what_was_never_delivered(place):
    """Two workers die with a job each; only the one that said it had seen its delivery is charged a loss."""
    seen = await place.worker(name="seen", ttl=TTL, kinds=["seen"])
    unseen = await place.worker(name="unseen", ttl=TTL, kinds=["unseen"], receipts=False)
    jobs = {kind: await place.enqueue(kind) for kind in ("seen", "unseen")}
    await seen.job()
    await unseen.job()
    await asyncio.gather(seen.heartbeat(), unseen.heartbeat())
    seen.cut()
    unseen.cut()
    other = await place.worker(kinds=["seen", "unseen"], slots=2)
    again = {job.kind: job for job in await other.jobs(2)}
    assert {kind: job.attempt for kind, job in again.items()} == {"seen": 2, "unseen": 2}
    losses = {kind: (await place.get(job.id)).losses for kind, job in jobs.items()}
    assert losses == {"seen": 1, "unseen": 0}
    assert list((await place.get(jobs["unseen"].id)).failed_attempts) == []


async def a_resume_in_time_loses_nothing(place):
    ttl = TTL + 4
    worker = await place.worker(kinds=["back"], ttl=ttl)
    job = await place.enqueue("back")
    leased = await worker.job()
    worker.cut()
    await asyncio.sleep(ttl / 2)
    again = await place.worker(kinds=["back"], resume=worker.resume(held=[leased]))
    await asyncio.sleep(ttl / 2 + 0.5)
    assert await again.succeed(leased) == []
    done = await place.wait(job.id)
    assert (done.attempts, done.losses) == (1, 0)


async def leases_that_only_one_side_knows_are_put_right_by_the_audit(place):
    worker = await place.worker(kinds=["known"])
    known = await place.enqueue("known")
    leased = await worker.job()
    gone = await place.worker(name="gone", kinds=["none"])
    await gone.drain()
    await gone.next("goodbye")
    nobodys, of_ended, young = [await place.enqueue("nobodys") for _ in range(3)]
    lease = """update live_job set state = 2, attempts = 1, session_id = $2, changed_at = now() - $3::interval
        where id = $1"""
    old, new = timedelta(seconds=11), timedelta(seconds=-5)
    await place.sql(lease, nobodys.id, worker.welcome.session_id, old)
    await place.sql(lease, of_ended.id, gone.welcome.session_id, old)
    await place.sql(lease, young.id, worker.welcome.session_id, new)
    for job in (nobodys, of_ended):
        back = await place.until(job.id, "QUEUED")
        assert (back.failures, back.losses, list(back.failed_attempts)) == (0, 0, [])
    # A lease that is younger than 10 s may be under way.
    assert await place.status(young.id) == "RUNNING"

    await place.sql("update live_job set state = 1, session_id = null where id = $1", known.id)
    revoke = (await worker.next("control", timeout=25)).revoke
    assert (list(revoke.lease_ids), revoke.reason) == ([leased.lease_id], "NOT_HELD")
    assert [result.verdict for result in await worker.succeed(leased)] == [Verdict.STALE_LEASE]
    await worker.heartbeat()
    again = await worker.job()
    assert (again.id, again.attempt) == (known.id, 2)
    assert await worker.succeed(again) == []


async def a_job_that_kills_its_worker_ends_and_its_innocent_neighbours_do_not(place):
    ended = asyncio.Event()
    poison = await place.enqueue("any", b'"poison"')
    innocent = [await place.enqueue("any", b'"innocent"') for _ in range(4)]
    deaths = 0

    async def work():
        """A worker that dies of the poison as soon as it has it, and takes what it holds with it."""
        nonlocal deaths
        worker = await place.worker(kinds=["any"], slots=5, ttl=TTL)
        while True:
            try:
                job = await worker.job(1)
                # What came with it is in hand too, unsettled, when the poison works.
                await asyncio.sleep(0.1)
                if any(held.id == poison.id for held in worker.held.values()):
                    # The server knows that it has seen it.
                    await worker.heartbeat()
                    deaths += 1
                    worker.cut()
                    return
                await worker.succeed(job)
            except TimeoutError:
                if ended.is_set():
                    return

    async def charged():
        return (await place.get(poison.id)).losses == 1

    await work()
    await eventually(charged, 3 * TTL)
    # As if it had killed two more, at a ttl for each.
    await place.sql("update live_job set losses = 3 where id = $1", poison.id)
    tasks = [asyncio.create_task(work()) for _ in range(6)]

    async def ended_at_its_cap():
        job = await place.get(poison.id)
        return job if job.HasField("finished_at") else None

    done = await eventually(ended_at_its_cap, 10 * TTL)
    assert (Status.Name(done.status), done.reason, done.losses) == (
        "FAILED_PERMANENT",
        "LOST_TOO_OFTEN",
        5,
    )
    assert deaths == 3
    for job in innocent:
        neighbour = await place.wait(job.id)
        assert Status.Name(neighbour.status) == "SUCCEEDED"
        assert neighbour.losses <= 2
    ended.set()
    await asyncio.gather(*tasks)


async def isolated_jobs_are_dealt_one_a_session_and_clean_jobs_are_not_held_up(place):
    dying = await place.worker(queues=LINE, slots=3, ttl=TTL)
    isolated = await place.batch(3, queue="line")
    await dying.jobs(3)
    await dying.heartbeat()
    # As jobs that lost a worker once before.
    await place.sql("update live_job set losses = 1 where id = any($1)", isolated)
    dying.cut()
    await asyncio.sleep(TTL - 1)
    first = await place.worker(queues=LINE, name="first", slots=10)
    second = await place.worker(queues=LINE, name="second", slots=10)
    await place.pause("line")
    clean = await place.batch(6, queue="line")
    await place.unpause("line")
    await asyncio.gather(*(place.until(job_id, "RUNNING") for job_id in clean))

    async def dealt():
        query = "select session_id from live_job where id = any($1) and losses = 2 and state = 2"
        return await place.sql(query, isolated)

    async with asyncio.timeout(PATIENCE):
        while len(await dealt()) < 2:
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    rows = await dealt()
    assert len(rows) == 2, "a session holds two isolated jobs, or none waits"
    assert len({row["session_id"] for row in rows}) == 2
    # The third is dealt when one of them is settled.
    await asyncio.gather(first.heartbeat(), second.heartbeat())
    (held,) = (job for job in first.held.values() if job.id in isolated)
    assert held.attempt == 2
    await first.succeed(held)
    async with asyncio.timeout(PATIENCE):
        while not any(job.id in isolated for job in first.held.values()):
            await asyncio.sleep(0.02)
    await first.succeed(*first.held.values())
    await second.succeed(*second.held.values())
    for job_id in (*isolated, *clean):
        assert Status.Name((await place.wait(job_id)).status) == "SUCCEEDED"


async def a_cancelled_job_whose_worker_is_lost_is_cancelled(place):
    worker = await place.worker(kinds=["cancelled"], ttl=TTL)
    job = await place.enqueue("cancelled")
    await worker.job()
    await place.cancel(job.id)
    worker.cut()
    done = await place.wait(job.id)
    assert (Status.Name(done.status), done.reason, done.losses) == ("CANCELLED", "CANCELLED_BY_CALLER", 1)


async def test_each_promise_that_takes_its_time_is_kept_beside_the_others(dsn):
    async with Place(dsn) as place:
        await asyncio.gather(
            jobs_of_a_worker_whose_stream_is_cut_or_silent_start_elsewhere_within_ttl_and_two_seconds(place),
            a_silent_connection_is_found_within_16_seconds_and_its_session_lives_on(place),
            receipts_decide_what_is_lost_and_what_was_never_delivered(place),
            a_resume_in_time_loses_nothing(place),
            leases_that_only_one_side_knows_are_put_right_by_the_audit(place),
            a_job_that_kills_its_worker_ends_and_its_innocent_neighbours_do_not(place),
            isolated_jobs_are_dealt_one_a_session_and_clean_jobs_are_not_held_up(place),
            a_cancelled_job_whose_worker_is_lost_is_cancelled(place),
        )


async def test_a_thousand_workers_that_are_lost_at_once_are_reaped_within_their_two_seconds(place):
    """As when a host goes, or a network: one after another took three milliseconds each."""
    count = 1000
    ids = await place.batch(count, delay=span(60))
    await place.sql(
        "with lost as ("
        " insert into worker_session (server_id, ttl, name, token_hash)"
        "  select $1, interval '5 seconds', 'lost', sha256('x') from generate_series(1, $2::int) returning id"
        "), numbered as (select id, row_number() over () as n from lost)"
        " update live_job l set state = 2, attempts = 1, session_id = s.id, changed_at = now()"
        " from unnest($3::uuid[]) with ordinality as u (id, n) join numbered s on s.n = u.n where l.id = u.id",
        place.app.events.server.id,
        count,
        ids,
    )
    await place.sql("update worker_session set silent_since = now() - interval '5 seconds'")
    started = time.monotonic()
    await eventually(lambda: place.value("select not exists (select from live_job where state = 2)"))
    assert time.monotonic() - started < 2
    assert await place.value("select count(*) from live_job where losses = 1") == count
    assert await place.value("select count(*) from worker_session where ended_at is null") == 0
