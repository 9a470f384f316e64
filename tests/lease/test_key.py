"""A job's key goes with it, whichever way the job came and whichever way its worker got it."""

from __future__ import annotations

import grpc.aio
import pytest

from jobqueue.v1 import job_pb2, jobqueue_pb2, lease_pb2

from .hand_worker import reason_of
from .place import Place

pytestmark = pytest.mark.any_engine

KEY = "customer 42 / ключ\n"


async def test_a_worker_gets_the_key_of_a_job_from_the_backlog_and_of_one_that_is_handed_off(
    place: Place,
) -> None:
    waiting = await place.enqueue(key=KEY)
    assert waiting.key == KEY
    worker = await place.worker(slots=5)
    assert (await worker.job()).key == KEY
    await place.enqueue(key="another")
    assert (await worker.job()).key == "another"
    await place.enqueue()
    assert (await worker.job()).key == ""


async def test_each_job_of_a_batch_has_its_own_key(place: Place) -> None:
    keys = ["a", "", "b", "a", ""]
    jobs = [job_pb2.NewJob(kind="work", payload_json=b"1", key=key) for key in keys]
    answer = await place.stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs))
    assert [(await place.get(result.id)).key for result in answer.results] == keys
    listed = await place.stub.ListJobs(jobqueue_pb2.ListJobsRequest())
    assert [job.key for job in listed.jobs] == keys[::-1]


async def test_a_follow_up_has_its_key(place: Place) -> None:
    worker = await place.worker(kinds=["work", "next"], slots=5)
    await place.enqueue(key="first")
    new = job_pb2.NewJob(kind="next", payload_json=b"1", key="second")
    done = lease_pb2.Success(follow_ups=[new])
    outcome = lease_pb2.Outcome(lease_id=(await worker.job()).lease_id, success=done)
    assert await worker.settle(outcomes=[outcome]) == []
    assert (await worker.job()).key == "second"


async def test_a_request_with_another_key_is_another_request_for_the_idempotency_key(place: Place) -> None:
    first = await place.enqueue(key="a", idempotency_key="once")
    assert (await place.enqueue(key="a", idempotency_key="once")).id == first.id
    for key in ("b", ""):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await place.enqueue(key=key, idempotency_key="once")
        assert reason_of(refused.value) == "IDEMPOTENCY_KEY_REUSED"


async def test_a_job_that_is_retried_keeps_its_key(place: Place) -> None:
    job = await place.enqueue(key=KEY)
    await place.stub.CancelJob(jobqueue_pb2.CancelJobRequest(id=job.id))
    again = await place.stub.RetryJob(jobqueue_pb2.RetryJobRequest(id=job.id))
    assert again.job.key == KEY
    worker = await place.worker()
    assert (await worker.job()).key == KEY
