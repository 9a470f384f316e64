"""A caller may do what its key permits, and nothing else; a key that ended ends what it has open."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import grpc.aio
import pytest

from jobqueue.v1 import job_pb2, jobqueue_pb2, lease_pb2, queue_admin_pb2
from jobqueue_server.core.access import keys
from jobqueue_server.errors import DatabaseAway
from jobqueue_server.grants import NOTHING, Permission
from jobqueue_server.store.access.access import Limit, NewKey
from tests.lease.hand_worker import PATIENCE, StreamEnded, reason_of
from tests.lease.place import Caller, eventually

from .house import TESTS, House, grant, nothing_fills

ENQUEUE, READ, WORK, OPERATE, PAYLOADS = (
    Permission.ENQUEUE,
    Permission.READ,
    Permission.WORK,
    Permission.OPERATE,
    Permission.PAYLOADS,
)


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House(dsn) as house:
        yield house


async def refused(call: Any) -> str:
    """The reason with which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return reason_of(raised.value)


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        ("", "CREDENTIALS_MISSING"),
        ("Bearer", "CREDENTIALS_INVALID"),
        ("Bearer nonsense", "CREDENTIALS_INVALID"),
        ("Basic dXNlcjpwYXNz", "CREDENTIALS_INVALID"),
        ("Bearer jq_0123456789_" + "a" * 49, "CREDENTIALS_INVALID"),
        ("Bearer " + "x" * 8000, "CREDENTIALS_INVALID"),
    ],
)
async def test_without_a_good_key_every_call_is_refused(house: House, shown: str, reason: str) -> None:
    caller = house.showing(shown)
    assert await refused(caller.enqueue()) == reason
    assert await refused(caller.get(str(uuid4()))) == reason
    with pytest.raises(StreamEnded) as ended:
        await caller.worker()
    assert ended.value.reason == reason


async def test_the_scheme_may_be_written_in_any_case(house: House) -> None:
    key = await house.key(grant(ENQUEUE))
    for scheme in ("bearer", "BEARER", "Bearer "):
        await house.showing(f"{scheme} {key.text}").enqueue()


async def test_a_producer_enqueues_to_its_queues_and_does_nothing_else(house: House) -> None:
    producer = await house.caller(grant(ENQUEUE, "mail*"))
    job = await producer.enqueue(queue="mail-eu")
    assert await refused(producer.enqueue(queue="news")) == "NOT_ALLOWED"
    assert await refused(producer.get(job.id)) == "NOT_ALLOWED"
    assert await refused(producer.pause("mail-eu")) == "NOT_ALLOWED"
    assert await house.value("select count(*) from queue where name = 'news'") == 0, "and makes no queue"
    with pytest.raises(StreamEnded) as ended:
        await producer.worker(queues={"mail-eu": ["work"]})
    assert ended.value.reason == "NOT_ALLOWED"


async def test_a_batch_is_refused_as_a_whole_by_the_first_job_that_is_not_allowed(house: House) -> None:
    producer = await house.caller(grant(ENQUEUE, "mail"))
    await producer.batch(3, queue="mail")
    jobs = [
        jobqueue_pb2.BatchEnqueueJobsRequest().jobs.add(kind="work", queue=queue, payload_json=b"{}")
        for queue in ("mail", "mail", "news")
    ]
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await producer.stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs))
    assert reason_of(raised.value) == "NOT_ALLOWED"
    assert "jobs[2]" in str(raised.value.details())
    assert await house.value("select count(*) from live_job") == 3


async def test_a_worker_leases_its_queues_and_nothing_else(house: House) -> None:
    caller = await house.caller(grant(WORK, "mail"))
    await house.enqueue(queue="mail")
    worker = await caller.worker(queues={"mail": ["work"]})
    await worker.succeed(await worker.job())
    with pytest.raises(StreamEnded) as ended:
        await caller.worker(queues={"mail": ["work"], "news": ["work"]})
    assert ended.value.reason == "NOT_ALLOWED"
    assert await refused(caller.enqueue(queue="mail")) == "NOT_ALLOWED"


async def test_a_reader_sees_no_payload_unless_granted(house: House) -> None:
    job = await house.enqueue(payload=b'{"secret": 1}', queue="mail")
    blind, seeing = (
        await house.caller(grant(READ, "mail")),
        await house.caller(grant(READ | PAYLOADS, "mail")),
    )
    assert (await blind.get(job.id)).payload_json == b""
    assert (await seeing.get(job.id)).payload_json == b'{"secret": 1}'
    listed = await blind.stub.ListJobs(
        jobqueue_pb2.ListJobsRequest(view=job_pb2.JOB_VIEW_FULL, payload_format=job_pb2.PAYLOAD_FORMAT_JSON)
    )
    assert [job.payload_json for job in listed.jobs] == [b""]


async def test_what_is_missing_and_what_is_forbidden_look_the_same_by_id(house: House) -> None:
    other = await house.enqueue(queue="news")
    caller = await house.caller(grant(READ | OPERATE, "mail"))
    for job_id in (other.id, str(uuid4())):
        for call in (caller.get(job_id), caller.cancel(job_id), caller.retry(job_id)):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call
            assert reason_of(raised.value) == "JOB_NOT_FOUND"
            assert str(raised.value.details()).replace(job_id, "") == (
                "there is no job : it never was, or it was deleted, or its retention ended"
            )


async def test_lists_have_what_the_reader_may_read_alone(house: House) -> None:
    mine = [await house.enqueue(queue="mail"), await house.enqueue(queue="mail-eu")]
    await house.enqueue(queue="news")
    await house.enqueue(queue="mail", kind="other")
    caller = await house.caller(grant(READ, "mail*", "work"))
    listed = await caller.stub.ListJobs(jobqueue_pb2.ListJobsRequest())
    assert {job.id for job in listed.jobs} == {job.id for job in mine}
    queues = await caller.admin.ListQueues(queue_admin_pb2.ListQueuesRequest())
    assert [queue.name for queue in queues.queues] == ["mail", "mail-eu"]
    kinds = await caller.admin.ListKinds(queue_admin_pb2.ListKindsRequest())
    assert [kind.name for kind in kinds.kinds] == ["work"]


async def test_a_producer_cancels_what_it_may_enqueue(house: House) -> None:
    producer = await house.caller(grant(ENQUEUE, "mail"))
    job = await producer.enqueue(queue="mail", payload=b'{"a": 1}')
    answer = await producer.cancel(job.id)
    assert answer.job.id == job.id
    assert answer.job.payload_json == b""
    other = await house.enqueue(queue="news")
    assert await refused(producer.cancel(other.id)) == "JOB_NOT_FOUND"


async def test_two_namespaces_do_not_see_each_other(house: House) -> None:
    beta = await house.namespace("beta")
    ours = await house.enqueue(queue="mail")
    caller = await house.caller(grant(Permission.ENQUEUE | READ | WORK | OPERATE | PAYLOADS), namespace=beta)
    theirs = await caller.enqueue(queue="mail")
    assert await refused(caller.get(ours.id)) == "JOB_NOT_FOUND"
    assert await refused(house.get(theirs.id)) == "JOB_NOT_FOUND"
    listed = await caller.stub.ListJobs(jobqueue_pb2.ListJobsRequest())
    assert [job.id for job in listed.jobs] == [theirs.id]
    worker = await caller.worker(queues={"mail": ["work"]}, slots=2)
    assert (await worker.job()).id == theirs.id
    await worker.no_job()


@pytest.mark.slow
@pytest.mark.alone
async def test_a_revoked_key_is_refused_and_its_stream_ends_and_its_jobs_go_elsewhere_uncharged(
    house: House,
) -> None:
    key = await house.key(grant(WORK))
    job = await house.enqueue()
    worker = await house.with_key(key.text).worker()
    assert (await worker.job()).id == job.id
    await house.revoke(key)
    since = time.monotonic()
    ended = await worker.end()
    assert ended.reason == "CREDENTIALS_REVOKED"
    assert time.monotonic() - since < 2
    other = await house.worker()
    leased = await other.job()
    assert (leased.id, leased.attempt) == (job.id, 2)
    seen = await house.get(job.id)
    assert (seen.failures, seen.losses) == (0, 0)
    with pytest.raises(StreamEnded) as again:
        await house.with_key(key.text).worker()
    assert again.value.reason == "CREDENTIALS_REVOKED"


@pytest.mark.slow
async def test_a_session_without_a_stream_ends_with_its_key_too(house: House) -> None:
    key = await house.key(grant(WORK))
    job = await house.enqueue()
    caller = house.with_key(key.text)
    hello = lease_pb2.OpenSessionRequest()
    hello.hello.worker = "unary"
    hello.hello.subscriptions.add(kinds=["work"])
    opened = await caller.stub.OpenSession(hello)
    token = opened.welcome.session_token
    claimed = await caller.stub.ClaimJobs(lease_pb2.ClaimJobsRequest(session_token=token, max_jobs=1))
    assert [each.id for each in claimed.jobs] == [job.id]
    await house.revoke(key)
    other = await house.worker()
    assert (await other.job()).id == job.id
    assert (await house.get(job.id)).losses == 0


@pytest.mark.slow
async def test_a_watch_and_a_wait_end_with_their_key(house: House) -> None:
    key = await house.key(grant(READ))
    job = await house.enqueue()
    caller = house.with_key(key.text)
    watch = caller.stub.WatchJobs(jobqueue_pb2.WatchJobsRequest(ids=[job.id]))
    await watch.read()
    waiting = asyncio.ensure_future(caller.wait(job.id))
    await eventually(lambda: _waits(house))
    await house.revoke(key)
    assert await refused(asyncio.wait_for(waiting, PATIENCE)) == "CREDENTIALS_REVOKED"
    assert await refused(asyncio.wait_for(_all_of(watch), PATIENCE)) == "CREDENTIALS_REVOKED"


async def _waits(house: House) -> bool:
    return house.app.chain.in_flight == 1


async def _all_of(watch: Any) -> None:
    async for _ in watch:
        pass


@pytest.mark.slow
async def test_a_rotated_key_moves_no_session_and_charges_no_job(house: House) -> None:
    old = await house.key(grant(WORK))
    job = await house.enqueue()
    worker = await house.with_key(old.text).worker()
    leased = await worker.job()
    new = keys.mint()
    await house.app.stores.access.rotate_key(
        TESTS, 1, old.id, NewKey(new.id, "", new.secret_hash, NOTHING, "tests"), timedelta(seconds=1)
    )
    await house.known()
    assert (await worker.next("go_away")).reason == "CREDENTIALS_EXPIRED"
    again = await house.with_key(new.text).worker(resume=worker.resume(held=[leased]))
    await again.succeed(leased)
    seen = await house.wait(job.id)
    assert (seen.attempts, seen.losses) == (1, 0)
    assert await refused(house.with_key(old.text).enqueue()) == "CREDENTIALS_EXPIRED"


async def test_another_principal_can_not_go_on_with_a_session(house: House) -> None:
    first, second = await house.caller(grant(WORK)), await house.caller(grant(WORK))
    worker = await first.worker()
    with pytest.raises(StreamEnded) as ended:
        await second.worker(resume=worker.resume())
    assert ended.value.reason == "SESSION_UNKNOWN"


async def test_a_wrong_key_costs_no_statement_and_many_of_them_are_refused_without_a_look(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    run = type(house.app.stores.database)._run

    async def noted(database: Any, way: str, name: str, *more: Any) -> Any:
        statements.append(name)
        return await run(database, way, name, *more)

    monkeypatch.setattr(type(house.app.stores.database), "_run", noted)
    caller = house.with_key("jq_0123456789_" + "a" * 49)
    reasons = Counter(await asyncio.gather(*(refused(caller.enqueue()) for _ in range(200))))
    # Ten at once, and one more each second.
    assert reasons["CREDENTIALS_INVALID"] >= 10
    assert reasons["RATE_LIMITED"] >= 10
    assert "enqueue" not in statements


async def test_a_good_key_passes_while_others_at_its_address_show_bad_ones(house: House) -> None:
    """As behind a proxy or a NAT. The good key is shown for the first time."""
    good = await house.key(grant(ENQUEUE))
    known, unknown = house.with_key(f"jq_{good.id}_" + "a" * 49), house.with_key("jq_0123456789_" + "a" * 49)
    other = await house.key(grant(ENQUEUE))
    body = other.text[:14] + "a" * 43
    guess = house.with_key(body + keys._checksum(body))
    for bad in (known, unknown, guess):
        await eventually(partial(_is_limited, bad))
    await house.with_key(good.text).enqueue()
    await house.with_key(other.text).enqueue()


async def _is_limited(caller: Caller) -> bool:
    reasons = await asyncio.gather(*(refused(caller.enqueue()) for _ in range(30)))
    return "RATE_LIMITED" in reasons


async def test_a_key_is_good_within_its_networks_alone(house: House) -> None:
    near = await house.key(grant(ENQUEUE), networks=("127.0.0.0/8",))
    far = await house.key(grant(ENQUEUE), networks=("10.0.0.0/8", "2001:db8::/32"))
    await house.with_key(near.text).enqueue()
    assert await refused(house.with_key(far.text).enqueue()) == "CREDENTIALS_INVALID"


async def test_who_shows_nothing_may_do_what_the_setting_says(dsn: str) -> None:
    async with House(dsn, auth_anonymous="read") as house:
        job = await house.enqueue(payload=b'{"a": 1}')
        nobody = house.showing("")
        assert (await nobody.get(job.id)).payload_json == b""
        assert await refused(nobody.enqueue()) == "NOT_ALLOWED"


@pytest.mark.slow
async def test_known_keys_stand_while_the_database_is_away(house: House) -> None:
    caller = await house.caller(grant(READ))
    job = await house.enqueue()
    await caller.get(job.id)

    async def away() -> int:
        raise DatabaseAway("for a test")

    house.app.stores.access.version = away  # type: ignore[method-assign]
    await asyncio.sleep(1.5)
    assert (await caller.get(job.id)).id == job.id


async def test_a_key_is_used_as_often_as_it_may_be(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_fills(monkeypatch)
    key = await house.key(grant(ENQUEUE | READ), limit=Limit(1, 5))
    caller = house.with_key(key.text)
    await caller.batch(4)
    job = await caller.enqueue()
    for call in (caller.enqueue(), caller.batch(2), caller.get(job.id)):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert reason_of(raised.value) == "RATE_LIMITED"
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await house.value("select count(*) from live_job") == 5
    await house.enqueue()


@pytest.mark.parametrize("headers", [{}, {"a": "only the general path knows it"}])
async def test_a_replay_tells_the_job_to_whom_may_read_it_and_its_id_to_others(
    house: House, headers: dict[str, str]
) -> None:
    job = await house.get((await house.enqueue(payload=b'{"a": 1}', idempotency_key="k")).id)
    producer, blind, seeing = [
        await house.caller(grant(permissions))
        for permissions in (ENQUEUE, ENQUEUE | READ, ENQUEUE | READ | PAYLOADS)
    ]
    new = job_pb2.NewJob(kind="work", payload_json=b'{"a": 1}', idempotency_key="k", headers=headers)
    request = jobqueue_pb2.EnqueueJobRequest(job=new, payload_format=job_pb2.PAYLOAD_FORMAT_JSON)
    for caller, shown in ((producer, False), (blind, False), (seeing, True)):
        answer = await caller.stub.EnqueueJob(request)
        assert answer.replayed
        assert answer.job == (job if shown else job_pb2.Job(id=job.id))
    elsewhere = await house.caller(grant(ENQUEUE, "news"))
    assert await refused(elsewhere.stub.EnqueueJob(request)) == "NOT_ALLOWED"


async def test_a_job_that_was_kept_is_told_to_whom_may_read_it_and_its_id_to_others(house: House) -> None:
    """What may be read is that of the job that is there, which may be of another queue."""
    unique = job_pb2.Unique(key="k")
    kept = await house.get((await house.enqueue(payload=b'{"a": 1}', queue="news", unique=unique)).id)
    here, seeing = (
        await house.caller(grant(ENQUEUE), grant(READ | PAYLOADS, "default")),
        await house.caller(grant(ENQUEUE | READ | PAYLOADS)),
    )
    new = job_pb2.NewJob(kind="work", payload_json=b"{}", unique=unique)
    request = jobqueue_pb2.EnqueueJobRequest(job=new, payload_format=job_pb2.PAYLOAD_FORMAT_JSON)
    for caller, shown in ((here, False), (seeing, True)):
        answer = await caller.stub.EnqueueJob(request)
        assert answer.unique_action == job_pb2.Unique.KEPT
        assert answer.job == (kept if shown else job_pb2.Job(id=kept.id))
    new.idempotency_key = "k"
    request.job.CopyFrom(new)
    answer = await here.stub.EnqueueJob(request)
    assert (answer.unique_action, answer.job) == (job_pb2.Unique.KEPT, job_pb2.Job(id=kept.id))


async def test_a_call_with_a_key_counts_once_against_the_rate(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_fills(monkeypatch)
    await house.enqueue()
    caller = house.with_key((await house.key(grant(ENQUEUE), limit=Limit(1, 5))).text)

    def call(key: str) -> Any:
        new = job_pb2.NewJob(kind="work", payload_json=b"{}", idempotency_key=key)
        return caller.stub.EnqueueJob(
            jobqueue_pb2.EnqueueJobRequest(job=new, payload_format=job_pb2.PAYLOAD_FORMAT_JSON)
        )

    for number in range(5):
        await call(f"{number // 2}")
    assert await refused(call("0")) == "RATE_LIMITED"
    assert await house.value("select count(*) from idempotency_key") == 3


async def test_a_change_of_keys_fills_no_bucket(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_fills(monkeypatch)
    key = await house.key(grant(ENQUEUE), limit=Limit(1, 2))
    caller = house.with_key(key.text)
    await caller.batch(2)
    await house.key(grant(ENQUEUE))
    assert await refused(caller.enqueue()) == "RATE_LIMITED"


async def test_what_ends_work_is_never_held_up(house: House) -> None:
    key = await house.key(grant(WORK), limit=Limit(1, 2))
    jobs = await house.batch(20)
    worker = await house.with_key(key.text).worker(slots=20)
    for leased in await worker.jobs(20):
        await worker.succeed(leased)
    assert len(jobs) == 20
    worker_by_calls = house.with_key(key.text)
    hello = lease_pb2.Hello(worker="w", subscriptions=[lease_pb2.Subscription(kinds=["work"])])
    opened = await worker_by_calls.stub.OpenSession(lease_pb2.OpenSessionRequest(hello=hello))
    token = opened.welcome.session_token
    for _ in range(10):
        await worker_by_calls.stub.HeartbeatSession(lease_pb2.HeartbeatSessionRequest(session_token=token))
    await worker_by_calls.stub.CloseSession(lease_pb2.CloseSessionRequest(session_token=token))


async def test_a_follow_up_takes_the_permission_to_enqueue_it(house: House) -> None:
    jobs = await house.batch(2)
    worker = await (await house.caller(grant(WORK), grant(ENQUEUE, "mail"))).worker(slots=2)
    first, second = await worker.jobs(2)
    verdict = lease_pb2.SettleResult.Verdict

    def followed_by(queue: str) -> dict[str, Any]:
        new = job_pb2.NewJob(kind="work", queue=queue, payload_json=b"{}")
        return {"success": lease_pb2.Success(follow_ups=[new])}

    refused_one = await worker.outcome(first, **followed_by("news"))
    assert refused_one is not None
    assert (refused_one.verdict, "ENQUEUE" in refused_one.message) == (verdict.INVALID, True)
    assert await worker.outcome(second, **followed_by("mail")) is None, "it is applied"
    assert {first.id, second.id} == set(jobs)
    assert await house.value("select count(*) from queue where name = 'news'") == 0
    assert await house.value("select count(*) from job") == 3


async def test_a_key_that_is_revoked_between_a_call_and_its_hello_opens_nothing(house: House) -> None:
    key = await house.key(grant(WORK))
    caller = house.with_key(key.text)
    call = caller.stub.Lease()
    await call.wait_for_connection()
    await house.revoke(key)
    await house.known()
    hello = lease_pb2.Hello(worker="late", subscriptions=[lease_pb2.Subscription(kinds=["work"])])
    hello.capacity.slots = 1
    await call.write(lease_pb2.LeaseRequest(hello=hello))

    async def read() -> None:
        while await call.read() is not grpc.aio.EOF:
            pass
        await call

    assert await refused(asyncio.wait_for(read(), PATIENCE)) == "CREDENTIALS_REVOKED"
    job = await house.enqueue()
    assert (await (await house.worker()).job()).attempt == 1
    assert job.id


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("notify", ["on", "off"])
async def test_a_revocation_reaches_the_stream_of_another_server_within_two_seconds(
    house: House, dsn: str, notify: str
) -> None:
    async with House(dsn, notify=notify) as other:
        key = await house.key(grant(WORK))
        job = await house.enqueue()
        await other.known()
        worker = await other.with_key(key.text).worker()
        assert (await worker.job()).id == job.id
        since = time.monotonic()
        await house.revoke(key)
        await house.known()
        assert (await worker.end()).reason == "CREDENTIALS_REVOKED"
        assert time.monotonic() - since < 2
        again = await (await house.worker()).job()
        assert (again.id, again.attempt) == (job.id, 2)
        assert (await house.get(job.id)).losses == 0
