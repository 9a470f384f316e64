"""A cancel of a job in each status; of a running one the worker is told, and its answer decides."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import grpc
import pytest

from jobqueue.v1 import job_pb2, lease_pb2
from jobqueue_server.store.claim.claims import ClaimStore

from .hand_worker import reason_of, span
from .place import Held, Place, Status

Verdict = lease_pb2.SettleResult.Verdict


@pytest.mark.any_engine
async def test_a_queued_job_is_cancelled_at_once_and_never_delivered(place):
    job = await place.enqueue()
    answer = await place.cancel(job.id)
    assert (answer.pending, Status.Name(answer.job.status), answer.job.reason) == (
        False,
        "CANCELLED",
        "CANCELLED_BY_CALLER",
    )
    await (await place.worker()).no_job()


@pytest.mark.any_engine
async def test_a_retrying_job_is_cancelled_at_once(place):
    worker = await place.worker()
    slow = job_pb2.RetryPolicy(min_backoff=span(60), max_backoff=span(60))
    job = await place.enqueue(retry_policy=slow)
    await worker.fail(await worker.job())
    answer = await place.cancel(job.id)
    assert (answer.pending, Status.Name(answer.job.status), answer.job.failures) == (False, "CANCELLED", 1)


@pytest.mark.any_engine
async def test_of_a_running_job_the_worker_is_told_within_a_second_and_its_answer_decides(place):
    worker = await place.worker()
    job = await place.enqueue()
    leased = await worker.job()
    started = time.monotonic()
    answer = await place.cancel(job.id, "no longer wanted")
    control = await worker.next("control")
    assert time.monotonic() - started < 1
    assert (answer.pending, Status.Name(answer.job.status), answer.job.cancel_requested) == (
        True,
        "RUNNING",
        True,
    )
    assert list(control.cancel.lease_ids) == [leased.lease_id]
    assert (control.cancel.reason, control.cancel.grace.seconds) == ("no longer wanted", 30)
    result = await worker.cancelled(leased)
    assert (result.verdict, Status.Name(result.status)) == (Verdict.APPLIED, "CANCELLED")
    done = await place.wait(job.id)
    assert (Status.Name(done.status), done.reason) == ("CANCELLED", "CANCELLED_BY_CALLER")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await place.cancel(job.id)
    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(raised.value) == "JOB_TERMINAL"


@pytest.mark.any_engine
async def test_a_success_stays_a_success_and_every_other_answer_is_cancelled(place):
    worker = await place.worker(slots=4)
    jobs = [await place.enqueue() for _ in range(4)]
    leased = {job.id: job for job in await worker.jobs(4)}
    for job in jobs:
        assert (await place.cancel(job.id)).pending
    assert await worker.succeed(leased[jobs[0].id]) == []
    results = [
        await worker.fail(leased[jobs[1].id]),
        await worker.snooze(leased[jobs[2].id], 5),
        await worker.release(leased[jobs[3].id]),
    ]
    assert {Status.Name(result.status) for result in results} == {"CANCELLED"}
    done = [await place.wait(job.id) for job in jobs]
    assert [(Status.Name(job.status), job.reason) for job in done] == [
        ("SUCCEEDED", ""),
        *[("CANCELLED", "CANCELLED_BY_CALLER")] * 3,
    ]
    assert done[0].cancel_requested is False


@pytest.fixture
async def impatient(dsn: str) -> AsyncIterator[Place]:
    async with Place(dsn, cancel_grace="1s") as place:
        yield place


@pytest.mark.slow
@pytest.mark.any_engine
async def test_without_an_answer_the_server_decides_after_the_grace_and_the_late_answer_is_stale(impatient):
    place = impatient
    worker = await place.worker()
    job = await place.enqueue()
    leased = await worker.job()
    asked_at = time.monotonic()
    await place.cancel(job.id)
    assert (await worker.next("control")).HasField("cancel")
    revoke = (await worker.next("control")).revoke
    assert 0.9 < time.monotonic() - asked_at < 6
    assert (list(revoke.lease_ids), revoke.reason) == ([leased.lease_id], "CANCEL_GRACE_ENDED")
    done = await place.wait(job.id)
    assert (Status.Name(done.status), done.reason) == ("CANCELLED", "CANCEL_GRACE_ENDED")
    # Its handler still runs, so its slot stays counted until a heartbeat no longer names it.
    other = await place.enqueue()
    await worker.heartbeat()
    await worker.no_job()
    results = await worker.succeed(leased)
    assert [result.verdict for result in results] == [Verdict.STALE_LEASE]
    assert Status.Name((await place.get(job.id)).status) == "CANCELLED"
    await worker.heartbeat()
    assert (await worker.job()).id == other.id


@pytest.mark.any_engine
async def test_a_repeated_cancel_tells_the_worker_again_and_moves_no_deadline(place):
    worker = await place.worker()
    job = await place.enqueue()
    leased = await worker.job()
    await place.cancel(job.id)
    deadline = await place.value("select deadline from live_job")
    assert (await place.cancel(job.id)).pending
    assert await place.value("select deadline from live_job") == deadline
    for _ in range(2):
        assert list((await worker.next("control")).cancel.lease_ids) == [leased.lease_id]


@pytest.mark.slow
@pytest.mark.any_engine
async def test_a_cancel_that_overtakes_the_delivery_follows_it(place, monkeypatch):
    worker = await place.worker()
    await place.enqueue()
    await worker.succeed(await worker.job())
    await place.pause("default")
    job = await place.enqueue()
    # The claim commits, and stands before the bodies that it wants to deliver.
    held = Held(monkeypatch, ClaimStore, "bodies")
    await place.unpause("default")
    await held.one_waits()
    assert (await place.cancel(job.id, "at once")).pending
    held.go_on.set()
    leased = await worker.job()
    control = await worker.next("control")
    assert (list(control.cancel.lease_ids), control.cancel.reason) == ([leased.lease_id], "at once")
    await worker.cancelled(leased)
    assert (await place.wait(job.id)).reason == "CANCELLED_BY_CALLER"


async def test_a_cancel_while_the_stream_is_broken_is_told_after_the_resume(place):
    worker = await place.worker()
    job = await place.enqueue()
    leased = await worker.job()
    worker.cut()
    await worker.end()
    assert (await place.cancel(job.id, "meanwhile")).pending
    again = await place.worker(resume=worker.resume(held=[leased]))
    cancel = (await again.next("control")).cancel
    assert (list(cancel.lease_ids), cancel.reason) == ([leased.lease_id], "meanwhile")
    assert Status.Name((await again.cancelled(leased)).status) == "CANCELLED"


@pytest.mark.any_engine
async def test_a_resume_on_another_server_is_told_why_and_how_long_it_is_waited_for(place, dsn):
    async with Place(dsn, cancel_grace="1h") as first:
        worker = await first.worker()
        job = await first.enqueue()
        leased = await worker.job()
        worker.cut()
        await worker.end()
        await first.cancel(job.id, "meanwhile")
        await first.sql("update live_job set deadline = now() + interval '1 minute'")
        again = await place.worker(resume=worker.resume(held=[leased]))
        cancel = (await again.next("control")).cancel
        assert (list(cancel.lease_ids), cancel.reason) == ([leased.lease_id], "meanwhile")
        assert 50 < cancel.grace.ToTimedelta().total_seconds() <= 60
