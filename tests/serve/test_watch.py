"""WatchJobs: jobs as they change, none missed and none told twice, on one server or several."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration

from jobqueue.v1 import job_pb2, jobqueue_pb2, queue_admin_pb2
from jobqueue_server.core.query import cursor as cursors
from jobqueue_server.core.query import watch as watches
from jobqueue_server.core.query import watching
from jobqueue_server.model import WatchFilter
from jobqueue_server.store.statements import statement
from tests.lease.hand_worker import violations_of
from tests.lease.place import Place, eventually

from .watcher import Watcher

pytestmark = pytest.mark.slow

WHOLE: Any = {"view": job_pb2.JOB_VIEW_FULL, "payload_format": job_pb2.PAYLOAD_FORMAT_JSON}


@pytest.fixture(autouse=True)
def prompt(monkeypatch):
    """Nobody wakes a watch for what is neither an end nor of its server: then it looks often."""
    monkeypatch.setattr(watching, "LOOK_EVERY", timedelta(milliseconds=60))


@asynccontextmanager
async def transaction(dsn):
    """A transaction that a test keeps open for as long as it likes."""
    connection = await asyncpg.connect(dsn)
    try:
        open_one = connection.transaction()
        await open_one.start()
        yield connection, open_one
    finally:
        await connection.close()


async def looked(place, times=3):
    """Returns after so many more looks of the server's watches."""
    counted = place.app.metrics._ops["watch"][0]._sum
    for _ in range(times):
        before = counted.get()

        async def looked_again(before=before):
            return counted.get() > before

        await eventually(looked_again)


# ---- what is told


@pytest.mark.any_engine
async def test_a_watch_of_a_queue_tells_each_job_from_its_enqueue_to_its_end(place):
    worker = await place.worker(queues={"mail": ["work"]})
    async with Watcher(place, queue="mail") as watcher:
        assert (watcher.answers, watcher.told) == (1, []), "the first answer says only that it has begun"
        job = await place.enqueue(queue="mail", delay=5)
        await watcher.sees(job.id, "QUEUED")
        running = await worker.job()
        await watcher.sees(job.id, "RUNNING")
        await worker.fail(running, retry_after=timedelta(seconds=5))
        told = await watcher.sees(job.id, "RETRYING")
        assert told.last_error == "boom"
        again = await worker.job()
        await watcher.until(lambda: watcher.of(job.id)[-1] == "RUNNING")
        await worker.succeed(again)
        done = await watcher.sees(job.id, "SUCCEEDED")
        assert done == job_pb2.Job.FromString((await _basic(place, job.id)).SerializeToString())
        assert watcher.of(job.id) == ["QUEUED", "RUNNING", "RETRYING", "RUNNING", "SUCCEEDED"]


async def _basic(place, job_id):
    job = await place.get(job_id)
    for field in ("payload_json", "output_json", "headers", "failed_attempts"):
        job.ClearField(field)
    return job


@pytest.mark.any_engine
async def test_a_watch_tells_of_the_jobs_that_it_asked_for_and_of_no_others(place):
    right: dict[str, Any] = {"queue": "mail", "labels": {"team": "a", "tier": "1"}}
    async with Watcher(place, queue="mail", kind="work", labels=["team=a"]) as watcher:
        others = [
            await place.enqueue(**(right | {"queue": "other"})),
            await place.enqueue("play", **right),
            await place.enqueue(**(right | {"labels": {"team": "b"}})),
            await place.enqueue(queue="mail"),
        ]
        await looked(place)
        for other in others:
            await place.cancel(other.id)
        job = await place.enqueue(**right)
        await watcher.sees(job.id, "QUEUED")
        await place.cancel(job.id)
        await watcher.sees(job.id, "CANCELLED")
        assert {told.id for told in watcher.told} == {job.id}


async def test_jobs_asked_for_by_id_are_told_as_they_are_and_the_stream_ends_when_all_are_over(place):
    waiting, over, other = [await place.enqueue() for _ in range(3)]
    await place.cancel(over.id)
    async with Watcher(place, ids=[waiting.id, over.id, waiting.id]) as watcher:
        await watcher.sees(waiting.id, "QUEUED")
        await watcher.sees(over.id, "CANCELLED")
        await place.cancel(other.id)
        await looked(place)
        assert not watcher.ended
        assert len(watcher.told) == 2
        await place.cancel(waiting.id)
        assert await watcher.end() == ""
        assert watcher.of(waiting.id) == ["QUEUED", "CANCELLED"]
        assert watcher.of(over.id) == ["CANCELLED"]
    again = Watcher(place, token=watcher.token, ids=[waiting.id, over.id])
    await again.go_on()
    assert await again.end() == ""
    assert not again.told, "there is nothing after it"


async def test_an_id_that_is_not_there_is_refused_before_anything_is_told(place):
    job = await place.enqueue()
    watcher = Watcher(place, ids=[job.id, str(uuid4())])
    await watcher.go_on()
    assert await watcher.end() == "JOB_NOT_FOUND"
    assert watcher.answers == 0


@pytest.mark.any_engine
async def test_a_job_that_is_deleted_is_over_and_told_by_its_id_alone(place):
    kept, deleted = [await place.enqueue() for _ in range(2)]
    await place.cancel(deleted.id)
    async with Watcher(place, ids=[kept.id, deleted.id]) as watcher:
        await watcher.sees(deleted.id, "CANCELLED")
        await place.sql("delete from finished_job where id = $1", UUID(deleted.id))
        gone = await watcher.sees(deleted.id, "STATUS_UNSPECIFIED")
        assert gone == job_pb2.Job(id=deleted.id)
        await place.cancel(kept.id)
        assert await watcher.end() == ""
        assert len(watcher.of(deleted.id)) == 2


@pytest.mark.any_engine
async def test_a_job_that_is_retried_is_told_again_and_keeps_the_watch_open(place):
    one, two = [await place.enqueue() for _ in range(2)]
    async with Watcher(place, ids=[one.id, two.id]) as watcher:
        await place.cancel(one.id)
        await watcher.sees(one.id, "CANCELLED")
        await place.retry(one.id)
        await watcher.until(lambda: watcher.of(one.id)[-1] == "QUEUED")
        await place.cancel(two.id)
        await watcher.sees(two.id, "CANCELLED")
        await looked(place)
        assert not watcher.ended
        await place.cancel(one.id)
        assert await watcher.end() == ""
        assert watcher.of(one.id) == ["QUEUED", "CANCELLED", "QUEUED", "CANCELLED"]


@pytest.mark.any_engine
async def test_a_job_that_ends_and_is_retried_before_it_is_told_does_not_end_the_watch(place, monkeypatch):
    """The look has found its end, and it is queued again before it is read: the stream goes on with what follows."""
    job = await place.enqueue()
    store = place.app.query.watches._store
    read, retried = store.watch_jobs, asyncio.Event()

    async def retried_before(*args, **more):
        if not retried.is_set() and await place.status(job.id) == "CANCELLED":
            retried.set()
            await place.retry(job.id)
        return await read(*args, **more)

    async with Watcher(place, ids=[job.id]) as watcher:
        await watcher.sees(job.id, "QUEUED")
        monkeypatch.setattr(store, "watch_jobs", retried_before)
        await place.cancel(job.id)
        await watcher.until(lambda: watcher.of(job.id) == ["QUEUED", "QUEUED"])
        assert retried.is_set()
        await place.cancel(job.id)
        assert await watcher.end() == ""
        assert watcher.of(job.id)[-1] == "CANCELLED"


@pytest.mark.any_engine
async def test_a_cancel_that_its_worker_has_not_answered_is_told(place):
    worker = await place.worker()
    async with Watcher(place) as watcher:
        job = await place.enqueue()
        running = await worker.job()
        await watcher.sees(job.id, "RUNNING")
        await place.cancel(job.id)
        await watcher.until(lambda: any(told.cancel_requested for told in watcher.told))
        assert watcher.told[-1].status == job_pb2.Job.STATUS_UNSPECIFIED + 2
        await worker.cancelled(running)
        await watcher.sees(job.id, "CANCELLED")


@pytest.mark.any_engine
async def test_payload_and_output_come_with_the_full_view_alone(place):
    worker = await place.worker()
    async with Watcher(place) as basic, Watcher(place, **WHOLE) as whole:
        job = await place.enqueue(payload=b'{"a": 1}')
        await worker.succeed(await worker.job(), output_json=b'{"b":  2}')
        without, with_both = [await each.sees(job.id, "SUCCEEDED") for each in (basic, whole)]
    assert (with_both.payload_json, with_both.output_json) == (b'{"a": 1}', b'{"b":  2}')
    assert without.WhichOneof("content") is None
    assert without.WhichOneof("result") is None


@pytest.mark.any_engine
async def test_while_nothing_changes_an_answer_without_a_job_moves_the_token_on(place, monkeypatch):
    monkeypatch.setattr(watching, "QUIET", timedelta(seconds=0.2))
    async with Watcher(place) as watcher:
        first = watcher.token
        await watcher.until(lambda: watcher.answers >= 3)
        assert watcher.token != first
        assert not watcher.told
        job = await place.enqueue()
        await watcher.sees(job.id, "QUEUED")


# ---- nothing is missed, nothing is told twice


async def end_by_hand(connection, worker, job):
    """Settles a job inside of a transaction of the test's."""
    session = (await connection.fetchrow("select session_id from live_job where id = $1", UUID(job.id)))[0]
    await connection.fetch(statement("end_plain"), [UUID(job.id)], [1], [job.attempt], [session])


@pytest.mark.any_engine
async def test_a_commit_that_comes_late_is_told_when_it_comes(place, monkeypatch):
    """Ends are found by their time, which is that of the transaction's beginning; the watch is long past it."""
    monkeypatch.setattr(cursors, "LATE_COMMITS", timedelta(seconds=0.2))
    worker = await place.worker(slots=2)
    async with Watcher(place) as watcher:
        slow, quick = [await place.enqueue() for _ in range(2)]
        jobs = {job.id: job for job in await worker.jobs(2)}
        await watcher.sees(slow.id, "RUNNING")
        async with transaction(place.dsn) as (connection, open_one):
            await end_by_hand(connection, worker, jobs[slow.id])
            await looked(place, 5)
            await worker.succeed(jobs[quick.id])
            await watcher.sees(quick.id, "SUCCEEDED")
            await looked(place, 3)
            await watcher.hang_up()
            await watcher.go_on()
            await looked(place, 8)
            assert watcher.of(slow.id)[-1] == "RUNNING"
            await open_one.commit()
        await watcher.sees(slow.id, "SUCCEEDED")
        await looked(place)
        assert watcher.of(slow.id).count("SUCCEEDED") == watcher.of(quick.id).count("SUCCEEDED") == 1


@pytest.mark.any_engine
async def test_a_new_job_whose_insert_commits_late_is_told_too(place, monkeypatch):
    monkeypatch.setattr(cursors, "LATE_COMMITS", timedelta(seconds=0.2))
    first = await place.enqueue()
    async with Watcher(place) as watcher, transaction(place.dsn) as (connection, open_one):
        late = first.id[:14] + str(uuid4())[14:]
        for table in ("job", "live_job"):
            columns = "id, run_at, lane_id, priority, max_attempts"
            more, values = (", payload", ", '{}'") if table == "job" else (", state", ", 1")
            await connection.execute(
                f"insert into {table} ({columns}{more}) "
                f"select $1, now(), lane_id, 0, 3{values} from live_job where id = $2",
                UUID(late),
                UUID(first.id),
            )
        between = await place.enqueue()
        await watcher.sees(between.id, "QUEUED")
        await looked(place, 8)
        await open_one.commit()
        await watcher.sees(late, "QUEUED")


@pytest.mark.any_engine
async def test_a_lane_that_another_server_has_just_made_is_not_missed(dsn):
    async with Place(dsn) as here, Place(dsn) as there, Watcher(here, queue="new", kind="fresh") as watcher:
        job = await there.enqueue("fresh", queue="new")
        await watcher.sees(job.id, "QUEUED")


@pytest.mark.any_engine
async def test_five_thousand_jobs_over_two_servers_are_all_told_to_their_end_and_nothing_twice(
    dsn, monkeypatch
):
    """Enqueued, run, failed and retried on both, while the watch hangs up in its midst and goes on by the other."""
    monkeypatch.setattr(watching, "MOST_CHANGES", 200)
    total = 5000
    async with Place(dsn) as one, Place(dsn) as two:
        places = [one, two]
        workers = [await place.worker(slots=200) for place in places]
        stop = asyncio.Event()

        async def work(worker):
            number = 0
            while not stop.is_set():
                jobs = [await worker.job()]
                while worker.has_job:
                    jobs.append(await worker.job())
                number += 1
                if number % 5 == 0:
                    again = jobs.pop()
                    await worker.outcome(again, failure={"error": "boom", "retry_after": {"nanos": 1000000}})
                await worker.settle([job.lease_id for job in jobs])

        async def produce(place):
            ids = []
            for _ in range(total // 2 // 50):
                ids += await place.batch(50)
                await asyncio.sleep(0)
            return ids

        async with Watcher(one) as watcher:
            working = [asyncio.create_task(work(worker)) for worker in workers]
            producing = [asyncio.create_task(produce(place)) for place in places]
            for turn in range(4):
                await watcher.until(lambda turn=turn: len(watcher.over) > 200 + turn * 1000)
                await watcher.hang_up()
                # It goes on from an answer in the middle of a look.
                watcher.forget(150)
                await watcher.go_on(places[(turn + 1) % 2])
            ids = {job_id for task in producing for job_id in await task}
            assert len(ids) == total
            await watcher.until(lambda: watcher.over >= ids, timeout=60)
            stop.set()
            for task in working:
                task.cancel()
            await looked(places[(turn + 1) % 2])
        assert {job.id for job in watcher.told} == ids
        assert not watcher.twice()
        ends = [job.id for job in watcher.told if job.id in watcher.over and job.HasField("finished_at")]
        assert len(ends) == len(set(ends)) == total


@pytest.mark.any_engine
async def test_a_watch_that_goes_on_after_a_while_catches_up_stretch_by_stretch(place, monkeypatch):
    monkeypatch.setattr(watching, "FIRST_STRETCH", timedelta(seconds=0.1))
    monkeypatch.setattr(watching, "EASY_LOOK", 0.0)
    monkeypatch.setattr(watching, "MOST_CHANGES", 20)
    monkeypatch.setattr(watching, "PAGE_JOBS", 7)
    monkeypatch.setattr(cursors, "LATE_COMMITS", timedelta(seconds=0.1))
    worker = await place.worker(slots=200)
    async with Watcher(place) as watcher:
        await watcher.hang_up()
        ids = []
        for _ in range(6):
            ids += await place.batch(30)
            await worker.succeed(*await worker.jobs(30))
            await asyncio.sleep(0.15)
        ids += await place.batch(30)
        # They run when it goes on, so that it is not told that they are queued.
        running = await worker.jobs(30)
        await watcher.go_on()
        for stop in (1, 50, 100):
            await watcher.until(lambda stop=stop: len(watcher.told) >= stop)
            await watcher.hang_up()
            await watcher.go_on()
        await watcher.until(lambda: len(watcher.told) >= 210)
        await worker.succeed(*running)
        await watcher.until(lambda: watcher.over >= set(ids))
        await looked(place)
        assert not watcher.twice()
        assert len(watcher.told) == 240
        ended = [job.finished_at.ToNanoseconds() for job in watcher.told if job.HasField("finished_at")]
        assert ended == sorted(ended), "in the order of their changes"


@pytest.mark.any_engine
async def test_a_watch_goes_on_after_its_server_was_restarted(dsn):
    async with Place(dsn) as place:
        first = await place.enqueue()
        watcher = Watcher(place, queue="default")
        await watcher.go_on()
        await place.app.drain()
        assert await watcher.end() == "DRAINING"
    async with Place(dsn) as place:
        await place.cancel(first.id)
        second = await place.enqueue()
        await watcher.go_on(place)
        await watcher.sees(first.id, "CANCELLED")
        await watcher.sees(second.id, "QUEUED")
        await watcher.hang_up()
        assert not watcher.twice()


async def test_a_reader_that_does_not_read_makes_the_server_hold_one_page(place):
    """100 jobs of 300 kB and 30 MB in all: what is told stops at what the connection holds, and is read at last."""
    async with Watcher(place) as idle:
        call = place.stub.WatchJobs(Watcher(place, token=idle.token, **WHOLE).request())
        ids = [(await place.enqueue(payload=b'"%s"' % (b"x" * 300_000))).id for _ in range(100)]
        await idle.until(lambda: len(idle.told) == 100)
        told = place.app.metrics._told._value

        async def settled():
            before = told.get()
            await looked(place, 4)
            return told.get() == before

        await eventually(settled)
        assert told.get() < 100 + 60, "the other watch was told all, this one is stuck"
        read = []
        async for answer in call:
            read += [answer.job.id] if answer.HasField("job") else []
            if len(read) == 100:
                break
        call.cancel()
        assert sorted(read) == sorted(ids)


# ---- tokens


def aged(token, **change):
    """The token of a watch of everything, changed."""
    scope = watches._text(WatchFilter())
    return replace(cursors.cursor_of(token, scope), **change).token(scope)


async def refused(place, token, **wanted):
    watcher = Watcher(place, token=token, **wanted)
    await watcher.go_on()
    reason = await watcher.end()
    assert watcher.answers == 0
    return reason


@pytest.mark.any_engine
async def test_a_token_is_good_for_half_of_the_retention_and_a_day_at_most(dsn, cluster):
    for retention, good_for in (("2h", timedelta(hours=1)), ("7d", timedelta(days=1))):
        async with Place(dsn, retention=retention) as place:
            async with Watcher(place) as watcher:
                at = cursors.cursor_of(watcher.token, watches._text(WatchFilter())).at
            young = at - good_for + timedelta(seconds=60)
            async with Watcher(place, token=aged(watcher.token, at=young, since=young)) as watcher:
                assert watcher.answers == 1
            old = at - good_for - timedelta(seconds=1)
            assert await refused(place, aged(watcher.token, at=old, since=old)) == "WATCH_TOKEN_EXPIRED"


@pytest.mark.any_engine
async def test_a_token_is_good_for_half_of_the_shortest_time_of_any_queue(place):
    async with Watcher(place) as watcher:
        at = cursors.cursor_of(watcher.token, watches._text(WatchFilter())).at
    old = at - timedelta(hours=1, seconds=1)
    aged_token = aged(watcher.token, at=old, since=old)
    async with Watcher(place, token=aged_token) as watcher:
        assert watcher.answers == 1
    await place.enqueue(queue="mail")
    kept = queue_admin_pb2.Retention(cancelled=Duration(seconds=7200))
    queue = queue_admin_pb2.Queue(name="mail", retention=kept)
    await place.admin.UpdateQueue(queue_admin_pb2.UpdateQueueRequest(queue=queue))
    assert await refused(place, aged_token) == "WATCH_TOKEN_EXPIRED"


@pytest.mark.any_engine
async def test_a_token_of_another_database_or_of_a_time_that_was_rolled_back_is_expired(
    place, cluster, template
):
    async with Watcher(place) as watcher:
        snapshot = cursors.cursor_of(watcher.token, watches._text(WatchFilter())).told
    other = cluster.create(template)
    try:
        async with Place(cluster.dsn_of(other)) as elsewhere:
            assert await refused(elsewhere, watcher.token) == "WATCH_TOKEN_EXPIRED"
    finally:
        cluster.drop(other)
    ahead = replace(snapshot, xmax=snapshot.xmax + 10_000)
    assert await refused(place, aged(watcher.token, told=ahead)) == "WATCH_TOKEN_EXPIRED"


@pytest.mark.any_engine
async def test_a_token_of_so_many_transactions_ago_that_rows_can_not_be_told_apart_is_expired(
    place, monkeypatch
):
    async with Watcher(place) as watcher:
        pass
    monkeypatch.setattr(watching, "MOST_TRANSACTIONS", 3)
    for _ in range(4):
        await place.enqueue()
    assert await refused(place, watcher.token) == "WATCH_TOKEN_EXPIRED"


@pytest.mark.any_engine
async def test_a_token_of_other_jobs_or_none_at_all_is_refused(place):
    async with Watcher(place, queue="mail") as watcher:
        pass
    assert await refused(place, watcher.token, queue="other") == "FIELD_INVALID"
    assert await refused(place, watcher.token, queue="mail", labels=["a=b"]) == "FIELD_INVALID"
    assert await refused(place, watcher.token) == "FIELD_INVALID"
    for token in ("x", "AAAA", "ü", watcher.token[:-3], watcher.token + "AAAA", "B" + watcher.token[1:]):
        assert await refused(place, token, queue="mail") == "FIELD_INVALID", token


# ---- bounds


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"ids": [str(uuid4()), "7"]}, "ids[1]"),
    ({"ids": [str(uuid4()) for _ in range(1001)]}, "ids"),
    ({"queue": "MAIL"}, "queue"),
    ({"kind": "send email"}, "kind"),
    ({"labels": ["a=b", "c"]}, "labels[1]"),
    ({"labels": [f"l{number}=" for number in range(33)]}, "labels"),
    ({"resume_token": "x" * (16384 + 1)}, "resume_token"),
    ({"view": 9}, "view"),
    ({"payload_format": 9}, "payload_format"),
]


@pytest.mark.any_engine
async def test_what_is_wrong_with_a_request_is_said_by_its_field_before_anything_is_told(place):
    for fields, path in WRONG:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await place.stub.WatchJobs(jobqueue_pb2.WatchJobsRequest(**fields)).read()
        assert violations_of(refusal.value).keys() == {path}
    known = {field.name for field in jobqueue_pb2.WatchJobsRequest.DESCRIPTOR.fields}
    assert {path.split("[")[0] for _, path in WRONG} == known, "a new field has its check"


async def left(place, count):
    """Returns when the server has no more watches than that."""

    async def look():
        return len(place.app.query.watch_limit) == count

    await eventually(look)


async def test_more_watches_than_the_server_may_serve_are_refused_and_make_room_when_they_end(dsn):
    async with Place(dsn, max_watches=2) as place:
        job = await place.enqueue()
        async with Watcher(place), Watcher(place, ids=[job.id]) as second:
            assert await refused(place, "") == "TOO_MANY_WATCHES"
            await second.hang_up()
            await left(place, 1)
            async with Watcher(place) as third:
                assert third.answers == 1
        await left(place, 0)
        assert not place.app.query.watches._by_job
        assert not place.app.query.watches._of_all


@pytest.mark.any_engine
async def test_an_end_on_this_server_is_told_at_once(place, monkeypatch):
    """With nothing but its own looks the watch would come too late by far."""
    monkeypatch.setattr(watching, "LOOK_EVERY", timedelta(minutes=1))
    worker = await place.worker(slots=2)
    one, two = [await place.enqueue() for _ in range(2)]
    running = {job.id: job for job in await worker.jobs(2)}
    async with Watcher(place) as all_of_them, Watcher(place, ids=[two.id]) as by_id:
        await worker.succeed(running[one.id])
        await all_of_them.sees(one.id, "SUCCEEDED")
        await worker.succeed(running[two.id])
        await by_id.sees(two.id, "SUCCEEDED")
        await all_of_them.sees(two.id, "SUCCEEDED")
