"""What a caller is told of why jobs wait: nothing of jobs, lanes and errors that it may not read."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio
import pytest

from jobqueue.v1 import insight_pb2, job_pb2, queue_admin_pb2
from jobqueue_server.grants import Permission
from jobqueue_server.rpc.keda import externalscaler_pb2
from tests.lease import keda
from tests.lease.hand_worker import reason_of
from tests.lease.place import Caller

from .house import ALL, House, grant

READ = Permission.READ


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House(dsn) as house:
        yield house


async def explain(caller: Caller, job_id: str) -> insight_pb2.ExplainJobResponse:
    answer: insight_pb2.ExplainJobResponse = await caller.insight.ExplainJob(
        insight_pb2.ExplainJobRequest(id=job_id)
    )
    return answer


async def demand(caller: Caller, queue: str) -> insight_pb2.GetQueueDemandResponse:
    answer: insight_pb2.GetQueueDemandResponse = await caller.insight.GetQueueDemand(
        insight_pb2.GetQueueDemandRequest(queue=queue)
    )
    return answer


async def test_what_a_caller_may_not_read_is_not_named_and_not_counted(house: House) -> None:
    worker = await house.worker(queues={"images": ["scale", "scale2"], "mail": ["scaled"]}, slots=1)
    await house.enqueue("scale", queue="images")
    await worker.job()
    await house.enqueue("scale2", queue="images", priority=5)
    job = await house.enqueue("scale", queue="images")
    lost = await house.enqueue("scaled", queue="images")
    few = await house.caller(grant(READ, "images", "scale"), grant(READ, "images", "scaled"))
    assert [reason.line.ahead for reason in (await explain(house, job.id)).reasons[1:]] == [1]
    assert [reason.code for reason in (await explain(few, job.id)).reasons] == [insight_pb2.Reason.NO_CREDIT]
    everything = (await explain(house, lost.id)).reasons[0].workers.nearest
    assert {(near.queue, near.kind) for near in everything} == {
        ("images", "scale"), ("images", "scale2"), ("mail", "scaled"),
    }  # fmt: skip
    answer = await explain(few, lost.id)
    assert [(near.queue, near.kind) for near in answer.reasons[0].workers.nearest] == [("images", "scale")]
    assert "scale2" not in str(answer)
    assert "mail" not in str(answer)
    assert (await demand(house, "images")).runnable == 3
    assert (await demand(few, "images")).runnable == 2


async def test_errors_are_told_to_those_who_may_see_payloads(house: House) -> None:
    worker = await house.worker()
    job = await house.enqueue()
    await worker.fail(await worker.job(), "the password was hunter2")
    reader = await house.caller(grant(READ))
    assert (await explain(house, job.id)).reasons[0].due.last_error == "the password was hunter2"
    due = (await explain(reader, job.id)).reasons[0].due
    assert (due.last_reason, due.last_error) == ("HANDLER_FAILED", "")


async def test_workers_and_jobs_of_another_namespace_are_not_there(house: House) -> None:
    them = await house.caller(grant(ALL), namespace=await house.namespace("beta"))
    await them.worker(queues={"images": ["scale-image"]}, slots=1)
    job = await house.enqueue("scale_image", queue="images")
    answer = await explain(house, job.id)
    assert [reason.code for reason in answer.reasons] == [insight_pb2.Reason.NO_WORKER]
    assert not answer.reasons[0].workers.nearest
    assert (await demand(house, "images")).workers == 0
    for call in (explain(them, job.id), demand(them, "images")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert reason_of(refused.value) in ("JOB_NOT_FOUND", "QUEUE_NOT_FOUND")


async def test_a_scaler_is_told_of_the_queues_that_its_key_may_read_alone(house: House) -> None:
    them = await house.caller(grant(ALL), namespace=await house.namespace("beta"))
    await house.batch(2, queue="images")
    await house.batch(3, queue="mail")
    few = await house.caller(grant(READ, "images"), grant(READ, "later"))

    async def wanted(caller: Caller, queues: str) -> int:
        request = externalscaler_pb2.GetMetricsRequest(
            scaledObjectRef=keda.ref(queues=queues), metricName="wanted_slots"
        )
        answer: int = (await keda.ask(caller, "GetMetrics", request)).metricValues[0].metricValue
        return answer

    assert await wanted(house, "images,mail") == 5
    assert await wanted(few, "images,later") == 2
    assert await wanted(them, "images,mail") == 0
    for queues in ("images,mail", "images,never"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await wanted(few, queues)
        assert reason_of(refused.value) == "QUEUE_NOT_FOUND"
    worker = await house.caller(grant(Permission.WORK))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await wanted(worker, "images")
    assert reason_of(refused.value) == "NOT_ALLOWED"


async def test_a_pause_is_kept_with_the_principal_of_the_key(house: House) -> None:
    job = await house.enqueue()
    await house.pause("default", "the printer burns")
    pause = (await explain(house, job.id)).reasons[0].pause
    assert pause.by.startswith("key:")
    assert pause.reason == "the printer burns"


async def test_a_job_that_holds_the_name_of_another_one_is_named_to_who_may_read_it(house: House) -> None:
    unique = job_pb2.Unique(key="daily", scope=job_pb2.Unique.NAMESPACE, until=job_pb2.Unique.STARTS)
    worker = await house.worker(queues={"images": ["scale"]}, slots=1)
    mine = await house.enqueue("scale", queue="images", unique=unique)
    await worker.job()
    theirs = await house.enqueue("wire", queue="payroll", unique=unique)
    assert theirs.id != mine.id, "the first one has let its name go, since it runs"
    few = await house.caller(grant(READ, "images"))
    everything, little = await explain(house, mine.id), await explain(few, mine.id)
    assert everything.name.held_by == theirs.id
    assert everything.name.message.startswith(f"job {theirs.id} has taken its name daily ")
    assert little.name.held_by == ""
    assert little.name.until == job_pb2.Unique.STARTS
    assert little.name.message.startswith("another job has taken its name daily ")
    assert theirs.id not in str(little)


async def test_a_job_that_blocks_the_key_of_another_one_is_named_to_who_may_read_it(house: House) -> None:
    policy = queue_admin_pb2.KeyPolicy(
        order=queue_admin_pb2.KEY_ORDER_STRICT, on_failure=queue_admin_pb2.ON_KEY_FAILURE_HOLD
    )
    queue = queue_admin_pb2.Queue(name="images", key_policy=policy)
    await house.admin.UpdateQueue(queue_admin_pb2.UpdateQueueRequest(queue=queue, allow_missing=True))
    theirs = await house.enqueue("secret", queue="images", key="k")
    mine = await house.enqueue("scale", queue="images", key="k")
    worker = await house.worker(queues={"images": ["secret"]}, slots=1)
    await worker.fail(await worker.job(), permanent=True)
    await house.until(theirs.id, "FAILED_PERMANENT")
    few = await house.caller(grant(READ, "images", "scale"))
    everything, little = await explain(house, mine.id), await explain(few, mine.id)
    assert everything.reasons[0].code == little.reasons[0].code == insight_pb2.Reason.KEY_BLOCKED
    assert everything.reasons[0].key.blocked_by == theirs.id
    assert f"RetryJob {theirs.id}" in everything.reasons[0].unblocked_by
    assert little.reasons[0].key.blocked_by == ""
    assert list(little.reasons[0].unblocked_by) == ["UnblockQueueKey images k"]
    assert "as another job failed or was cancelled" in little.reasons[0].message
    assert theirs.id not in str(little)
