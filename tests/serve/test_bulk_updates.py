"""Changes of many jobs that wait, as callers see them: priority, start, queue, attempts, through what limits keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
import grpc.aio
import pytest
from google.longrunning import operations_pb2 as lro_pb
from google.protobuf.timestamp_pb2 import Timestamp

from jobqueue.v1 import bulk_pb2, job_pb2, jobqueue_pb2, lease_pb2
from jobqueue.v1.queue_admin_pb2 import KEY_ORDER_STRICT
from jobqueue_server.core.bulk.operations import differs
from jobqueue_server.core.bulk.preview import Preview, Previews
from jobqueue_server.core.tuning import Tuning
from tests.lease.hand_worker import PATIENCE, HandWorker, reason_of, span, violations_of
from tests.lease.place import Caller, Place, eventually

from .server_process import ServerProcess
from .test_bulk import done, fail, metadata, result
from .test_key_policy import update as set_policy

pytestmark = pytest.mark.any_engine

Status = job_pb2.Job.Status


async def update(place: Caller, *, force: bool = True, **asked: Any) -> lro_pb.Operation:
    of_filter = bulk_pb2.JobFilter.DESCRIPTOR.fields_by_name
    # `priority` and the like are no conditions.
    more = {name: asked.pop(name) for name in list(asked) if name not in of_filter}
    request = bulk_pb2.UpdateJobsRequest(filter=bulk_pb2.JobFilter(**asked), force=force, **more)
    answered: lro_pb.Operation = (await place.bulk.UpdateJobs(request, timeout=PATIENCE)).operation
    return answered


async def updated(place: Caller, **asked: Any) -> bulk_pb2.BulkResult:
    """What an operation has done, once it is done."""
    return result(await done(place, (await update(place, **asked)).name))


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


async def in_order(worker: HandWorker, count: int) -> list[str]:
    """The ids of the next jobs of a worker with one slot, each ended before the next one."""
    ids = []
    for _ in range(count):
        leased = await worker.job()
        ids.append(leased.id)
        await worker.succeed(leased)
    return ids


async def counts_are_those_of_the_rows(place: Place) -> None:
    """Each key has as many tokens out, and as many that wait, as its row says."""
    wrong = await place.sql(
        """
        select t.id, t.taken, t.waiting, r.taken as held, r.waiting as waits
        from semaphore t
        full join (
            select
                semaphore_id, count(*) filter (where hold is null) as taken, count(*) filter (where hold = 1) as waiting
            from live_job where semaphore_id is not null and coalesce(hold, 1) = 1 group by semaphore_id
        ) r on r.semaphore_id = t.id
        where (coalesce(t.taken, 0), coalesce(t.waiting, 0)) <> (coalesce(r.taken, 0), coalesce(r.waiting, 0))
        """
    )
    assert not wrong


# ---- what is changed


async def test_a_job_that_is_moved_to_another_queue_keeps_its_name(place: Place) -> None:
    unique = job_pb2.Unique(key="u", scope=job_pb2.Unique.QUEUE_AND_KIND)
    (moved,) = await place.batch(1, queue="a", unique=unique)
    (other,) = await place.batch(1, queue="b", unique=unique)
    assert moved != other
    assert (await updated(place, ids=[moved], to_queue="b")).changed == 1
    assert (await place.get(moved)).queue == "b"
    assert await place.batch(1, queue="a", unique=unique) == [moved]
    assert await place.batch(1, queue="b", unique=unique) == [other]


async def test_without_force_nothing_changes_and_the_answer_has_how_many_match(place: Place) -> None:
    ids = await place.batch(3)
    before = await place.sql("select id, xmin::text from live_job")
    operation = await update(place, queue="default", priority=5, force=False)
    told = metadata(operation)
    assert (told.verb, told.dry_run, told.estimate, list(told.sample_ids)) == ("UpdateJobs", True, 3, ids)
    assert await place.sql("select id, xmin::text from live_job") == before


async def test_a_new_priority_lets_jobs_go_first(place: Place) -> None:
    first, second = await place.batch(2)
    urgent = (await place.enqueue(labels={"who": "ada"})).id
    assert (await updated(place, labels=["who=ada"], priority=5)).changed == 1
    assert (await place.get(urgent)).priority == 5
    worker = await place.worker()
    assert await in_order(worker, 3) == [urgent, first, second]
    # A retry of it keeps what it was changed to.
    await place.retry(urgent)
    assert (await place.get(urgent)).priority == 5


async def test_a_priority_of_zero_is_one_too(place: Place) -> None:
    job = await place.enqueue(priority=-3)
    await updated(place, ids=[job.id], priority=0)
    assert (await place.get(job.id)).priority == 0


async def test_a_job_that_waited_for_long_stands_at_the_end_of_its_new_line_and_is_found_at_once(
    place: Place,
) -> None:
    """A claim reads a line from its floor on: a job that stood before it would wait for the sweep of all lines."""
    worker = await place.worker(slots=3)
    await place.batch(3, priority=5)
    leased = await worker.jobs(3)
    late = (await place.enqueue()).id
    await place.sql("update live_job set run_at = now() - interval '1 hour' where state <> 2")
    await updated(place, ids=[late], priority=5)
    assert await place.value(
        "select run_at > now() - interval '1 minute' from live_job where id = $1::uuid", late
    )
    await worker.succeed(*leased)
    # That would come after a minute.
    assert (await worker.job()).id == late


@pytest.mark.slow
async def test_a_new_start_is_a_time_or_a_delay_and_may_be_spread(place: Place) -> None:
    ids = await place.batch(20)
    at = Timestamp()
    at.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
    await updated(place, ids=ids[:10], run_at=at, spread=span(600.0))
    starts = {(await place.get(job_id)).run_at.ToDatetime() for job_id in ids[:10]}
    assert len(starts) == 10
    assert all(at.ToDatetime() <= start <= at.ToDatetime() + timedelta(minutes=10) for start in starts)
    await updated(place, ids=ids[10:], delay=span(3600.0))
    worker = await place.worker(slots=30)
    await worker.no_job()
    await updated(place, queue="default", delay=span(0.0))
    assert {job.id for job in await worker.jobs(20)} == set(ids)


async def test_a_time_in_the_past_is_now(place: Place) -> None:
    job = await place.enqueue(delay=3600.0)
    await updated(place, ids=[job.id], run_at=Timestamp(seconds=1_000_000_000))
    start = (await place.get(job.id)).run_at.ToDatetime(UTC)
    assert abs(start - datetime.now(UTC)) < timedelta(seconds=20)


async def test_a_job_that_waits_for_another_attempt_starts_at_once(place: Place) -> None:
    worker = await place.worker()
    policy = job_pb2.RetryPolicy(min_backoff=span(3600.0), max_backoff=span(3600.0))
    job = await place.enqueue(retry_policy=policy)
    await worker.fail(await worker.job(), "no luck")
    await place.until(job.id, "RETRYING")
    assert (await updated(place, status=[Status.RETRYING], delay=span(0.0))).changed == 1
    assert (await worker.job()).attempt == 2


@pytest.mark.slow
async def test_jobs_go_into_another_queue_and_run_there(place: Place) -> None:
    ids = await place.batch(3)
    error = await refused(update(place, queue="default", to_queue="spare"))
    assert reason_of(error) == "QUEUE_NOT_FOUND"
    await place.enqueue("rest", queue="spare", hold=True)
    other = await place.worker(queues={"spare": ["work"]}, slots=5)
    assert (await updated(place, queue="default", to_queue="spare")).changed == 3
    assert {(await other.job()).id for _ in ids} == set(ids)
    assert {(await place.get(job_id)).queue for job_id in ids} == {"spare"}


@pytest.mark.slow
async def test_more_attempts_are_given_and_never_fewer_than_are_spent(place: Place) -> None:
    worker = await place.worker()
    policy = job_pb2.RetryPolicy(min_backoff=span(0.001), max_backoff=span(0.01))
    job = await place.enqueue(max_attempts=5, retry_policy=policy)
    for _ in range(3):
        await worker.fail(await worker.job(), "no luck")
    await worker.job()
    assert (await updated(place, ids=[job.id], max_attempts=1)).changed == 0, "it runs"
    other = await place.enqueue(delay=3600.0)
    await updated(place, ids=[other.id], max_attempts=9)
    assert (await place.get(other.id)).max_attempts == 9
    await place.sql("update live_job set failures = 4 where state <> 2")
    await updated(place, ids=[other.id], max_attempts=2)
    assert (await place.get(other.id)).max_attempts == 5, "one more than its failures"


async def test_only_jobs_that_wait_are_changed(place: Place) -> None:
    (failed,) = await fail(place, 1)
    worker = await place.worker()
    running = (await place.enqueue()).id
    await worker.job()
    waiting = (await place.enqueue()).id
    held = (await place.enqueue(hold=True)).id
    told = await updated(place, everything=True, priority=7)
    assert (told.changed, told.skipped) == (2, 0)
    assert {job_id: (await place.get(job_id)).priority for job_id in (failed, running, waiting, held)} == {
        failed: 0, running: 0, waiting: 7, held: 7,
    }  # fmt: skip
    assert (await place.get(held)).HasField("hold")


async def test_jobs_that_are_enqueued_later_are_not_changed_and_a_watch_tells_those_that_are(
    place: Place,
) -> None:
    before = await place.enqueue()
    changed_at = await place.value("select changed_at from live_job")
    await updated(place, everything=True, priority=2)
    later = await place.enqueue()
    assert (await place.get(later.id)).priority == 0
    assert await place.value("select changed_at from live_job where id = $1::uuid", before.id) > changed_at


# ---- keys, holds, order


@pytest.mark.slow
async def test_a_job_whose_place_before_its_key_is_taken_gives_it_back(place: Place) -> None:
    await set_policy(place, make=True, max_running=1)
    worker = await place.worker(queues={"mail": ["work"]}, slots=5)
    first, second, third = [(await place.enqueue(queue="mail", key="ada")).id for _ in range(3)]
    leased = await worker.job()
    assert leased.id == first
    await counts_are_those_of_the_rows(place)
    # The second waits before its key, and now for its time.
    assert (await updated(place, ids=[second], delay=span(3600.0))).changed == 1
    await counts_are_those_of_the_rows(place)
    await worker.succeed(leased)
    assert (await worker.job()).id == third
    await counts_are_those_of_the_rows(place)
    await worker.no_job()


@pytest.mark.slow
async def test_the_token_of_a_job_in_line_goes_to_the_next_of_its_key(place: Place) -> None:
    await set_policy(place, make=True, max_running=1)
    first, second = [(await place.enqueue(queue="mail", key="ada")).id for _ in range(2)]
    await updated(place, ids=[first], delay=span(3600.0))
    await counts_are_those_of_the_rows(place)
    worker = await place.worker(queues={"mail": ["work"]}, slots=5)
    assert (await worker.job()).id == second
    await worker.no_job()


async def test_the_next_of_a_key_goes_on_at_once_and_no_sweep_is_waited_for(dsn: str) -> None:
    async with Place(dsn, tuning=Tuning(keys_sweep_every=3600, keys_audit_every=3600)) as place:
        await set_policy(place, make=True, max_running=1)
        first, second = [(await place.enqueue(queue="mail", key="ada")).id for _ in range(2)]
        await updated(place, ids=[first], delay=span(3600.0))
        worker = await place.worker(queues={"mail": ["work"]}, slots=5)
        assert (await worker.job()).id == second


@pytest.mark.slow
async def test_a_job_that_goes_into_a_queue_with_limits_is_let_in_by_its_key(place: Place) -> None:
    await set_policy(place, make=True, max_running=1)
    ids = [(await place.enqueue(queue="free", key="ada")).id for _ in range(4)]
    worker = await place.worker(queues={"mail": ["work"]}, slots=5)
    assert (await updated(place, queue="free", to_queue="mail")).changed == 4
    leased = await worker.job()
    await worker.no_job()
    await counts_are_those_of_the_rows(place)
    await worker.succeed(leased)
    found = [leased.id]
    for _ in range(3):
        job = await worker.job()
        found.append(job.id)
        await worker.succeed(job)
    assert sorted(found) == sorted(ids)


@pytest.mark.slow
async def test_a_job_that_leaves_a_queue_with_limits_gives_all_back(place: Place) -> None:
    await set_policy(place, make=True, max_running=1)
    await place.enqueue("rest", queue="free", hold=True)
    for _ in range(3):
        await place.enqueue(queue="mail", key="ada")
    worker = await place.worker(queues={"free": ["work"]}, slots=5)
    assert (await updated(place, queue="mail", to_queue="free")).changed == 3
    await worker.jobs(3)
    await counts_are_those_of_the_rows(place)
    assert await place.value("select coalesce(sum(taken + waiting), 0) from semaphore") == 0


async def test_a_new_priority_takes_no_place_of_a_key_away(place: Place) -> None:
    await set_policy(place, make=True, max_running=1)
    first, second, third = [(await place.enqueue(queue="mail", key="ada")).id for _ in range(3)]
    await updated(place, ids=[third], priority=3)
    await counts_are_those_of_the_rows(place)
    worker = await place.worker(queues={"mail": ["work"]})
    assert await in_order(worker, 3) == [first, third, second]


@pytest.mark.slow
async def test_in_strict_order_what_an_enqueue_refuses_is_passed_over(place: Place) -> None:
    await set_policy(place, order=KEY_ORDER_STRICT, make=True)
    ids = [(await place.enqueue(queue="mail", key="ada")).id for _ in range(3)]
    free = (await place.enqueue(queue="mail")).id
    for asked in ({"priority": 3}, {"delay": span(0.0)}, {"priority": 1, "max_attempts": 7}):
        told = await updated(place, queue="mail", **asked)
        assert (told.changed, told.skipped) == (1, 3), asked
    assert (await updated(place, queue="mail", max_attempts=7)).changed == 4
    worker = await place.worker(queues={"mail": ["work"]})
    order = await in_order(worker, 4)
    assert [job_id for job_id in order if job_id != free] == ids
    # Into such a queue, too.
    other = (await place.enqueue(queue="free", key="ada")).id
    told = await updated(place, ids=[other], to_queue="mail", priority=1)
    assert (told.changed, told.skipped) == (0, 1)
    assert (await updated(place, ids=[other], to_queue="mail")).changed == 1
    assert (await worker.job()).id == other


@pytest.mark.slow
async def test_a_job_that_is_held_by_hand_stays_held_and_starts_as_it_was_changed(place: Place) -> None:
    await place.enqueue("rest", queue="spare", hold=True)
    held = (await place.enqueue(hold=True)).id
    await updated(place, ids=[held], delay=span(0.0), to_queue="spare", priority=4)
    worker = await place.worker(queues={"spare": ["work"]}, slots=2)
    await worker.no_job()
    await place.stub.ReleaseJob(jobqueue_pb2.ReleaseJobRequest(id=held))
    leased = await worker.job()
    assert (leased.id, leased.priority, leased.queue) == (held, 4, "spare")


@pytest.mark.slow
async def test_keys_enqueues_claims_and_updates_at_once_leave_counts_right(place: Place) -> None:
    await set_policy(place, make=True, max_running=2)
    await set_policy(place, make=True, name="other", max_running=1)
    worker = await place.worker(queues={"mail": ["work"], "other": ["work"]}, slots=8)
    ended: list[str] = []

    async def works() -> None:
        while True:
            leased = await worker.job()
            await worker.succeed(leased)
            ended.append(leased.id)

    async def produces() -> list[str]:
        made = []
        for number in range(60):
            fields: dict[str, Any] = {"queue": ("mail", "other")[number % 2], "key": f"k{number % 5}"}
            made.append((await place.enqueue(**fields)).id)
        return made

    async def changes() -> None:
        for number in range(12):
            queue = ("mail", "other")
            ways: list[dict[str, Any]] = [
                {"delay": span(0.0)},
                {"to_queue": queue[(number + 1) % 2]},
                {"priority": number % 5},
            ]
            asked = ways[number % 3]
            await updated(place, queue=queue[number % 2], **asked)

    working = asyncio.create_task(works())
    ids, _ = await asyncio.gather(produces(), changes())

    async def all_ended() -> bool:
        return set(ids) == set(ended)

    await eventually(all_ended, 60.0)
    working.cancel()
    await counts_are_those_of_the_rows(place)
    assert len(ended) == len(ids), "each ran once"


# ---- what is refused


async def test_wrong_fields_are_named(place: Place) -> None:
    await place.enqueue()
    wrong: list[tuple[dict[str, Any], set[str]]] = [
        ({}, {"priority"}),
        ({"priority": 11}, {"priority"}),
        ({"priority": -11}, {"priority"}),
        ({"max_attempts": 1001}, {"max_attempts"}),
        ({"max_attempts": -1}, {"max_attempts"}),
        ({"priority": 1, "spread": span(5.0)}, {"spread"}),
        ({"delay": span(401 * 86400.0)}, {"delay"}),
        ({"priority": 1, "to_queue": "No"}, {"to_queue"}),
        ({"priority": 1, "expected": -1}, {"expected"}),
        ({"priority": 1, "status": [Status.RUNNING]}, {"filter.status[0]"}),
        ({"priority": 1, "reason": ["X"]}, {"filter.reason"}),
        ({"priority": 1, "ended_after": Timestamp(seconds=1)}, {"filter.ended_after"}),
    ]
    for asked, fields in wrong:
        error = await refused(update(place, **{"queue": "default", **asked}))
        assert set(violations_of(error)) == fields, asked
    assert reason_of(await refused(update(place, priority=1))) == "FILTER_EMPTY"


@pytest.mark.parametrize("verb", ["Retry", "Cancel", "Delete", "Update"])
async def test_a_filter_that_changed_by_more_than_a_tenth_since_its_dry_run_is_refused(
    place: Place, verb: str
) -> None:
    of_ended = verb in ("Retry", "Delete")
    await (fail(place, 20) if of_ended else place.batch(20))
    more: dict[str, Any] = {"priority": 1} if verb == "Update" else {}

    async def call(**asked: Any) -> lro_pb.Operation:
        request = getattr(bulk_pb2, f"{verb}JobsRequest")(
            filter=bulk_pb2.JobFilter(queue="default"), **more, **asked
        )
        answered: lro_pb.Operation = (await getattr(place.bulk, f"{verb}Jobs")(request)).operation
        return answered

    estimate = metadata(await call()).estimate
    assert estimate == 20
    for expected in (0, 17, 18, 23):
        error = await refused(call(force=True, expected=expected))
        assert reason_of(error) == "FILTER_CHANGED"
        assert b"20" in dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    assert not await place.sql("select from operation")
    # A dry run compares nothing, and what is about as many is begun.
    assert metadata(await call(expected=1)).estimate == 20
    begun = await call(force=True, expected=19, request_id="r")
    assert result(await done(place, begun.name)).changed == 20
    # The same request again finds what it began, though nothing matches any more.
    assert (await call(force=True, expected=19, request_id="r")).name == begun.name


async def test_a_request_that_is_sent_again_while_it_is_counted_is_answered_what_it_began(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.batch(20)
    wanted = bulk_pb2.JobFilter(queue="default")
    request = bulk_pb2.CancelJobsRequest(filter=wanted, force=True, expected=20, request_id="r")
    count = Previews.count
    begun: list[str] = []

    async def counted(previews: Previews, *given: Any) -> Preview:
        if not begun:
            begun.append("")
            begun[0] = (await place.bulk.CancelJobs(request)).operation.name
            assert result(await done(place, begun[0])).changed == 20
        return await count(previews, *given)

    monkeypatch.setattr(Previews, "count", counted)
    assert (await place.bulk.CancelJobs(request)).operation.name == begun[0]


def test_a_count_that_ended_at_its_bound_is_refused_only_where_it_is_too_high() -> None:
    def found(jobs: int, capped: bool) -> Preview:
        return Preview(jobs, capped, jobs, ())

    assert not differs(found(90_000, True), 100_000)
    assert not differs(found(10, True), 100_000)
    assert differs(found(10, False), 100_000)
    assert differs(found(111_000, True), 100_000)
    assert not differs(found(0, False), 0)
    assert differs(found(1, False), 0)


async def test_rest_names_what_is_to_change_and_a_changed_filter_is_a_conflict(dsn: str) -> None:
    async with Place(dsn, http_addr="127.0.0.1:0") as place, aiohttp.ClientSession() as session:
        await place.batch(3)
        url = f"http://127.0.0.1:{place.app.http_port}/v1/jobs:update"
        body: dict[str, Any] = {"filter": {"queue": "default"}, "priority": 0, "delay": "60s"}
        async with session.post(url, json=body) as answer:
            assert (answer.status, (await answer.json())["metadata"]["estimate"]) == (200, "3")
        async with session.post(url, json={**body, "force": True, "expected": "30"}) as answer:
            told = await answer.json()
            assert (answer.status, told["details"][0]["reason"]) == (409, "FILTER_CHANGED")
            assert told["details"][0]["metadata"] == {"estimate": "3"}
        async with session.post(url, json={**body, "force": True, "expected": "3"}) as answer:
            assert answer.status == 202


# ---- a queue is purged; servers die


@pytest.mark.slow
async def test_a_queue_is_purged_by_a_cancel_and_a_delete(place: Place) -> None:
    worker = await place.worker(queues={"mail": ["work"]}, slots=2)
    await set_policy(place, make=True, max_running=1)
    for key in ("", "ada"):
        for _ in range(5):
            await place.enqueue(queue="mail", key=key)
    await place.enqueue(queue="mail", hold=True)
    await place.enqueue(queue="mail", delay=3600.0)
    await fail(place, 3, queue="mail")
    running = await worker.jobs(2)
    kept = await place.enqueue()
    bulk = place.bulk
    of_queue = bulk_pb2.JobFilter(queue="mail")
    cancel = await bulk.CancelJobs(bulk_pb2.CancelJobsRequest(filter=of_queue, force=True))
    for _ in running:
        control = await worker.next("control")
        for lease_id in control.cancel.lease_ids:
            await worker.settle(
                outcomes=[lease_pb2.Outcome(lease_id=lease_id, cancellation=lease_pb2.Cancellation())]
            )
    await done(place, cancel.operation.name)

    async def none_lives() -> bool:
        rows = await place.sql(
            "select from live_job l join lane n on n.id = l.lane_id join queue q on q.id = n.queue_id "
            "where q.name = 'mail'"
        )
        return not rows

    await eventually(none_lives)
    delete = await bulk.DeleteJobs(bulk_pb2.DeleteJobsRequest(filter=of_queue, force=True))
    await done(place, delete.operation.name)
    assert await place.value("select count(*) from job") == 1
    assert await place.status(kept.id) == "QUEUED"
    await counts_are_those_of_the_rows(place)


@pytest.mark.long
async def test_each_job_is_changed_once_through_two_kills_of_the_server(
    dsn: str, processes: Callable[..., ServerProcess]
) -> None:
    count = 2000
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        """
        create table change_of (id uuid, priority int);
        create function note() returns trigger language plpgsql as $$
        begin insert into change_of values (new.id, new.priority); return null; end $$;
        create trigger note after update of priority on live_job for each row execute function note();
        grant all on change_of to public;
        """
    )
    name = ""
    try:
        for kill in range(3):
            server = processes(dsn)
            await server.start()
            place = Caller(await server.address())
            try:
                if not name:
                    for _ in range(2):
                        await place.batch(1000)
                    operation = await update(
                        place, everything=True, priority=3, delay=span(3600.0), per_second=300
                    )
                    name = operation.name
                if kill == 2:
                    assert result(await done(place, name)).changed == count
                    break
                so_far = await connection.fetchval("select changed from operation")

                async def some_more(so_far: int = so_far) -> bool:
                    return bool(await connection.fetchval("select changed from operation") > so_far)

                await eventually(some_more, 40.0)
            finally:
                await place.close()
            await server.kill()
            assert await connection.fetchval("select changed from operation") < count
        assert await connection.fetchval("select count(*) from change_of") == count
        assert await connection.fetchval("select count(distinct id) from change_of") == count
    finally:
        await connection.close()
