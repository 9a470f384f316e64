"""What an attempt leaves behind, the next attempt is given."""

from __future__ import annotations

import pytest

from jobqueue.v1 import job_pb2, lease_pb2

from .hand_worker import span
from .place import eventually

pytestmark = pytest.mark.any_engine

QUICK = job_pb2.RetryPolicy(min_backoff=span(0.001), max_backoff=span(0.02))


async def leave(worker, leased, checkpoint=None, **progress):
    """Reports progress with a checkpoint."""
    await worker.send(
        progress=lease_pb2.Progress(lease_id=leased.lease_id, checkpoint=checkpoint, **progress)
    )


async def test_a_checkpoint_reported_just_before_a_failure_reaches_the_next_attempt(place):
    worker = await place.worker()
    await place.enqueue(retry_policy=QUICK, max_attempts=20)
    leased = await worker.job()
    assert leased.checkpoint == b""
    for round in range(5):
        mark = b"\x00round %d\xff" % round
        await leave(worker, leased, b"older", fraction=0.1)
        await leave(worker, leased, mark, message="nearly")
        # A report without one leaves it as it is.
        await leave(worker, leased, message="still here")
        await worker.fail(leased)
        leased = await worker.job()
        assert leased.checkpoint == mark


async def test_a_checkpoint_survives_attempts_that_leave_none_and_goes_when_it_is_emptied(place):
    worker = await place.worker()
    job = await place.enqueue(retry_policy=QUICK, max_attempts=20)
    leased = await worker.job()
    await leave(worker, leased, b"kept")
    await worker.snooze(leased, 0)
    for settle in (worker.fail, worker.release):
        leased = await worker.job()
        assert leased.checkpoint == b"kept"
        await settle(leased)
    leased = await worker.job()
    await leave(worker, leased, b"")
    await worker.fail(leased)
    assert (await worker.job()).checkpoint == b""
    assert (await place.get(job.id)).attempts == 5


@pytest.mark.slow
async def test_a_lost_workers_checkpoint_reaches_the_next_one(place):
    first = await place.worker(ttl=5)
    job = await place.enqueue(retry_policy=QUICK)
    leased = await first.job()
    await leave(first, leased, b"half way", fraction=0.5)
    await eventually(lambda: _has_progress(place, job.id))
    first.cut()
    second = await place.worker(name="second")
    again = await second.job()
    assert (again.id, again.attempt, again.checkpoint) == (job.id, 2, b"half way")


async def test_a_drain_keeps_the_checkpoints_of_what_it_gives_back(place):
    first = await place.worker()
    await place.enqueue()
    leased = await first.job()
    await leave(first, leased, b"so far")
    await first.half_close()
    await first.next("goodbye")
    second = await place.worker(name="second")
    assert (await second.job()).checkpoint == b"so far"


@pytest.mark.slow
async def test_a_timeout_keeps_the_checkpoint_of_its_attempt(place):
    worker = await place.worker(slots=2)
    # The checkpoint comes before it.
    await place.enqueue(timeout=4, retry_policy=QUICK)
    leased = await worker.job()
    await leave(worker, leased, b"got here")
    assert (await worker.job()).checkpoint == b"got here"


async def test_a_retried_job_goes_on_if_it_failed_and_starts_anew_if_it_was_done(place):
    worker = await place.worker()
    job = await place.enqueue(max_attempts=1)
    leased = await worker.job()
    await leave(worker, leased, b"mark")
    await worker.fail(leased)
    await place.retry(job.id)
    leased = await worker.job()
    assert leased.checkpoint == b"mark"
    await worker.succeed(leased)
    await place.retry(job.id)
    assert (await worker.job()).checkpoint == b""


async def test_only_the_holder_leaves_a_checkpoint(place):
    worker = await place.worker()
    other = await place.worker(name="other", slots=0)
    await place.enqueue(retry_policy=QUICK)
    leased = await worker.job()
    await leave(other, leased, b"stolen")
    await other.heartbeat()
    await worker.fail(leased)
    assert (await worker.job()).checkpoint == b""


async def _has_progress(place, job_id):
    return (await place.get(job_id)).progress.fraction == pytest.approx(0.5)
