"""Unary sessions: a worker that only makes calls holds leases as one with a stream does."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import grpc.aio
import pytest

from jobqueue.v1 import job_pb2, lease_pb2
from jobqueue_server.rpc import unary_sessions

from .hand_worker import PATIENCE, reason_of, span, violations_of
from .place import Place, eventually

Verdict = lease_pb2.SettleResult.Verdict
Status = job_pb2.Job.Status
QUICK = job_pb2.RetryPolicy(min_backoff=span(0.001), max_backoff=span(0.02))


class CallWorker:
    """A worker that makes calls. What it holds it says only where a test does."""

    def __init__(self, stub, token=""):
        self._stub = stub
        self.token = token
        self.welcome = lease_pb2.Welcome()

    async def open(self, *, kinds=("work",), queue="", slots=0, ttl=None, resume=None, **hello):
        message = lease_pb2.Hello(
            worker="script",
            subscriptions=[lease_pb2.Subscription(queue=queue, kinds=kinds)],
            capacity=lease_pb2.Capacity(slots=slots),
            resume=resume,
            **hello,
        )
        if ttl is not None:
            message.session_ttl.CopyFrom(span(ttl))
        answer = await self._stub.OpenSession(lease_pb2.OpenSessionRequest(hello=message))
        self.welcome = answer.welcome
        self.token = answer.welcome.session_token
        return self

    async def claim(self, most=1, wait=PATIENCE, held=None, timeout=None):
        request = lease_pb2.ClaimJobsRequest(
            session_token=self.token, max_jobs=most, wait=span(wait), held=_held(held)
        )
        return list((await self._stub.ClaimJobs(request, timeout=timeout)).jobs)

    async def settle(self, *outcomes):
        request = lease_pb2.SettleJobsRequest(session_token=self.token, outcomes=outcomes)
        return list((await self._stub.SettleJobs(request)).results)

    async def heartbeat(self, held=None):
        request = lease_pb2.HeartbeatSessionRequest(session_token=self.token, held=_held(held))
        return list((await self._stub.HeartbeatSession(request)).controls)

    async def close(self):
        return list(
            (await self._stub.CloseSession(lease_pb2.CloseSessionRequest(session_token=self.token))).released
        )


def _held(jobs):
    if jobs is None:
        return None
    return lease_pb2.HeldLeases(
        leases=[lease_pb2.HeldLease(job_id=job.id, attempt=job.attempt) for job in jobs]
    )


def outcome(job, **which):
    return lease_pb2.Outcome(
        job_id=job.id, attempt=job.attempt, **(which or {"success": lease_pb2.Success()})
    )


FAILED = {"failure": lease_pb2.Failure(error="no luck")}


async def reason_when(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return reason_of(caught.value)


@pytest.fixture
async def script(place):
    return await CallWorker(place.stub).open()


async def test_a_worker_that_makes_calls_runs_a_job_to_its_end(place, script):
    job = await place.enqueue(payload=b'{"n": 7}', labels={"a": "b"}, timeout=60)
    (leased,) = await script.claim()
    assert (leased.id, leased.attempt, leased.kind, leased.payload_json) == (job.id, 1, "work", b'{"n": 7}')
    assert (leased.lease_id, dict(leased.labels), leased.timeout.seconds) == (0, {"a": "b"}, 60)
    assert (await place.get(job.id)).locked_by == "script"
    (result,) = await script.settle(outcome(leased, success=lease_pb2.Success(output_json=b"[1]")))
    assert (result.verdict, result.job_id, result.attempt) == (Verdict.APPLIED, job.id, 1)
    assert result.status == Status.SUCCEEDED
    done = await place.get(job.id)
    assert (done.status, done.output_json) == (Status.SUCCEEDED, b"[1]")
    assert await script.close() == []
    assert await reason_when(script.claim()) == "SESSION_ENDED"


async def test_a_claim_waits_for_a_job_and_answers_at_once_when_it_comes(place, script):
    claiming = asyncio.create_task(script.claim(5))
    await eventually(lambda: _waits(place))
    started = time.monotonic()
    job = await place.enqueue()
    (leased,) = await claiming
    assert leased.id == job.id
    assert time.monotonic() - started < PATIENCE / 2


@pytest.mark.slow
async def test_a_claim_without_a_job_answers_none_when_its_wait_is_over_or_its_callers_time(
    place, script, monkeypatch
):
    assert await script.claim(wait=0) == []
    assert await script.claim(wait=0.2) == []
    # Or the client itself would end it by DEADLINE_EXCEEDED. So long before that it answers also on a busy machine.
    monkeypatch.setattr(unary_sessions, "_ANSWERING", timedelta(seconds=4))
    assert await script.claim(wait=30, timeout=5) == []


@pytest.mark.any_engine
async def test_a_claim_takes_as_many_as_it_asks_for_out_of_a_backlog(place, script):
    ids = await place.batch(30)
    first = await script.claim(20)
    assert [job.id for job in first] == ids[:20]
    assert len(await script.claim(20)) == 10


@pytest.mark.any_engine
async def test_capacity_bounds_what_a_session_holds(place):
    script = await CallWorker(place.stub).open(slots=3)
    await place.batch(5)
    first = await script.claim(2)
    assert len(first) == 2
    assert len(await script.claim(2)) == 1
    assert await script.claim(2, wait=0.2) == []
    await script.settle(outcome(first[0]))
    assert len(await script.claim(2)) == 1


@pytest.mark.any_engine
async def test_each_outcome_is_judged_for_itself_in_its_order(place, script):
    await place.batch(4, retry_policy=QUICK)
    done, failed, stale, bad = await script.claim(4)
    stale.attempt = 7
    missing = lease_pb2.LeasedJob(id="018f0000-0000-7000-8000-000000000000", attempt=1)
    results = await script.settle(
        outcome(done),
        outcome(bad, success=lease_pb2.Success(output_json=b"{")),
        outcome(failed, **FAILED),
        outcome(stale),
        outcome(missing),
        lease_pb2.Outcome(lease_id=4, success=lease_pb2.Success()),
    )
    assert [Verdict.Name(result.verdict) for result in results] == [
        "APPLIED",
        "INVALID",
        "APPLIED",
        "STALE_LEASE",
        "NOT_FOUND",
        "INVALID",
    ]
    assert results[2].status == Status.RETRYING
    assert results[2].HasField("run_at")
    assert "job_id and attempt are required" in results[5].message
    again = await script.settle(outcome(done), outcome(failed, **FAILED), outcome(failed))
    assert [Verdict.Name(result.verdict) for result in again] == [
        "ALREADY_APPLIED",
        "ALREADY_APPLIED",
        "STALE_LEASE",
    ]


@pytest.mark.any_engine
async def test_another_session_cannot_settle_its_leases(place, script):
    await place.enqueue()
    (leased,) = await script.claim()
    other = await CallWorker(place.stub).open()
    (result,) = await other.settle(outcome(leased))
    assert result.verdict == Verdict.STALE_LEASE
    assert (await script.settle(outcome(leased)))[0].verdict == Verdict.APPLIED


@pytest.mark.any_engine
async def test_follow_ups_come_with_the_outcome_of_a_call(place, script):
    job = await place.enqueue()
    (leased,) = await script.claim()
    new = job_pb2.NewJob(kind="work", payload_json=b"2")
    with_one = outcome(leased, success=lease_pb2.Success(follow_ups=[new]))
    (result,) = await script.settle(with_one)
    assert result.verdict == Verdict.APPLIED
    assert (await script.settle(with_one))[0].verdict == Verdict.ALREADY_APPLIED
    assert (await place.get(job.id)).status == Status.SUCCEEDED
    (follow_up,) = await script.claim(5)
    assert follow_up.payload_json == b"2"


@pytest.mark.any_engine
async def test_what_a_lost_answer_carried_goes_back_uncharged_when_the_worker_says_what_it_holds(
    place, script
):
    kept, lost = await place.batch(2)
    jobs = {job.id: job for job in await script.claim(2)}
    (again,) = await script.claim(2, held=[jobs[kept]])
    assert (again.id, again.attempt) == (lost, 2)
    seen = await place.get(lost)
    assert (seen.failures, seen.losses, seen.attempts) == (0, 0, 2)
    assert await place.status(kept) == "RUNNING"
    # One that does not say gives nothing back.
    assert await script.claim(wait=0) == []
    assert await place.status(lost) == "RUNNING"


async def test_a_claim_whose_caller_hung_up_leases_nothing(place, script):
    claiming = asyncio.create_task(script.claim())
    await eventually(lambda: _waits(place))
    claiming.cancel()
    await asyncio.gather(claiming, return_exceptions=True)
    await eventually(lambda: _waits(place, 0))
    job = await place.enqueue()
    worker = await place.worker()
    leased = await worker.job()
    assert (leased.id, leased.attempt) == (job.id, 1)


async def test_two_claims_of_a_session_at_once_share_no_job(place, script):
    first, second = asyncio.create_task(script.claim(10)), asyncio.create_task(script.claim(10))
    await eventually(lambda: _waits(place))
    ids = await place.batch(3)
    jobs = await first
    more = await place.batch(2)
    jobs += await second
    assert sorted(job.id for job in jobs) == sorted(ids + more)
    assert {job.attempt for job in jobs} == {1}


async def test_a_cancel_is_told_by_every_heartbeat_until_it_is_answered(place, script):
    job = await place.enqueue()
    (leased,) = await script.claim()
    assert await script.heartbeat([leased]) == []
    assert (await place.cancel(job.id, "no longer wanted")).pending
    for _ in range(2):
        (control,) = await script.heartbeat([leased])
        (lease,) = control.cancel.leases
        assert control.cancel.reason == "no longer wanted"
        assert (lease.job_id, lease.attempt) == (job.id, 1)
        assert timedelta() < control.cancel.grace.ToTimedelta() <= place.app.settings.cancel_grace
    await script.settle(outcome(leased, cancellation=lease_pb2.Cancellation()))
    assert await script.heartbeat([]) == []
    assert (await place.get(job.id)).reason == "CANCELLED_BY_CALLER"


@pytest.mark.slow
@pytest.mark.any_engine
async def test_a_lease_that_was_taken_back_is_revoked_by_the_heartbeat_that_names_it(place, script):
    await place.enqueue(timeout=1, max_attempts=1)
    (leased,) = await script.claim()
    await place.until(leased.id, "FAILED_PERMANENT")
    (control,) = await script.heartbeat([leased])
    assert [lease.job_id for lease in control.revoke.leases] == [leased.id]
    (result,) = await script.settle(outcome(leased))
    assert result.verdict == Verdict.STALE_LEASE


@pytest.mark.slow
@pytest.mark.any_engine
async def test_a_session_lives_by_its_calls_and_is_lost_without_them(place):
    script = await CallWorker(place.stub).open(ttl=5)
    assert script.welcome.session_ttl.seconds == 5
    job = await place.enqueue()
    (leased,) = await script.claim()
    began = time.monotonic()
    while time.monotonic() - began < 6:
        await script.heartbeat()
        await asyncio.sleep(0.5)
    assert await place.status(job.id) == "RUNNING"
    heard = time.monotonic()
    await place.until(job.id, "RETRYING")
    assert time.monotonic() - heard < 5 + 2
    assert (await place.get(job.id)).losses == 1
    assert await reason_when(script.settle(outcome(leased))) == "SESSION_ENDED"


@pytest.mark.any_engine
async def test_closing_gives_back_what_is_held(place, script):
    await place.batch(2)
    one, two = await script.claim(2)
    await script.settle(outcome(one))
    (released,) = await script.close()
    assert (released.job_id, released.attempt) == (two.id, 1)
    seen = await place.get(two.id)
    assert (Status.Name(seen.status), seen.failures, seen.losses) == ("QUEUED", 0, 0)


@pytest.mark.any_engine
async def test_any_server_answers_for_the_session(place, dsn):
    script = await CallWorker(place.stub).open()
    await place.batch(2)
    one, two = await script.claim(2)
    async with Place(dsn) as other:
        there = CallWorker(other.stub, script.token)
        (result,) = await there.settle(outcome(one))
        assert result.verdict == Verdict.APPLIED
        job = await other.enqueue()
        (leased,) = await there.claim(held=[two])
        assert leased.id == job.id
        await there.settle(outcome(two), outcome(leased))
    assert await script.heartbeat([two]) != []


async def test_a_worker_goes_from_a_stream_to_calls_and_back(place):
    worker = await place.worker(slots=2)
    await place.batch(2)
    one, two = await worker.jobs(2)
    streaming = CallWorker(place.stub, worker.welcome.session_token)
    assert await reason_when(streaming.claim()) == "SESSION_STREAMS"
    assert (await streaming.settle(outcome(one)))[0].verdict == Verdict.APPLIED
    worker.cut()
    resume = lease_pb2.Resume(
        session_token=worker.welcome.session_token,
        held=[lease_pb2.HeldLease(lease_id=two.lease_id, job_id=two.id, attempt=two.attempt)],
    )
    script = await CallWorker(place.stub).open(resume=resume)
    assert [lease.job_id for lease in script.welcome.kept] == [two.id]
    assert script.welcome.session_id == worker.welcome.session_id
    job = await place.enqueue()
    (three,) = await script.claim(held=[two])
    assert three.id == job.id
    back = await place.worker(
        slots=2,
        resume=lease_pb2.Resume(
            session_token=script.token,
            held=[lease_pb2.HeldLease(lease_id=1, job_id=three.id, attempt=three.attempt)],
        ),
    )
    assert [lease.job_id for lease in back.welcome.kept] == [three.id]
    # `two` was not named, so it went back, and comes again.
    assert (await back.job()).id == two.id


async def test_a_server_that_leaves_answers_the_claims_that_wait(dsn):
    async with Place(dsn, shutdown_grace="20s") as place:
        script = await CallWorker(place.stub).open()
        claiming = asyncio.create_task(script.claim(wait=30))
        await eventually(lambda: _waits(place))
        draining = asyncio.create_task(place.app.drain())
        # Sooner than its wait and the grace are over.
        async with asyncio.timeout(15):
            assert await claiming == []
            await draining


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    ("method", "fields", "field"),
    [
        ("ClaimJobs", {"max_jobs": 1001}, "max_jobs"),
        ("ClaimJobs", {"max_jobs": -1}, "max_jobs"),
        ("ClaimJobs", {"wait": span(61)}, "wait"),
        ("ClaimJobs", {"session_token": ""}, "session_token"),
        ("SettleJobs", {}, "outcomes"),
        ("HeartbeatSession", {"session_token": ""}, "session_token"),
        ("CloseSession", {"session_token": ""}, "session_token"),
    ],
)
async def test_bad_input_names_its_field(place, script, method, fields, field):
    request = getattr(lease_pb2, f"{method}Request")(**{"session_token": script.token, **fields})
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(place.stub, method)(request)
    assert list(violations_of(caught.value)) == [field]


@pytest.mark.any_engine
@pytest.mark.parametrize("token", ["x", "1.x", "٣.x", "99999999999999999999.x", "1." + "y" * 200])
async def test_a_token_that_is_not_ours_is_a_session_unknown(place, token):
    assert await reason_when(CallWorker(place.stub, token).claim()) == "SESSION_UNKNOWN"


@pytest.mark.any_engine
async def test_only_the_newest_token_counts(place, script):
    old = script.token
    new = await CallWorker(place.stub).open(resume=lease_pb2.Resume(session_token=old))
    # The answer to the resume may have got lost, so the token before is still good for another one.
    assert await reason_when(script.heartbeat()) == "SESSION_SUPERSEDED"
    await new.heartbeat()
    assert await reason_when(script.heartbeat()) == "SESSION_UNKNOWN"


@pytest.mark.any_engine
async def test_only_a_session_s_own_token_is_told_that_it_has_ended(place, script):
    number, _, secret = script.token.partition(".")
    await script.close()
    for call in (script.claim, script.heartbeat, script.close):
        assert await reason_when(call()) == "SESSION_ENDED"
    assert (
        await reason_when(CallWorker(place.stub, f"{number}.{secret[:-1]}").heartbeat()) == "SESSION_UNKNOWN"
    )
    resume = lease_pb2.Resume(session_token=script.token)
    assert await reason_when(CallWorker(place.stub).open(resume=resume)) == "SESSION_ENDED"


async def _waits(place, count=1):
    """Whether so many claims wait for a job."""
    return len(place.app.session.unary._gathering) == count


@pytest.mark.any_engine
async def test_payloads_come_as_values_where_the_worker_asked_for_that(place):
    script = await CallWorker(place.stub).open(payload_format=job_pb2.PAYLOAD_FORMAT_VALUE)
    await place.enqueue(payload=b'{"n": 1}')
    (leased,) = await script.claim()
    assert leased.payload.struct_value.fields["n"].number_value == 1
