"""A session goes on with another server: what it holds counts there as it did, and no outcome is lost or doubled."""

from __future__ import annotations

import pytest

from jobqueue.v1 import lease_pb2
from jobqueue_server.core.lease.holding import REMEMBERED_LEASES

from .place import Place, Status
from .test_servers import two

pytestmark = pytest.mark.any_engine

Verdict = lease_pb2.SettleResult.Verdict
SMALL = b'"' + b"s" * 398 + b'"'


@pytest.fixture
async def servers(dsn: str):
    async with two(dsn) as both:
        yield both


async def give_back(place: Place, job_id: str) -> None:
    """As the reaper or an operator might, while its worker was away."""
    await place.sql("update live_job set state = 1, session_id = null where id = $1", job_id)


async def test_the_leases_that_it_keeps_count_with_their_bytes(servers):
    first, second = servers
    worker = await first.worker(slots=10, bytes=1000)
    for _ in range(2):
        await first.enqueue(payload=SMALL)
    held = await worker.jobs(2)
    again = await second.worker(slots=10, bytes=1000, resume=worker.resume(held=held))
    assert len(again.welcome.kept) == 2
    await second.enqueue(payload=SMALL)
    await again.no_job(0.3)
    assert await again.succeed(held[0]) == []
    third = await again.job()
    assert await again.succeed(held[1], third) == []
    (session,) = second.app.session.sessions.all()
    assert session.bytes_held == 0


@pytest.mark.slow
async def test_a_revoked_handler_takes_up_its_slot_and_bytes_until_it_has_stopped(servers):
    first, second = servers
    worker = await first.worker(slots=5, bytes=1000)
    job = await first.enqueue(payload=SMALL)
    leased = await worker.job()
    worker.cut()
    await give_back(first, job.id)
    again = await second.worker(slots=2, bytes=1000, resume=worker.resume(held=[leased]))
    assert [lease.lease_id for lease in again.welcome.revoked] == [leased.lease_id]
    again.held[leased.lease_id] = leased
    await again.heartbeat()
    # One fits beside it; then both slots are taken, and 800 of 1,000 bytes.
    assert (await again.job()).id == job.id
    await second.enqueue(payload=SMALL)
    await again.no_job(0.3)
    await again.capacity(5, bytes=1000)
    await again.no_job(0.3)
    await again.capacity(2)
    await again.no_job(0.3)
    # A turn later it is not named as held, and runs all the same.
    once_more = await second.worker(
        slots=2, resume=again.resume(held=[again.held[id] for id in list(again.held)[1:]])
    )
    once_more.held.update(again.held)
    await once_more.heartbeat()
    await once_more.no_job(0.3)
    del once_more.held[leased.lease_id]
    await once_more.heartbeat()
    await once_more.job()
    (session,) = second.app.session.sessions.all()
    assert (len(session.leases), session.lingering, session.bytes_held) == (2, {}, 2 * len(SMALL))


async def test_a_revoked_handler_counts_under_the_cap_of_its_kind(servers):
    first, second = servers
    limits = {"kinds": ["work", "other"], "slots": 5, "slots_by_kind": {"work": 1}}
    worker = await first.worker(**limits)
    job = await first.enqueue()
    leased = await worker.job()
    worker.cut()
    await give_back(first, job.id)
    again = await second.worker(resume=worker.resume(held=[leased]), **limits)
    again.held[leased.lease_id] = leased
    other = await second.enqueue("other")
    assert (await again.job()).id == other.id
    await again.no_job(0.3)
    del again.held[leased.lease_id]
    await again.heartbeat()
    assert (await again.job()).id == job.id


async def test_an_outcome_that_was_committed_is_already_applied_on_the_other_server(servers):
    """Each is sent again by the number of its lease alone; another outcome for the same lease is stale."""
    first, second = servers
    worker = await first.worker(slots=4)
    ids = await first.batch(4)
    jobs = {job.id: job for job in await worker.jobs(4)}
    plain, output, failed, snoozed = (jobs[job_id] for job_id in ids)
    await worker.succeed(plain)
    await worker.succeed(output, output_json=b"[1]")
    await worker.fail(failed, permanent=True)
    await worker.snooze(snoozed, 60)
    again = await second.worker(slots=4, resume=worker.resume(unanswered=list(jobs.values())))
    assert (list(again.welcome.kept), list(again.welcome.revoked)) == ([], [])
    results = [
        *await again.succeed(plain),
        *await again.succeed(output, output_json=b"[1]"),
        await again.fail(failed, permanent=True),
        await again.snooze(snoozed, 60),
    ]
    assert [Verdict.Name(result.verdict) for result in results] == ["ALREADY_APPLIED"] * 4
    results = [*await again.succeed(failed), *await again.succeed(snoozed), await again.fail(plain)]
    assert [Verdict.Name(result.verdict) for result in results] == ["STALE_LEASE"] * 3
    assert [Status.Name((await second.get(job_id)).status) for job_id in ids] == [
        "SUCCEEDED",
        "SUCCEEDED",
        "FAILED_PERMANENT",
        "QUEUED",
    ]


async def test_however_many_outcomes_are_unanswered_each_is_told_what_became_of_it(servers):
    first, second = servers
    count = REMEMBERED_LEASES + 100
    worker = await first.worker(slots=count)
    await first.batch(count)
    jobs = await worker.jobs(count)
    await worker.succeed(*jobs)
    again = await second.worker(slots=count, resume=worker.resume(unanswered=jobs))
    results = await again.succeed(*jobs)
    assert len(results) == count
    assert {result.verdict for result in results} == {Verdict.ALREADY_APPLIED}


async def test_an_outcome_that_never_arrived_is_applied_on_the_other_server(servers):
    first, second = servers
    worker = await first.worker(slots=2)
    await first.batch(2)
    jobs = await worker.jobs(2)
    worker.cut()
    again = await second.worker(slots=2, resume=worker.resume(held=[jobs[0]], unanswered=[jobs[1]]))
    assert len(again.welcome.kept) == 2
    assert await again.succeed(*jobs) == []
    done = [await second.wait(job.id) for job in jobs]
    assert {(Status.Name(job.status), job.attempts, job.losses) for job in done} == {("SUCCEEDED", 1, 0)}
