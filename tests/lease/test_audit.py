"""Leases that slip past a race, or that a worker names and nobody gave: each is found and put right."""

from __future__ import annotations

import asyncio

import pytest

from jobqueue.v1 import lease_pb2

from .place import Place, Status, eventually

pytestmark = pytest.mark.any_engine


async def test_a_heartbeat_that_names_an_unknown_lease_is_answered_by_its_revocation(place):
    # The only heartbeats are those of the test.
    worker = await place.worker(heartbeats=False)
    await place.enqueue()
    leased = await worker.job()
    await worker.send(heartbeat=lease_pb2.Heartbeat(seq=1, held=[leased.lease_id, 1 << 32 | 99, 5]))
    revoke = (await worker.next("control")).revoke
    assert (sorted(revoke.lease_ids), revoke.reason) == ([5, 1 << 32 | 99], "LEASE_UNKNOWN")
    assert (await worker.next("pong")).seq == 1
    # They are told once, and run on until a heartbeat no longer names them: the slots are taken.
    await worker.capacity(3)
    waiting = await place.enqueue()
    await worker.no_job(0.2)
    await worker.send(heartbeat=lease_pb2.Heartbeat(seq=1, held=[leased.lease_id, 1 << 32 | 99, 5]))
    assert (await worker.next("pong")).seq == 1
    assert not worker.has("control")
    await worker.heartbeat()
    assert (await worker.job()).id == waiting.id
    worker.held = {leased.lease_id: leased}
    # A settled lease that is still named is one that crossed its answer: no news.
    await worker.succeed(leased)
    await worker.send(heartbeat=lease_pb2.Heartbeat(seq=2, held=[leased.lease_id]))
    assert (await worker.next("pong")).seq == 2
    assert not worker.has("control")


async def test_a_hand_off_that_commits_after_its_session_drained_is_given_to_another(place):
    """The insert is held up between the reservation of its slot and its commit."""
    worker = await place.worker()
    (session,) = place.app.session.sessions.all()
    await place.enqueue()
    await worker.succeed(await worker.job())
    connection = await place.connection()

    async def drains() -> bool:
        return not session.takes_jobs

    async with connection.transaction():
        await connection.execute("lock table live_job in exclusive mode")
        enqueueing = asyncio.create_task(place.enqueue())
        await eventually(
            lambda: connection.fetchval(
                "select count(*) > 0 from pg_stat_activity where wait_event_type = 'Lock'"
                " and datname = current_database()"
            )
        )
        await worker.drain()
        await eventually(drains)
    job = await enqueueing
    await worker.next("goodbye")
    assert worker.held == {}
    other = await place.worker(name="other")
    leased = await other.job()
    assert leased.id == job.id
    assert await other.succeed(leased) == []
    done = await place.wait(job.id)
    assert (Status.Name(done.status), done.losses, done.failures) == ("SUCCEEDED", 0, 0)


async def test_a_hand_off_that_commits_after_a_resume_is_given_again(place):
    worker = await place.worker()
    await place.enqueue()
    await worker.succeed(await worker.job())
    connection = await place.connection()
    async with connection.transaction():
        await connection.execute("lock table job in exclusive mode")
        enqueueing = asyncio.create_task(place.enqueue())
        await eventually(
            lambda: connection.fetchval(
                "select count(*) > 0 from pg_stat_activity where wait_event_type = 'Lock'"
                " and datname = current_database()"
            )
        )
        again = await place.worker(resume=worker.resume())
    job = await enqueueing
    leased = await again.job()
    assert leased.id == job.id
    assert await again.succeed(leased) == []
    done = await place.wait(job.id)
    assert (Status.Name(done.status), done.losses, done.failures) == ("SUCCEEDED", 0, 0)


async def test_a_job_whose_body_is_gone_ends_and_says_so(dsn):
    async with Place(dsn) as place:
        job, other = await place.enqueue(), await place.enqueue()
        await place.sql("delete from job where id = $1", job.id)
        worker = await place.worker(slots=2)
        assert (await worker.job()).id == other.id
        reason = await eventually(
            lambda: place.value("select reason from finished_job where id = $1 and status = 5", job.id)
        )
        assert reason == "BODY_MISSING"
