"""Every field, each way of being wrong: INVALID_ARGUMENT with the field's path, and nothing is stored."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from jobqueue.v1 import access_admin_pb2, access_pb2, job_pb2, jobqueue_pb2, queue_admin_pb2
from jobqueue.v1.job_pb2 import NewJob, RetryPolicy, Unique

from .conftest import NOW, Refusal, Served, refused

pytestmark = pytest.mark.any_engine


def at(when: Any) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(when)
    return stamp


def of(seconds: int = 0, nanos: int = 0) -> Duration:
    return Duration(seconds=seconds, nanos=nanos)


def a_value(number: float) -> Value:
    return Value(number_value=number)


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


DAY = 86_400
WRONG_JOBS: list[tuple[str, dict[str, Any], str]] = [
    ("no kind", {"kind": ""}, "kind"),
    ("kind in capitals", {"kind": "Send_Email"}, "kind"),
    ("kind of 129 characters", {"kind": "a" * 129}, "kind"),
    ("kind that begins with a dot", {"kind": ".mail"}, "kind"),
    ("kind with a line break", {"kind": "mail\n"}, "kind"),
    ("kind with NUL", {"kind": "ma\0il"}, "kind"),
    ("kind that is not ASCII", {"kind": "почта"}, "kind"),
    ("queue with a slash", {"queue": "a/b"}, "queue"),
    ("queue with NUL", {"queue": "a\0"}, "queue"),
    ("queue of 129 characters", {"queue": "q" * 129}, "queue"),
    ("priority 11", {"priority": 11}, "priority"),
    ("priority -11", {"priority": -11}, "priority"),
    ("priority, smallest int32", {"priority": -(2**31)}, "priority"),
    ("run_at over 400 days ahead", {"run_at": at(NOW + timedelta(days=400, seconds=1))}, "run_at"),
    ("run_at in the year 10000", {"run_at": Timestamp(seconds=253_402_300_800)}, "run_at"),
    ("run_at before the year 1", {"run_at": Timestamp(seconds=-62_135_596_801)}, "run_at"),
    ("run_at with a billion nanos", {"run_at": Timestamp(nanos=1_000_000_000)}, "run_at"),
    ("run_at with negative nanos", {"run_at": Timestamp(nanos=-1)}, "run_at"),
    ("run_at, largest int64", {"run_at": Timestamp(seconds=2**63 - 1)}, "run_at"),
    ("negative delay", {"delay": of(-1)}, "delay"),
    ("delay of a negative nanosecond", {"delay": of(0, -1)}, "delay"),
    ("delay over 400 days", {"delay": of(400 * DAY + 1)}, "delay"),
    ("delay with mixed signs", {"delay": of(1, -1)}, "delay"),
    ("delay with a billion nanos", {"delay": of(1, 1_000_000_000)}, "delay"),
    ("delay, largest int64", {"delay": of(2**63 - 1)}, "delay"),
    ("negative max_attempts", {"max_attempts": -1}, "max_attempts"),
    ("max_attempts 1001", {"max_attempts": 1001}, "max_attempts"),
    ("timeout of zero", {"timeout": of()}, "timeout"),
    ("timeout under a second", {"timeout": of(0, 999_999_999)}, "timeout"),
    ("timeout over seven days", {"timeout": of(7 * DAY, 1)}, "timeout"),
    ("negative timeout", {"timeout": of(-5)}, "timeout"),
    (
        "min_backoff of zero",
        {"retry_policy": RetryPolicy(min_backoff=of())},
        "retry_policy.min_backoff",
    ),
    (
        "max_backoff over seven days",
        {"retry_policy": RetryPolicy(max_backoff=of(7 * DAY + 1))},
        "retry_policy.max_backoff",
    ),
    (
        "min_backoff over max_backoff",
        {"retry_policy": RetryPolicy(min_backoff=of(9), max_backoff=of(8))},
        "retry_policy.max_backoff",
    ),
    ("idempotency key of 256 characters", {"idempotency_key": "k" * 256}, "idempotency_key"),
    ("idempotency key with a line break", {"idempotency_key": "a\nb"}, "idempotency_key"),
    ("idempotency key with NUL", {"idempotency_key": "a\0"}, "idempotency_key"),
    ("key of 256 characters", {"key": "k" * 256}, "key"),
    ("key with NUL", {"key": "a\0"}, "key"),
    ("a name of 256 characters", {"unique": Unique(key="k" * 256)}, "unique.key"),
    ("a name with NUL", {"unique": Unique(key="a\0")}, "unique.key"),
    (
        "no name of a large payload",
        {"unique": Unique(), "payload_json": b" " * (64 << 10) + b"1"},
        "unique.key",
    ),
    ("a name by two means", {"unique": Unique(key="k", payload_fields=["/a"])}, "unique.payload_fields"),
    ("17 pointers", {"unique": Unique(payload_fields=["/a"] * 17)}, "unique.payload_fields"),
    ("a pointer without a slash", {"unique": Unique(payload_fields=["/a", "a"])}, "unique.payload_fields[1]"),
    ("an empty pointer", {"unique": Unique(payload_fields=[""])}, "unique.payload_fields[0]"),
    ("a pointer with a lone ~", {"unique": Unique(payload_fields=["/~2"])}, "unique.payload_fields[0]"),
    (
        "a pointer of 256 characters",
        {"unique": Unique(payload_fields=["/" * 256])},
        "unique.payload_fields[0]",
    ),
    ("an unknown scope", {"unique": Unique(scope=cast(Any, 9))}, "unique.scope"),
    ("an unknown until", {"unique": Unique(until=cast(Any, 9))}, "unique.until"),
    ("an unknown conflict", {"unique": Unique(on_conflict=cast(Any, 9))}, "unique.on_conflict"),
    ("a change of what is kept", {"unique": Unique(key="k", replace=[Unique.PAYLOAD])}, "unique.replace"),
    (
        "a change of what is rejected",
        {"unique": Unique(key="k", on_conflict=Unique.REJECT, replace=[Unique.PAYLOAD])},
        "unique.replace",
    ),
    (
        "an unknown field to replace",
        {"unique": Unique(key="k", on_conflict=Unique.REPLACE, replace=[Unique.PAYLOAD, cast(Any, 9)])},
        "unique.replace[1]",
    ),
    (
        "8 fields to replace",
        {"unique": Unique(key="k", on_conflict=Unique.REPLACE, replace=[Unique.PAYLOAD] * 8)},
        "unique.replace",
    ),
    (
        "REPLACE among all kinds",
        {"unique": Unique(key="k", on_conflict=Unique.REPLACE, scope=Unique.NAMESPACE)},
        "unique.scope",
    ),
    (
        "DEBOUNCE among the kinds of a queue",
        {"unique": Unique(key="k", on_conflict=Unique.DEBOUNCE, scope=Unique.QUEUE), "delay": of(2)},
        "unique.scope",
    ),
    (
        "DEBOUNCE without a delay",
        {"unique": Unique(key="k", on_conflict=Unique.DEBOUNCE)},
        "unique.on_conflict",
    ),
    (
        "DEBOUNCE at a time",
        {"unique": Unique(key="k", on_conflict=Unique.DEBOUNCE), "run_at": at(NOW)},
        "unique.on_conflict",
    ),
    (
        "DEBOUNCE for a period",
        {
            "unique": Unique(key="k", on_conflict=Unique.DEBOUNCE, until=Unique.PERIOD, period=of(9)),
            "delay": of(2),
        },
        "unique.until",
    ),
    (
        "DEBOUNCE that replaces the start",
        {"unique": Unique(key="k", on_conflict=Unique.DEBOUNCE, replace=[Unique.RUN_AT]), "delay": of(2)},
        "unique.replace[0]",
    ),
    (
        "a longest delay without DEBOUNCE",
        {"unique": Unique(key="k", on_conflict=Unique.REPLACE, max_delay=of(9)), "delay": of(2)},
        "unique.max_delay",
    ),
    (
        "a longest delay below the delay",
        {"unique": Unique(key="k", on_conflict=Unique.DEBOUNCE, max_delay=of(1)), "delay": of(2)},
        "unique.max_delay",
    ),
    (
        "a longest delay over 400 days",
        {"unique": Unique(key="k", on_conflict=Unique.DEBOUNCE, max_delay=of(400 * DAY + 1)), "delay": of(2)},
        "unique.max_delay",
    ),
    (
        "a stop of the job that runs",
        {"unique": Unique(key="k", on_conflict=Unique.REPLACE, cancel_running=True)},
        "unique.cancel_running",
    ),
    ("PERIOD without a period", {"unique": Unique(until=Unique.PERIOD)}, "unique.period"),
    ("a period under a second", {"unique": Unique(period=of(0, 999_999_999))}, "unique.period"),
    ("a period over 400 days", {"unique": Unique(period=of(400 * DAY + 1))}, "unique.period"),
    ("33 labels", {"labels": {f"l{n}": "" for n in range(33)}}, "labels"),
    ("label without a name", {"labels": {"": "x"}}, "labels['']"),
    ("label with a name of 64 characters", {"labels": {"a" * 64: "x"}}, f"labels[{('a' * 63 + '...')!r}]"),
    ("label with = in its name", {"labels": {"a=b": "x"}}, "labels['a=b']"),
    ("label with a value of 256 characters", {"labels": {"a": "x" * 256}}, "labels['a']"),
    ("label with NUL in its value", {"labels": {"a": "\0"}}, "labels['a']"),
    ("headers over 8 KiB", {"headers": {"a": "x" * 8192}}, "headers"),
    ("header without a name", {"headers": {"": "x"}}, "headers['']"),
    ("header with a space in its name", {"headers": {"a b": "x"}}, "headers['a b']"),
    ("header with a line break", {"headers": {"a": "x\ny"}}, "headers['a']"),
    ("payload_json that is empty", {"payload_json": b""}, "payload_json"),
    ("payload_json that is no JSON", {"payload_json": b"{'a': 1}"}, "payload_json"),
    ("payload_json with NaN", {"payload_json": b"[NaN]"}, "payload_json"),
    ("payload_json with an infinite number", {"payload_json": b"[1e400]"}, "payload_json"),
    ("payload_json that is not UTF-8", {"payload_json": b'"\xff"'}, "payload_json"),
    ("payload_json with half a surrogate pair", {"payload_json": b'"\\ud800"'}, "payload_json"),
    ("payload_json with a repeated key", {"payload_json": b'{"a":1,"a":2}'}, "payload_json"),
    ("payload_json nested too deep", {"payload_json": deep(101)}, "payload_json"),
    ("payload_json nested absurdly deep", {"payload_json": deep(400_000)}, "payload_json"),
    ("payload with NaN", {"payload": a_value(float("nan"))}, "payload"),
    ("payload with infinity", {"payload": a_value(float("-inf"))}, "payload"),
    ("payload without a value", {"payload": Value()}, "payload"),
]


def new_job(**fields: Any) -> NewJob:
    return NewJob(**{"kind": "send_email", **fields})


def assert_names(answer: Refusal, path: str) -> None:
    reason = "PAYLOAD_INVALID" if path.endswith((".payload", ".payload_json")) else "FIELD_INVALID"
    assert answer.code is grpc.StatusCode.INVALID_ARGUMENT
    assert answer.reason == reason
    assert answer.domain == "jobqueue"
    assert list(answer.violations) == [path]
    assert answer.message == f"{path}: {answer.violations[path]}"


@pytest.mark.parametrize(
    ("fields", "path"), [row[1:] for row in WRONG_JOBS], ids=[row[0] for row in WRONG_JOBS]
)
async def test_a_job_with_a_wrong_field_is_refused_by_that_fields_path(
    served: Served, fields: dict[str, Any], path: str
) -> None:
    wrong = new_job(**fields)
    assert_names(
        await refused(served.jobs.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=wrong))), f"job.{path}"
    )
    batch = jobqueue_pb2.BatchEnqueueJobsRequest(jobs=[new_job(), wrong])
    assert_names(await refused(served.jobs.BatchEnqueueJobs(batch)), f"jobs[1].{path}")
    assert served.core.calls == []


@pytest.mark.parametrize(
    ("content", "path"),
    [
        ({"payload_json": b'"' + b"x" * (1 << 20) + b'"'}, "payload_json"),
        ({"payload": Value(string_value="x" * (1 << 20))}, "payload"),
    ],
)
async def test_a_payload_over_its_limit_has_an_error_of_its_own(
    served: Served, content: dict[str, Any], path: str
) -> None:
    answer = await refused(
        served.jobs.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=new_job(**content, priority=99)))
    )
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PAYLOAD_TOO_LARGE")
    assert set(answer.violations) == {"job.priority", f"job.{path}"}
    assert "1048576" in answer.violations[f"job.{path}"]
    assert served.core.calls == []


async def test_what_is_allowed_at_the_edges_is_taken(served: Served) -> None:
    edges: list[dict[str, Any]] = [
        {"kind": "a" * 128, "queue": "0", "priority": 10, "max_attempts": 1000},
        {"run_at": at(NOW + timedelta(days=400)), "timeout": of(7 * DAY), "priority": -10},
        {"run_at": Timestamp(seconds=-62_135_596_800), "timeout": of(1)},
        {"delay": of(400 * DAY), "idempotency_key": "ключ" * 63 + "abc"},
        {"delay": of(), "retry_policy": RetryPolicy(min_backoff=of(0, 1_000_000), max_backoff=of(7 * DAY))},
        {"labels": {f"l{n}": "v" * 255 for n in range(31)} | {"a" * 63: ""}},
        {"headers": {"a": "x" * 8191}},
        {"key": "ключ\n\x7f/" * 36 + "abc"},
        {"unique": Unique(key="ключ" * 63 + "abc", until=Unique.PERIOD, period=of(400 * DAY))},
        {"unique": Unique(payload_fields=["/" * 255] * 16, period=of(1), on_conflict=Unique.REJECT)},
        {"unique": Unique(), "payload_json": b" " * ((64 << 10) - 1) + b"1"},
        {"unique": Unique(key="k", on_conflict=Unique.REPLACE, replace=Unique.Field.values()[1:])},
        {"unique": Unique(key="k", on_conflict=Unique.DEBOUNCE, max_delay=of(2)), "delay": of(2)},
        {"unique": Unique(key="k", on_conflict=Unique.DEBOUNCE, max_delay=of(400 * DAY)), "delay": of()},
        {"payload_json": b'"' + b"x" * ((1 << 20) - 2) + b'"'},
        {"payload_json": deep(100)},
        {},
    ]
    for fields in edges:
        await served.jobs.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=new_job(**fields)))
    assert len(served.core.enqueued) == len(edges)
    assert served.core.enqueued[-1].payload == b"null"


async def test_all_that_is_wrong_is_said_at_once(served: Served) -> None:
    wrong = new_job(kind="", priority=11, max_attempts=-1, payload_json=b"{")
    answer = await refused(
        served.jobs.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=wrong, payload_format=7))  # type: ignore[arg-type]
    )
    assert set(answer.violations) == {
        "payload_format",
        "job.kind",
        "job.priority",
        "job.max_attempts",
        "job.payload_json",
    }
    assert answer.message.endswith("(and 4 more)")


async def test_a_thousand_wrong_jobs_are_answered_by_a_status_that_arrives(served: Served) -> None:
    wrong = [new_job(kind="", labels={"é" * 200: "\0"}) for _ in range(1000)]
    answer = await refused(served.jobs.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=wrong)))
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert answer.violations["jobs[0].kind"]
    assert "more fields" in list(answer.violations.values())[-1]


@pytest.mark.parametrize("size", [0, 1001])
async def test_a_batch_has_one_to_a_thousand_jobs(served: Served, size: int) -> None:
    request = jobqueue_pb2.BatchEnqueueJobsRequest(jobs=[new_job()] * size)
    assert_names(await refused(served.jobs.BatchEnqueueJobs(request)), "jobs")


async def test_two_jobs_of_a_batch_do_not_share_a_key(served: Served) -> None:
    request = jobqueue_pb2.BatchEnqueueJobsRequest(
        jobs=[new_job(idempotency_key="a"), new_job(), new_job(idempotency_key="a")]
    )
    assert_names(await refused(served.jobs.BatchEnqueueJobs(request)), "jobs[2].idempotency_key")


async def test_a_key_for_a_whole_batch_is_refused_and_says_where_keys_go(served: Served) -> None:
    request = jobqueue_pb2.BatchEnqueueJobsRequest(jobs=[new_job()])
    answer = await refused(served.jobs.BatchEnqueueJobs(request, metadata=(("idempotency-key", "k"),)))
    assert_names(answer, "idempotency-key")
    assert "jobs[0].idempotency_key" in answer.message
    assert served.core.calls == []


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_a_key_in_the_metadata_is_checked_like_one_in_the_job(served: Served, key: str) -> None:
    request = jobqueue_pb2.EnqueueJobRequest(job=new_job(idempotency_key="good"))
    answer = await refused(served.jobs.EnqueueJob(request, metadata=(("idempotency-key", key),)))
    assert_names(answer, "idempotency-key")


async def test_an_enqueue_without_a_job_is_refused(served: Served) -> None:
    assert_names(await refused(served.jobs.EnqueueJob(jobqueue_pb2.EnqueueJobRequest())), "job")


_ID = "019a0000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "7",
        _ID[:-1],
        "{" + _ID + "}",
        _ID.replace("-", ""),
        "0" * 36,
        "\0" * 36,
    ],
)
@pytest.mark.parametrize("method", ["GetJob", "CancelJob", "RetryJob", "ReleaseJob", "DeleteJob", "WaitJob"])
async def test_an_id_that_is_no_uuid_is_refused(served: Served, method: str, wrong: str) -> None:
    request = getattr(jobqueue_pb2, f"{method}Request")(id=wrong)
    assert_names(await refused(getattr(served.jobs, method)(request)), "id")
    assert served.core.calls == []


@pytest.mark.parametrize("method", ["GetJob", "CancelJob", "RetryJob", "ReleaseJob", "WaitJob"])
async def test_an_unknown_payload_format_is_refused(served: Served, method: str) -> None:
    request = getattr(jobqueue_pb2, f"{method}Request")(id=str(uuid4()), payload_format=3)
    answer = await refused(getattr(served.jobs, method)(request))
    assert_names(answer, "payload_format")
    assert "PAYLOAD_FORMAT_JSON" in answer.message


WRONG_REQUESTS: list[tuple[str, str, dict[str, Any], str]] = [
    ("reason of 256 characters", "CancelJob", {"id": str(uuid4()), "reason": "r" * 256}, "reason"),
    ("reason with NUL", "CancelJob", {"id": str(uuid4()), "reason": "\0"}, "reason"),
    ("negative wait", "WaitJob", {"id": str(uuid4()), "timeout": of(-1)}, "timeout"),
    ("wait over 60 s", "WaitJob", {"id": str(uuid4()), "timeout": of(60, 1)}, "timeout"),
    ("wait with mixed signs", "WaitJob", {"id": str(uuid4()), "timeout": of(1, -1)}, "timeout"),
    ("negative page size", "ListJobs", {"page_size": -1}, "page_size"),
    ("page token with NUL", "ListJobs", {"page_token": "\0"}, "page_token"),
    ("endless page token", "ListJobs", {"page_token": "x" * 1025}, "page_token"),
    ("queue in capitals", "ListJobs", {"queue": "MAIL"}, "queue"),
    ("kind with a space", "ListJobs", {"kind": "send email"}, "kind"),
    ("status 0", "ListJobs", {"status": [1, 0]}, "status[1]"),
    ("status 7", "ListJobs", {"status": [7]}, "status[0]"),
    ("label without =", "ListJobs", {"labels": ["a=b", "c"]}, "labels[1]"),
    ("label without a name", "ListJobs", {"labels": ["=b"]}, "labels[0]"),
    ("label with a long value", "ListJobs", {"labels": ["a=" + "b" * 256]}, "labels[0]"),
    ("label asked for twice", "ListJobs", {"labels": ["a=b", "a=c"]}, "labels[1]"),
    ("33 labels", "ListJobs", {"labels": [f"l{n}=" for n in range(33)]}, "labels"),
    ("created_after beyond time", "ListJobs", {"created_after": Timestamp(seconds=2**62)}, "created_after"),
    ("created_before beyond time", "ListJobs", {"created_before": Timestamp(nanos=-1)}, "created_before"),
    ("view 9", "ListJobs", {"view": 9}, "view"),
    ("format 9", "ListJobs", {"payload_format": 9}, "payload_format"),
]


@pytest.mark.parametrize(
    ("method", "fields", "path"), [row[1:] for row in WRONG_REQUESTS], ids=[row[0] for row in WRONG_REQUESTS]
)
async def test_a_request_with_a_wrong_field_is_refused_by_that_fields_path(
    served: Served, method: str, fields: dict[str, Any], path: str
) -> None:
    request = getattr(jobqueue_pb2, f"{method}Request")(**fields)
    assert_names(await refused(getattr(served.jobs, method)(request)), path)
    assert served.core.calls == []


def a_kind(**fields: Any) -> dict[str, Any]:
    return {"kind": queue_admin_pb2.Kind(**{"name": "send_email", **fields})}


def a_limited_kind(max_running: int = 0, **rate: Any) -> dict[str, Any]:
    starts = queue_admin_pb2.Rate(**rate) if rate else None
    return a_kind(limits=queue_admin_pb2.Limits(max_running=max_running, rate=starts))


def a_policy(*mask: str, name: str = "mail", etag: str = "", **policy: Any) -> dict[str, Any]:
    queue = queue_admin_pb2.Queue(name=name, etag=etag, key_policy=queue_admin_pb2.KeyPolicy(**policy))
    return {"queue": queue, "update_mask": FieldMask(paths=mask)}


def a_limit(most: int) -> queue_admin_pb2.Queue:
    return queue_admin_pb2.Queue(name="mail", max_waiting=most)


def a_key(*mask: str, queue: str = "mail", key: str = "ada", **fields: Any) -> dict[str, Any]:
    return {
        "queue_key": queue_admin_pb2.QueueKey(queue=queue, key=key, **fields),
        "update_mask": FieldMask(paths=mask),
    }


def a_retention(*mask: str, **kept: Any) -> dict[str, Any]:
    queue = queue_admin_pb2.Queue(name="mail", retention=queue_admin_pb2.Retention(**kept))
    return {"queue": queue, "update_mask": FieldMask(paths=mask)}


def a_total(most: int) -> dict[str, Any]:
    return {"queue": queue_admin_pb2.Queue(name="mail", limits=queue_admin_pb2.Limits(max_running=most))}


def a_total_rate(**rate: Any) -> dict[str, Any]:
    limits = queue_admin_pb2.Limits(rate=queue_admin_pb2.Rate(**rate))
    return {"queue": queue_admin_pb2.Queue(name="mail", limits=limits)}


def a_rate(**rate: Any) -> dict[str, Any]:
    return a_policy(rate=queue_admin_pb2.Rate(**rate))


WRONG_ADMIN: list[tuple[str, str, dict[str, Any], str]] = [
    ("no kind", "PutKind", {}, "kind"),
    ("kind without a name", "PutKind", a_kind(name=""), "kind.name"),
    ("kind in capitals", "PutKind", a_kind(name="Mail"), "kind.name"),
    ("negative max_attempts", "PutKind", a_kind(max_attempts=-1), "kind.max_attempts"),
    ("max_attempts 1001", "PutKind", a_kind(max_attempts=1001), "kind.max_attempts"),
    ("negative slot_weight", "PutKind", a_kind(slot_weight=-1), "kind.slot_weight"),
    ("slot_weight 1001", "PutKind", a_kind(slot_weight=1001), "kind.slot_weight"),
    ("negative max_running of a kind", "PutKind", a_limited_kind(-1), "kind.limits.max_running"),
    ("max_running 1000001 of a kind", "PutKind", a_limited_kind(1_000_001), "kind.limits.max_running"),
    ("kind's rate of nothing", "PutKind", a_limited_kind(period=of(1)), "kind.limits.rate.count"),
    ("kind's rate without a period", "PutKind", a_limited_kind(count=1), "kind.limits.rate.period"),
    (
        "kind's burst of 1000001",
        "PutKind",
        a_limited_kind(count=1, period=of(1), burst=1_000_001),
        "kind.limits.rate.burst",
    ),
    ("timeout of zero", "PutKind", a_kind(timeout=of()), "kind.timeout"),
    ("timeout beyond time", "PutKind", a_kind(timeout=of(2**62)), "kind.timeout"),
    (
        "max_backoff of zero",
        "PutKind",
        a_kind(retry_policy=RetryPolicy(max_backoff=of())),
        "kind.retry_policy.max_backoff",
    ),
    ("negative version", "PutKind", a_kind(version=-1), "kind.version"),
    ("version 1000001", "PutKind", a_kind(version=1_000_001), "kind.version"),
    ("17 annotations", "PutKind", a_kind(annotations={f"a{n}": "" for n in range(17)}), "kind.annotations"),
    ("annotation without a name", "PutKind", a_kind(annotations={"": "x"}), "kind.annotations[]"),
    ("name of 65", "PutKind", a_kind(annotations={"a" * 65: ""}), f"kind.annotations[{'a' * 64}]"),
    ("annotation of 1025 bytes", "PutKind", a_kind(annotations={"a": "\u00e4" * 513}), "kind.annotations[a]"),
    ("annotation with NUL", "PutKind", a_kind(annotations={"a": "\0"}), "kind.annotations[a]"),
    ("output schema not UTF-8", "PutKind", a_kind(output_schema_json=b"\xff"), "kind.output_schema_json"),
    ("output schema NaN", "PutKind", a_kind(output_schema=a_value(float("nan"))), "kind.output_schema"),
    (
        "mask with the name",
        "PutKind",
        {**a_kind(), "update_mask": FieldMask(paths=["name"])},
        "update_mask",
    ),
    (
        "mask with a piece of the rate",
        "PutKind",
        {**a_kind(), "update_mask": FieldMask(paths=["limits.rate.count"])},
        "update_mask",
    ),
    ("schema not UTF-8", "PutKind", a_kind(schema_json=b"\xff"), "kind.schema_json"),
    ("schema with NaN", "PutKind", a_kind(schema=a_value(float("nan"))), "kind.schema"),
    ("format 5", "PutKind", {**a_kind(), "payload_format": 5}, "payload_format"),
    ("negative page size", "ListKinds", {"page_size": -1}, "page_size"),
    ("page token with NUL", "ListKinds", {"page_token": "\0"}, "page_token"),
    ("format 5 of a list", "ListKinds", {"payload_format": 5}, "payload_format"),
    ("negative page size of queues", "ListQueues", {"page_size": -5}, "page_size"),
    ("endless token of queues", "ListQueues", {"page_token": "x" * 2000}, "page_token"),
    ("queue without a name", "GetQueue", {"name": ""}, "name"),
    ("queue in capitals", "PauseQueue", {"name": "MAIL"}, "name"),
    ("pause with a long reason", "PauseQueue", {"name": "a", "reason": "x" * 256}, "reason"),
    ("pause with NUL", "PauseQueue", {"name": "a", "reason": "a\0"}, "reason"),
    ("queue with NUL", "ResumeQueue", {"name": "a\0"}, "name"),
    ("change of a queue without a name", "UpdateQueue", a_policy(name="", max_running=1), "queue.name"),
    ("change of a queue in capitals", "UpdateQueue", a_policy(name="MAIL", max_running=1), "queue.name"),
    ("etag of 65 characters", "UpdateQueue", a_policy(etag="x" * 65, max_running=1), "queue.etag"),
    ("etag with NUL", "UpdateQueue", a_policy(etag="\0", max_running=1), "queue.etag"),
    ("nothing to change", "UpdateQueue", a_policy(), "update_mask"),
    ("mask of a field that is not there", "UpdateQueue", a_policy("speed"), "update_mask"),
    ("mask of what the server sets", "UpdateQueue", a_policy("depths"), "update_mask"),
    ("mask of what PauseQueue changes", "UpdateQueue", a_policy("paused"), "update_mask"),
    ("mask of a part of a rate", "UpdateQueue", a_policy("key_policy.rate.count"), "update_mask"),
    ("negative max_running", "UpdateQueue", a_policy(max_running=-1), "queue.key_policy.max_running"),
    ("max_running 1000001", "UpdateQueue", a_policy(max_running=1_000_001), "queue.key_policy.max_running"),
    ("negative max_waiting", "UpdateQueue", a_policy(max_waiting=-1), "queue.key_policy.max_waiting"),
    ("negative max_waiting of a queue", "UpdateQueue", {"queue": a_limit(-1)}, "queue.max_waiting"),
    ("max_waiting 1000001 of a queue", "UpdateQueue", {"queue": a_limit(1_000_001)}, "queue.max_waiting"),
    ("an end kept for 59 min", "UpdateQueue", a_retention(cancelled=of(3599)), "queue.retention.cancelled"),
    ("an end kept for 0 s", "UpdateQueue", a_retention(succeeded=of()), "queue.retention.succeeded"),
    (
        "an end kept for 3651 days",
        "UpdateQueue",
        a_retention(failed_permanent=of(3651 * 86_400)),
        "queue.retention.failed_permanent",
    ),
    ("mask of an end that is none", "UpdateQueue", a_retention("retention.running"), "update_mask"),
    ("negative max_running of a queue", "UpdateQueue", a_total(-1), "queue.limits.max_running"),
    ("max_running 1000001 of a queue", "UpdateQueue", a_total(1_000_001), "queue.limits.max_running"),
    ("mask of a part of a queue's rate", "UpdateQueue", a_policy("limits.rate.count"), "update_mask"),
    ("queue's rate of nothing", "UpdateQueue", a_total_rate(period=of(1)), "queue.limits.rate.count"),
    ("queue's rate without a period", "UpdateQueue", a_total_rate(count=1), "queue.limits.rate.period"),
    (
        "queue's burst of 1000001",
        "UpdateQueue",
        a_total_rate(count=1, period=of(1), burst=1_000_001),
        "queue.limits.rate.burst",
    ),
    ("rate of nothing", "UpdateQueue", a_rate(count=0, period=of(1)), "queue.key_policy.rate.count"),
    ("rate of 1000001", "UpdateQueue", a_rate(count=1_000_001, period=of(9)), "queue.key_policy.rate.count"),
    (
        "rate of two in a microsecond",
        "UpdateQueue",
        a_rate(count=2001, period=of(0, 2_000_000)),
        "queue.key_policy.rate.count",
    ),
    ("rate without a period", "UpdateQueue", a_rate(count=1), "queue.key_policy.rate.period"),
    (
        "rate with a period of zero",
        "UpdateQueue",
        a_rate(count=1, period=of()),
        "queue.key_policy.rate.period",
    ),
    (
        "rate with a period over a day",
        "UpdateQueue",
        a_rate(count=1, period=of(DAY, 1)),
        "queue.key_policy.rate.period",
    ),
    (
        "rate with a period between milliseconds",
        "UpdateQueue",
        a_rate(count=1, period=of(1, 1)),
        "queue.key_policy.rate.period",
    ),
    ("order 9", "UpdateQueue", a_policy(order=9), "queue.key_policy.order"),
    ("failure 9", "UpdateQueue", a_policy(order=1, on_failure=9), "queue.key_policy.on_failure"),
    ("key to unblock of no queue", "UnblockQueueKey", {"queue": "", "key": "ada"}, "queue"),
    ("unblock of no key", "UnblockQueueKey", {"queue": "mail"}, "key"),
    ("unblock of a key of 256 characters", "UnblockQueueKey", {"queue": "mail", "key": "k" * 256}, "key"),
    ("unblock of a key with NUL", "UnblockQueueKey", {"queue": "mail", "key": "a\0"}, "key"),
    ("negative burst", "UpdateQueue", a_rate(count=1, period=of(1), burst=-1), "queue.key_policy.rate.burst"),
    ("keys of no queue", "ListQueueKeys", {"queue": ""}, "queue"),
    ("negative page of keys", "ListQueueKeys", {"queue": "a", "page_size": -1}, "page_size"),
    ("token of 1537 characters", "ListQueueKeys", {"queue": "a", "page_token": "x" * 1537}, "page_token"),
    ("keys that are nothing", "ListQueueKeys", {"queue": "a", "only": 9}, "only"),
    ("keys in no order", "ListQueueKeys", {"queue": "a", "order_by": "waiting"}, "order_by"),
    ("key of a queue in capitals", "GetQueueKey", {"queue": "A", "key": "ada"}, "queue"),
    ("no key", "GetQueueKey", {"queue": "a"}, "key"),
    ("key of 256 characters", "GetQueueKey", {"queue": "a", "key": "k" * 256}, "key"),
    ("change of a key of no queue", "UpdateQueueKey", a_key(queue="", paused=True), "queue_key.queue"),
    ("change of no key", "UpdateQueueKey", a_key(key="", paused=True), "queue_key.key"),
    ("change of a key with NUL", "UpdateQueueKey", a_key(key="a\0", paused=True), "queue_key.key"),
    ("etag of a key of 65", "UpdateQueueKey", a_key(etag="x" * 65, paused=True), "queue_key.etag"),
    ("nothing to change of a key", "UpdateQueueKey", a_key(), "update_mask"),
    ("mask of what is not of a key", "UpdateQueueKey", a_key("weight"), "update_mask"),
    ("mask of what the server counts", "UpdateQueueKey", a_key("taken", taken=1), "update_mask"),
    ("negative limit of a key", "UpdateQueueKey", a_key(max_running=-1), "queue_key.max_running"),
    ("limit 1000001 of a key", "UpdateQueueKey", a_key(max_running=1_000_001), "queue_key.max_running"),
    (
        "burst 1000001",
        "UpdateQueue",
        a_rate(count=1, period=of(1), burst=1_000_001),
        "queue.key_policy.rate.burst",
    ),
]


@pytest.mark.parametrize(
    ("method", "fields", "path"), [row[1:] for row in WRONG_ADMIN], ids=[row[0] for row in WRONG_ADMIN]
)
async def test_an_operators_request_with_a_wrong_field_is_refused_by_that_fields_path(
    served: Served, method: str, fields: dict[str, Any], path: str
) -> None:
    request = getattr(queue_admin_pb2, f"{method}Request")(**fields)
    assert_names(await refused(getattr(served.admin, method)(request)), path)
    assert served.core.calls == []


def grants(*, count: int = 1, **fields: Any) -> dict[str, Any]:
    grant = access_admin_pb2.Grant(**{"permissions": [access_pb2.Access.READ], **fields})
    return {"name": "mailer", "grants": [grant] * count}


def identity(**fields: Any) -> dict[str, Any]:
    return {"kind": "jwt", "pattern": "mailer", "grants": grants()["grants"], **fields}


ADMIN, ENQUEUE = access_pb2.Access.ADMIN, access_pb2.Access.ENQUEUE
MANY = [f"q{number}" for number in range(100)]
WRONG_ACCESS: list[tuple[str, str, dict[str, Any], str]] = [
    ("a key without a name", "CreateKey", {**grants(), "name": ""}, "name"),
    ("a key with a name of 101 characters", "CreateKey", {**grants(), "name": "n" * 101}, "name"),
    ("a key with NUL in its name", "CreateKey", {**grants(), "name": "a\0"}, "name"),
    ("a key with a line break in its name", "CreateKey", {**grants(), "name": "a\nb"}, "name"),
    ("a key without grants", "CreateKey", {"name": "mailer"}, "grants"),
    ("a key with 101 grants", "CreateKey", grants(count=101), "grants"),
    ("a key with too many pairs", "CreateKey", grants(queues=MANY, kinds=MANY[:11]), "grants"),
    ("a grant without permissions", "CreateKey", grants(permissions=[]), "grants[0].permissions"),
    ("the permission PUBLIC", "CreateKey", grants(permissions=[1]), "grants[0].permissions[0]"),
    ("a permission of 0", "CreateKey", grants(permissions=[ENQUEUE, 0]), "grants[0].permissions[1]"),
    ("a permission that there is not", "CreateKey", grants(permissions=[99]), "grants[0].permissions[0]"),
    ("a pattern in capitals", "CreateKey", grants(queues=["mail", "Mail"]), "grants[0].queues[1]"),
    ("a pattern with * at its beginning", "CreateKey", grants(queues=["*mail"]), "grants[0].queues[0]"),
    ("a pattern with two *", "CreateKey", grants(kinds=["a**"]), "grants[0].kinds[0]"),
    ("an empty pattern", "CreateKey", grants(kinds=[""]), "grants[0].kinds[0]"),
    ("a pattern with NUL", "CreateKey", grants(kinds=["a\0*"]), "grants[0].kinds[0]"),
    ("a pattern of 129 characters", "CreateKey", grants(queues=["q" * 128 + "*"]), "grants[0].queues[0]"),
    ("101 patterns", "CreateKey", grants(queues=[*MANY, "more"]), "grants[0].queues"),
    ("ADMIN on some queues", "CreateKey", grants(permissions=[ADMIN], queues=["a"]), "grants[0].queues"),
    ("ADMIN on some kinds", "CreateKey", grants(permissions=[ADMIN], kinds=["a*"]), "grants[0].kinds"),
    (
        "payloads without READ",
        "CreateKey",
        grants(permissions=[ENQUEUE], payloads=True),
        "grants[0].payloads",
    ),
    ("a key that is good for 59 s", "CreateKey", {**grants(), "expires_in": of(59)}, "expires_in"),
    (
        "a key that is good for over ten years",
        "CreateKey",
        {**grants(), "expires_in": of(3650 * DAY + 1)},
        "expires_in",
    ),
    ("a key with mixed signs", "CreateKey", {**grants(), "expires_in": of(100, -1)}, "expires_in"),
    (
        "no calls each second",
        "CreateKey",
        {**grants(), "rate_limit": access_admin_pb2.RateLimit(burst=1)},
        "rate_limit.per_second",
    ),
    (
        "too many calls each second",
        "CreateKey",
        {**grants(), "rate_limit": access_admin_pb2.RateLimit(per_second=1_000_001)},
        "rate_limit.per_second",
    ),
    (
        "a negative burst",
        "CreateKey",
        {**grants(), "rate_limit": access_admin_pb2.RateLimit(per_second=1, burst=-1)},
        "rate_limit.burst",
    ),
    ("a network that is a name", "CreateKey", {**grants(), "networks": ["::1", "host"]}, "networks[1]"),
    ("a network with bits left over", "CreateKey", {**grants(), "networks": ["10.0.0.1/8"]}, "networks[0]"),
    ("a network with a scope", "CreateKey", {**grants(), "networks": ["fe80::1%eth0"]}, "networks[0]"),
    ("101 networks", "CreateKey", {**grants(), "networks": ["::1"] * 101}, "networks"),
    ("a key of a namespace in capitals", "CreateKey", {**grants(), "namespace": "B"}, "namespace"),
    *(
        (f"{method} of {what}", method, {"id": wrong}, "id")
        for method in ("GetKey", "RotateKey", "RevokeKey")
        for what, wrong in (("no id", ""), ("a whole key", "jq_0123456789_a"), ("an id with u", "u123456789"))
    ),
    *(
        (
            f"{method} in a namespace with a slash",
            method,
            {"id": "0123456789", "namespace": "a/b"},
            "namespace",
        )
        for method in ("GetKey", "RotateKey", "RevokeKey")
    ),
    ("a negative grace", "RotateKey", {"id": "0123456789", "grace": of(-1)}, "grace"),
    ("a grace over 30 days", "RotateKey", {"id": "0123456789", "grace": of(30 * DAY + 1)}, "grace"),
    ("a successor for a second", "RotateKey", {"id": "0123456789", "expires_in": of(1)}, "expires_in"),
    ("a reason of 513 characters", "RevokeKey", {"id": "0123456789", "reason": "x" * 513}, "reason"),
    ("a reason with NUL", "RevokeKey", {"id": "0123456789", "reason": "\0"}, "reason"),
    ("keys in a namespace with NUL", "ListKeys", {"namespace": "a\0"}, "namespace"),
    *(
        row
        for method in ("ListKeys", "ListNamespaces", "ListIdentities", "ListAudit")
        for row in (
            (f"{method}, negative page size", method, {"page_size": -1}, "page_size"),
            (f"{method}, long page token", method, {"page_token": "a" * 1025}, "page_token"),
        )
    ),
    ("an identity without a kind", "PutIdentity", identity(kind=""), "kind"),
    ("an identity of keys", "PutIdentity", identity(kind="key"), "kind"),
    ("an identity without a pattern", "PutIdentity", identity(pattern=""), "pattern"),
    ("an identity with * in its pattern", "PutIdentity", identity(pattern="a*b"), "pattern"),
    ("an identity with NUL in its pattern", "PutIdentity", identity(pattern="a\0"), "pattern"),
    ("an identity with a pattern of 513 characters", "PutIdentity", identity(pattern="a" * 513), "pattern"),
    ("an identity with a long issuer", "PutIdentity", identity(issuer="a" * 513), "issuer"),
    ("a certificate with an issuer", "PutIdentity", identity(kind="mtls", issuer="a"), "issuer"),
    ("an identity with a long claim", "PutIdentity", identity(claim="a" * 101), "claim"),
    ("a certificate with a claim", "PutIdentity", identity(kind="mtls", claim="a"), "claim"),
    ("an identity without grants", "PutIdentity", identity(grants=[]), "grants"),
    (
        "an identity with a negative rate",
        "PutIdentity",
        identity(rate_limit=access_admin_pb2.RateLimit(per_second=-1)),
        "rate_limit.per_second",
    ),
    ("an identity of a namespace in capitals", "PutIdentity", identity(namespace="B"), "namespace"),
    ("identities of a namespace in capitals", "ListIdentities", {"namespace": "B"}, "namespace"),
    *(
        (f"an identity by {what}", "DeleteIdentity", {"id": wrong}, "id")
        for what, wrong in (("no id", ""), ("0", "0"), ("a word", "one"), ("a long number", "1" * 19))
    ),
    ("an identity by a namespace in capitals", "DeleteIdentity", {"id": "1", "namespace": "B"}, "namespace"),
    ("an audit log of a namespace with NUL", "ListAudit", {"namespace": "a\0"}, "namespace"),
    *(
        (f"the audit log by {field}, {what}", "ListAudit", {field: wrong * most}, field)
        for field, most in (("action", 65), ("principal", 1025), ("object", 1025), ("outcome", 65))
        for what, wrong in (("too long", "a"), ("with NUL", "\0"))
    ),
    *(
        (f"the audit log {field} no time", "ListAudit", {field: Timestamp(nanos=-1)}, field)
        for field in ("since", "until")
    ),
    *(
        (f"{method} of {what}", method, {"name": wrong}, "name")
        for method in ("CreateNamespace", "DisableNamespace", "EnableNamespace")
        for what, wrong in (("no name", ""), ("a name in capitals", "B"), ("a name with NUL", "a\0"))
    ),
]


@pytest.mark.parametrize(
    ("method", "fields", "path"), [row[1:] for row in WRONG_ACCESS], ids=[row[0] for row in WRONG_ACCESS]
)
async def test_an_administrators_request_with_a_wrong_field_is_refused_by_that_fields_path(
    served: Served, method: str, fields: dict[str, Any], path: str
) -> None:
    request = getattr(access_admin_pb2, f"{method}Request")(**fields)
    assert_names(await refused(getattr(served.access, method)(request)), path)
    assert served.core.calls == []


def test_every_field_of_every_administrators_request_is_in_this_table() -> None:
    tabled = {(method, path.split(".")[0].split("[")[0]) for _, method, _, path in WRONG_ACCESS}
    service = access_admin_pb2.DESCRIPTOR.services_by_name["AccessAdmin"]
    assert tabled == {
        (method.name, field.name) for method in service.methods for field in method.input_type.fields
    }
    of_grants = {
        path.split(".")[1].split("[")[0] for *_, path in WRONG_ACCESS if path.startswith("grants[0].")
    }
    assert of_grants == {field.name for field in access_admin_pb2.Grant.DESCRIPTOR.fields}


async def test_every_field_of_every_unary_request_is_in_these_tables() -> None:
    """A field that is added later must be checked here too."""
    tabled = {("NewJob", path.split(".")[0].split("[")[0]) for *_, path in WRONG_JOBS}
    for name, fields in (
        ("EnqueueJobRequest", {"job", "payload_format"}),
        ("BatchEnqueueJobsRequest", {"jobs"}),
        ("GetJobRequest", {"id", "payload_format"}),
        ("CancelJobRequest", {"id", "reason", "payload_format"}),
        ("RetryJobRequest", {"id", "payload_format", "respect_unique"}),
        ("ReleaseJobRequest", {"id", "payload_format"}),
        ("DeleteJobRequest", {"id"}),
        ("WaitJobRequest", {"id", "timeout", "payload_format"}),
        (
            "ListJobsRequest",
            {path.split("[")[0] for _, method, _, path in WRONG_REQUESTS if method == "ListJobs"},
        ),
    ):
        assert {field.name for field in getattr(jobqueue_pb2, name).DESCRIPTOR.fields} == fields, name
    # A flag can't be wrong.
    assert {field for _, field in tabled} | {"hold"} == {
        field.name for field in job_pb2.NewJob.DESCRIPTOR.fields
    }


@pytest.mark.parametrize("raw", [b"\xff", b"\x0a\x05ab", b"\x0a\x04\x0a\x02\xff\xfe", b"\x0b" * 200])
async def test_bytes_that_are_no_message_are_the_callers_fault(served: Served, raw: bytes) -> None:
    call: Any = served.channel.unary_unary("/jobqueue.v1.JobQueue/EnqueueJob")
    answer = await refused(call(raw))
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert "jobqueue.v1.EnqueueJobRequest" in answer.message
    assert answer.trailing["x-request-id"]
