"""Work is dealt against credit that exists: never more leases outstanding than a worker has slots."""

from __future__ import annotations

import asyncio

import pytest

from jobqueue_server.core.tuning import Tuning
from jobqueue_server.store.attempt.attempts import AttemptStore
from jobqueue_server.store.claim.claims import ClaimStore
from jobqueue_server.store.intake.intake import IntakeStore
from tests.store.stored import SCOPE

from .place import Held, Place, eventually

pytestmark = pytest.mark.any_engine


async def running(place):
    return await place.value("select count(*) from live_job where state = 2")


async def test_never_more_is_outstanding_than_there_are_slots(place):
    worker = await place.worker(slots=7)
    ids = await place.batch(40)
    done = []
    for _ in range(40):
        leased = await worker.job()
        assert len(worker.held) <= 7
        done.append(leased.id)
        await worker.succeed(leased)
    assert sorted(done) == sorted(ids)


async def test_slots_are_never_dealt_twice_by_backlog_and_hand_off_at_once(place):
    worker = await place.worker(slots=5)
    most = 0

    async def produce():
        for _ in range(100):
            await place.enqueue()

    async def watch():
        nonlocal most
        while True:
            most = max(most, await running(place))

    producing = [asyncio.create_task(produce()) for _ in range(3)]
    watching = asyncio.create_task(watch())
    for _ in range(60):
        jobs = await worker.jobs(5)
        assert len(worker.held) == 5
        await worker.succeed(*jobs)
    watching.cancel()
    await asyncio.gather(*producing)
    assert 1 <= most <= 5


@pytest.mark.slow
async def test_a_capacity_of_zero_pauses_and_a_greater_one_goes_on(place):
    worker = await place.worker(slots=0)
    await place.batch(6)
    await worker.no_job()
    await worker.capacity(2)
    first = await worker.jobs(2)
    await worker.no_job(0.2)
    await worker.capacity(0)
    await worker.succeed(*first)
    await worker.no_job(0.2)
    await worker.capacity(4)
    await worker.jobs(4)


@pytest.mark.slow
async def test_lowering_takes_nothing_back_and_waits_until_enough_is_settled(place):
    worker = await place.worker(slots=4)
    await place.batch(6)
    first = await worker.jobs(4)
    await worker.capacity(2)
    await worker.heartbeat()
    await worker.succeed(first[0], first[1])
    await worker.no_job(0.2)
    await worker.succeed(first[2])
    await worker.job()
    await worker.no_job(0.2)


async def test_without_capacity_in_hello_nothing_is_given_until_it_is_said(place):
    worker = await place.worker(slots=0)
    worker.hello.ClearField("capacity")
    await place.enqueue()
    await worker.no_job(0.2)
    await worker.capacity(1)
    await worker.job()


async def test_slots_by_kind_bound_a_kind_within_the_slots_from_the_backlog(place):
    await place.batch(6, "tight")
    await place.batch(6, "loose")
    worker = await place.worker(kinds=["tight", "loose"], slots=5, slots_by_kind={"tight": 2})
    jobs = await worker.jobs(5)
    assert sorted(job.kind for job in jobs) == ["loose"] * 3 + ["tight"] * 2
    await worker.no_job(0.2)
    for job in jobs:
        if job.kind == "tight":
            await worker.succeed(job)
    kinds = [(await worker.job()).kind for _ in range(2)]
    assert sorted(job.kind for job in worker.held.values()).count("tight") <= 2, kinds


@pytest.mark.slow
async def test_slots_by_kind_bound_a_kind_that_is_handed_off(place):
    worker = await place.worker(kinds=["tight", "loose"], slots=10, slots_by_kind={"tight": 2})
    await place.batch(8, "tight")
    await worker.jobs(2)
    await worker.no_job()
    assert await running(place) == 2
    await place.enqueue("loose")
    assert (await worker.job()).kind == "loose"
    await worker.capacity(10, {"tight": 3})
    assert (await worker.job()).kind == "tight"
    await worker.no_job(0.2)
    await worker.capacity(10, {"tight": 0})
    await worker.succeed(*worker.held.values())
    await worker.no_job(0.2)
    await worker.capacity(10)
    await worker.jobs(5)


@pytest.mark.slow
async def test_bytes_bound_what_is_held_and_a_larger_job_is_delivered_alone(place):
    small, large = b'"' + b"s" * 398 + b'"', b'"' + b"l" * 2998 + b'"'
    await place.pause_until_stored([small, small, small, large, small])
    worker = await place.worker(slots=10, bytes=1000)
    jobs = await worker.jobs(2)
    await worker.no_job(0.3)
    await worker.succeed(jobs[0])
    jobs = [jobs[1], await worker.job()]
    await worker.no_job(0.3)
    await worker.succeed(*jobs)
    rest = [await worker.job()]
    await worker.no_job(0.3)
    await worker.succeed(*rest)
    rest.append(await worker.job())
    await worker.no_job(0.2)
    assert sorted(len(job.payload_json) for job in rest) == [400, 3000]
    await worker.succeed(rest[1])
    assert await place.value("select count(*) from finished_job where failures + losses = 0") == 5


@pytest.mark.slow
async def test_bytes_bound_what_is_dealt_alone(place):
    """Jobs that lost a worker before; the one that does not fit waits until something is settled."""
    small, large = b'"' + b"s" * 398 + b'"', b'"' + b"l" * 998 + b'"'
    worker = await place.worker(slots=10, bytes=1100)
    await place.enqueue(payload=small)
    first = await worker.job()
    # In line by their ids, which grow.
    suspects = [await place.enqueue(payload=body, delay=60) for body in (large, small)]
    await place.sql("update live_job set state = 4, losses = 2, run_at = now() where state = 1")
    # Longer than until the next sweep sees them.
    await worker.no_job(1.5)
    await worker.succeed(first)
    alone = await worker.job()
    assert alone.id == suspects[0].id
    await worker.no_job(0.2)
    await worker.succeed(alone)
    assert (await worker.job()).id == suspects[1].id


async def test_bytes_bound_what_is_handed_off(place):
    worker = await place.worker(slots=10, bytes=1000)
    for _ in range(6):
        await place.enqueue(payload=b'"' + b"s" * 398 + b'"')
    jobs = await worker.jobs(2)
    await worker.no_job(0.3)
    await worker.succeed(*jobs)
    await worker.jobs(2)
    await worker.no_job(0.2)


async def test_a_new_worker_gets_some_while_an_older_one_is_busy(place):
    first = await place.worker(name="first", slots=10)
    await place.batch(10)
    jobs = await first.jobs(10)
    await place.batch(30)
    second = await place.worker(name="second", slots=10)
    await second.jobs(10)
    await first.succeed(*jobs)
    await first.jobs(10)
    assert await running(place) == 20


async def test_work_is_dealt_by_the_largest_free_share(place, monkeypatch):
    # On a machine that is short of a core it is dealt by whole credits.
    monkeypatch.setattr("jobqueue_server.core.claim.load.Load.cpu_overcommitted", False)
    workers = [await place.worker(name=f"w{number}", slots=10) for number in range(4)]
    await place.batch(20)
    await eventually(lambda: place.value("select count(*) = 20 from live_job where state = 2"))
    await asyncio.gather(*(worker.heartbeat() for worker in workers))
    shares = [len(worker.held) for worker in workers]
    assert sum(shares) == 20
    assert min(shares) >= 2, shares


async def test_jobs_of_kinds_that_nobody_here_takes_wait(place):
    worker = await place.worker(kinds=["mine"])
    other = await place.enqueue("other")
    mine = await place.enqueue("mine")
    assert (await worker.job()).id == mine.id
    await worker.no_job(0.2)
    assert await place.status(other.id) == "QUEUED"


@pytest.fixture
async def patient(dsn):
    """A claim of a few waits for a settlement however long it takes."""
    async with Place(dsn, tuning=Tuning(admission_patience=60.0)) as place:
        yield place


async def test_a_claim_of_a_few_waits_for_the_credit_that_a_settlement_brings(patient, monkeypatch):
    """Else those who come for one job each are dealt one at a time: half as many commits again."""
    place = patient
    claim, claims = ClaimStore.claim, []

    async def noted(store, looks, slots, epochs):
        claims.append(len(slots))
        return await claim(store, looks, slots, epochs)

    worker = await place.worker(slots=3)
    await place.batch(9)
    first = await worker.jobs(3)
    held = Held(monkeypatch, AttemptStore, "end_plain")
    monkeypatch.setattr(ClaimStore, "claim", noted)
    succeeding = asyncio.create_task(worker.succeed(*first))
    await held.one_waits()
    # There is credit for one now.
    await worker.capacity(4)
    await worker.heartbeat()
    assert claims == []
    held.go_on.set()
    await succeeding
    await worker.jobs(4)
    assert claims[0] == 4


async def test_a_settlement_that_takes_long_holds_up_no_claim(place, monkeypatch):
    worker = await place.worker(slots=1)
    await place.batch(4)
    (first,) = await worker.jobs(1)
    held = Held(monkeypatch, AttemptStore, "end_plain")
    succeeding = asyncio.create_task(worker.succeed(first))
    await held.one_waits()
    await worker.capacity(2)
    await worker.job()
    held.go_on.set()
    await succeeding


@pytest.mark.parametrize(
    ("slots", "saturated", "at_once"), [(1100, False, True), (1100, True, False), (1000, False, False)]
)
async def test_new_jobs_pass_by_a_few_that_wait_only_where_there_is_credit_for_both(
    place, monkeypatch, slots, saturated, at_once
):
    """A claim takes a thousand at most. Over a backlog nobody passes by."""
    enqueue, reserved = IntakeStore.enqueue, []

    async def noted(store, rows, *args, **more):
        reserved.append(sum(count for row in rows for _, count in row.slots))
        return await enqueue(store, rows, *args, **more)

    worker = await place.worker(slots=slots)
    await place.enqueue()
    await worker.succeed(await worker.job())
    held = Held(monkeypatch, ClaimStore, "claim")
    monkeypatch.setattr(IntakeStore, "enqueue", noted)
    lines = place.app.claim.lines
    lane = place.app.catalog.catalog.known_lane(SCOPE, "default", "work")
    line = lines.line(lane, 0)
    line.ready, line.saturated = True, saturated
    slots = place.app.claim.hand_off.reserve(lane, 0, [2] * 200)
    assert slots.count == (100 if at_once else 0), "the next claim has its thousand"
    slots.release()
    line.ready = line.saturated = False
    # As another server tells of one, and its jobs are being claimed.
    lines.seen(line.lane.id, 0)
    await held.one_waits()
    line.saturated = saturated
    await place.batch(50)
    assert reserved == [50 if at_once else 0]
    held.go_on.set()
    assert len(await worker.jobs(50)) == 50
