"""Which job is next: strict priority over the kinds of a queue, turns between queues, pauses, schedules and retries."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import asyncpg
import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from jobqueue.v1 import job_pb2, lease_pb2, queue_admin_pb2
from jobqueue.v1.queue_admin_pb2 import Limits, Rate
from tests.lease.hand_worker import reason_of
from tests.lease.place import Status, eventually

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]

ONE_AN_HOUR = Rate(count=1, period=Duration(seconds=3600))


def moment(timestamp):
    """A Timestamp as a datetime, to the microsecond."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=timestamp.ToMicroseconds())


async def run_all(worker, count):
    """Takes so many jobs one by one; them in their order."""
    order = []
    for _ in range(count):
        job = await worker.job()
        order.append(job)
        await worker.succeed(job)
    return order


async def test_priority_is_strict_over_all_kinds_of_a_queue_and_then_it_is_first_in_first_out(place):
    await place.enqueue("a")
    await place.pause("default")
    wanted: list[tuple[int, int, str]] = []
    for priority, kind in [(0, "a"), (10, "b"), (-10, "a"), (0, "b"), (10, "a"), (3, "c"), (0, "a")]:
        job = await place.enqueue(kind, priority=priority)
        wanted.append((-priority, len(wanted), job.id))
    await place.unpause("default")
    worker = await place.worker(kinds=["a", "b", "c"])
    order = [job.id for job in await run_all(worker, 8)]
    first_of_all = order.index(next(job for job in order if job not in {entry[2] for entry in wanted}))
    order.pop(first_of_all)
    assert order == [job_id for _, _, job_id in sorted(wanted)]


async def test_a_higher_priority_that_comes_later_goes_before_the_backlog(place):
    worker = await place.worker(kinds=["low", "high"])
    await place.batch(50, "low")
    first = await worker.job()
    urgent = await place.enqueue("high", priority=5)
    await worker.succeed(first)
    assert (await worker.job()).id == urgent.id


async def test_queues_take_turns_however_long_one_of_them_is(place):
    await place.batch(200, queue="long")
    short = await place.batch(5, queue="short")
    worker = await place.worker(queues={"long": ["work"], "short": ["work"]})
    order = await run_all(worker, 14)
    assert {job.id for job in order if job.queue == "short"} == set(short)


async def test_priority_does_not_count_between_queues(place):
    await place.batch(20, queue="urgent", priority=10)
    await place.batch(3, queue="calm", priority=-10)
    worker = await place.worker(queues={"urgent": ["work"], "calm": ["work"]})
    order = await run_all(worker, 9)
    assert [job.queue for job in order].count("calm") == 3


async def test_a_worker_takes_from_the_queues_and_kinds_that_it_named_together(place):
    worker = await place.worker(queues={"one": ["a"], "two": ["b"]}, slots=10)
    right = [await place.enqueue("a", queue="one"), await place.enqueue("b", queue="two")]
    wrong = [await place.enqueue("b", queue="one"), await place.enqueue("a", queue="two")]
    assert {job.id for job in await worker.jobs(2)} == {job.id for job in right}
    await worker.no_job(0.2)
    assert {await place.status(job.id) for job in wrong} == {"QUEUED"}


async def test_a_paused_queue_gives_nothing_and_what_runs_goes_on(place):
    worker = await place.worker(queues={"line": ["work"], "other": ["work"]}, slots=3)
    await place.enqueue(queue="line")
    running = await worker.job()
    await place.pause("line")
    waiting = [await place.enqueue(queue="line") for _ in range(2)]
    other = await place.enqueue(queue="other")
    assert (await worker.job()).id == other.id
    assert await worker.succeed(running) == []
    await worker.no_job(1.2)
    await place.unpause("line")
    started = time.monotonic()
    assert {job.id for job in await worker.jobs(2)} == {job.id for job in waiting}
    # All lines are looked at from their beginning each minute.
    assert time.monotonic() - started < 10
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await place.pause("never-used")
    assert reason_of(raised.value) == "QUEUE_NOT_FOUND"


@pytest.mark.alone
async def test_scheduled_jobs_are_never_early_and_not_late_by_more_than_a_second(place):
    """By the database's clock. Near ones have a timer here; those from another server are found by the sweep."""
    worker = await place.worker(slots=100)
    now = await place.value("select now()")
    jobs = {}
    for number in range(20):
        job = job_pb2.NewJob()
        job.run_at.FromDatetime(now + timedelta(milliseconds=300 + 97 * number))
        enqueued = await place.enqueue(run_at=job.run_at, priority=number % 3)
        assert enqueued.run_at == job.run_at
        jobs[enqueued.id] = moment(job.run_at)
    for number in range(10):
        enqueued = await place.enqueue(delay=0.2 + number / 20)
        jobs[enqueued.id] = moment(enqueued.run_at)
    past = job_pb2.NewJob()
    past.run_at.FromDatetime(now - timedelta(days=1))
    enqueued = await place.enqueue(run_at=past.run_at)
    assert moment(enqueued.run_at) >= now
    jobs[enqueued.id] = moment(enqueued.run_at)
    # One that no server was told of.
    hidden = await place.enqueue(delay=3600)
    await place.sql("update live_job set run_at = now() + interval '1500 ms' where id = $1", hidden.id)
    jobs[hidden.id] = await place.value("select run_at from live_job where id = $1", hidden.id)
    for leased in await worker.jobs(len(jobs)):
        claimed_at = await place.value("select changed_at from live_job where id = $1::uuid", leased.id)
        late = (claimed_at - jobs[leased.id]).total_seconds()
        assert 0 <= late < (1.3 if leased.id == hidden.id else 1), late


async def test_an_operators_retry_runs_a_finished_job_again_and_its_attempts_go_on(place):
    worker = await place.worker()
    job = await place.enqueue(max_attempts=1)
    await worker.fail(await worker.job(), "first")
    assert Status.Name((await place.wait(job.id)).status) == "FAILED_PERMANENT"
    await place.retry(job.id)
    second = await worker.job()
    assert (second.id, second.attempt, second.failures) == (job.id, 2, 0)
    await worker.succeed(second, output_json=b'"second"')
    done = await place.wait(job.id)
    assert (Status.Name(done.status), done.attempts, done.failures, done.output_json) == (
        "SUCCEEDED",
        2,
        0,
        b'"second"',
    )
    assert [(each.attempt, each.error) for each in done.failed_attempts] == [(1, "first")]
    await place.retry(job.id)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await place.retry(job.id)
    assert reason_of(raised.value) == "JOB_NOT_TERMINAL"
    third = await worker.job()
    assert third.attempt == 3
    await worker.succeed(third)


async def test_a_hand_off_and_the_backlog_both_bring_jobs(place):
    """With idle credit a job is leased in the insert itself; without it waits, and is claimed."""
    worker = await place.worker()
    handed_off = await place.enqueue()
    leased = await worker.job()
    created, run_at, claimed = (
        await place.sql("select uuid_time(id), run_at, changed_at from live_job where id = $1", handed_off.id)
    )[0]
    assert claimed == run_at
    backlog = await place.enqueue()
    assert await place.status(backlog.id) == "QUEUED"
    await worker.succeed(leased)
    leased = await worker.job()
    assert leased.id == backlog.id
    run_at, claimed = (await place.sql("select run_at, changed_at from live_job where id = $1", backlog.id))[
        0
    ]
    assert claimed > run_at
    assert created


async def limit(place, queue, limits):
    """Changes what a queue allows of its jobs, and waits until the server has seen that none wait."""
    given, mask = queue_admin_pb2.Queue(name=queue, limits=limits), FieldMask(paths=["limits"])
    await place.admin.UpdateQueue(queue_admin_pb2.UpdateQueueRequest(queue=given, update_mask=mask))
    claim, lanes = place.app.claim, place.app.catalog.catalog.lanes()
    lines = [line for lane in lanes for line in claim.lines.of_queue(lane.queue_id) if lane.queue == queue]

    async def none_wait():
        return lines and not claim.activity.claims and not any(line.ready for line in lines)

    await eventually(none_wait)


@pytest.mark.parametrize("fields", [{}, {"idempotency_key": "one"}])
@pytest.mark.parametrize("limits", [Limits(max_running=1), Limits(rate=ONE_AN_HOUR)])
async def test_a_queue_with_limits_hands_off_what_these_let_start(place, limits, fields):
    await place.enqueue(queue="mail")
    worker = await place.worker(queues={"mail": ["work"]}, slots=5)
    await worker.succeed(await worker.job())
    await limit(place, "mail", limits)
    handed_off = await place.enqueue(queue="mail", **fields)
    assert (await worker.job()).id == handed_off.id
    # By the statement that stored it.
    assert await place.value(
        "select l.xmin = j.xmin and l.counted from live_job l join job j using (id) where id = $1",
        handed_off.id,
    )
    waits = await place.enqueue(queue="mail")
    assert await place.status(waits.id) == "QUEUED"


async def test_an_insert_that_waits_for_the_answer_of_its_queue_holds_up_no_other_queue(place):
    for queue in ("mail", "other"):
        await place.enqueue(queue=queue)
    worker = await place.worker(queues={"mail": ["work"]}, slots=5)
    await worker.succeed(await worker.job())
    await limit(place, "mail", Limits(max_running=5))
    # Not the connection that looks: within a transaction it would see each statement as at its first look.
    connection = await asyncpg.connect(place.dsn)
    waiting = (
        "select count(*) > 0 from pg_stat_activity"
        " where wait_event_type = 'Lock' and datname = current_database() and query like '-- enqueue%'"
    )
    async with connection.transaction():
        await connection.execute("select from queue where name = 'mail' for no key update")
        asking = asyncio.create_task(place.enqueue(queue="mail"))
        await eventually(lambda: place.value(waiting))
        await place.enqueue(queue="other")
        assert not asking.done()
    await connection.close()
    handed_off = await asking
    assert (await worker.job()).id == handed_off.id


async def test_beside_an_insert_that_waits_for_its_queue_jobs_of_that_queue_are_stored_unasked(place):
    await place.enqueue(queue="mail")
    worker = await place.worker(queues={"mail": ["work"]}, slots=5)
    await worker.succeed(await worker.job())
    await limit(place, "mail", Limits(max_running=5))
    waiting = (
        "select count(*) > 0 from pg_stat_activity"
        " where wait_event_type = 'Lock' and datname = current_database() and query like '-- enqueue%'"
    )
    connection = await asyncpg.connect(place.dsn)
    async with connection.transaction():
        await connection.execute("select from queue where name = 'mail' for no key update")
        asking = asyncio.create_task(place.enqueue(queue="mail"))
        await eventually(lambda: place.value(waiting))
        stored = [await place.enqueue(queue="mail") for _ in range(3)]
        assert not asking.done()
    await connection.close()
    first = await asking
    assert {(await worker.job()).id for _ in range(4)} == {first.id, *(job.id for job in stored)}


async def test_a_queue_that_does_not_answer_for_long_is_asked_no_more_and_its_jobs_are_stored(place):
    await place.enqueue(queue="mail")
    worker = await place.worker(queues={"mail": ["work"]}, slots=5)
    await worker.succeed(await worker.job())
    await limit(place, "mail", Limits(max_running=5))
    handed_off = await place.enqueue(queue="mail")
    assert (await worker.job()).id == handed_off.id
    connection = await place.connection()
    async with connection.transaction():
        await connection.execute("select from queue where name = 'mail' for no key update")
        stored = await place.enqueue(queue="mail")
        inserter = place.app.intake._lines["enqueue asking"]._inserter
        assert inserter._asks_from > asyncio.get_running_loop().time()
    assert (await worker.job()).id == stored.id


async def test_a_first_job_of_a_new_kind_reaches_a_worker_that_waited_for_it(place):
    worker = await place.worker(kinds=["brand-new"])
    started = time.monotonic()
    job = await place.enqueue("brand-new")
    assert (await worker.job()).id == job.id
    # All lines are looked at from their beginning each minute.
    assert time.monotonic() - started < 10


async def test_progress_is_seen_by_who_asks(place):
    worker = await place.worker()
    job = await place.enqueue()
    leased = await worker.job()
    await worker.send(progress=lease_pb2.Progress(lease_id=leased.lease_id, fraction=0.5, message="half"))

    async def progress():
        read = (await place.get(job.id)).progress
        return read if read.message else None

    read = await eventually(progress)
    assert (read.fraction, read.message) == (0.5, "half")
    # A message alone leaves the fraction; what is not sane is ignored, and costs the worker nothing.
    await worker.send(progress=lease_pb2.Progress(lease_id=leased.lease_id, message="m\0" + "x" * 5000))
    await eventually(lambda: _message_starts(place, job.id, "mxxx"))
    read = (await place.get(job.id)).progress
    assert (read.fraction, len(read.message)) == (0.5, 1024)
    for fraction in (-0.1, 1.1, float("nan"), float("inf")):
        await worker.send(progress=lease_pb2.Progress(lease_id=leased.lease_id, fraction=fraction))
    await worker.send(progress=lease_pb2.Progress(lease_id=99, fraction=0.9))
    await worker.heartbeat()
    await asyncio.sleep(0.3)
    assert (await place.get(job.id)).progress.fraction == 0.5
    assert await worker.succeed(leased) == []


async def _message_starts(place, job_id, text):
    return (await place.get(job_id)).progress.message.startswith(text)


async def test_thousands_of_jobs_run_once_each_with_producers_and_workers_at_once(place):
    workers = [await place.worker(name=f"w{number}", slots=20) for number in range(4)]
    ran: list[tuple[str, int]] = []

    async def work(worker):
        while True:
            jobs = [await worker.job()]
            while worker.has_job:
                jobs.append(await worker.job())
            ran.extend((job.id, job.attempt) for job in jobs)
            assert await worker.succeed(*jobs) == []

    tasks = [asyncio.create_task(work(worker)) for worker in workers]
    batches = await asyncio.gather(*(place.batch(100) for _ in range(20)))
    singles = await asyncio.gather(*(place.enqueue() for _ in range(200)))
    ids = [job_id for batch in batches for job_id in batch] + [job.id for job in singles]
    await eventually(lambda: place.value("select count(*) = 2200 from finished_job where status = 3"), 40)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(ran) == sorted((job_id, 1) for job_id in ids)
    assert all(worker.deliveries for worker in workers)
