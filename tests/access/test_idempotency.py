"""Idempotency keys of different principals do not meet, except where both send the same request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest

from jobqueue.v1 import access_admin_pb2 as pb
from jobqueue.v1 import job_pb2, jobqueue_pb2, lease_pb2, queue_admin_pb2
from jobqueue_server.grants import Permission
from tests.http.conftest import Caller as RestCaller
from tests.lease.hand_worker import reason_of
from tests.lease.place import Caller, Place

from .house import ALL, House, grant

ENQUEUE, READ, WORK = Permission.ENQUEUE, Permission.READ, Permission.WORK
KEY = "order-7"


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House(dsn, http_addr="127.0.0.1:0") as house:
        yield house


@pytest.fixture
async def rest(house: House) -> AsyncIterator[RestCaller]:
    caller = RestCaller(house.app.http_port)
    yield caller
    await caller.session.close()


def new(queue: str, payload: bytes = b"{}", **fields: Any) -> job_pb2.NewJob:
    return job_pb2.NewJob(
        kind="work", queue=queue, payload_json=payload, **{"idempotency_key": KEY, **fields}
    )


class Ways:
    """The ways in which a job with a key is enqueued: what each answers is the id of a job, or why there is none."""

    def __init__(self, house: House, rest: RestCaller) -> None:
        self._house = house
        self._rest = rest

    async def by(self, way: str, text: str, job: job_pb2.NewJob) -> tuple[str, str]:
        """The id of the job, or the reason of the refusal; and the whole answer."""
        return await getattr(self, way)(text, job)

    async def grpc(self, text: str, job: job_pb2.NewJob) -> tuple[str, str]:
        try:
            answer = await self._house.with_key(text).stub.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=job))
        except grpc.aio.AioRpcError as error:
            return reason_of(error), str(error.trailing_metadata()) + str(error.details())
        return answer.job.id, str(answer)

    async def batch(self, text: str, job: job_pb2.NewJob) -> tuple[str, str]:
        plain = new(job.queue, b"1", idempotency_key="")
        request = jobqueue_pb2.BatchEnqueueJobsRequest(jobs=[plain, job, plain])
        try:
            answer = await self._house.with_key(text).stub.BatchEnqueueJobs(request)
        except grpc.aio.AioRpcError as error:
            return reason_of(error), str(error.trailing_metadata()) + str(error.details())
        return answer.results[1].id, str(answer)

    async def rest(self, text: str, job: job_pb2.NewJob) -> tuple[str, str]:
        body = {"kind": job.kind, "queue": job.queue, "payload": json.loads(job.payload_json)}
        if job.HasField("unique"):
            body["unique"] = {"key": job.unique.key, "scope": int(job.unique.scope)}
        answer = await self._rest(
            "POST",
            "/v1/jobs",
            body,
            **{"authorization": f"Bearer {text}", "idempotency-key": job.idempotency_key},
        )
        if answer.status >= 400:
            return answer.json["details"][0]["reason"], answer.text
        return answer.json["id"], answer.text

    async def unique(self, text: str, job: job_pb2.NewJob) -> tuple[str, str]:
        named = job_pb2.NewJob()
        named.CopyFrom(job)
        named.unique.key = job.queue
        named.unique.scope = job_pb2.Unique.QUEUE_AND_KIND
        return await self.grpc(text, named)

    async def follow_up(self, text: str, job: job_pb2.NewJob) -> tuple[str, str]:
        before = {row["id"] for row in await self._house.sql("select id from job")}
        given = await self._house.enqueue("given", queue=job.queue)
        worker = await self._house.with_key(text).worker(queues={job.queue: ["given"]})
        leased = await worker.job()
        outcome = lease_pb2.Outcome(lease_id=leased.lease_id, success=lease_pb2.Success(follow_ups=[job]))
        results = await worker.settle(outcomes=[outcome])
        await worker.close()
        if results:
            return "IDEMPOTENCY_KEY_REUSED", results[0].message
        rows = await self._house.sql("select id from job where idempotency_key = $1", job.idempotency_key)
        made = {row["id"] for row in rows} - before
        assert (await self._house.get(given.id)).status == job_pb2.Job.SUCCEEDED
        return str(made.pop()) if made else "replayed", ""


@pytest.fixture
def ways(house: House, rest: RestCaller) -> Ways:
    return Ways(house, rest)


WAYS = ("grpc", "rest", "batch", "unique", "follow_up")


async def stored(house: House) -> int:
    """How many jobs have the key."""
    count: int = await house.value("select count(*) from job where idempotency_key = $1", KEY)
    return count


@pytest.mark.parametrize("way", WAYS)
async def test_a_key_that_another_principal_has_used_first_keeps_no_job_from_being_stored(
    house: House, ways: Ways, way: str
) -> None:
    junk = (await house.key(grant(ENQUEUE, "junk"))).text
    pay = (await house.key(grant(ENQUEUE | WORK, "pay"))).text
    wide = (await house.key(grant(ENQUEUE | WORK))).text
    first, _ = await ways.grpc(junk, new("junk"))
    mine, told = await ways.by(way, pay, new("pay"))
    assert mine not in ("IDEMPOTENCY_KEY_REUSED", first)
    assert first not in told
    assert await stored(house) == 2
    again, _ = await ways.by(way, pay, new("pay"))
    assert again in (mine, "replayed"), "it is idempotent all the same"
    assert (await ways.grpc(junk, new("junk")))[0] == first
    assert (await ways.by(way, wide, new("reports")))[0] not in ("IDEMPOTENCY_KEY_REUSED", first, mine)
    assert await stored(house) == 3


@pytest.mark.parametrize("way", WAYS[:-1])
async def test_who_tries_keys_of_others_learns_no_job_of_theirs(house: House, ways: Ways, way: str) -> None:
    pay = (await house.key(grant(ENQUEUE, "pay"))).text
    junk = (await house.key(grant(ENQUEUE, "junk"))).text
    hidden, _ = await ways.grpc(pay, new("pay"))
    mine, told = await ways.by(way, junk, new("junk"))
    assert hidden not in mine + told
    other, told = await ways.by(way, junk, new("junk", b"7"))
    assert other == "IDEMPOTENCY_KEY_REUSED", "a key means one request in a queue and kind"
    assert hidden not in told
    assert mine in told


@pytest.mark.parametrize("way", WAYS)
async def test_a_key_with_another_request_is_refused_to_its_own_principal_also_after_a_rotation(
    house: House, ways: Ways, way: str
) -> None:
    key = await house.key(grant(ENQUEUE | WORK))
    first, _ = await ways.grpc(key.text, new("pay"))
    rotated = await house.access.RotateKey(pb.RotateKeyRequest(id=key.id))
    for text in (key.text, rotated.secret):
        assert (await ways.grpc(text, new("pay")))[0] == first
        assert (await ways.by(way, text, new("pay", b"7")))[0] == "IDEMPOTENCY_KEY_REUSED"
        assert (await ways.by(way, text, new("junk")))[0] == "IDEMPOTENCY_KEY_REUSED"
    assert await stored(house) == 1


@pytest.mark.parametrize("way", ["grpc", "rest", "batch", "follow_up"])
async def test_producers_of_a_queue_share_its_keys_though_each_has_a_key_of_its_own(
    house: House, ways: Ways, way: str
) -> None:
    """A replica that sends again what another one has sent; also where somebody else has used the key before."""
    one, other, third = [(await house.key(grant(ENQUEUE | WORK, "pay*"))).text for _ in range(3)]
    first, _ = await ways.grpc(one, new("pay"))
    assert (await ways.by(way, other, new("pay")))[0] in (first, "replayed")
    await house.sql("delete from idempotency_key")
    junk = (await house.key(grant(ENQUEUE, "junk"))).text
    await ways.grpc(junk, new("junk"))
    second, _ = await ways.grpc(one, new("pay"))
    assert second != first
    for text in (other, third):
        assert (await ways.by(way, text, new("pay")))[0] in (second, "replayed")
    assert (await ways.by(way, other, new("pay", b"7")))[0] == "IDEMPOTENCY_KEY_REUSED"
    assert await stored(house) == 3


@pytest.mark.parametrize("way", ["grpc", "batch"])
async def test_the_key_of_another_principal_stands_as_long_as_the_one_beside_it(
    house: House, ways: Ways, way: str
) -> None:
    """Else a request that is sent again would find that key free, and be stored twice."""
    junk, pay = [(await house.key(grant(ENQUEUE, queue))).text for queue in ("junk", "pay")]
    await ways.grpc(junk, new("junk"))
    await house.sql("update idempotency_key set expires_at = now() + interval '1 minute'")
    mine, _ = await ways.by(way, pay, new("pay"))
    ends = await house.sql("select expires_at, job_id from idempotency_key order by expires_at")
    assert [str(row["job_id"]) == mine for row in ends] == [True, False]
    assert (await ways.by(way, pay, new("pay")))[0] == mine


async def test_keys_from_before_keys_were_asked_for_are_still_found(dsn: str) -> None:
    async with Place(dsn) as place:
        first = await place.enqueue(queue="pay", idempotency_key=KEY)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await place.enqueue(queue="junk", idempotency_key=KEY)
        assert reason_of(raised.value) == "IDEMPOTENCY_KEY_REUSED", "there all callers are one"
    async with House(dsn) as house:
        caller = await house.caller(grant(ENQUEUE | READ))
        assert (await caller.enqueue(queue="pay", idempotency_key=KEY)).id == first.id
        assert (await caller.enqueue(queue="junk", idempotency_key=KEY)).id != first.id


async def test_of_a_full_queue_a_known_key_is_answered_and_one_of_others_is_not(
    house: House, ways: Ways
) -> None:
    junk, pay = [(await house.key(grant(ENQUEUE, queue))).text for queue in ("junk", "pay")]
    await ways.grpc(junk, new("junk"))
    await ways.grpc(junk, new("junk", idempotency_key="b"))
    mine, _ = await ways.grpc(pay, new("pay"))
    await house.admin.UpdateQueue(
        queue_admin_pb2.UpdateQueueRequest(queue=queue_admin_pb2.Queue(name="pay", max_waiting=1))
    )
    for way in ("grpc", "rest", "unique"):
        job = new("pay", idempotency_key="b")
        await _until_full(ways, pay)
        assert (await ways.by(way, pay, job))[0] == "QUEUE_BACKLOG_FULL"
        if way != "unique":
            assert (await ways.by(way, pay, new("pay")))[0] == mine


async def _until_full(ways: Ways, text: str) -> None:
    for number in range(100):
        reason, _ = await ways.grpc(text, new("pay", idempotency_key=f"more-{number}"))
        if reason == "QUEUE_BACKLOG_FULL":
            return
    raise AssertionError("its limit is not kept")


async def test_callers_that_come_at_once_with_one_key_of_two_principals_get_a_job_each(
    house: House, ways: Ways
) -> None:
    callers: list[Caller] = []
    for queue in ("junk", "pay"):
        text = (await house.key(grant(ENQUEUE, queue))).text
        callers += [house.with_key(text) for _ in range(8)]
    for turn in range(5):
        jobs = await asyncio.gather(
            *(
                caller.enqueue(queue="junk" if place < 8 else "pay", idempotency_key=f"k{turn}")
                for place, caller in enumerate(callers)
            )
        )
        assert len({job.id for job in jobs[:8]}) == len({job.id for job in jobs[8:]}) == 1
        assert jobs[0].id != jobs[8].id


async def test_what_permits_everything_is_not_held_up_by_the_key_of_another(house: House) -> None:
    junk = await house.caller(grant(ENQUEUE, "junk"))
    first = await junk.enqueue(queue="junk", idempotency_key=KEY)
    everything = await house.caller(grant(ALL))
    assert (await everything.enqueue(queue="pay", idempotency_key=KEY)).id != first.id
    assert (await everything.enqueue(queue="junk", idempotency_key=KEY)).id == first.id
