"""Deliveries without a receipt: what a worker has not seen goes back, and what kills it at once is found."""

from __future__ import annotations

import asyncio
import time

import pytest

from .place import Place, Status, eventually

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]

DEAF_TTL = 12.0
#: Of its heartbeats.
INTERVAL = DEAF_TTL / 4
SHORT_TTL = 5.0
LONG_TTL = 60.0
# From the last frame of a stream that broke until what it did not see goes back, and what that may take.
UNSEEN_AFTER, MARGIN = 15.0, 2.0


async def unseen_of(place, job_id):
    """How often its worker was lost before a receipt."""
    return await place.value("select unseen from live_job where id = $1", job_id)


async def session_of(place, job_id):
    """Who holds it."""
    return await place.value("select session_id from live_job where id = $1", job_id)


async def a_job_that_kills_its_worker_before_any_receipt_ends_at_its_cap(place):
    """The worker dies with the delivery in its hand, as by `kill -9` in the first line of a handler."""
    poison = await place.enqueue("kills")
    neighbours = [await place.enqueue("kills", b'"innocent"') for _ in range(3)]
    ended = asyncio.Event()
    deaths = 0

    async def work() -> None:
        nonlocal deaths
        while not ended.is_set():
            worker = await place.worker(kinds=["kills"], slots=4, ttl=SHORT_TTL, receipts=False)
            while not ended.is_set():
                try:
                    job = await worker.job(0.5)
                except TimeoutError:
                    continue
                # All of a delivery is in its hand, and the innocent jobs take longer than the poison to kill.
                if any(held.id == poison.id for held in worker.held.values()):
                    deaths += 1
                    worker.cut()
                    break
                await asyncio.sleep(0.1)
                worker.receipts = True
                await worker.succeed(job)
                worker.receipts = False

    async def charged():
        return (await place.get(poison.id)).losses == 1

    crew = [asyncio.create_task(work()) for _ in range(2)]
    await eventually(charged, 90)
    # As if it had killed two more, at a ttl for each.
    await place.sql("update live_job set losses = 3 where id = $1", poison.id)
    done = await eventually(lambda: finished(place, poison.id), 90)
    assert (Status.Name(done.status), done.reason, done.losses) == ("FAILED_PERMANENT", "LOST_TOO_OFTEN", 5)
    assert done.attempts == deaths == 5, "two unseen ends isolate it, five losses end it"
    for job in neighbours:
        neighbour = await place.wait(job.id)
        assert Status.Name(neighbour.status) == "SUCCEEDED"
        assert neighbour.losses == 0
        assert neighbour.attempts <= 3, "beside one poison job a neighbour is struck at most twice"
    ended.set()
    await asyncio.gather(*crew)


async def finished(place, job_id):
    """The job, once it has ended."""
    job = await place.get(job_id)
    return job if job.HasField("finished_at") else None


async def an_isolated_job_comes_alone_and_nothing_follows_before_its_receipt(place):
    isolated = await place.enqueue("alone", delay=60)
    await place.sql(
        "update live_job set state = 4, losses = 1, unseen = 1, run_at = now() where id = $1", isolated.id
    )
    worker = await place.worker(kinds=["alone"], slots=10, receipts=False)
    first = await worker.job()
    assert (first.id, first.attempt) == (isolated.id, 1)
    others = await place.batch(3, "alone")
    # Longer than until the next sweep sees them.
    await worker.no_job(1.5)
    assert [len(delivery.jobs) for delivery in worker.deliveries] == [1]
    worker.receipts = True
    await worker.heartbeat()
    assert {job.id for job in await worker.jobs(3)} == set(others)
    await worker.succeed(*worker.held.values())


async def lost_jobs_start_again_together(place):
    """They are first losses, so they wait in their line and not isolated."""
    dying = await place.worker(kinds=["lost"], slots=150, ttl=SHORT_TTL)
    jobs = await place.batch(150, "lost")
    await dying.jobs(150)
    await dying.heartbeat()
    last_frame = time.monotonic()
    dying.cut()
    survivor = await place.worker(kinds=["lost"], slots=1000)
    again = await survivor.jobs(150, SHORT_TTL + MARGIN + 10)
    assert time.monotonic() - last_frame < SHORT_TTL + MARGIN
    assert {(job.id, job.attempt) for job in again} == {(job_id, 2) for job_id in jobs}
    await survivor.succeed(*again)


async def a_worker_that_does_not_read_gets_no_more_and_what_it_has_not_seen_goes_back(place):
    deaf = await place.worker(kinds=["deaf"], slots=20, ttl=DEAF_TTL, receipts=False, name="deaf")
    first = await place.batch(4, "deaf")
    await deaf.jobs(4)
    at = time.monotonic()
    # An interval, and the watch's half second. What it has goes back two intervals later.
    await asyncio.sleep(INTERVAL + 1)
    good = await place.worker(kinds=["deaf"], slots=20, name="good")
    later = await place.batch(8, "deaf")
    assert {job.id for job in await good.jobs(8)} == set(later), (
        "room was dealt to a worker that sends no receipts"
    )
    back = await good.jobs(4, 3 * INTERVAL + MARGIN)
    assert 3 * INTERVAL <= time.monotonic() - at < 3 * INTERVAL + MARGIN
    assert {(job.id, job.attempt) for job in back} == {(job_id, 2) for job_id in first}
    for job_id in first:
        assert (await place.get(job_id)).losses == 0
        assert await unseen_of(place, job_id) == 0, "its session is not lost"
    revoke = (await deaf.next("control")).revoke
    assert (len(revoke.lease_ids), revoke.reason) == (4, "UNSEEN")
    # It was given nothing since, although its heartbeats no longer name what it had.
    deaf.held.clear()
    await deaf.heartbeat()
    await good.succeed(*good.held.values())
    await good.drain()
    next_one = await place.enqueue("deaf")
    await deaf.no_job(1.5)
    # It reads again.
    deaf.receipts = True
    await deaf.heartbeat()
    assert (await deaf.job()).id == next_one.id
    await deaf.succeed(*deaf.held.values())


async def what_has_no_receipt_when_a_stream_breaks_goes_back_after_15_seconds(place):
    """Also counted; what it had seen stays its own until the ttl is over. Who resumes later reads what is gone."""
    breaking = await place.worker(kinds=["broken"], slots=3, ttl=LONG_TTL)
    seen = await place.enqueue("broken")
    leases = {seen.id: await breaking.job()}
    await breaking.heartbeat()
    breaking.receipts = False
    unseen = await place.batch(2, "broken")
    leases |= {job.id: job for job in await breaking.jobs(2)}
    last_frame = time.monotonic()
    breaking.cut()
    other = await place.worker(kinds=["broken"], slots=3, name="other")
    again = await other.jobs(2, UNSEEN_AFTER + MARGIN + 5)
    assert UNSEEN_AFTER - 0.5 < time.monotonic() - last_frame < UNSEEN_AFTER + MARGIN
    assert {(job.id, job.attempt) for job in again} == {(job_id, 2) for job_id in unseen}
    assert [await unseen_of(place, job_id) for job_id in unseen] == [1, 1]
    assert await session_of(place, seen.id) == int(breaking.welcome.session_token.partition(".")[0])
    back = await place.worker(kinds=["broken"], slots=3, resume=breaking.resume(held=list(leases.values())))
    assert {lease.job_id for lease in back.welcome.revoked} == set(unseen)
    assert await back.succeed(leases[seen.id]) == []
    await other.succeed(*again)
    assert (await place.wait(seen.id)).attempts == 1


async def a_session_that_resumes_within_15_seconds_keeps_what_it_names(place):
    worker = await place.worker(kinds=["kept"], slots=2, ttl=LONG_TTL, receipts=False)
    jobs = await place.batch(2, "kept")
    leases = await worker.jobs(2)
    worker.cut()
    other = await place.worker(kinds=["kept"], slots=2, name="other")
    await asyncio.sleep(UNSEEN_AFTER - 5)
    again = await place.worker(kinds=["kept"], slots=2, resume=worker.resume(held=leases))
    assert list(again.welcome.revoked) == []
    await other.no_job(8)
    assert await again.succeed(*leases) == []
    assert [(await place.wait(job_id)).attempts for job_id in jobs] == [1, 1]


async def an_isolated_job_without_a_receipt_waits_for_the_ttl_and_is_charged(place):
    ttl = UNSEEN_AFTER + 4
    isolated = await place.enqueue("charged", delay=60)
    await place.sql("update live_job set state = 4, losses = 2, run_at = now() where id = $1", isolated.id)
    worker = await place.worker(kinds=["charged"], ttl=ttl, receipts=False)
    await worker.job()
    last_frame = time.monotonic()
    worker.cut()
    other = await place.worker(kinds=["charged"], name="other")
    again = await other.job(ttl + MARGIN + 5)
    assert ttl - 0.5 < time.monotonic() - last_frame < ttl + MARGIN
    assert (again.id, (await place.get(isolated.id)).losses) == (isolated.id, 3)
    await other.succeed(again)


async def test_what_no_worker_has_seen_goes_back_and_what_kills_workers_ends(dsn):
    """All at once, since each takes its time."""
    async with Place(dsn) as place:
        await asyncio.gather(
            a_job_that_kills_its_worker_before_any_receipt_ends_at_its_cap(place),
            an_isolated_job_comes_alone_and_nothing_follows_before_its_receipt(place),
            lost_jobs_start_again_together(place),
            a_worker_that_does_not_read_gets_no_more_and_what_it_has_not_seen_goes_back(place),
            what_has_no_receipt_when_a_stream_breaks_goes_back_after_15_seconds(place),
            a_session_that_resumes_within_15_seconds_keeps_what_it_names(place),
            an_isolated_job_without_a_receipt_waits_for_the_ttl_and_is_charged(place),
        )
