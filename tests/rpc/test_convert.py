"""What a message says arrives in the core as said, and what the core answers is shown as it is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import Parse
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from jobqueue.v1 import job_pb2, jobqueue_pb2, queue_admin_pb2
from jobqueue_server.lifecycle import Hold, Status
from jobqueue_server.model import (
    REPLACED,
    Depth,
    FailedAttempt,
    JobFilter,
    JobProgress,
    Kind,
    NewJob,
    OnConflict,
    Queue,
    RetryPolicy,
    Unique,
    UniqueField,
    UniqueScope,
    Until,
)
from jobqueue_server.rpc.convert import decode_simple_unique, job_message, kind_message, queue_message
from jobqueue_server.rpc.values import TooDeep, fill, text_of

from .conftest import NOW, Served, a_job

pytestmark = pytest.mark.any_engine

U = job_pb2.Unique


def value_of(text: str) -> Value:
    return Parse(text, Value())


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ('{"width": 100}', b'{"width":100}'),
        ("7.5", b"7.5"),
        ("9007199254740992", b"9007199254740992"),
        ("-9007199254740992", b"-9007199254740992"),
        ("1e22", b"1e+22"),
        ("0.1", b"0.1"),
        ("null", b"null"),
        ("true", b"true"),
        ('"\\u0000 \\" \U0001f600"', '"\\u0000 \\" \U0001f600"'.encode()),
        ("[]", b"[]"),
        ("{}", b"{}"),
        ('{"b": [1, {"c": null}], "a": ""}', b'{"a":"","b":[1,{"c":null}]}'),
    ],
)
async def test_a_value_is_stored_as_json_with_integers_as_integers(
    served: Served, sent: str, stored: bytes
) -> None:
    job = job_pb2.NewJob(kind="a", payload=value_of(sent))
    await served.jobs.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=job))
    assert served.core.enqueued[0].payload == stored


async def test_json_text_is_stored_byte_for_byte(served: Served) -> None:
    text = b' { "n" : 12345678901234567890 , "x": 7.0, "a": "\\u00e9"}\n'
    job = job_pb2.NewJob(kind="a", payload_json=text)
    await served.jobs.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=job))
    assert served.core.enqueued[0].payload == text


async def test_every_field_of_a_new_job_reaches_the_core(served: Served) -> None:
    job = job_pb2.NewJob(
        kind="send_email",
        payload_json=b"{}",
        queue="mail",
        priority=-3,
        run_at=Timestamp(seconds=1_790_000_000, nanos=123_456_789),
        max_attempts=7,
        timeout=Duration(seconds=90, nanos=500_000_000),
        retry_policy=job_pb2.RetryPolicy(
            min_backoff=Duration(seconds=2), max_backoff=Duration(seconds=2, nanos=1_000)
        ),
        idempotency_key="k",
        labels={"a": "b"},
        headers={"x-request-id": "r"},
        hold=True,
        key="customer 42",
        unique=job_pb2.Unique(
            key="user-7",
            scope=job_pb2.Unique.QUEUE,
            until=job_pb2.Unique.ENDS,
            period=Duration(seconds=60),
            on_conflict=job_pb2.Unique.REJECT,
        ),
    )
    await served.jobs.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=job))
    assert served.core.enqueued == [
        NewJob(
            "send_email",
            b"{}",
            "mail",
            -3,
            datetime.fromtimestamp(1_790_000_000, UTC) + timedelta(microseconds=123_456),
            None,
            7,
            timedelta(seconds=90.5),
            RetryPolicy(timedelta(seconds=2), timedelta(seconds=2, microseconds=1)),
            "k",
            {"a": "b"},
            {"x-request-id": "r"},
            Hold.HAND,
            "customer 42",
            Unique("user-7", (), UniqueScope.QUEUE, Until.ENDS, timedelta(seconds=60), OnConflict.REJECT),
        )
    ]


async def test_what_is_not_said_of_a_name_is_the_default(served: Served) -> None:
    job = job_pb2.NewJob(kind="a", unique=job_pb2.Unique(payload_fields=["/a"]))
    await served.jobs.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=job))
    assert served.core.enqueued[0].unique == Unique(
        None, ("/a",), UniqueScope.KIND, Until.STARTS, None, OnConflict.KEEP, (), None
    )


async def test_what_is_to_be_replaced_is_said_or_the_content(served: Served) -> None:
    for on_conflict, said, replace in (
        (U.REPLACE, [], REPLACED),
        (U.REPLACE, [U.TIMEOUT, U.RUN_AT, U.TIMEOUT], (UniqueField.RUN_AT, UniqueField.TIMEOUT)),
        (U.DEBOUNCE, [], ()),
        (U.DEBOUNCE, [U.PAYLOAD], (UniqueField.PAYLOAD,)),
    ):
        job = job_pb2.NewJob(kind="a", unique=U(key="k", on_conflict=on_conflict, replace=said))
        if on_conflict == U.DEBOUNCE:
            job.delay.seconds = 2
            job.unique.max_delay.seconds = 10
        await served.jobs.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=job))
        unique = served.core.enqueued[-1].unique
        assert unique is not None
        assert (unique.on_conflict, unique.replace) == (on_conflict, replace)
        assert unique.max_delay == (timedelta(seconds=10) if on_conflict == U.DEBOUNCE else None)


async def test_what_is_not_said_stays_not_said(served: Served) -> None:
    request = jobqueue_pb2.EnqueueJobRequest(job=job_pb2.NewJob(kind="a"))
    await served.jobs.EnqueueJob(request, metadata=(("x-request-id", "r"),))
    assert served.core.enqueued == [NewJob("a", b"null", headers={"x-request-id": "r"})]


@pytest.mark.parametrize(
    ("policy", "low", "high"),
    [
        (job_pb2.RetryPolicy(), 1, 60),
        (job_pb2.RetryPolicy(min_backoff=Duration(seconds=5)), 5, 60),
        (job_pb2.RetryPolicy(min_backoff=Duration(seconds=300)), 300, 300),
        (job_pb2.RetryPolicy(max_backoff=Duration(nanos=500_000_000)), 0.5, 0.5),
    ],
)
async def test_a_bound_of_the_backoff_that_is_not_set_gives_way(
    served: Served, policy: job_pb2.RetryPolicy, low: float, high: float
) -> None:
    job = job_pb2.NewJob(kind="a", retry_policy=policy)
    await served.jobs.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=job))
    assert served.core.enqueued[0].retry_policy == RetryPolicy(
        timedelta(seconds=low), timedelta(seconds=high)
    )


async def test_the_key_in_the_metadata_wins_over_the_one_in_the_job(served: Served) -> None:
    request = jobqueue_pb2.EnqueueJobRequest(job=job_pb2.NewJob(kind="a", idempotency_key="field"))
    await served.jobs.EnqueueJob(request, metadata=(("idempotency-key", "header"),))
    await served.jobs.EnqueueJob(request)
    assert [new.idempotency_key for new in served.core.enqueued] == ["header", "field"]


async def test_a_replay_says_so_and_a_deleted_job_answers_its_id_alone(served: Served) -> None:
    request = jobqueue_pb2.EnqueueJobRequest(job=job_pb2.NewJob(kind="a", idempotency_key="k"))
    assert not (await served.jobs.EnqueueJob(request)).replayed
    served.core.replayed = True
    call = served.jobs.EnqueueJob(request)
    assert (await call).replayed
    assert ("idempotency-replayed", "true") in tuple(await call.trailing_metadata())


FULL = a_job(
    status=Status.FAILED_PERMANENT,
    priority=2,
    attempts=4,
    failures=3,
    losses=1,
    payload=b'{"n":12345678901234567890}',
    output=b"[1]",
    last_error="boom",
    locked_at=NOW,
    locked_by="w1",
    cancel_requested=True,
    idempotency_key="k",
    finished_at=NOW + timedelta(microseconds=7),
    reason="ATTEMPTS_EXHAUSTED",
    timeout=timedelta(days=1, seconds=2, microseconds=3),
    retry_policy=RetryPolicy(timedelta(milliseconds=1), timedelta(days=7)),
    labels={"a": "b"},
    headers={"c": "d"},
    failed_attempts=(FailedAttempt(1, "HANDLER_FAILED", "ValueError", "boom", "w1", NOW, NOW),),
    progress=JobProgress(0.0, "half", NOW),
    hold=Hold.HAND,
    key="ключ",
    unique_key="имя",
)


def test_every_field_of_a_job_is_shown() -> None:
    message = job_message(FULL, job_pb2.PAYLOAD_FORMAT_JSON)
    assert {field.name for field, _ in message.ListFields()} == {
        field.name for field in job_pb2.Job.DESCRIPTOR.fields
    } - {"payload", "output"}
    assert message.id == str(FULL.id)
    assert message.status == job_pb2.Job.FAILED_PERMANENT
    assert message.hold == job_pb2.Job.HAND
    assert message.key == "ключ"
    assert message.payload_json == FULL.payload
    assert message.finished_at.ToDatetime(UTC) == FULL.finished_at
    assert message.timeout.ToTimedelta() == FULL.timeout
    assert message.retry_policy.min_backoff.ToTimedelta() == timedelta(milliseconds=1)
    assert message.progress.HasField("fraction")
    (failed,) = message.failed_attempts
    assert {field.name for field, _ in failed.ListFields()} == {
        field.name for field in job_pb2.FailedAttempt.DESCRIPTOR.fields
    }


def test_what_a_job_does_not_have_is_not_shown() -> None:
    message = job_message(a_job(), job_pb2.PAYLOAD_FORMAT_UNSPECIFIED)
    assert {field.name for field, _ in message.ListFields()} == {
        "id",
        "kind",
        "queue",
        "status",
        "max_attempts",
        "run_at",
        "created_at",
        "updated_at",
    }


@pytest.mark.parametrize("form", [job_pb2.PAYLOAD_FORMAT_UNSPECIFIED, job_pb2.PAYLOAD_FORMAT_VALUE])
def test_payload_and_output_are_values_unless_text_is_asked_for(form: int) -> None:
    message = job_message(FULL, form)
    assert message.payload.struct_value.fields["n"].number_value == 12345678901234567890.0
    assert message.output.list_value.values[0].number_value == 1


@pytest.mark.parametrize(
    "text",
    [
        b"null",
        b'{"a":[true,false,null,"x",1.5,{}],"b":{"c":[]}}',
        b'{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":{"i":[[[[[[[1]]]]]]]}}}}}}}}}',
    ],
)
def test_a_value_says_what_the_text_says(text: bytes) -> None:
    value = Value()
    fill(value, text)
    assert text_of(Value.FromString(value.SerializeToString())) == text


def test_numbers_beyond_doubles_become_the_largest_ones() -> None:
    value = Value()
    fill(value, b"[" + b"9" * 5000 + b",-1e999]")
    high, low = (item.number_value for item in value.list_value.values)
    assert high == -low == 1.7976931348623157e308


@pytest.mark.parametrize(
    "text", [b"[" * 60 + b"]" * 60, b'{"a":' * 40 + b"1" + b"}" * 40, b"[" * 50_000 + b"]" * 50_000]
)
async def test_text_that_nests_deeper_than_messages_can_is_shown_as_text(served: Served, text: bytes) -> None:
    with pytest.raises(TooDeep):
        fill(Value(), text)
    served.core.job = a_job(payload=text, output=text)
    answer = await served.jobs.GetJob(jobqueue_pb2.GetJobRequest(id=str(uuid4())))
    assert answer.job.payload_json == text
    assert answer.job.output_json == text


async def test_the_deepest_value_that_is_shown_arrives(served: Served) -> None:
    served.core.job = a_job(payload=b'{"a":' * 29 + b"1" + b"}" * 29, output=b"[" * 44 + b"]" * 44)
    answer = await served.jobs.ListJobs(jobqueue_pb2.ListJobsRequest())
    assert answer.jobs[0].WhichOneof("content") == "payload"
    assert answer.jobs[0].WhichOneof("result") == "output"


async def test_a_filter_reaches_the_core_whole(served: Served) -> None:
    await served.jobs.ListJobs(
        jobqueue_pb2.ListJobsRequest(
            page_size=7,
            page_token="t",
            queue="mail",
            kind="send_email",
            status=[job_pb2.Job.QUEUED, job_pb2.Job.RETRYING, job_pb2.Job.QUEUED],
            labels=["a=b=c", "d="],
            created_after=Timestamp(seconds=1),
            created_before=Timestamp(seconds=2, nanos=3_000),
            view=job_pb2.JOB_VIEW_FULL,
        )
    )
    wanted = JobFilter(
        "mail",
        "send_email",
        frozenset({Status.QUEUED, Status.RETRYING}),
        {"a": "b=c", "d": ""},
        datetime.fromtimestamp(1, UTC),
        datetime.fromtimestamp(2, UTC) + timedelta(microseconds=3),
    )
    assert served.core.calls == [("list", wanted, 7, "t", True)]


async def test_a_cancel_that_waits_for_its_worker_says_so(served: Served) -> None:
    request = jobqueue_pb2.CancelJobRequest(id=str(served.core.job.id), reason="no need")
    assert not (await served.jobs.CancelJob(request)).pending
    served.core.pending = True
    assert (await served.jobs.CancelJob(request)).pending
    assert served.core.calls[0] == ("cancel", served.core.job.id, "no need")


@pytest.mark.parametrize("given", ["schema", "schema_json"])
async def test_a_kind_comes_back_as_it_was_put(served: Served, given: str) -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"n": {"minimum": 1, "maximum": 10.5}}}
    text = json.dumps(schema, indent=1)
    sent = queue_admin_pb2.Kind(
        name="send_email",
        max_attempts=5,
        timeout=Duration(seconds=30),
        retry_policy=job_pb2.RetryPolicy(min_backoff=Duration(seconds=1), max_backoff=Duration(seconds=9)),
        version=2,
        annotations={"owner": "post"},
    )
    if given == "schema":
        sent.schema.CopyFrom(value_of(text))
        sent.output_schema.CopyFrom(value_of('{"type":"string"}'))
    else:
        sent.schema_json = text.encode()
        sent.output_schema_json = b'{"type": "string"}'
    form = job_pb2.PAYLOAD_FORMAT_JSON if given == "schema_json" else job_pb2.PAYLOAD_FORMAT_VALUE
    answer = await served.admin.PutKind(queue_admin_pb2.PutKindRequest(kind=sent, payload_format=form))
    assert answer == queue_admin_pb2.PutKindResponse(kind=sent)
    _, kind, fields, only_newer = served.core.calls[0]
    assert json.loads(kind.schema) == schema
    assert json.loads(kind.output_schema) == {"type": "string"}
    assert (kind.version, kind.annotations, fields, only_newer) == (2, {"owner": "post"}, None, False)


async def test_a_schema_that_is_null_is_one_that_is_not_set(served: Served) -> None:
    sent = queue_admin_pb2.Kind(name="send_email", schema=value_of("null"), output_schema=value_of("null"))
    await served.admin.PutKind(queue_admin_pb2.PutKindRequest(kind=sent))
    _, kind, _, _ = served.core.calls[0]
    assert (kind.schema, kind.output_schema) == (None, None)


async def test_a_mask_names_what_of_a_kind_is_changed(served: Served) -> None:
    sent = queue_admin_pb2.Kind(name="send_email", version=2, output_schema_json=b"true")
    every = ["schema", "retry_policy", "max_attempts", "timeout", "limits", "slot_weight"]
    for paths, fields in (
        (["version", "output_schema_json"], {"version", "output_schema"}),
        (["limits.rate"], {"rate"}),
        (every, {*every, "max_running", "rate"} - {"limits"}),
        (["annotations", "schema_json"], {"annotations", "schema"}),
    ):
        request = queue_admin_pb2.PutKindRequest(
            kind=sent, update_mask=FieldMask(paths=paths), only_newer=True
        )
        await served.admin.PutKind(request)
        assert served.core.calls[-1][2:] == (fields, True)


def test_a_kind_without_anything_declared_shows_nothing() -> None:
    assert kind_message(Kind("a"), job_pb2.PAYLOAD_FORMAT_VALUE) == queue_admin_pb2.Kind(name="a")


def test_a_queue_shows_its_depths() -> None:
    queue = Queue("mail", True, (Depth(Status.QUEUED, 5, True, timedelta(seconds=3)),), 2)
    assert queue_message(queue) == queue_admin_pb2.Queue(
        name="mail",
        paused=True,
        running=2,
        depths=[
            queue_admin_pb2.QueueDepth(
                status=job_pb2.Job.QUEUED, jobs=5, capped=True, oldest_age=Duration(seconds=3)
            )
        ],
    )


def test_what_stands_beside_the_key_of_a_name_is_not_remembered_where_it_is_large():
    # Field 99, which no version knows, of a megabyte: a message keeps it.
    unknown = b"\x9a\x06\x80\x80\x40" + b"x" * (1 << 20)
    small = job_pb2.NewJob(unique=job_pb2.Unique(key="n", until=job_pb2.Unique.ENDS))
    large = job_pb2.NewJob(unique=job_pb2.Unique.FromString(small.unique.SerializeToString() + unknown))
    unique = decode_simple_unique(small)
    assert unique is not None
    assert (unique.key, unique.until) == ("n", Until.ENDS)
    assert decode_simple_unique(large) is None
