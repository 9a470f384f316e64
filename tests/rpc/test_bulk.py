"""Requests to change many jobs: every way in which each field can be wrong, by its path, and what right ones become."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from google.longrunning import operations_pb2 as lro_pb
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from jobqueue.v1 import bulk_pb2
from jobqueue_server.chain import Call
from jobqueue_server.core.bulk.preview import Preview
from jobqueue_server.errors import FieldInvalid
from jobqueue_server.lifecycle import Status
from jobqueue_server.model import DEFAULT_NAMESPACE
from jobqueue_server.rpc.bulk import BulkServicer
from jobqueue_server.rpc.operations import OperationsServicer
from jobqueue_server.scope import Scope
from jobqueue_server.store.bulk.requests import Request, Selection, Verb

SCOPE = Scope(DEFAULT_NAMESPACE, "tests")
pytestmark = pytest.mark.unit

ID = str(UUID(int=7))
LATE = Timestamp(seconds=300_000_000_000)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMELESS = {"filter": {"everything": True}}
#: A backfill has a request of its own: tests/rpc/test_schedules.py.
VERBS = (Verb.RETRY, Verb.CANCEL, Verb.DELETE)
REQUESTS = {verb: getattr(bulk_pb2, f"{verb.method}Request") for verb in VERBS}


def moment_of(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message


class Core:
    """Takes what the servicer makes of a request."""

    def __init__(self) -> None:
        self.asked: list[tuple[Verb, Request]] = []

    def __getattr__(self, name: str) -> Any:
        """Nothing else is reached, and that it is named says nothing."""
        return None

    async def preview(self, scope: Any, verb: Verb, request: Request) -> Preview:
        self.asked.append((verb, request))
        return Preview(3, True, 7, (UUID(ID),))


class Now:
    """The database's clock."""

    def now(self) -> datetime:
        return NOW


async def sent(verb: Verb, fields: dict[str, Any]) -> tuple[Core, Any]:
    core: Any = Core()
    call = Call(f"/jobqueue.v1.Bulk/{verb.method}", "grpc", {})
    call.scope = SCOPE
    request = REQUESTS[verb](**fields)
    clock: Any = Now()
    return core, await getattr(BulkServicer(core, clock), verb.method)(request, call)


def chosen(**fields: Any) -> dict[str, Any]:
    return {"filter": fields}


#: The verb, the request, and the fields that are wrong.
WRONG: list[tuple[Verb, dict[str, Any], set[str]]] = [
    *[(verb, {}, {"filter"}) for verb in VERBS],
    *[(verb, {**NAMELESS, "per_second": value}, {"per_second"}) for verb in VERBS for value in (-1, 100_001)],
    *[(verb, {**NAMELESS, "max_jobs": -1}, {"max_jobs"}) for verb in VERBS],
    *[
        (verb, {**NAMELESS, "request_id": value}, {"request_id"})
        for verb in VERBS
        for value in ("x" * 256, "a\n")
    ],
    (Verb.RETRY, {**NAMELESS, "spread": Duration(seconds=-1)}, {"spread"}),
    (Verb.RETRY, {**NAMELESS, "spread": Duration(seconds=7 * 86_400 + 1)}, {"spread"}),
    (Verb.RETRY, {**NAMELESS, "run_at": LATE}, {"run_at"}),
    (Verb.RETRY, {**NAMELESS, "run_at": moment_of(NOW + timedelta(days=400, seconds=1))}, {"run_at"}),
    (Verb.RETRY, {**NAMELESS, "delay": Duration(seconds=-1)}, {"delay"}),
    (Verb.RETRY, {**NAMELESS, "delay": Duration(seconds=400 * 86_400 + 1)}, {"delay"}),
    (Verb.RETRY, {**NAMELESS, "to_queue": "Q"}, {"to_queue"}),
    (Verb.CANCEL, {**NAMELESS, "reason": "x" * 256}, {"reason"}),
    (Verb.CANCEL, {**NAMELESS, "reason": "a\0"}, {"reason"}),
    (Verb.RETRY, chosen(ids=[ID, "x"]), {"filter.ids[1]"}),
    (Verb.RETRY, chosen(ids=[ID] * 1001), {"filter.ids"}),
    (Verb.RETRY, chosen(queue="Q"), {"filter.queue"}),
    (Verb.RETRY, chosen(kind="K"), {"filter.kind"}),
    (Verb.RETRY, chosen(status=[5, 1]), {"filter.status[1]"}),
    (Verb.RETRY, chosen(status=[0]), {"filter.status[0]"}),
    (Verb.RETRY, chosen(status=[99]), {"filter.status[0]"}),
    (Verb.CANCEL, chosen(status=[6]), {"filter.status[0]"}),
    (Verb.DELETE, chosen(status=[2]), {"filter.status[0]"}),
    (Verb.RETRY, chosen(labels=["a"]), {"filter.labels[0]"}),
    (Verb.RETRY, chosen(labels=["a=1", "a=2"]), {"filter.labels[1]"}),
    *[
        (Verb.RETRY, chosen(**{field: LATE}), {f"filter.{field}"})
        for field in ("created_after", "created_before", "ended_after", "ended_before")
    ],
    (Verb.CANCEL, chosen(ended_after=Timestamp()), {"filter.ended_after"}),
    (Verb.CANCEL, chosen(ended_before=Timestamp()), {"filter.ended_before"}),
    (Verb.CANCEL, chosen(reason=["A"]), {"filter.reason"}),
    (Verb.RETRY, chosen(reason=["A", "not so"]), {"filter.reason[1]"}),
    (Verb.RETRY, chosen(reason=["A"] * 21), {"filter.reason"}),
    (Verb.RETRY, chosen(error_type="x" * 256), {"filter.error_type"}),
    (Verb.RETRY, chosen(error_type="a\n"), {"filter.error_type"}),
    (Verb.RETRY, chosen(everything=True, queue="mail"), {"filter.everything"}),
    (
        Verb.RETRY,
        {"filter": {"queue": "Q", "kind": "K"}, "max_jobs": -1},
        {"filter.queue", "filter.kind", "max_jobs"},
    ),
]


def _short(value: Any) -> str:
    # The order of a set is another one in each process.
    return " ".join(sorted(value)) if isinstance(value, set) else str(value)[:60]


@pytest.mark.parametrize(("verb", "fields", "wrong"), WRONG, ids=_short)
async def test_each_wrong_field_is_named_by_its_path(
    verb: Verb, fields: dict[str, Any], wrong: set[str]
) -> None:
    with pytest.raises(FieldInvalid) as error:
        await sent(verb, fields)
    assert {violation.field for violation in error.value.violations} == wrong
    assert all(violation.description for violation in error.value.violations)


async def test_a_request_becomes_what_it_says() -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    at = moment_of(moment)
    fields = {
        "filter": {
            "ids": [ID, ID],
            "queue": "mail",
            "kind": "work",
            "status": [5],
            "labels": ["a=b"],
            **dict.fromkeys(("created_after", "created_before", "ended_after", "ended_before"), at),
            "reason": ["A", "A"],
            "error_type": "E",
        },
        "per_second": 5,
        "max_jobs": 6,
        "spread": Duration(seconds=7),
        "run_at": at,
        "to_queue": "spare",
        "reset_checkpoint": True,
        "respect_unique": True,
    }
    core, answer = await sent(Verb.RETRY, fields)
    selection = Selection(
        (UUID(ID),), "mail", "work", frozenset({Status.FAILED_PERMANENT}), {"a": "b"},
        moment, moment, moment, moment, ("A",), "E",
    )  # fmt: skip
    whole = Request(
        selection, 5, 6, timedelta(seconds=7), run_at=moment, to_queue="spare", reset_checkpoint=True,
        respect_unique=True,
    )  # fmt: skip
    assert core.asked == [(Verb.RETRY, whole)]
    told = bulk_pb2.BulkMetadata()
    assert answer.operation.metadata.Unpack(told)
    assert (told.estimate, told.estimate_capped, told.looked, told.dry_run) == (3, True, 7, True)
    assert list(told.filter.ids) == [ID]
    assert told.filter.created_after == at


async def test_a_retry_starts_at_a_time_or_after_a_delay() -> None:
    core, _ = await sent(Verb.RETRY, {**NAMELESS, "delay": Duration(seconds=400 * 86_400)})
    assert core.asked[0][1] == Request(Selection(everything=True), delay=timedelta(days=400))
    core, _ = await sent(Verb.RETRY, {**NAMELESS, "run_at": moment_of(NOW - timedelta(days=1))})
    assert core.asked[0][1] == Request(Selection(everything=True), run_at=NOW - timedelta(days=1))


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("ListOperations", lro_pb.ListOperationsRequest(name="jobs"), "name"),
        ("ListOperations", lro_pb.ListOperationsRequest(filter="done=true"), "filter"),
        ("ListOperations", lro_pb.ListOperationsRequest(page_size=-1), "page_size"),
        ("ListOperations", lro_pb.ListOperationsRequest(page_token="x" * 1025), "page_token"),
        ("GetOperation", lro_pb.GetOperationRequest(name="operations/x"), "name"),
        ("CancelOperation", lro_pb.CancelOperationRequest(name=ID), "name"),
        ("DeleteOperation", lro_pb.DeleteOperationRequest(name=f"jobs/{ID}"), "name"),
        ("WaitOperation", lro_pb.WaitOperationRequest(name=f"operations/{ID}/x"), "name"),
        (
            "WaitOperation",
            lro_pb.WaitOperationRequest(name=f"operations/{ID}", timeout=Duration(seconds=61)),
            "timeout",
        ),
    ],
    ids=str,
)
async def test_each_wrong_field_about_operations_is_named(method: str, request_: Any, field: str) -> None:
    core: Any = Core()
    call = Call(f"/google.longrunning.Operations/{method}", "grpc", {})
    call.scope = SCOPE
    with pytest.raises(FieldInvalid) as error:
        await getattr(OperationsServicer(core), method)(request_, call)
    assert [violation.field for violation in error.value.violations] == [field]


@pytest.mark.parametrize("id", ["", "x", f"operations/{ID}"])
async def test_an_operation_is_resumed_by_its_id(id: str) -> None:
    core: Any = Core()
    clock: Any = Now()
    call = Call("/jobqueue.v1.Bulk/ResumeOperation", "grpc", {})
    call.scope = SCOPE
    with pytest.raises(FieldInvalid) as error:
        await BulkServicer(core, clock).ResumeOperation(bulk_pb2.ResumeOperationRequest(id=id), call)
    assert [violation.field for violation in error.value.violations] == ["id"]
