"""Single keys of a queue: listed, read, given limits of their own and paused; and that each holds at once."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import aiohttp
import grpc.aio
import pytest
from google.longrunning import operations_pb2 as lro_pb
from google.protobuf.field_mask_pb2 import FieldMask
from yarl import URL

from jobqueue.v1 import bulk_pb2, insight_pb2, queue_admin_pb2
from jobqueue.v1.queue_admin_pb2 import ListQueueKeysRequest, QueueKey
from tests.lease.hand_worker import PATIENCE, reason_of, span
from tests.lease.place import Caller, Place, eventually

pytestmark = pytest.mark.any_engine

Only = ListQueueKeysRequest.Only
Code = insight_pb2.Reason.Code
MAIL = {"mail": ["work"]}


async def limit(place: Caller, **policy: Any) -> None:
    """What the queue `mail` allows of the jobs of one key."""
    queue = queue_admin_pb2.Queue(name="mail", key_policy=queue_admin_pb2.KeyPolicy(**policy))
    mask = FieldMask(paths=["key_policy"])
    request = queue_admin_pb2.UpdateQueueRequest(queue=queue, update_mask=mask, allow_missing=True)
    await place.admin.UpdateQueue(request, timeout=PATIENCE)


async def update(place: Caller, key: str, *mask: str, **fields: Any) -> QueueKey:
    request = queue_admin_pb2.UpdateQueueKeyRequest(
        queue_key=QueueKey(queue="mail", key=key, **fields), update_mask=FieldMask(paths=mask)
    )
    changed: QueueKey = (await place.admin.UpdateQueueKey(request, timeout=PATIENCE)).queue_key
    return changed


async def read(place: Caller, key: str) -> QueueKey:
    request = queue_admin_pb2.GetQueueKeyRequest(queue="mail", key=key)
    found: QueueKey = (await place.admin.GetQueueKey(request, timeout=PATIENCE)).queue_key
    return found


async def listed(place: Caller, **fields: Any) -> list[QueueKey]:
    """All pages."""
    request, keys = ListQueueKeysRequest(queue="mail", **fields), []
    while True:
        answer = await place.admin.ListQueueKeys(request, timeout=PATIENCE)
        keys += answer.keys
        if not answer.next_page_token:
            return keys
        assert len(answer.keys) == request.page_size
        request.page_token = answer.next_page_token


def names(keys: list[QueueKey]) -> list[str]:
    return [key.key for key in keys]


async def waits(place: Caller, key: str, **fields: Any) -> Any:
    return await place.enqueue(queue="mail", key=key, **fields)


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


@pytest.fixture
async def mail(place: Place) -> Place:
    """A server with the queue `mail`, of which each key may run one job."""
    await limit(place, max_running=1)
    return place


# ---- what is read


async def test_a_key_of_which_nothing_is_known_has_no_jobs_and_the_limit_of_its_queue(mail: Place) -> None:
    key = await read(mail, "ada")
    assert key == QueueKey(queue="mail", key="ada", limit=1, etag=key.etag)
    assert key.etag
    assert await listed(mail) == []


async def test_a_key_says_who_runs_and_how_many_wait(mail: Place) -> None:
    worker = await mail.worker(queues=MAIL, name="ada's")
    job = await waits(mail, "ada")
    leased = await worker.job()
    await waits(mail, "ada")
    key = await read(mail, "ada")
    assert (key.taken, key.waiting, key.limit) == (1, 1, 1)
    assert [(holder.job_id, holder.worker) for holder in key.holders] == [(job.id, "ada's")]
    assert key.holders[0].HasField("since")
    await worker.succeed(leased)
    await worker.succeed(await worker.job())

    async def gone() -> bool:
        return (await read(mail, "ada")).taken == 0

    await eventually(gone)


async def test_a_key_names_twenty_of_its_jobs_and_those_that_run_first(mail: Place) -> None:
    await limit(mail, max_running=30)
    await mail.batch(25, queue="mail", key="ada")
    worker = await mail.worker(queues=MAIL, slots=1)
    leased = await worker.job()
    key = await read(mail, "ada")
    assert (key.taken, len(key.holders)) == (25, 20)
    assert key.holders[0].job_id == leased.id
    assert [bool(holder.worker) for holder in key.holders] == [True] + [False] * 19


async def test_a_key_at_its_rate_says_when_the_next_one_starts(mail: Place) -> None:
    await limit(mail, rate=queue_admin_pb2.Rate(count=1, period=span(60.0)))
    await mail.batch(2, queue="mail", key="ada")

    async def admitted() -> bool:
        return (await read(mail, "ada")).taken == 1

    await eventually(admitted)
    # No worker takes the one that was let in: before it starts, no time lets the next one in.
    for key in (await read(mail, "ada"), *await listed(mail)):
        assert not key.HasField("next_start_at")
    await (await mail.worker(queues=MAIL)).job()
    for key in (await read(mail, "ada"), *await listed(mail)):
        assert key.HasField("next_start_at")


async def test_keys_come_in_pages_by_name_and_those_that_most_wait_for_first(mail: Place) -> None:
    for key, count in (("c", 4), ("ä", 1), ("a b", 2), ("B", 3), ("d", 1)):
        await mail.batch(count, queue="mail", key=key)
    await update(mail, "e", max_running=2)
    await mail.enqueue(queue="other", key="z")
    for size in (1, 2, 6):
        assert names(await listed(mail, page_size=size)) == ["B", "a b", "c", "d", "e", "ä"]
        found = await listed(mail, page_size=size, order_by="waiting desc")
        assert names(found)[:3] == ["c", "B", "a b"]
        assert sorted(names(found)) == ["B", "a b", "c", "d", "e", "ä"]
    assert [(key.taken, key.waiting, key.limit) for key in await listed(mail)] == [
        (1, 2, 1), (1, 1, 1), (1, 3, 1), (1, 0, 1), (0, 0, 2), (1, 0, 1),
    ]  # fmt: skip


async def test_keys_are_listed_by_what_they_wait_for(mail: Place) -> None:
    await mail.batch(3, queue="mail", key="full")
    await mail.batch(1, queue="mail", key="taken")
    await update(mail, "paused", paused=True)
    await mail.batch(2, queue="mail", key="paused")
    await update(mail, "room", max_running=9)
    await mail.batch(2, queue="mail", key="room")
    for order in ("", "key"):
        assert names(await listed(mail, only=Only.AT_LIMIT, order_by=order)) == ["full", "taken"]
        assert names(await listed(mail, only=Only.PAUSED, order_by=order)) == ["paused"]
        assert names(await listed(mail, only=Only.WAITING, order_by=order)) == ["full", "paused"]


async def test_a_list_is_bounded_and_says_so(mail: Place) -> None:
    for key, count in (("a", 1), ("b", 3), ("c", 2)):
        await mail.batch(count, queue="mail", key=key)
    service = mail.app.policy.queue_keys
    service.most_named = 2
    answer = await mail.admin.ListQueueKeys(ListQueueKeysRequest(queue="mail"))
    assert (names(answer.keys), answer.capped) == (["b", "c"], True)
    answer = await mail.admin.ListQueueKeys(ListQueueKeysRequest(queue="mail", order_by="waiting desc"))
    assert (names(answer.keys), answer.capped) == (["b", "c", "a"], False)
    service.most_looked = 2
    answer = await mail.admin.ListQueueKeys(ListQueueKeysRequest(queue="mail", only=Only.PAUSED))
    assert (names(answer.keys), answer.capped) == ([], True)


async def test_a_page_token_holds_for_its_list_and_the_longest_key(mail: Place) -> None:
    for key in ("\U0001f40d" * 255, "\U0001f40e" * 255):
        await waits(mail, key)
    assert len(await listed(mail, page_size=1)) == 2
    answer = await mail.admin.ListQueueKeys(ListQueueKeysRequest(queue="mail", page_size=1))
    for other in ({"order_by": "waiting desc"}, {"only": Only.WAITING}):
        request = ListQueueKeysRequest(queue="mail", page_token=answer.next_page_token, **other)
        assert reason_of(await refused(mail.admin.ListQueueKeys(request))) == "PAGE_TOKEN_INVALID"


async def test_a_queue_that_was_never_used_has_no_keys(place: Place) -> None:
    for call in (
        place.admin.ListQueueKeys(ListQueueKeysRequest(queue="mail")),
        read(place, "ada"),
        update(place, "ada", paused=True),
    ):
        assert reason_of(await refused(call)) == "QUEUE_NOT_FOUND"


# ---- what is changed


async def test_only_what_is_named_changes_and_without_a_mask_what_is_set(mail: Place) -> None:
    key = await update(mail, "ada", max_running=5)
    assert (key.max_running, key.paused, key.limit) == (5, False, 5)
    key = await update(mail, "ada", paused=True)
    assert (key.max_running, key.paused, key.limit, key.HasField("paused_at")) == (5, True, 5, True)
    key = await update(mail, "ada", "max_running", paused=True)
    assert (key.max_running, key.paused, key.limit) == (0, True, 1)
    key = await update(mail, "ada", "max_running", "paused", max_running=7)
    assert (key.max_running, key.paused, key.limit) == (7, False, 7)
    assert not key.HasField("paused_at")
    assert await read(mail, "ada") == key


async def test_a_key_that_is_set_back_is_forgotten(mail: Place) -> None:
    before = await read(mail, "ada")
    changed = await update(mail, "ada", max_running=5)
    assert names(await listed(mail)) == ["ada"]
    assert await update(mail, "ada", "max_running") == before
    assert await listed(mail) == []
    again = await update(mail, "ada", max_running=5)
    assert len({before.etag, changed.etag, again.etag}) == 3


async def test_a_change_with_an_old_etag_changes_nothing(mail: Place) -> None:
    first = await read(mail, "ada")
    second = await update(mail, "ada", max_running=5, etag=first.etag)
    error = await refused(update(mail, "ada", max_running=6, etag=first.etag))
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert await read(mail, "ada") == second
    assert (await update(mail, "ada", max_running=5)).etag == second.etag
    error = await refused(update(mail, "ada", max_running=6, etag="no etag"))
    assert reason_of(error) == "ETAG_MISMATCH"


async def test_something_is_said_of_so_many_keys_of_a_queue_at_most(mail: Place) -> None:
    mail.app.policy.queue_keys.most_said_of = 2
    await update(mail, "a", max_running=2)
    await update(mail, "b", paused=True)
    error = await refused(update(mail, "c", paused=True))
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "QUEUE_KEYS_FULL")
    await update(mail, "a", max_running=3)
    await update(mail, "b", "paused")
    await update(mail, "c", paused=True)


# ---- what holds then


async def test_a_key_of_a_limit_of_its_own_runs_so_many_and_the_others_as_their_queue_says(
    mail: Place,
) -> None:
    await update(mail, "vip", max_running=3)
    worker = await mail.worker(queues=MAIL, slots=20)
    await mail.batch(5, queue="mail", key="vip")
    await mail.batch(5, queue="mail", key="ada")
    jobs = await worker.jobs(4)
    await worker.no_job()
    assert ((await read(mail, "vip")).taken, (await read(mail, "ada")).taken) == (3, 1)
    vip = next(job for job in jobs if job.key == "vip")
    await worker.succeed(vip)
    assert (await worker.job()).key == "vip"
    await worker.no_job()


async def test_a_raised_limit_of_a_key_lets_its_jobs_in_at_once_and_a_lowered_one_takes_none_away(
    mail: Place,
) -> None:
    worker = await mail.worker(queues=MAIL, slots=20)
    await mail.batch(6, queue="mail", key="ada")
    jobs = await worker.jobs(1)
    await update(mail, "ada", max_running=4)
    jobs += await worker.jobs(3)
    await update(mail, "ada", "max_running", max_running=2)
    for job in jobs[:2]:
        await worker.succeed(job)
    await worker.no_job()
    await worker.succeed(jobs[2])
    await worker.job()
    await worker.no_job()


async def test_a_paused_key_lets_no_job_in_and_what_was_let_in_goes_on(mail: Place) -> None:
    worker = await mail.worker(queues=MAIL, slots=20)
    await waits(mail, "ada")
    running = await worker.job()
    await waits(mail, "ada")
    await update(mail, "ada", paused=True)
    await waits(mail, "ada")
    await waits(mail, "bob")
    assert (await worker.job()).key == "bob"
    await worker.succeed(running)
    await worker.no_job()
    key = await read(mail, "ada")
    assert (key.taken, key.waiting) == (0, 2)


async def test_a_resume_lets_in_all_that_waits_without_another_job_or_an_end(mail: Place) -> None:
    await limit(mail, max_running=2000)
    await update(mail, "ada", paused=True)
    for _ in range(3):
        await mail.batch(500, queue="mail", key="ada")
    assert ((key := await read(mail, "ada")).taken, key.waiting) == (0, 1500)
    await update(mail, "ada", "paused")

    async def admitted() -> bool:
        return (await read(mail, "ada")).taken == 1500

    await eventually(admitted)


@pytest.mark.slow
async def test_another_server_keeps_to_a_pause_from_its_commit_on(dsn: str) -> None:
    async with Place(dsn) as one, Place(dsn) as other:
        await limit(one, max_running=5)
        worker = await other.worker(queues=MAIL, slots=20)
        await update(one, "ada", paused=True)
        await other.batch(3, queue="mail", key="ada")
        await worker.no_job()
        await update(one, "ada", "paused")
        await worker.jobs(3)


@pytest.mark.slow
async def test_in_a_queue_without_limits_a_key_is_paused_for_jobs_that_come_after(dsn: str) -> None:
    async with Place(dsn) as one, Place(dsn) as other:
        await one.enqueue(queue="mail", key="ada")
        key = await update(one, "ada", paused=True)
        assert key.limit == 0
        worker = await other.worker(queues=MAIL, slots=20)
        # It came before.
        await worker.succeed(await worker.job())
        job = await other.enqueue(queue="mail", key="ada")
        await other.enqueue(queue="mail", key="bob")
        assert (await worker.job()).key == "bob"
        await worker.no_job()
        await update(one, "ada", "paused")
        assert (await worker.job()).id == job.id


async def test_a_retried_job_of_a_paused_key_waits_in_a_queue_without_limits(place: Place) -> None:
    job = await place.enqueue(queue="mail", key="ada")
    worker = await place.worker(queues=MAIL, slots=2)
    await worker.succeed(await worker.job())
    await place.until(job.id, "SUCCEEDED")
    await update(place, "ada", paused=True)
    await place.retry(job.id)
    await worker.no_job()
    await update(place, "ada", "paused")
    assert (await worker.job()).id == job.id


@pytest.mark.slow
async def test_jobs_of_a_paused_key_that_are_retried_together_wait_in_a_queue_without_limits(
    place: Place,
) -> None:
    job = await place.enqueue(queue="mail", key="ada")
    await place.cancel(job.id)
    await update(place, "ada", paused=True)
    chosen = bulk_pb2.JobFilter(queue="mail")
    begun = await place.bulk.RetryJobs(bulk_pb2.RetryJobsRequest(filter=chosen, force=True))
    request = lro_pb.WaitOperationRequest(name=begun.operation.name, timeout=span(PATIENCE))
    assert (await place.operations.WaitOperation(request)).done
    worker = await place.worker(queues=MAIL, slots=2)
    await worker.no_job()
    await update(place, "ada", "paused")
    assert (await worker.job()).id == job.id


async def test_a_job_of_a_paused_key_says_so_and_starts_by_what_is_said(mail: Place) -> None:
    worker = await mail.worker(queues=MAIL, slots=20)
    await update(mail, "ada", paused=True)
    job = await waits(mail, "ada")
    answer = await mail.insight.ExplainJob(insight_pb2.ExplainJobRequest(id=job.id))
    assert [Code.Name(reason.code) for reason in answer.reasons] == ["KEY_PAUSED"]
    of = answer.reasons[0].key
    assert (of.key, of.max_running, of.taken) == ("ada", 1, 0)
    assert of.pause.HasField("since")
    method, queue, key = answer.reasons[0].unblocked_by[0].split()
    assert (method, queue, key) == ("UpdateQueueKey", "mail", "ada")
    assert answer.summary.startswith("The job waits, since its key ada is paused since ")
    await update(mail, key, "paused")
    assert (await worker.job()).id == job.id


async def test_a_job_of_a_key_at_its_own_limit_says_what_would_raise_it(mail: Place) -> None:
    worker = await mail.worker(queues=MAIL, slots=20)
    await update(mail, "ada", max_running=2)
    await mail.batch(2, queue="mail", key="ada")
    await worker.jobs(2)
    job = await waits(mail, "ada")
    answer = await mail.insight.ExplainJob(insight_pb2.ExplainJobRequest(id=job.id))
    assert [Code.Name(reason.code) for reason in answer.reasons] == ["KEY_AT_LIMIT"]
    assert answer.reasons[0].key.max_running == 2
    assert list(answer.reasons[0].unblocked_by) == ["the end of one of them", "UpdateQueueKey mail ada"]
    await update(mail, "ada", max_running=3)
    assert (await worker.job()).id == job.id


# ---- over REST


@pytest.mark.cases(2)
@pytest.mark.parametrize("key", ["a", "a/b", "/", "//x/", "a:pause", "100%", "%2F", "ключ ?#&"])
async def test_a_path_has_any_key_percent_encoded(dsn: str, key: str) -> None:
    async with Place(dsn, http_addr="127.0.0.1:0") as place, aiohttp.ClientSession() as session:
        await limit(place, max_running=1)
        url = f"http://127.0.0.1:{place.app.http_port}/v1/queues/mail/keys/{quote(key, safe='')}"
        encoded = URL(url, encoded=True)
        async with session.patch(encoded, json={"paused": True}) as answer:
            assert (answer.status, (await answer.json())["key"]) == (200, key)
        async with session.get(encoded) as answer:
            assert (await answer.json())["paused"]
        assert (await read(place, key)).paused
