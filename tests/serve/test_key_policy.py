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
from jobqueue.v1.queue_admin_pb2 import KEY_ORDER_STRICT, KeyPolicy, Kind, Limits, Queue, Rate, Retention
from jobqueue_server.core.catalog import catalog, queues
from jobqueue_server.core.catalog.queues import KEY_POLICY_LEVEL
from jobqueue_server.core.upkeep.levels import LIMITS_LEVEL, RETENTION_LEVEL
from jobqueue_server.model import DEFAULT_NAMESPACE, NewJob, NewJobs
from jobqueue_server.model import KeyPolicy as Policy
from jobqueue_server.model import Rate as Starts
from jobqueue_server.scope import Scope
from tests.lease.hand_worker import PATIENCE, HandWorker, reason_of
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


# ---- servers that do not know of it


@pytest.mark.slow
async def test_a_policy_is_refused_while_an_older_server_lives_and_changes_nothing(dsn: str) -> None:
    async with Place(dsn) as place:
        await place.enqueue(queue="mail")
        async with Place(dsn, level=KEY_POLICY_LEVEL - 1):
            error = await refused(update(place, max_running=1))
            assert reason_of(error) == "SERVERS_DIFFER"
            queue = await read(place)
            assert not queue.HasField("key_policy")
            # A policy that limits nothing asks for no level.
            assert (await update(place, "key_policy")).etag == queue.etag
        # It has signed off.
        assert (await update(place, max_running=1)).key_policy.max_running == 1
        assert await place.value("select min_level from requirement") == KEY_POLICY_LEVEL


async def test_under_load_a_policy_is_refused_until_the_last_older_server_has_left_and_holds_from_then_on(
    dsn: str,
) -> None:
    stored: list[str] = []

    async def load(of: Place, end: asyncio.Event) -> None:
        while not end.is_set():
            stored.append((await of.enqueue(queue="mail", key="ada")).id)

    async def until_stored(many: int) -> None:
        wanted = len(stored) + many
        await eventually(lambda: asyncio.sleep(0, len(stored) >= wanted))

    async with Place(dsn) as place:
        leaves, ends = asyncio.Event(), asyncio.Event()
        async with Place(dsn, level=KEY_POLICY_LEVEL - 1) as older:
            loads = [asyncio.create_task(load(older, leaves)), asyncio.create_task(load(place, ends))]
            await until_stored(20)
            assert reason_of(await refused(update(place, max_running=1))) == "SERVERS_DIFFER"
            await until_stored(20)
            leaves.set()
            await loads[0]
        assert (await update(place, max_running=1)).key_policy.max_running == 1
        before = await place.value("select count(*) from live_job")
        await until_stored(20)
        ends.set()
        await loads[1]
        # Those of before stand in line, uncounted; of the others one does.
        assert (
            await place.value("select count(*) from live_job where hold is null and stile is not null") == 1
        )
        assert await place.value("select count(*) from live_job where hold is null") <= before + 1
        worker = await place.worker(queues={"mail": ["work"]}, slots=20)
        for _ in stored:
            await worker.succeed(await worker.job())
        for job in stored:
            await place.until(job, "SUCCEEDED")


@pytest.mark.cases(3)
@pytest.mark.parametrize(
    ("set_to", "taken_back", "level"),
    [
        ({"limits": Limits(max_running=3)}, "limits", LIMITS_LEVEL),
        ({"limits": Limits(rate=Rate(count=3, period=MINUTE))}, "limits.rate", LIMITS_LEVEL),
        ({"key_policy": KeyPolicy(order=KEY_ORDER_STRICT)}, "key_policy", LIMITS_LEVEL),
        ({"key_policy": KeyPolicy(fair=True)}, "key_policy", LIMITS_LEVEL),
        ({"max_waiting": 3}, "max_waiting", KEY_POLICY_LEVEL),
        ({"max_waiting": 3, "limits": Limits(max_running=3)}, "limits", LIMITS_LEVEL),
        ({"retention": Retention(succeeded=HOUR)}, "retention", RETENTION_LEVEL),
        ({"retention": Retention(failed_permanent=HOUR)}, "retention.failed_permanent", RETENTION_LEVEL),
        ({"max_waiting": 3, "retention": Retention(cancelled=HOUR)}, "retention", RETENTION_LEVEL),
    ],
    ids=[
        "max_running",
        "rate",
        "strict order",
        "turns",
        "max_waiting",
        "two of two levels",
        "kept successes",
        "kept failures",
        "kept cancellations and a limit",
    ],
)
async def test_a_limit_of_the_queue_is_refused_while_an_older_server_lives_and_changes_nothing(
    dsn: str, monkeypatch: pytest.MonkeyPatch, set_to: dict[str, Any], taken_back: str, level: int
) -> None:
    # Each change would wait until the other server knows it.
    monkeypatch.setattr(queues, "KNOWN_WITHIN", timedelta())
    async with Place(dsn) as place:
        await place.enqueue(queue="mail")
        asked = queue_admin_pb2.UpdateQueueRequest(queue=Queue(name="mail", **set_to))
        async with Place(dsn, level=level - 1):
            error = await refused(place.admin.UpdateQueue(asked, timeout=PATIENCE))
            assert reason_of(error) == "SERVERS_DIFFER"
            queue = await read(place)
            assert not any(queue.HasField(field) for field in ("limits", "key_policy", "retention"))
            assert queue.max_waiting == 0
            assert await place.value("select min_level from requirement") < KEY_POLICY_LEVEL
            # A policy that limits nothing asks for no level.
            assert (await update(place, taken_back)).etag == queue.etag
        # It has signed off.
        await place.admin.UpdateQueue(asked, timeout=PATIENCE)
        assert await place.value("select min_level from requirement") == level


@pytest.mark.slow
async def test_what_an_older_server_knows_goes_on_beside_it_and_the_rest_is_refused_whole(dsn: str) -> None:
    async with Place(dsn) as place, Place(dsn, level=LIMITS_LEVEL - 1) as older:
        await update(older, max_running=1, make=True)
        before = await read(place)
        for beyond in (
            {"key_policy": KeyPolicy(order=KEY_ORDER_STRICT, max_waiting=7)},
            {"key_policy": KeyPolicy(max_waiting=7), "limits": Limits(max_running=3)},
            {"key_policy": KeyPolicy(max_waiting=7), "limits": Limits(rate=Rate(count=3, period=MINUTE))},
        ):
            asked = queue_admin_pb2.UpdateQueueRequest(queue=Queue(name="mail", **beyond))
            error = await refused(place.admin.UpdateQueue(asked, timeout=PATIENCE))
            assert reason_of(error) == "SERVERS_DIFFER"
            assert older.app.name in str(error.details())
            assert await read(place) == before
        # One job of the key at a time, whichever server takes it, leases it and hears of its end.
        both = [await each.worker(queues={"mail": ["work"]}, slots=5) for each in (place, older)]
        ids = [(await each.enqueue(queue="mail", key="a")).id for each in (place, older) * 3]

        async def who_has_one() -> HandWorker | None:
            return next((worker for worker in both if worker.has_job), None)

        while ids:
            worker = await eventually(who_has_one)
            assert await place.value("select count(*) from live_job where state = 2") == 1
            job = await worker.job()
            await worker.succeed(job)
            ids.remove(job.id)


@pytest.mark.parametrize(
    "limits",
    [Limits(max_running=3), Limits(rate=Rate(count=3, period=MINUTE))],
    ids=["max_running", "rate"],
)
async def test_limits_of_a_kind_are_refused_while_an_older_server_lives_and_change_nothing(
    dsn: str, limits: Limits
) -> None:
    async with Place(dsn) as place:
        asked = queue_admin_pb2.PutKindRequest(kind=Kind(name="narrow", limits=limits))
        async with Place(dsn, level=LIMITS_LEVEL - 1):
            error = await refused(place.admin.PutKind(asked, timeout=PATIENCE))
            assert reason_of(error) == "SERVERS_DIFFER"
            found = await place.admin.ListKinds(queue_admin_pb2.ListKindsRequest(page_size=1000))
            assert "narrow" not in {kind.name for kind in found.kinds}
            # Without limits a kind can be put.
            await place.admin.PutKind(queue_admin_pb2.PutKindRequest(kind=Kind(name="narrow")))
        # It has signed off.
        assert (
            await place.admin.PutKind(asked, timeout=PATIENCE)
        ).kind.limits.max_running == limits.max_running
        assert await place.value("select min_level from requirement") == LIMITS_LEVEL


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
    """Of each job, in their order: whether it is one of a turnstile."""
    rows = await place.sql("select stile from live_job order by id")
    return [row["stile"] is not None for row in rows]


@pytest.mark.parametrize("own_key", ["", "i"], ids=["plain", "with an idempotency key"])
async def test_a_job_that_is_in_line_when_the_first_limit_comes_asks_for_its_key(
    mail: Place, dsn: str, own_key: str
) -> None:
    await mail.pause("mail")

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
