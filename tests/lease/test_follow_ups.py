"""A success and the jobs that come of it are one transaction."""

from __future__ import annotations

import asyncio
import json

import pytest

from jobqueue.v1 import job_pb2, lease_pb2

from .hand_worker import span

pytestmark = pytest.mark.any_engine

Verdict = lease_pb2.SettleResult.Verdict


def follow_up(kind="next", payload=b"{}", **fields):
    return job_pb2.NewJob(kind=kind, payload_json=payload, **fields)


def success(leased, *new, **fields):
    """The outcome of a lease, with follow-ups."""
    return lease_pb2.Outcome(lease_id=leased.lease_id, success=lease_pb2.Success(follow_ups=new, **fields))


async def kinds(place):
    return dict(
        await place.sql(
            "select k.name, count(*) from job j join lane l on l.id = j.lane_id join kind k on k.id = l.kind_id"
            " group by k.name"
        )
    )


async def test_follow_ups_are_enqueued_with_the_success_and_run(place):
    worker = await place.worker(kinds=["work", "next"], slots=5)
    job = await place.enqueue()
    new = [
        follow_up(payload=b'{"n": 1}', priority=3),
        follow_up(payload=b"12345678901234567890", queue="other"),
    ]
    assert await worker.settle(outcomes=[success(await worker.job(), *new, output_json=b"7")]) == []
    done = await place.wait(job.id)
    assert (done.status, done.output_json) == (job_pb2.Job.SUCCEEDED, b"7")
    leased = await worker.job()
    assert (leased.kind, leased.payload_json, leased.priority) == ("next", b'{"n": 1}', 3)
    assert await worker.succeed(leased) == []
    assert await kinds(place) == {"work": 1, "next": 2}


async def test_a_follow_up_that_is_the_first_in_its_queue_ends_its_job_while_no_room_is_left(
    place, monkeypatch
):
    worker = await place.worker()
    await place.enqueue()
    leased = await worker.job()
    monkeypatch.setattr(place.app.intake.waiting, "_most", 0)
    assert await worker.settle(outcomes=[success(leased, follow_up(queue="new"))]) == []
    assert await kinds(place) == {"work": 1, "next": 1}


async def test_a_stale_success_enqueues_nothing_and_the_same_again_enqueues_once(place):
    worker = await place.worker()
    await place.enqueue()
    leased = await worker.job()
    outcome = success(leased, follow_up(), follow_up())
    assert await worker.settle(outcomes=[outcome]) == []
    (again,) = await worker.settle(outcomes=[outcome])
    assert again.verdict == Verdict.ALREADY_APPLIED
    other = await place.worker(name="other")
    stolen = lease_pb2.Outcome(job_id=leased.id, attempt=leased.attempt, success=outcome.success)
    (refused,) = await other.settle(outcomes=[stolen])
    assert refused.verdict == Verdict.STALE_LEASE
    assert await kinds(place) == {"work": 1, "next": 2}


async def test_the_same_success_twice_in_one_frame_enqueues_once(place):
    worker = await place.worker()
    await place.enqueue()
    outcome = success(await worker.job(), follow_up())
    (again,) = await worker.settle(outcomes=[outcome, outcome])
    assert again.verdict == Verdict.ALREADY_APPLIED
    assert await kinds(place) == {"work": 1, "next": 1}


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    ("new", "said"),
    [
        ([follow_up("Bad Kind")], "success.follow_ups[0].kind"),
        ([follow_up(), follow_up(payload=b"{")], "success.follow_ups[1].payload_json"),
        ([follow_up("send_email", b'{"to": 7}')], "success.follow_ups[0].payload"),
        ([follow_up()] * 101, "at most 100"),
        (
            [follow_up(idempotency_key="k"), follow_up(idempotency_key="k")],
            "success.follow_ups[1].idempotency_key",
        ),
        ([follow_up(delay=span(401 * 86400))], "success.follow_ups[0].delay"),
    ],
)
async def test_a_bad_follow_up_makes_its_own_outcome_invalid_and_the_lease_goes_on(place, new, said):
    worker = await place.worker(slots=2)
    bad = await place.enqueue()
    good = await place.enqueue()
    leased = {job.id: job for job in await worker.jobs(2)}
    results = await worker.settle(
        outcomes=[success(leased[bad.id], *new), success(leased[good.id], follow_up("fine"))]
    )
    (refused,) = results
    assert (refused.verdict, refused.job_id or bad.id) == (Verdict.INVALID, bad.id)
    assert said in refused.message
    assert (await place.wait(good.id)).status == job_pb2.Job.SUCCEEDED
    assert await place.status(bad.id) == "RUNNING"
    assert (await kinds(place)).get("next") is None
    assert await worker.settle([leased[bad.id].lease_id]) == []


async def test_a_key_makes_a_follow_up_once_however_often_it_is_asked_for(place):
    worker = await place.worker(slots=3)
    for _ in range(3):
        await place.enqueue()
    keyed = follow_up(payload=b'{"a": 1}', idempotency_key="once")
    outcomes = [success(job, keyed, follow_up("free")) for job in await worker.jobs(3)]
    assert await worker.settle(outcomes=outcomes) == []
    assert await kinds(place) == {"work": 3, "next": 1, "free": 3}


async def test_a_key_of_another_request_harms_its_own_outcome_only(place):
    worker = await place.worker(slots=2)
    await place.enqueue("next", b'{"a": 1}', idempotency_key="taken")
    one, two = await place.enqueue(), await place.enqueue()
    leased = {job.id: job for job in await worker.jobs(2)}
    mine = [follow_up(payload=b'{"a": 2}', idempotency_key="taken"), follow_up("beside")]
    (refused,) = await worker.settle(
        outcomes=[success(leased[one.id], *mine), success(leased[two.id], follow_up("fine"))]
    )
    assert refused.verdict == Verdict.INVALID
    assert "success.follow_ups[0].idempotency_key" in refused.message
    assert await place.status(one.id) == "RUNNING"
    assert await kinds(place) == {"work": 2, "next": 1, "fine": 1}


async def test_a_follow_up_that_waits_for_a_key_holds_nobody_else_up(place):
    """Somebody stores the same key in a transaction that is still open."""
    worker = await place.worker(slots=2)
    one, two = await place.enqueue(), await place.enqueue()
    leased = {job.id: job for job in await worker.jobs(2)}
    await place.enqueue("next", b"{}", idempotency_key="contended")
    held = await place.connection()
    async with held.transaction():
        await held.execute("update idempotency_key set expires_at = expires_at")
        waiting = asyncio.create_task(
            worker.settle(outcomes=[success(leased[one.id], follow_up(idempotency_key="contended"))])
        )
        await worker.report([leased[two.id].lease_id])
        assert (await place.wait(two.id)).status == job_pb2.Job.SUCCEEDED
        assert await place.status(one.id) == "RUNNING"
    await waiting
    assert (await place.wait(one.id)).status == job_pb2.Job.SUCCEEDED


@pytest.mark.slow
async def test_a_chain_of_follow_ups_runs_to_its_end_each_once(place):
    worker = await place.worker(kinds=["work"], slots=20)
    await place.enqueue(payload=b"6")
    ran = 0
    # Each job of level n makes two of level n - 1: 2^7 - 1 in all.
    while ran < 127:
        leased = await worker.job()
        level = json.loads(leased.payload_json)
        new = [follow_up("work", str(level - 1).encode()) for _ in range(2)] if level else []
        await worker.report(outcomes=[success(leased, *new)])
        ran += 1
    await worker.no_job()
    assert await kinds(place) == {"work": 127}
