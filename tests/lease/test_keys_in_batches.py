"""Jobs with keys on the fast path: one run a batch, each with its own key; and what the general path says of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc.aio
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2, status_pb2

from jobqueue.v1 import job_pb2, jobqueue_pb2, queue_admin_pb2
from jobqueue.v1.queue_admin_pb2 import KeyPolicy, Queue
from jobqueue_server.store.intake.intake import IntakeStore, NewRows

from .place import Place

pytestmark = pytest.mark.http2

KEYS = ["customer 42", "ключ", "ü" * 255, "\n", "customer 42"]


@pytest.fixture
async def place(dsn: str) -> AsyncIterator[Place]:
    async with Place(dsn) as place:
        yield place


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[NewRows]]:
    """What was inserted, by the method."""
    rows: dict[str, list[NewRows]] = {"enqueue": [], "enqueue_limited": []}
    for name in rows:
        insert = getattr(IntakeStore, name)

        async def noted(
            self: IntakeStore,
            some: list[NewRows],
            *args: Any,
            name: str = name,
            insert: Any = insert,
            **more: Any,
        ) -> Any:
            rows[name] += some
            return await insert(self, some, *args, **more)

        monkeypatch.setattr(IntakeStore, name, noted)
    return rows


async def limit(place: Place, **policy: Any) -> None:
    queue = Queue(name="mail", key_policy=KeyPolicy(**policy))
    mask = FieldMask(paths=[f"key_policy.{name}" for name in policy])
    await place.admin.UpdateQueue(
        queue_admin_pb2.UpdateQueueRequest(queue=queue, update_mask=mask, allow_missing=True)
    )


def jobs(keys: list[str], queue: str = "mail") -> list[job_pb2.NewJob]:
    return [job_pb2.NewJob(kind="work", queue=queue, payload_json=b"1", key=key) for key in keys]


async def batch(place: Place, some: list[job_pb2.NewJob]) -> list[str]:
    answer = await place.stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=some))
    return [result.id for result in answer.results]


@pytest.mark.parametrize("limited", [False, True])
async def test_a_batch_of_many_keys_is_one_run_and_each_job_has_its_key(
    place: Place, stored: dict[str, list[NewRows]], limited: bool
) -> None:
    if limited:
        await limit(place, max_running=1_000)
    await place.enqueue(queue="mail", key="first")
    for rows in stored.values():
        rows.clear()
    ids = await batch(place, jobs(KEYS))
    way, other = ("enqueue_limited", "enqueue") if limited else ("enqueue", "enqueue_limited")
    (row,) = stored[way]
    assert not stored[other]
    assert row.keys == KEYS
    assert (row.semaphore_ids is not None) == limited
    assert [(await place.get(job_id)).key for job_id in ids] == KEYS
    found = await place.value("select array_agg(key order by id) from job where id = any($1::uuid[])", ids)
    assert found == KEYS


@pytest.mark.parametrize("limited", [False, True])
async def test_a_hand_off_and_a_claim_give_each_job_its_own_key(place: Place, limited: bool) -> None:
    if limited:
        await limit(place, max_running=1_000)
    await place.enqueue(queue="mail", key="first")
    waiting = [*KEYS, "", *KEYS]
    ids = await batch(place, jobs(waiting))
    worker = await place.worker(queues={"mail": ["work"]}, slots=100)
    claimed = {job.id: job.key for job in [await worker.job() for _ in range(len(waiting) + 1)]}
    assert [claimed[job_id] for job_id in ids] == waiting
    ids = await batch(place, jobs(waiting))
    handed = {job.id: job.key for job in [await worker.job() for _ in waiting]}
    assert [handed[job_id] for job_id in ids] == waiting


async def test_of_one_run_each_job_waits_for_its_own_key(place: Place) -> None:
    await limit(place, max_running=1)
    await place.enqueue(queue="mail", key="first")
    worker = await place.worker(queues={"mail": ["work"]}, slots=100)
    assert (await worker.job()).key == "first"
    ids = await batch(place, jobs(["a", "b", "a", "first", "c", "a"]))
    held = [(await place.get(job_id)).hold for job_id in ids]
    key, none = job_pb2.Job.KEY, job_pb2.Job.HOLD_UNSPECIFIED
    assert held == [none, none, key, key, none, key]
    assert sorted([(await worker.job()).key for _ in range(3)]) == ["a", "b", "c"]
    assert await place.value("select sum(taken) from semaphore") == 4
    assert await place.value("select sum(waiting) from semaphore") == 3


# ---- errors are those of the general path


def details(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    raw = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    assert isinstance(raw, bytes)
    told: dict[str, Any] = {}
    for each in status_pb2.Status.FromString(raw).details:
        if each.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest.FromString(each.value)
            told["fields"] = [(one.field, one.description) for one in bad.field_violations]
        elif each.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(each.value)
            told["info"] = info.reason, {k: v for k, v in info.metadata.items() if k != "request_id"}
        elif each.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            after = error_details_pb2.RetryInfo.FromString(each.value).retry_delay.ToTimedelta()
            # Each caller is told another time.
            told["retry"] = timedelta(seconds=0.5) <= after <= timedelta(seconds=1.5)
    return told


async def refusal(call: Any) -> tuple[Any, ...]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    error = refused.value
    return error.code(), error.details(), details(error)


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    ("keys", "fields"),
    [
        (["free", "full"], ["jobs[1].key"]),
        (["full", "free", "full", "full"], ["jobs[0].key", "jobs[2].key", "jobs[3].key"]),
        (["a", "b", ""], ["jobs[2].key"]),
        (["", "full"], ["jobs[0].key"]),
        (["a", "\0"], ["jobs[1].key"]),
        (["k" * 256, "a", "k" * 257], ["jobs[0].key", "jobs[2].key"]),
    ],
    ids=["one full", "three full", "none at the end", "none at the beginning", "NUL", "long"],
)
async def test_a_batch_is_refused_in_the_words_of_the_general_path(
    place: Place, dsn: str, keys: list[str], fields: list[str]
) -> None:
    await limit(place, max_running=1, max_waiting=2, require_key=True)
    await batch(place, jobs(["full"] * 3))
    async with Place(dsn, fast_path="off") as slow:
        told = [await refusal(batch(each, jobs(keys))) for each in (place, slow)]
    assert told[0] == told[1]
    assert [field for field, _ in told[0][2]["fields"]] == fields
    assert await place.value("select count(*) from job") == 3


@pytest.mark.cases(2)
@pytest.mark.parametrize("key", ["full", "", "\0", "k" * 256], ids=["full", "none", "NUL", "long"])
@pytest.mark.parametrize("idempotency_key", ["", "i"])
async def test_a_single_job_is_refused_in_the_words_of_the_general_path(
    place: Place, dsn: str, key: str, idempotency_key: str
) -> None:
    await limit(place, max_running=1, max_waiting=2, require_key=True)
    await batch(place, jobs(["full"] * 3))
    (new,) = jobs([key])
    new.idempotency_key = idempotency_key
    request = jobqueue_pb2.EnqueueJobRequest(job=new, payload_format=job_pb2.PAYLOAD_FORMAT_JSON)
    async with Place(dsn, fast_path="off") as slow:
        told = [await refusal(each.stub.EnqueueJob(request)) for each in (place, slow)]
    assert told[0] == told[1]
    assert [field for field, _ in told[0][2]["fields"]] == ["job.key"]
    assert await place.value("select count(*) from job") == 3
