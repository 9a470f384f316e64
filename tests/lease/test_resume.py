"""A session outlives its stream: resumed by its token, with the leases that its worker still names."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from jobqueue.v1 import lease_pb2

from .hand_worker import HandWorker, StreamEnded, named
from .place import Place, Status, eventually

Verdict = lease_pb2.SettleResult.Verdict


@pytest.mark.any_engine
async def test_what_the_worker_names_is_kept_and_the_rest_goes_back_at_once_uncharged(place):
    worker = await place.worker(slots=3)
    ids = await place.batch(3)
    jobs = {job.id: job for job in await worker.jobs(3)}
    await worker.heartbeat()
    worker.cut()
    kept, forgotten, unanswered = (jobs[job_id] for job_id in ids)
    again = await place.worker(slots=2, resume=worker.resume(held=[kept], unanswered=[unanswered]))
    assert again.welcome.session_id == worker.welcome.session_id
    assert again.welcome.session_token != worker.welcome.session_token
    assert sorted(map(str, again.welcome.kept)) == sorted(str(named(job)) for job in (kept, unanswered))
    assert list(again.welcome.revoked) == []
    back = await place.get(forgotten.id)
    assert (Status.Name(back.status), back.failures, back.losses) == ("QUEUED", 0, 0)
    # Its two slots are taken by what it kept; the lease ids are the old ones.
    await again.no_job(0.2)
    assert await again.succeed(kept, unanswered) == []
    next_one = await again.job()
    assert (next_one.id, next_one.attempt, next_one.failures) == (forgotten.id, 2, 0)
    assert next_one.lease_id == 2 << 32 | 1
    assert [await place.status(job_id) for job_id in ids] == ["SUCCEEDED", "RUNNING", "SUCCEEDED"]


@pytest.mark.any_engine
async def test_what_is_no_longer_the_workers_is_revoked(place):
    worker = await place.worker(slots=2)
    await place.batch(2)
    settled, released = await worker.jobs(2)
    await worker.succeed(settled)
    await worker.capacity(0)
    await worker.release(released)
    never = lease_pb2.HeldLease(lease_id=9, job_id="018f0000-0000-7000-8000-000000000000", attempt=1)
    resume = worker.resume(held=[settled, released])
    resume.held.append(never)
    again = await place.worker(slots=0, resume=resume)
    assert list(again.welcome.kept) == []
    assert sorted(map(str, again.welcome.revoked)) == sorted(
        map(str, [named(settled), named(released), never])
    )


@pytest.mark.any_engine
async def test_an_attempt_that_is_not_the_newest_is_not_kept(place):
    worker = await place.worker()
    job = await place.enqueue()
    leased = await worker.job()
    resume = worker.resume(held=[leased])
    resume.held[0].attempt = 2
    again = await place.worker(slots=0, resume=resume)
    assert [lease.attempt for lease in again.welcome.revoked] == [2]
    assert await place.status(job.id) == "QUEUED"


async def test_the_old_stream_ends_when_the_session_goes_on_elsewhere(place):
    worker = await place.worker()
    await place.enqueue()
    leased = await worker.job()
    again = await place.worker(resume=worker.resume(held=[leased]))
    ended = await worker.end()
    assert ended.error.code() is grpc.StatusCode.ABORTED
    assert ended.reason == "SESSION_SUPERSEDED"
    assert await again.succeed(leased) == []
    assert await place.value("select count(*) from worker_session where ended_at is null") == 1


@pytest.mark.any_engine
async def test_the_old_token_is_good_until_a_frame_arrives_under_the_new_epoch(place):
    worker = await place.worker()
    await place.enqueue()
    leased = await worker.job()
    # Two Welcomes that are lost: nothing is said on these streams.
    for _ in range(2):
        await place.worker(resume=worker.resume(held=[leased]), heartbeats=False)
    last = await place.worker(resume=worker.resume(held=[leased]))
    assert list(last.welcome.kept) == [named(leased)]
    await last.heartbeat()
    await eventually(lambda: place.value("select previous_token_hash is null from worker_session"))
    with pytest.raises(StreamEnded) as raised:
        await place.worker(resume=worker.resume(held=[leased]))
    assert raised.value.reason == "SESSION_UNKNOWN"
    await place.worker(resume=last.resume(held=[leased]))


async def test_of_many_resumes_at_once_one_wins_and_takes_the_jobs(place):
    """Whatever the order in which the server sees them through: no stream lives on beside it."""
    for kind in (f"kind-{number}" for number in range(8)):
        worker = await place.worker(kinds=[kind], slots=1)
        await place.enqueue(kind)
        leased = await worker.job()
        tries = await asyncio.gather(
            *(place.worker(kinds=[kind], slots=2, resume=worker.resume(held=[leased])) for _ in range(6)),
            return_exceptions=True,
        )
        streams = [each for each in tries if isinstance(each, HandWorker)]
        for each in tries:
            if not isinstance(each, HandWorker):
                assert isinstance(each, StreamEnded)
                assert each.reason in ("SESSION_SUPERSEDED", "SESSION_UNKNOWN")

        async def one_is_left(streams=streams):
            return [each for each in streams if not each.ended][1:] == []

        await eventually(one_is_left)
        (winner,) = (each for each in streams if not each.ended)
        other = await place.enqueue(kind)
        assert (await winner.job()).id == other.id
        assert list(winner.welcome.kept) == [named(leased)]
        assert await winner.succeed(leased, *winner.held.values()) == []


@pytest.mark.any_engine
async def test_the_token_of_a_lost_welcome_is_void_once_the_session_went_on_without_it(place):
    worker = await place.worker()
    lost = await place.worker(resume=worker.resume(), heartbeats=False)
    await place.worker(resume=worker.resume(), heartbeats=False)
    with pytest.raises(StreamEnded) as raised:
        await place.worker(resume=lost.resume())
    assert raised.value.reason == "SESSION_UNKNOWN"


@pytest.mark.any_engine
async def test_a_forged_token_opens_nothing(place):
    worker = await place.worker()
    await place.enqueue()
    await worker.job()
    number, _, secret = worker.welcome.session_token.partition(".")
    for token in (
        f"{number}.1{secret[1:]}",
        f"{number}.{secret[:-1]}",
        f"{int(number) + 1}.{secret}",
        f"{number}.",
        f".{secret}",
        secret,
        "x" * 10_000,
        f"{'9' * 30}.{secret}",
        "٣.abc",
        "1.\x00",
    ):
        with pytest.raises(StreamEnded) as raised:
            await place.worker(resume=worker.resume(token=token))
        assert raised.value.reason == "SESSION_UNKNOWN", token
        assert raised.value.error is not None
        assert raised.value.error.code() is grpc.StatusCode.NOT_FOUND
    assert not worker.ended
    await worker.heartbeat()


@pytest.mark.any_engine
async def test_an_ended_session_is_told_to_its_own_token_alone(place):
    worker = await place.worker()
    await worker.drain()
    await worker.next("goodbye")
    token = worker.welcome.session_token
    for shown, reason in ((token, "SESSION_ENDED"), (token[:-1], "SESSION_UNKNOWN")):
        with pytest.raises(StreamEnded) as raised:
            await place.worker(resume=worker.resume(token=shown))
        assert raised.value.reason == reason
        # Clients that act on the code alone open a new session.
        assert raised.value.error is not None
        assert raised.value.error.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.any_engine
async def test_subscriptions_and_capacity_are_those_of_the_new_hello(place):
    worker = await place.worker(kinds=["old"], slots=5)
    again = await place.worker(kinds=["new"], slots=1, resume=worker.resume())
    await place.enqueue("old")
    await place.batch(2, "new")
    assert (await again.job()).kind == "new"
    await again.no_job(0.2)


async def test_a_settlement_without_its_answer_is_sent_again_after_a_resume(place):
    worker = await place.worker(slots=3)
    ids = await place.batch(3)
    jobs = {job.id: job for job in await worker.jobs(3)}
    arrived, lost, stolen = (jobs[job_id] for job_id in ids)
    await worker.report([arrived.lease_id])
    await place.until(arrived.id, "SUCCEEDED")
    await worker.release(stolen)
    worker.cut()
    again = await place.worker(slots=0, resume=worker.resume(unanswered=[arrived, lost, stolen]))
    results = await again.succeed(arrived, lost, stolen)
    assert {result.lease_id: Verdict.Name(result.verdict) for result in results} == {
        arrived.lease_id: "ALREADY_APPLIED",
        stolen.lease_id: "STALE_LEASE",
    }
    assert await place.status(lost.id) == "SUCCEEDED"


@pytest.mark.any_engine
async def test_a_session_goes_on_after_the_server_was_restarted(dsn):
    async with Place(dsn) as first:
        worker = await first.worker(slots=5)
        ids = await first.batch(4)
        jobs = {job.id: job for job in await worker.jobs(4)}
        held, settled, lost, forgotten = (jobs[job_id] for job_id in ids)
        await worker.report([settled.lease_id])
        await first.until(settled.id, "SUCCEEDED")
        await worker.heartbeat()
        resume = worker.resume(held=[held], unanswered=[settled, lost])
    async with Place(dsn) as second:
        again = await second.worker(slots=5, resume=resume)
        assert again.welcome.session_id == worker.welcome.session_id
        assert sorted(map(str, again.welcome.kept)) == sorted(map(str, [named(held), named(lost)]))
        assert list(again.welcome.revoked) == []
        results = await again.succeed(settled, lost)
        assert [(result.lease_id, Verdict.Name(result.verdict)) for result in results] == [
            (settled.lease_id, "ALREADY_APPLIED")
        ]
        taken = await again.job()
        assert (taken.id, taken.attempt) == (forgotten.id, 2)
        assert await again.succeed(held, taken) == []
        for job_id in ids:
            done = await second.get(job_id)
            assert (Status.Name(done.status), done.failures, done.losses) == ("SUCCEEDED", 0, 0)
            assert done.attempts == (2 if job_id == forgotten.id else 1)


@pytest.mark.any_engine
async def test_a_worker_on_two_servers_is_one_session_on_the_newer(dsn):
    # Without notices the first server learns of it late.
    async with Place(dsn, notify="off") as first, Place(dsn, notify="off") as second:
        worker = await first.worker()
        await first.enqueue()
        leased = await worker.job()
        again = await second.worker(resume=worker.resume(held=[leased]))
        # The first server's word has no weight any more: the epoch is in its claims and in its session's end.
        await second.batch(3)
        await worker.drain()
        assert await again.succeed(leased) == []
        taken = await again.job()
        assert taken.attempt == 1
        await eventually(
            lambda: second.value("select count(*) = 1 from live_job where state = 2 and attempts = 1")
        )
        assert await second.value("select count(*) from worker_session where ended_at is null") == 1


@pytest.mark.any_engine
async def test_leases_without_a_receipt_go_back_uncharged_and_those_with_one_are_the_workers_to_name(place):
    worker = await place.worker(slots=1, receipts=False)
    job = await place.enqueue()
    await worker.job()
    assert await place.status(job.id) == "RUNNING"
    again = await place.worker(slots=0, resume=worker.resume())
    back = await place.get(job.id)
    assert (Status.Name(back.status), back.attempts, back.failures, back.losses) == ("QUEUED", 1, 0, 0)
    assert list(again.welcome.revoked) == []


async def test_a_stream_before_its_welcome_counts_for_nothing(place):
    """A worker that hangs up at once leaves no session that takes jobs."""
    worker = HandWorker(place.stub, slots=5)
    await worker.send(hello=worker.hello)
    worker.cut()
    await worker.close()
    patient = await place.worker()
    job = await place.enqueue()
    assert (await patient.job()).id == job.id
