"""Operations on many jobs by callers that may not do everything: what they change, and who sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio
import pytest
from google.longrunning import operations_pb2 as lro_pb

from jobqueue.v1 import bulk_pb2
from jobqueue_server import gate
from jobqueue_server.grants import Permission
from tests.lease.hand_worker import PATIENCE, reason_of, span
from tests.lease.place import Caller

from .house import House, grant

OPERATOR = Permission.READ | Permission.OPERATE


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House(dsn) as house:
        yield house


async def cancelled_by(caller: Caller, **asked: object) -> tuple[str, int]:
    """The name of an operation that cancels jobs, and how many it did."""
    request = bulk_pb2.CancelJobsRequest(filter=bulk_pb2.JobFilter(**asked), force=True)  # type: ignore[arg-type]
    name = (await caller.bulk.CancelJobs(request)).operation.name
    done = await caller.operations.WaitOperation(
        lro_pb.WaitOperationRequest(name=name, timeout=span(PATIENCE))
    )
    result = bulk_pb2.BulkResult()
    assert done.response.Unpack(result)
    return name, result.changed


async def test_an_operation_changes_only_what_its_caller_may_read_and_operate_on(house: House) -> None:
    jobs = {queue: (await house.enqueue(queue=queue)).id for queue in ("mail", "images")}
    caller = await house.caller(grant(OPERATOR, "mail"), grant(Permission.READ, "images"))
    assert (await cancelled_by(caller, everything=True))[1] == 1
    assert await house.status(jobs["mail"]) == "CANCELLED"
    assert await house.status(jobs["images"]) == "QUEUED"


async def test_jobs_are_moved_only_into_a_queue_that_the_caller_may_operate_as_a_whole(house: House) -> None:
    for queue in ("mail", "images", "notes", "hidden"):
        await house.enqueue(queue=queue)
    caller = await house.caller(
        grant(OPERATOR, "mail"), grant(Permission.READ, "images"), grant(OPERATOR, "notes", "work")
    )
    for queue, reason in (
        ("mail", None),
        ("images", "NOT_ALLOWED"),
        ("notes", "NOT_ALLOWED"),
        ("hidden", "QUEUE_NOT_FOUND"),
        ("none", "QUEUE_NOT_FOUND"),
    ):
        for force in (False, True):
            request = bulk_pb2.RetryJobsRequest(
                filter=bulk_pb2.JobFilter(queue="mail"), to_queue=queue, force=force
            )
            if reason is None:
                await caller.bulk.RetryJobs(request)
                continue
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await caller.bulk.RetryJobs(request)
            assert reason_of(error.value) == reason, queue


async def test_an_operation_is_seen_by_who_made_it_and_by_administrators_of_its_namespace(
    house: House,
) -> None:
    mine = await house.caller(grant(OPERATOR))
    other = await house.caller(grant(OPERATOR))
    admin = await house.caller(grant(Permission.ADMIN))
    beta = await house.namespace("beta")
    elsewhere = await house.caller(grant(Permission.ADMIN | OPERATOR), namespace=beta)
    name, _ = await cancelled_by(mine, queue="mail")
    for caller in (mine, admin):
        assert (await caller.operations.GetOperation(lro_pb.GetOperationRequest(name=name))).name == name
        page = await caller.operations.ListOperations(lro_pb.ListOperationsRequest())
        assert [each.name for each in page.operations] == [name]
    for caller in (other, elsewhere):
        for method in ("Get", "Wait", "Cancel", "Delete"):
            request = getattr(lro_pb, f"{method}OperationRequest")(name=name)
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await getattr(caller.operations, f"{method}Operation")(request)
            assert reason_of(error.value) == "OPERATION_NOT_FOUND"
        assert not (await caller.operations.ListOperations(lro_pb.ListOperationsRequest())).operations
    await mine.operations.DeleteOperation(lro_pb.DeleteOperationRequest(name=name))


async def test_a_request_id_of_one_principal_says_nothing_to_another(house: House) -> None:
    names = set()
    for _ in range(2):
        caller = await house.caller(grant(OPERATOR))
        request = bulk_pb2.DeleteJobsRequest(
            filter=bulk_pb2.JobFilter(queue="mail"), force=True, request_id="the same"
        )
        names.add((await caller.bulk.DeleteJobs(request)).operation.name)
    assert len(names) == 2


@pytest.mark.parametrize("name", sorted(gate.DECLARED_HERE))
def test_a_method_that_is_not_ours_and_is_declared_nowhere_is_not_served(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = {each: access for each, access in gate.DECLARED_HERE.items() if each != name}
    monkeypatch.setattr(gate, "DECLARED_HERE", left)
    with pytest.raises(gate.PermissionNotDeclared, match=name):
        gate.rules_of_contract()
