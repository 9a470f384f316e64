"""What happened to jobs is counted once, whatever way they take, and two servers sum up."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.duration_pb2 import Duration

from jobqueue.v1 import bulk_pb2, job_pb2, lease_pb2
from jobqueue_server.core.events.tallies import COUNTS

from .hand_worker import PATIENCE, span
from .place import Place, Status, eventually
from .statistics import counted, stats, sums_of

pytestmark = pytest.mark.any_engine

QUICK = job_pb2.RetryPolicy(min_backoff=Duration(nanos=1_000_000), max_backoff=Duration(nanos=20_000_000))


async def test_a_job_that_is_handed_off_or_claimed_counts_where_it_is_stored_begins_and_ends(
    place: Place,
) -> None:
    await place.batch(3)
    await place.enqueue()
    worker = await place.worker(slots=10)
    claimed = await worker.jobs(4)
    await worker.succeed(*claimed)
    handed_off = await place.enqueue()
    await worker.succeed(await worker.job())
    assert (await place.wait(handed_off.id)).status == Status.SUCCEEDED
    await counted(place, enqueued=5, started=5, succeeded=5)
    (series,) = (await stats(place)).series
    assert (series.totals.enqueued, series.totals.started, series.totals.succeeded) == (5, 5, 5)
    assert series.totals.HasField("wait_p50")
    assert series.totals.HasField("run_p99")


@pytest.mark.slow
async def test_each_end_of_an_attempt_counts_as_what_it_is(place: Place) -> None:
    worker = await place.worker(slots=10, receipts=True)
    await place.enqueue(max_attempts=2, retry_policy=QUICK)
    await worker.fail(await worker.job())
    await worker.fail(await worker.job())
    await counted(place, enqueued=1, started=2, retried=1, failed=1)

    await place.enqueue()
    await worker.release(await worker.job())
    again = await worker.job()
    await worker.snooze(again, 0.01)
    await worker.succeed(await worker.job())
    await counted(place, enqueued=2, started=5, retried=1, failed=1, released=2, succeeded=1)

    await place.enqueue(timeout=1, max_attempts=1)
    late = await worker.job()
    assert (await place.wait(late.id)).status == Status.FAILED_PERMANENT
    await counted(place, enqueued=3, started=6, retried=1, failed=2, released=2, succeeded=1, timed_out=1)


async def test_a_cancel_counts_once_whether_the_job_waits_or_runs_or_many_are_cancelled(
    place: Place,
) -> None:
    waiting = await place.enqueue("none")
    await place.cancel(waiting.id)
    worker = await place.worker(kinds=["some"])
    running = await place.enqueue("some")
    leased = await worker.job()
    await place.cancel(running.id)
    await worker.cancelled(leased)
    await place.until(running.id, "CANCELLED")
    await counted(place, enqueued=2, started=1, cancelled=2)
    ids = await place.batch(3, "none")
    wanted = bulk_pb2.JobFilter(kind="none", status=[Status.QUEUED])
    await place.bulk.CancelJobs(bulk_pb2.CancelJobsRequest(filter=wanted, force=True))
    for job_id in ids:
        await place.until(job_id, "CANCELLED")
    await counted(place, enqueued=5, started=1, cancelled=5)


@pytest.mark.slow
async def test_what_a_worker_took_with_it_counts_as_lost_and_what_it_never_saw_as_released(
    place: Place,
) -> None:
    worker = await place.worker(slots=2, ttl=5, receipts=True, kinds=["seen"])
    await place.enqueue("seen")
    await worker.job()
    await worker.heartbeat()
    leaving = await place.worker(slots=1, kinds=["left"])
    left = await place.enqueue("left")
    await leaving.job()
    worker.cut()
    await leaving.drain()
    await leaving.half_close()
    await place.until(left.id, "QUEUED")
    await eventually(lambda: place.value("select count(*) = 1 from attempt where outcome = 7"))
    await counted(place, enqueued=2, started=2, lost=1, released=1)


async def test_a_worker_that_makes_calls_counts_alike(place: Place) -> None:
    await place.enqueue()
    subscription = lease_pb2.Subscription(queue="", kinds=["work"])
    hello = lease_pb2.Hello(worker="caller", subscriptions=[subscription])
    opened = await place.stub.OpenSession(lease_pb2.OpenSessionRequest(hello=hello))
    token = opened.welcome.session_token
    claim = lease_pb2.ClaimJobsRequest(session_token=token, max_jobs=1, wait=span(PATIENCE))
    (job,) = (await place.stub.ClaimJobs(claim)).jobs
    outcome = lease_pb2.Outcome(job_id=job.id, attempt=job.attempt, success=lease_pb2.Success())
    await place.stub.SettleJobs(lease_pb2.SettleJobsRequest(session_token=token, outcomes=[outcome]))
    await counted(place, enqueued=1, started=1, succeeded=1)


async def test_two_servers_sum_up(place: Place) -> None:
    async with Place(place.dsn) as other:
        await asyncio.gather(place.batch(3), other.batch(4))
        worker = await other.worker(slots=10)
        await worker.succeed(*await worker.jobs(7))
        await eventually(lambda: place.value("select count(*) = 7 from finished_job"))
        await other.app.stats.slices.stop()
        await counted(place, enqueued=7, started=7, succeeded=7)
        servers = await place.value("select count(distinct server_id) from lane_stat")
        assert servers == 2
        (series,) = (await stats(place)).series
        assert (series.totals.enqueued, series.totals.succeeded) == (7, 7)


async def test_a_server_that_ends_writes_what_it_counted_until_then(place: Place) -> None:
    async with Place(place.dsn) as other:
        await other.batch(4)
    sums = await sums_of(place)
    assert sums == {name: 4 if name == "enqueued" else 0 for name in COUNTS}


@pytest.mark.slow
async def test_slices_begin_at_whole_ten_seconds_of_the_databases_clock(place: Place) -> None:
    async def look() -> bool:
        await place.enqueue()
        return bool(await place.value("select count(distinct at) >= 2 from lane_stat"))

    await eventually(look, timeout=40)
    off = await place.value("select count(*) from lane_stat where extract(epoch from at)::int8 % 10 <> 0")
    assert off == 0
    # One begins when the one before is over, and nothing is counted in two.
    jobs = await place.value("select count(*) from job")
    await counted(place, enqueued=jobs)
