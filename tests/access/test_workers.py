"""What a caller is shown of workers: queues, kinds and jobs that it may read alone; and who may drain which worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest

from jobqueue.v1 import access_admin_pb2, worker_pb2
from jobqueue_server.core.insight import worker_list
from jobqueue_server.grants import Permission
from tests.lease.hand_worker import reason_of
from tests.lease.place import Caller

from .house import ALL, House, grant

READ, OPERATE = Permission.READ, Permission.OPERATE


@pytest.fixture
async def house(dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(worker_list, "KEPT_FOR", 0.0)
    async with House(dsn) as house:
        yield house


async def listed(caller: Caller, **fields: Any) -> list[worker_pb2.Worker]:
    return list((await caller.insight.ListWorkers(worker_pb2.ListWorkersRequest(**fields))).workers)


async def got(caller: Caller, session_id: int) -> worker_pb2.Worker:
    request = worker_pb2.GetWorkerRequest(session_id=str(session_id))
    worker: worker_pb2.Worker = (await caller.insight.GetWorker(request)).worker
    return worker


async def drained(caller: Caller, session_id: int) -> str:
    """The reason of the refusal; empty: it is drained."""
    request = worker_pb2.DrainWorkerRequest(session_id=str(session_id), reason="a test")
    try:
        await caller.insight.DrainWorker(request)
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return ""


def takes(worker: worker_pb2.Worker) -> dict[str, list[str]]:
    return {each.queue: list(each.kinds) for each in worker.takes}


async def test_of_a_worker_a_caller_sees_the_queues_kinds_and_jobs_that_it_may_read(house: House) -> None:
    worker = await house.worker(queues={"images": ["scale", "crop"], "mail": ["send"]}, slots=5)
    await house.worker(name="hidden", queues={"mail": ["send"]}, slots=1)
    mine = await house.enqueue("scale", queue="images", payload=b'{"secret": "hunter2"}')
    for kind, queue in (("crop", "images"), ("send", "mail")):
        await house.enqueue(kind, queue=queue)
    await worker.jobs(2)
    few = await house.caller(grant(READ, "images", "scale"))
    (shown,) = await listed(few)
    for each in (shown, await got(few, worker.welcome.session_id)):
        assert takes(each) == {"images": ["scale"]}
        assert each.held == 1
        assert "mail" not in str(each)
        assert "crop" not in str(each)
    (job,) = (await got(few, worker.welcome.session_id)).jobs
    assert job.job_id == mine.id
    whole = await got(house, worker.welcome.session_id)
    assert takes(whole) == {"images": ["crop", "scale"], "mail": ["send"]}
    assert "hunter2" not in str(whole)


async def test_a_filter_finds_no_worker_by_what_the_caller_may_not_read(house: House) -> None:
    await house.worker(queues={"images": ["scale"], "mail": ["send"]})
    few = await house.caller(grant(READ, "images"))
    assert len(await listed(few, queue="images")) == 1
    assert await listed(few, queue="mail") == []
    assert await listed(few, kind="send") == []


async def test_a_pattern_is_no_pattern_of_like(house: House) -> None:
    await house.worker(queues={"a-b": ["work"]})
    assert await listed(await house.caller(grant(READ, "a_b"))) == []
    assert len(await listed(await house.caller(grant(READ, "a*")))) == 1


async def test_a_worker_that_takes_nothing_that_may_be_read_is_not_there(house: House) -> None:
    worker = await house.worker(queues={"mail": ["send"]})
    for caller in (
        await house.caller(grant(READ | OPERATE, "images")),
        await house.caller(grant(ALL), namespace=await house.namespace("beta")),
    ):
        assert await listed(caller) == []
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await got(caller, worker.welcome.session_id)
        assert reason_of(error.value) == "WORKER_NOT_FOUND"
        assert await drained(caller, worker.welcome.session_id) == "WORKER_NOT_FOUND"
    assert not (await got(house, worker.welcome.session_id)).HasField("drain")


async def test_to_drain_takes_operate_on_all_that_the_worker_takes(house: House) -> None:
    worker = await house.worker(queues={"images": ["scale"], "mail": ["send"]})
    part = await house.caller(grant(READ), grant(OPERATE, "images"))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await part.insight.DrainWorker(
            worker_pb2.DrainWorkerRequest(session_id=str(worker.welcome.session_id))
        )
    assert reason_of(error.value) == "NOT_ALLOWED"
    assert "mail" in str(error.value.details())
    blind = await house.caller(grant(READ | OPERATE, "images"))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await blind.insight.DrainWorker(
            worker_pb2.DrainWorkerRequest(session_id=str(worker.welcome.session_id))
        )
    assert reason_of(error.value) == "NOT_ALLOWED"
    assert "mail" not in str(error.value.details()), "what it may not read it is not told of"
    assert not (await got(house, worker.welcome.session_id)).HasField("drain")
    both = await house.caller(grant(READ | OPERATE, "images"), grant(READ | OPERATE, "mail", "send"))
    assert await drained(both, worker.welcome.session_id) == ""


async def test_a_drain_is_audited_with_its_worker_and_its_reason(house: House) -> None:
    worker = await house.worker()
    assert await drained(house, worker.welcome.session_id) == ""
    reader = await house.caller(grant(READ))
    assert await drained(reader, worker.welcome.session_id) == "NOT_ALLOWED"
    page = await house.access.ListAudit(access_admin_pb2.ListAuditRequest(action="DrainWorker"))
    found = [(row.object, row.reason, row.outcome) for row in page.records]
    assert (f"worker:{worker.welcome.session_id}", "a test", "OK") in found
