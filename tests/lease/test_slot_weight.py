"""Kinds whose jobs take several slots: what a worker is given at once, in what order, and what is said of who waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from jobqueue.v1 import insight_pb2, queue_admin_pb2
from jobqueue.v1.queue_admin_pb2 import Kind, Limits, Queue
from tests.serve.test_key_policy import update

from .hand_worker import PATIENCE, HandWorker
from .place import Place, eventually
from .test_unary_sessions import CallWorker

pytestmark = pytest.mark.any_engine

BOTH = ["heavy", "light"]


async def weighs(place: Place, slots: int, limits: Limits | None = None) -> Kind:
    """Each job of the kind `heavy` takes so many slots from now on."""
    put = queue_admin_pb2.PutKindRequest(kind=Kind(name="heavy", slot_weight=slots, limits=limits))
    answer: Kind = (await place.admin.PutKind(put, timeout=PATIENCE)).kind
    return answer


@pytest.fixture
async def heavy(place: Place) -> Place:
    """A server with a kind `heavy`, each job of which takes three slots."""
    assert (await weighs(place, 3)).slot_weight == 3
    return place


def kinds(worker: HandWorker) -> list[str]:
    return sorted(job.kind for job in worker.held.values())


async def taken(worker: HandWorker, count: int) -> list[str]:
    """The kinds of the next jobs, in the order in which they come."""
    return [(await worker.job()).kind for _ in range(count)]


async def succeed_one(worker: HandWorker, kind: str) -> None:
    await worker.succeed(next(job for job in worker.held.values() if job.kind == kind))


# ---- what a worker is given


async def test_a_worker_is_given_as_many_as_its_slots_hold(heavy: Place) -> None:
    await heavy.batch(5, "heavy")
    worker = await heavy.worker(kinds=BOTH, slots=8)
    assert await taken(worker, 2) == ["heavy", "heavy"]
    await worker.no_job()
    # The two slots that are left are for light ones, but not the next ones in line: a heavy one goes first.
    await succeed_one(worker, "heavy")
    assert (await worker.job()).kind == "heavy"
    await worker.no_job()


async def test_what_comes_while_a_worker_waits_fills_its_slots_and_no_more(heavy: Place) -> None:
    worker = await heavy.worker(kinds=BOTH, slots=5)
    await heavy.enqueue("heavy")
    assert (await worker.job()).kind == "heavy"
    for _ in range(3):
        await heavy.enqueue("light")
    assert await taken(worker, 2) == ["light", "light"]
    await worker.no_job()


async def test_a_worker_that_was_told_nothing_of_weights_never_holds_more_slots_than_it_has(
    heavy: Place,
) -> None:
    workers = [await heavy.worker(kinds=BOTH, slots=slots) for slots in (4, 7)]
    left = {*await heavy.batch(60, "light"), *await heavy.batch(20, "heavy")}

    async def work(worker: HandWorker, slots: int) -> None:
        while left:
            if not worker.has_job:
                await asyncio.sleep(0.005)
                continue
            job = await worker.job()
            assert sum(3 if each.kind == "heavy" else 1 for each in worker.held.values()) <= slots
            await asyncio.sleep(0.002)
            await worker.succeed(job)
            left.discard(job.id)

    async with asyncio.timeout(30):
        await asyncio.gather(*(work(*each) for each in zip(workers, (4, 7), strict=True)))


async def test_slots_are_free_again_after_an_end_and_a_release(heavy: Place) -> None:
    ids = await heavy.batch(3, "heavy")
    worker = await heavy.worker(kinds=BOTH, slots=3)
    first = await worker.job()
    await worker.release(first)
    seen = {first.id}
    while len(seen) < 3:
        job = await worker.job()
        seen.add(job.id)
        await worker.succeed(job)
    assert seen == set(ids)


@pytest.mark.slow
async def test_a_revoked_job_takes_its_slots_until_its_handler_has_stopped(heavy: Place) -> None:
    await heavy.enqueue("heavy", timeout=1, max_attempts=1)
    worker = await heavy.worker(kinds=BOTH, slots=4)
    over = await worker.job()
    assert (await worker.next("control")).revoke.reason == "TIMED_OUT"
    await heavy.batch(3, "light")
    await worker.heartbeat()
    assert await taken(worker, 1) == ["light"]
    await worker.no_job()
    await worker.succeed(over)
    await worker.heartbeat()
    assert await taken(worker, 2) == ["light", "light"]


async def test_a_resumed_session_still_counts_what_its_jobs_take(heavy: Place) -> None:
    await heavy.enqueue("heavy")
    worker = await heavy.worker(kinds=BOTH, slots=4)
    held = await worker.job()
    worker.cut()
    again = await heavy.worker(
        kinds=BOTH,
        slots=4,
        resume=worker.resume(held=[held]),
    )
    again.held[held.lease_id] = held
    await heavy.batch(3, "light")
    assert await taken(again, 1) == ["light"]
    await again.no_job()
    await again.succeed(held)
    assert await taken(again, 2) == ["light", "light"]


async def test_a_kind_that_weighs_more_later_counts_so_for_what_starts_later(place: Place) -> None:
    worker = await place.worker(kinds=BOTH, slots=4)
    await place.enqueue("heavy")
    await worker.job()
    await weighs(place, 3)
    ids = set(await place.batch(2, "heavy"))
    assert (await worker.job()).id in ids
    await worker.no_job()


async def test_slots_by_kind_and_bytes_bound_heavy_jobs_too(heavy: Place) -> None:
    await heavy.batch(4, "heavy")
    worker = await heavy.worker(kinds=BOTH, slots=12, slots_by_kind={"heavy": 2}, bytes=1000)
    assert await taken(worker, 2) == ["heavy", "heavy"]
    await heavy.enqueue("light")
    assert await taken(worker, 1) == ["light"]
    await worker.no_job()
    await worker.capacity(4, {"heavy": 2}, 1000)
    await worker.succeed(*worker.held.values())
    assert await taken(worker, 1) == ["heavy"]
    await worker.no_job()


async def test_workers_that_call_are_given_what_fits(heavy: Place) -> None:
    calling = await CallWorker(heavy.stub).open(kinds=BOTH, slots=4)
    await heavy.batch(3, "heavy")
    first = await calling.claim(10)
    assert [job.kind for job in first] == ["heavy"]
    assert await calling.claim(10, wait=0.2) == []
    unbounded = await CallWorker(heavy.stub).open(kinds=BOTH)
    # One that bounds no slots is given as many jobs as it asks for.
    assert len(await unbounded.claim(1)) == 1
    assert len(await unbounded.claim(5)) == 1


# ---- the order


async def test_a_heavy_job_is_reached_while_light_ones_come_all_the_time(heavy: Place) -> None:
    worker = await heavy.worker(kinds=BOTH, slots=4)
    await heavy.batch(8, "light")
    await taken(worker, 4)
    waits = (await heavy.enqueue("heavy")).id
    before = 0
    for _ in range(60):
        await heavy.enqueue("light")
        await succeed_one(worker, next(iter(kinds(worker))))
        if not worker.has_job:
            await asyncio.sleep(0.02)
        while worker.has_job:
            job = await worker.job()
            if job.id == waits:
                # The four that were there before it, and none that came after it.
                assert before == 4
                return
            before += 1
        if not worker.held:

            async def has_job() -> bool:
                return worker.has_job

            await eventually(has_job)
    pytest.fail("it was never started")


async def is_reached(worker: HandWorker, waits: str) -> None:
    """Light jobs end one after the other until the heavy one comes."""
    for _ in range(12):
        if worker.held:
            await succeed_one(worker, "light")
            await asyncio.sleep(0.05)
        while worker.has_job or not worker.held:
            if (await worker.job()).id == waits:
                return
    pytest.fail("it was never started")


async def test_a_heavy_job_is_reached_though_another_queue_is_always_busy(heavy: Place) -> None:
    worker = await heavy.worker(queues={"mail": ["heavy"], "busy": ["light"]}, slots=3)
    await heavy.batch(3, "light", queue="busy")
    await taken(worker, 3)
    waits = (await heavy.enqueue("heavy", queue="mail")).id
    await heavy.batch(100, "light", queue="busy")
    await is_reached(worker, waits)


async def test_light_jobs_are_reached_while_heavy_ones_come_all_the_time(heavy: Place) -> None:
    worker = await heavy.worker(kinds=BOTH, slots=3)
    await heavy.enqueue("heavy")
    await worker.job()
    await heavy.enqueue("heavy")
    light = (await heavy.enqueue("light")).id
    await heavy.batch(5, "heavy")
    started = []
    for _ in range(2):
        await worker.succeed(*worker.held.values())
        started.append((await worker.job()).id)
    assert started[1] == light


async def test_a_higher_priority_goes_first_whatever_a_job_takes(heavy: Place) -> None:
    worker = await heavy.worker(kinds=BOTH, slots=4)
    await heavy.batch(4, "light")
    await taken(worker, 4)
    await heavy.batch(4, "light", priority=1)
    await heavy.batch(2, "heavy", priority=2)
    await heavy.batch(2, "light", priority=3)
    order: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while len(order) < 8:
            if worker.held:
                await succeed_one(worker, kinds(worker)[-1])
            await asyncio.sleep(0.02)
            while worker.has_job:
                job = await worker.job()
                order.append(job.kind)
    assert order == ["light"] * 2 + ["heavy"] * 2 + ["light"] * 4


async def test_only_one_worker_keeps_slots_for_one_heavy_job(heavy: Place) -> None:
    one, two = [await heavy.worker(kinds=BOTH, slots=3, name=name) for name in ("one", "two")]
    await heavy.batch(6, "light")
    await taken(one, 3)
    await taken(two, 3)
    await heavy.enqueue("heavy")
    await heavy.batch(3, "light")
    await succeed_one(one, "light")
    await one.no_job()
    # The other one's slot is for those behind it.
    await succeed_one(two, "light")
    assert await taken(two, 1) == ["light"]


@pytest.mark.slow
@pytest.mark.parametrize("limits", [None, Limits(max_running=5)], ids=["without", "with limits"])
async def test_what_was_kept_for_a_job_that_is_gone_is_given_to_others(
    heavy: Place, limits: Limits | None
) -> None:
    await weighs(heavy, 3, limits)
    worker = await heavy.worker(kinds=BOTH, slots=3)
    await heavy.batch(3, "light")
    await taken(worker, 3)
    gone = await heavy.enqueue("heavy")
    await heavy.batch(2, "light")
    await succeed_one(worker, "light")
    await worker.no_job()
    await heavy.cancel(gone.id)
    assert await taken(worker, 1) == ["light"]


@pytest.mark.slow
async def test_jobs_that_lost_their_workers_run_alone_with_the_slots_that_they_take(heavy: Place) -> None:
    ids = await heavy.batch(2, "heavy")
    await heavy.sql("update live_job set state = 4, losses = 2 where id = any($1::uuid[])", ids)
    worker = await heavy.worker(kinds=BOTH, slots=4)
    # No server was told what they lost: a sweep finds the first one.
    assert await taken(worker, 1) == ["heavy"]
    await heavy.batch(3, "light")
    assert await taken(worker, 1) == ["light"]
    await worker.no_job(0.1)
    await worker.succeed(*worker.held.values())
    assert sorted(await taken(worker, 2)) == ["heavy", "light"]
    await worker.no_job(0.1)
    await worker.succeed(*worker.held.values())
    assert await taken(worker, 1) == ["light"]


# ---- with limits


@pytest.mark.parametrize("whose", ["queue", "kind"])
async def test_a_limit_counts_jobs_and_a_worker_slots(place: Place, whose: str) -> None:
    limits = Limits(max_running=2)
    await weighs(place, 3, limits if whose == "kind" else None)
    if whose == "queue":
        request = queue_admin_pb2.UpdateQueueRequest(
            queue=Queue(name="default", limits=limits),
            update_mask=FieldMask(paths=["limits"]),
            allow_missing=True,
        )
        await place.admin.UpdateQueue(request, timeout=PATIENCE)
    await place.batch(5, "heavy")
    worker = await place.worker(kinds=BOTH, slots=20)
    assert await taken(worker, 2) == ["heavy", "heavy"]
    await worker.no_job()
    await worker.capacity(4)
    await worker.succeed(*worker.held.values())
    assert await taken(worker, 1) == ["heavy"]
    await worker.no_job()


async def test_a_heavy_job_with_a_limit_is_reached_though_another_queue_is_always_busy(place: Place) -> None:
    await weighs(place, 3, limits=Limits(max_running=5))
    worker = await place.worker(queues={"mail": ["heavy"], "busy": ["light"]}, slots=3)
    await place.batch(3, "light", queue="busy")
    await taken(worker, 3)
    waits = (await place.enqueue("heavy", queue="mail")).id
    await asyncio.sleep(0.1)
    await place.batch(100, "light", queue="busy")
    await is_reached(worker, waits)


async def test_a_key_lets_in_a_heavy_job_where_a_light_one_has_ended(heavy: Place) -> None:
    await update(heavy, max_running=1, name="default", make=True)
    worker = await heavy.worker(kinds=BOTH, slots=3)
    await heavy.enqueue("light")
    other = await worker.job()
    for kind in ("light", "heavy", "light"):
        await heavy.enqueue(kind, key="a")
    await worker.succeed(await worker.job())
    # It is let in, and too large for the two slots that are free.
    await worker.no_job()
    await worker.succeed(other)
    for kind in ("heavy", "light"):
        job = await worker.job()
        assert job.kind == kind
        await worker.no_job(0.1)
        await worker.succeed(job)


# ---- what no worker can take


async def test_a_job_too_heavy_for_each_worker_waits_for_a_larger_one_and_says_so(heavy: Place) -> None:
    small = await heavy.worker(kinds=BOTH, slots=2)
    waits = (await heavy.enqueue("heavy")).id
    await small.no_job()
    answer = await explained(heavy, waits)
    assert codes(answer) == ["NO_WORKER_LARGE_ENOUGH"]
    (reason,) = answer.reasons
    assert reason.message == "it takes 3 slots, and the one worker that takes it has 2 at most"
    assert list(reason.unblocked_by) == [
        "a worker that takes kind heavy in queue default, with 3 slots",
        "PutKind heavy",
    ]
    detail = reason.workers
    assert (detail.slot_weight, detail.most_slots, detail.most_free_slots) == (3, 2, 2)
    # It is in nobody's way, and a worker that gets larger takes it.
    await heavy.enqueue("light")
    assert await taken(small, 1) == ["light"]
    await small.succeed(*small.held.values())
    await small.capacity(3)
    assert (await small.job()).id == waits


async def test_a_worker_that_gets_smaller_is_given_no_job_that_is_too_heavy_then(heavy: Place) -> None:
    worker = await heavy.worker(kinds=BOTH, slots=3)
    await worker.capacity(2)
    await worker.heartbeat()
    await heavy.enqueue("heavy")
    await heavy.batch(2, "light")
    assert await taken(worker, 2) == ["light", "light"]
    await worker.no_job()


async def test_a_larger_worker_on_another_server_takes_it(heavy: Place, dsn: str) -> None:
    small = await heavy.worker(kinds=BOTH, slots=2)
    waits = (await heavy.enqueue("heavy")).id
    async with Place(dsn) as other:
        large = await other.worker(kinds=BOTH, slots=3)
        assert (await large.job()).id == waits
        await small.no_job(0.1)


async def test_a_heavy_job_says_that_too_few_slots_are_free_at_each_worker(heavy: Place) -> None:
    for queue in ("one", "two"):
        worker = await heavy.worker(queues={"mail": ["heavy"], queue: ["light"]}, slots=3, name=queue)
        await heavy.batch(2, "light", queue=queue)
        await taken(worker, 2)
    waits = (await heavy.enqueue("heavy", queue="mail")).id
    answer = await explained(heavy, waits)
    assert codes(answer) == ["NO_CREDIT"]
    message = "it takes 3 slots of one worker, and the 2 workers that take it have 1 free at most"
    assert answer.reasons[0].message == message
    assert answer.reasons[0].unblocked_by[0] == "the end of jobs there"


@pytest.mark.slow
async def test_other_servers_are_told_how_large_the_largest_worker_is(heavy: Place, dsn: str) -> None:
    for _ in range(3):
        await heavy.worker(kinds=BOTH, slots=2)
    waits = (await heavy.enqueue("heavy")).id
    async with Place(dsn) as other:

        async def told() -> bool:
            return codes(await explained(other, waits)) == ["NO_WORKER_LARGE_ENOUGH"]

        await eventually(told)


@pytest.mark.slow
async def test_the_slots_that_a_queue_wants_are_those_that_its_jobs_take(heavy: Place) -> None:
    await heavy.batch(2, "heavy")
    await heavy.batch(1, "light")
    request = insight_pb2.GetQueueDemandRequest(queue="default")
    demand = await heavy.insight.GetQueueDemand(request)
    assert (demand.runnable, demand.running, demand.wanted_slots) == (3, 0, 7)
    worker = await heavy.worker(kinds=BOTH, slots=5)
    await taken(worker, 1)

    async def one_runs() -> Any:
        found = await heavy.insight.GetQueueDemand(request)
        return found if found.running else None

    demand = await eventually(one_runs)
    assert (demand.runnable, demand.running, demand.wanted_slots) == (2, 1, 7)
    assert demand.more_workers_would_help


async def test_a_put_without_a_weight_takes_it_back(heavy: Place) -> None:
    assert await heavy.value("select slot_weight from kind where name = 'heavy'") == 3
    assert (await weighs(heavy, 0)).slot_weight == 0
    assert await heavy.value("select slot_weight from kind where name = 'heavy'") is None
    worker = await heavy.worker(kinds=BOTH, slots=3)
    await heavy.batch(4, "heavy")
    assert await taken(worker, 3) == ["heavy"] * 3


async def explained(place: Place, job_id: str) -> insight_pb2.ExplainJobResponse:
    request = insight_pb2.ExplainJobRequest(id=job_id)
    answer: insight_pb2.ExplainJobResponse = await place.insight.ExplainJob(request, timeout=PATIENCE)
    return answer


def codes(answer: insight_pb2.ExplainJobResponse) -> list[str]:
    return [insight_pb2.Reason.Code.Name(reason.code) for reason in answer.reasons]
