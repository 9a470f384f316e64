"""How a worker leaves, and how a server does: nothing is charged, nothing is lost."""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest

from jobqueue.v1 import lease_pb2
from jobqueue_server.core.tuning import Tuning

from .hand_worker import StreamEnded, named, reason_of
from .place import Place, Status, eventually

Verdict = lease_pb2.SettleResult.Verdict


async def test_a_draining_worker_gets_no_more_jobs_and_goodbye_after_its_last_settlement(place):
    worker = await place.worker(slots=2)
    ids = await place.batch(5)
    jobs = await worker.jobs(2)
    await worker.drain("deploy")
    await worker.heartbeat()
    assert await worker.succeed(jobs[0]) == []
    await worker.no_job(0.2)
    await worker.capacity(5)
    await worker.no_job(0.2)
    assert not worker.ended
    assert await worker.succeed(jobs[1]) == []
    assert list((await worker.next("goodbye")).released) == []
    assert (await worker.end()).error is None
    rest = [job_id for job_id in ids if job_id not in {job.id for job in jobs}]
    assert {await place.status(job_id) for job_id in rest} == {"QUEUED"}
    assert await place.value("select ended_at is not null from worker_session")


async def test_a_drain_with_nothing_held_ends_at_once(place):
    worker = await place.worker()
    await worker.drain()
    assert list((await worker.next("goodbye", 5)).released) == []
    await worker.end()


async def test_a_goodbye_does_not_wait_for_the_settlements_of_others(place):
    busy, leaving = await place.worker(name="busy"), await place.worker(name="leaving", kinds=["none"])
    await place.enqueue()
    leased = await busy.job()
    connection = await place.connection()
    async with connection.transaction():
        await connection.execute("select from live_job for update")
        await busy.report([leased.lease_id])
        await busy.heartbeat()
        await leaving.half_close()
        await leaving.next("goodbye", 5)
    assert list((await busy.next("settled")).exceptions) == []


async def test_a_half_close_is_a_drain_and_what_is_held_is_released_uncharged(place):
    worker = await place.worker(slots=2)
    await place.batch(2)
    done, unfinished = await worker.jobs(2)
    await worker.heartbeat()
    await worker.report([done.lease_id])
    await worker.half_close()
    goodbye = await worker.next("goodbye")
    assert list(goodbye.released) == [named(unfinished)]
    # The settlement that came before it counts, and is answered.
    assert (await worker.next("settled")).seq == 1
    assert (await worker.end()).error is None
    assert await place.status(done.id) == "SUCCEEDED"
    back = await place.get(unfinished.id)
    assert (Status.Name(back.status), back.failures, back.losses) == ("QUEUED", 0, 0)
    other = await place.worker()
    assert (await other.job()).attempt == 2


async def test_a_half_close_is_answered_by_goodbye_also_where_nothing_was_heard_before(place):
    silent, heard = await place.worker(name="silent", heartbeats=False), await place.worker(heartbeats=False)
    await heard.heartbeat()
    for worker in (silent, heard):
        await worker.half_close()
        await worker.next("goodbye")
        assert (await worker.end()).error is None


async def test_a_release_after_drain_goes_to_another_at_once(place):
    worker = await place.worker()
    job = await place.enqueue(max_attempts=1)
    leased = await worker.job()
    other = await place.worker(name="other")
    await worker.drain()
    await worker.release(leased)
    await worker.next("goodbye")
    again = await other.job()
    assert (again.id, again.attempt, again.failures) == (job.id, 2, 0)


async def test_a_server_that_leaves_says_go_away_and_takes_settlements_until_its_grace_ends(dsn):
    async with Place(dsn, shutdown_grace="20s") as place:
        worker = await place.worker(slots=2)
        ids = await place.batch(3)
        jobs = await worker.jobs(2)
        stopping = asyncio.create_task(place.app.stop())
        go_away = await worker.next("go_away")
        assert (go_away.reason, go_away.drain.seconds) == ("DRAINING", 20)
        assert await place.health() == "NOT_SERVING"
        assert await place.health("jobqueue.v1.JobQueue") == "NOT_SERVING"
        for call in (place.enqueue(), place.get(ids[0])):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
            assert reason_of(raised.value) == "DRAINING"
        with pytest.raises(StreamEnded) as refused:
            await place.worker(name="late")
        assert refused.value.reason == "DRAINING"
        assert await worker.succeed(jobs[0]) == []
        await worker.no_job(0.2)
        assert not stopping.done()
        started = time.monotonic()
        assert await worker.succeed(jobs[1]) == []
        assert (await worker.end()).error is None
        await stopping
        # Its grace is 20 s.
        assert time.monotonic() - started < 15
        rows = await place.sql("select status, attempts from finished_job")
        assert [(row["status"], row["attempts"]) for row in rows] == [(3, 1), (3, 1)]


async def test_a_session_survives_the_server_and_goes_on_elsewhere(dsn):
    async with Place(dsn, shutdown_grace="0s") as first, Place(dsn) as second:
        worker = await first.worker()
        job = await first.enqueue()
        leased = await worker.job()
        await worker.heartbeat()
        await first.app.stop()
        assert (await worker.next("go_away")).reason == "DRAINING"
        await worker.end()
        again = await second.worker(resume=worker.resume(held=[leased]))
        assert list(again.welcome.kept) == [named(leased)]
        assert await again.succeed(leased) == []
        done = await second.wait(job.id)
        assert (Status.Name(done.status), done.attempts, done.losses) == ("SUCCEEDED", 1, 0)


async def test_the_workers_of_a_server_that_leaves_are_sent_elsewhere_one_after_the_other(dsn):
    """500 that come at once to the server that is left would be a storm."""
    async with Place(dsn, shutdown_grace="20s") as place:
        workers = [await place.worker(name=f"worker-{number}") for number in range(40)]
        for worker in workers:
            await place.enqueue()
            await worker.heartbeat()
        stopping = asyncio.create_task(place.app.stop())
        waits = [
            (await worker.next("go_away")).reconnect_after.ToTimedelta().total_seconds() for worker in workers
        ]
        assert len(set(waits)) > 30
        assert min(waits) >= 0
        assert 0.05 < max(waits) <= 40 * 0.005
        for worker in workers:
            worker.cut()
        await stopping


async def test_workers_that_hold_nothing_get_the_time_to_connect_elsewhere_first(dsn):
    # Half a second is enough on a machine that has nothing else to do.
    tuning = Tuning(drain_move=5.0)
    async with (
        Place(dsn, tuning=tuning, shutdown_grace="20s", notify="off") as place,
        Place(dsn, notify="off") as other,
    ):
        worker = await place.worker()
        stopping = asyncio.create_task(place.app.stop())
        await worker.next("go_away")
        again = await other.worker(resume=worker.resume())
        # As long as a busy machine needs for that.
        await asyncio.sleep(0.1)
        assert not worker.ended
        worker.cut()
        await stopping
        assert not again.ended


async def test_a_rolling_restart_interrupts_no_job(dsn):
    """The worker connects elsewhere before it lets go, while the old server still takes settlements."""
    async with Place(dsn, shutdown_grace="20s") as first:
        worker = await first.worker(slots=4)
        await first.batch(4)
        jobs = await worker.jobs(4)
        stopping = asyncio.create_task(first.app.stop())
        await worker.next("go_away")
        async with Place(dsn) as second:
            assert await worker.succeed(jobs[0]) == []
            again = await second.worker(slots=4, resume=worker.resume(held=jobs[1:]))
            assert await again.succeed(*jobs[1:]) == []
            # The old stream can't know that the session went on: it is cut by its worker.
            worker.cut()
            await asyncio.wait_for(stopping, 25)
            await eventually(
                lambda: second.value(
                    "select count(*) = 4 from finished_job where status = 3 and attempts = 1 and losses = 0"
                )
            )
