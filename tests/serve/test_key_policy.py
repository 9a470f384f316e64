"""What a queue allows of the jobs of one key: set as a whole or not at all, and known to all servers by the answer."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import aiohttp
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from jobqueue.v1 import job_pb2, jobqueue_pb2, lease_pb2, queue_admin_pb2
from jobqueue.v1.queue_admin_pb2 import KeyPolicy, Queue, Rate
from jobqueue_server.core.catalog import catalog
from jobqueue_server.model import DEFAULT_NAMESPACE, NewJob, NewJobs
from jobqueue_server.model import KeyPolicy as Policy
from jobqueue_server.model import Rate as Starts
from jobqueue_server.scope import Scope
from tests.lease.hand_worker import PATIENCE, reason_of
from tests.lease.place import Caller, Place, eventually
from tests.store.factories import until_waiting_for_a_lock
from tests.store.past import connected

pytestmark = pytest.mark.any_engine

MINUTE = Duration(seconds=60)
HOUR = Duration(seconds=3600)


async def update(
    place: Caller, *mask: str, make: bool = False, name: str = "mail", etag: str = "", **policy: Any
) -> Queue:
    queue = Queue(name=name, etag=etag)
    if policy:
        queue.key_policy.CopyFrom(KeyPolicy(**policy))
    request = queue_admin_pb2.UpdateQueueRequest(
        queue=queue, update_mask=FieldMask(paths=mask), allow_missing=make
    )
    changed: Queue = (await place.admin.UpdateQueue(request, timeout=PATIENCE)).queue
    return said(changed)


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


async def read(place: Caller, name: str = "mail") -> Queue:
    """As stored; how old its first job is, is left out."""
    found: Queue = (await place.admin.GetQueue(queue_admin_pb2.GetQueueRequest(name=name))).queue
    return said(found)


def said(queue: Queue) -> Queue:
    for depth in queue.depths:
        depth.ClearField("oldest_age")
    return queue


@pytest.fixture
async def mail(place: Place) -> Place:
    """A server with the queue `mail`, of which nothing is said."""
    await place.enqueue(queue="mail")
    assert not (await read(place)).HasField("key_policy")
    return place


# ---- what is changed


async def test_a_policy_is_set_shown_and_taken_back(mail: Place) -> None:
    given = KeyPolicy(
        max_running=1, rate=Rate(count=10, period=MINUTE, burst=2), max_waiting=1000, require_key=True
    )
    queue = await update(
        mail, "key_policy", max_running=1, rate=given.rate, max_waiting=1000, require_key=True
    )
    given.rate.most_in_a_period = 13
    assert queue.key_policy == given
    assert await read(mail) == queue
    listed = await mail.admin.ListQueues(queue_admin_pb2.ListQueuesRequest())
    assert [said(each) for each in listed.queues] == [queue]
    cleared = await update(mail, "key_policy")
    assert not cleared.HasField("key_policy")
    assert len({queue.etag, cleared.etag}) == 2


async def test_only_what_is_named_changes_and_without_a_mask_what_is_set(mail: Place) -> None:
    rate = Rate(count=10, period=MINUTE)
    await update(mail, max_running=5, rate=rate)
    queue = await update(mail, "key_policy.max_running", max_running=3, max_waiting=9)
    assert (queue.key_policy.max_running, queue.key_policy.max_waiting) == (3, 0)
    assert queue.key_policy.rate.count == 10
    queue = await update(mail, max_waiting=9)
    assert (queue.key_policy.max_running, queue.key_policy.max_waiting) == (3, 9)
    queue = await update(mail, "key_policy.rate", "key_policy.max_running", require_key=True)
    assert queue.key_policy == KeyPolicy(max_waiting=9)


async def test_the_catalog_knows_the_policy_when_the_answer_comes(mail: Place) -> None:
    await update(
        mail,
        max_running=4,
        rate=Rate(count=7, period=Duration(seconds=1, nanos=500_000_000)),
    )
    (lane,) = [lane for lane in mail.app.catalog.catalog.lanes() if lane.queue == "mail"]
    assert lane.keys == Policy(4, Starts(7, timedelta(seconds=1.5)))
    assert lane.revision == 2
    await mail.enqueue(queue="mail", kind="next")
    (new,) = [
        lane for lane in mail.app.catalog.catalog.lanes() if (lane.queue, lane.kind) == ("mail", "next")
    ]
    assert (new.keys, new.revision) == (lane.keys, 2)


@pytest.mark.slow
async def test_every_server_knows_the_policy_when_the_answer_comes(dsn: str) -> None:
    async with Place(dsn) as one, Place(dsn) as other:
        await other.enqueue(queue="mail")
        for most in (1, 2, 3):
            await update(one, max_running=most)
            (lane,) = [lane for lane in other.app.catalog.catalog.lanes() if lane.queue == "mail"]
            assert lane.keys == Policy(max_running=most)


async def test_a_change_that_changes_nothing_keeps_the_etag(mail: Place) -> None:
    first = await update(mail, max_running=1)
    again = await update(mail, max_running=1)
    assert again.etag == first.etag
    await mail.admin.PauseQueue(queue_admin_pb2.PauseQueueRequest(name="mail"))
    assert (await read(mail)).etag == first.etag


async def test_a_queue_that_was_never_used_is_made_only_if_the_caller_says_so(place: Place) -> None:
    assert reason_of(await refused(update(place, max_running=1))) == "QUEUE_NOT_FOUND"
    assert await place.value("select count(*) from queue where name = 'mail'") == 0
    queue = await update(place, max_running=1, make=True)
    assert (queue.name, queue.key_policy.max_running) == ("mail", 1)
    job = await place.enqueue(queue="mail", key="a")
    assert job.key == "a"


# ---- etags


async def test_a_change_with_an_old_etag_changes_nothing(mail: Place) -> None:
    first = await read(mail)
    second = await update(mail, max_running=1, etag=first.etag)
    for etag in (first.etag, "!", "AAAA", "MA", "x" * 64):
        error = await refused(update(mail, max_running=2, etag=etag))
        assert (error.code(), reason_of(error)) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert await read(mail) == second
    assert (await update(mail, max_running=2, etag=second.etag)).key_policy.max_running == 2


async def test_an_etag_of_a_queue_that_was_never_used_makes_none(place: Place) -> None:
    error = await refused(update(place, max_running=1, make=True, etag="MQ"))
    assert reason_of(error) == "ETAG_MISMATCH"
    assert await place.value("select count(*) from queue where name = 'mail'") == 0


# ---- jobs without a key


async def test_a_job_without_a_key_is_refused_where_its_queue_requires_one(mail: Place) -> None:
    await update(mail, require_key=True)
    error = await refused(mail.enqueue(queue="mail"))
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert str(error.details()).startswith("job.key: is required by the queue 'mail'")
    jobs = [job_pb2.NewJob(kind="work", queue="mail", payload_json=b"1", key=key) for key in ("a", "")]
    error = await refused(mail.stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs)))
    assert str(error.details()).startswith("jobs[1].key: ")
    assert (await mail.enqueue(queue="mail", key="a")).key == "a"
    assert (await mail.enqueue(queue="other")).key == ""
    await update(mail, "key_policy.require_key")
    assert (await mail.enqueue(queue="mail")).key == ""


async def test_a_follow_up_without_a_key_makes_its_outcome_invalid(mail: Place) -> None:
    await update(mail, require_key=True, name="next", make=True)
    worker = await mail.worker(queues={"mail": ["work"]})
    leased = await worker.job()
    new = job_pb2.NewJob(kind="work", queue="next", payload_json=b"1")
    done = lease_pb2.Success(follow_ups=[new])
    (result,) = await worker.settle(outcomes=[lease_pb2.Outcome(lease_id=leased.lease_id, success=done)])
    assert result.verdict == lease_pb2.SettleResult.INVALID
    assert "follow_ups[0].key" in result.message


# ---- over REST


async def test_how_long_ended_jobs_stay_is_patched_over_rest_and_audited(dsn: str) -> None:
    async with Place(dsn, http_addr="127.0.0.1:0") as place, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{place.app.http_port}/v1/queues/mail"
        kept = {"succeeded": "3600s", "failed_permanent": "2592000s"}
        async with session.patch(f"{url}?allow_missing=true", json={"retention": kept}) as answer:
            assert (await answer.json())["retention"] == kept
        body = {"retention": {"cancelled": "7200s"}}
        async with session.patch(f"{url}?update_mask=retention.failedPermanent", json=body) as answer:
            assert (await answer.json())["retention"] == {"succeeded": "3600s"}
        async with session.patch(url, json=body) as answer:
            assert (await answer.json())["retention"] == {"succeeded": "3600s", "cancelled": "7200s"}
        async with session.get(url) as answer:
            assert (await answer.json())["retention"] == {"succeeded": "3600s", "cancelled": "7200s"}
        told = await place.value("select details::text from audit order by id desc limit 1")
        assert all(each in told for each in ("retention_succeeded", "retention_cancelled"))
        assert "retention_failed_permanent" not in told
        async with session.patch(f"{url}?update_mask=retention", json={}) as answer:
            assert "retention" not in await answer.json()


async def test_a_policy_is_patched_over_rest(dsn: str) -> None:
    async with Place(dsn, http_addr="127.0.0.1:0") as place, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{place.app.http_port}/v1/queues/mail"
        body: dict[str, Any] = {"key_policy": {"max_running": 1, "rate": {"count": 10, "period": "60s"}}}
        async with session.patch(f"{url}?allow_missing=true", json=body) as answer:
            queue = await answer.json()
        assert answer.status == 200, queue
        assert queue["key_policy"] == {
            "max_running": 1,
            "rate": {"count": 10, "period": "60s", "burst": 0, "most_in_a_period": 11},
            "max_waiting": 0,
            "require_key": False,
        }
        async with session.patch(f"{url}?update_mask=keyPolicy.rate", json={}) as answer:
            assert (await answer.json())["key_policy"].keys() == {"max_running", "max_waiting", "require_key"}
        async with session.patch(url, json={**body, "etag": queue["etag"]}) as answer:
            assert (answer.status, (await answer.json())["details"][0]["reason"]) == (409, "ETAG_MISMATCH")


# ---- jobs that are on their way when the first limit comes


#: As another server would.
LIMIT = "update queue set key_max_running = 1, revision = revision + 1 where name = 'mail'"


async def _asks(place: Place) -> list[bool]:
    """Of each job, in their order: whether it is one of a semaphore."""
    rows = await place.sql("select semaphore_id from live_job order by id")
    return [row["semaphore_id"] is not None for row in rows]


@pytest.mark.parametrize("own_key", ["", "i"], ids=["plain", "with an idempotency key"])
async def test_a_job_that_is_in_line_when_the_first_limit_comes_asks_for_its_key(
    mail: Place, dsn: str, own_key: str
) -> None:
    await mail.pause("mail")
    # The second one is to be in line when the limit comes.
    slow_lane = mail.app.intake._slow_lane
    slow_lane.patience, slow_lane.beside.slow_after = timedelta(minutes=1), 60.0

    def enqueue(number: int) -> asyncio.Task[Any]:
        own = f"{own_key}{number}" if own_key else ""
        return asyncio.create_task(mail.enqueue(queue="mail", key="k", idempotency_key=own))

    async def both_wait() -> bool:
        return mail.app.intake.waiting.jobs == 2

    async with connected(dsn) as other:
        async with other.transaction():
            await other.execute("lock table job in exclusive mode")
            first = enqueue(1)
            await until_waiting_for_a_lock(other)
            second = enqueue(2)
            await eventually(both_wait)
            await mail.sql(LIMIT)
            await mail.app.catalog.catalog.refresh()
        await asyncio.gather(first, second)
    assert await _asks(mail) == [False, False, True]


async def test_jobs_of_a_transaction_ask_for_their_key_if_the_first_limit_comes_meanwhile(
    mail: Place,
) -> None:
    await mail.pause("mail")
    scope, new = Scope(DEFAULT_NAMESPACE, ""), NewJob("work", b"1", "mail", key="k")
    batch = await mail.app.intake.intake.rows_in_new_lanes(scope, [NewJobs.of(new)], "job")
    await mail.sql(LIMIT)
    await mail.app.catalog.catalog.refresh()
    async with mail.app.stores.intake.transaction() as session:
        await mail.app.intake.keyed_batches.store_within(scope, session, batch)
    assert await _asks(mail) == [False, True]


async def test_a_server_that_stood_still_reads_the_limits_before_it_stores_a_job_with_a_key(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "_REFRESH_EVERY", timedelta(hours=1))
    monkeypatch.setattr(catalog, "_STALE_AFTER", timedelta(milliseconds=1))
    async with Place(dsn) as place:
        await place.enqueue(queue="mail")
        await place.pause("mail")
        await place.sql(LIMIT)
        await asyncio.sleep(0.01)
        await place.enqueue(queue="mail", key="k")
        assert await _asks(place) == [False, True]
