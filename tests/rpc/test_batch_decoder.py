"""Jobs of a batch that are looked at as one are those that they would be one by one."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message

from jobqueue.v1 import job_pb2 as pb
from jobqueue_server.fields import names
from jobqueue_server.model import NewJob
from jobqueue_server.rpc.convert import decode, decode_simple
from jobqueue_server.rpc.fast.batch_decoder import decode_batch

pytestmark = pytest.mark.unit

HEADERS = {"x-request-id": "r"}
NOW = datetime(2026, 5, 4, tzinfo=UTC)
OTHER: dict[int, Any] = {
    FieldDescriptor.CPPTYPE_STRING: "other",
    FieldDescriptor.CPPTYPE_INT32: 7,
    FieldDescriptor.CPPTYPE_BOOL: True,
}


def one_by_one(jobs: list[pb.NewJob]) -> list[NewJob] | None:
    found = [decode_simple(job, HEADERS) or decode(job, HEADERS, NOW) for job in jobs]
    return None if any(job is None for job in found) else [job for job in found if job is not None]


def at_once(messages: list[bytes]) -> list[NewJob] | None:
    runs = decode_batch(messages, HEADERS, NOW)
    if runs is None:
        return None
    return [
        replace(run.new, payload=payload, key=key)
        for run in runs
        for payload, key in zip_longest(run.payloads, run.keys or ())
    ]


def text(size: int) -> bytes:
    return b'"' + b"x" * (size - 2) + b'"'


PAYLOADS = [
    b"1",
    b"null",
    b'{"a":1}',
    text(127),
    text(128),
    text(129),
    text(16_383),
    text(16_384),
    text(70_000),
]
KEYS = ["k", "customer 42", "ключ", "k" * 127, "k" * 128, "ü" * 255, "\U0001f511" * 255, "\n"]
WRONG = [b"", b"{", b'{"a":1,"a":2}', b"\xff", b"1,2", b'"\\ud800"']


def draw_job(draw: random.Random, payloads: list[bytes]) -> pb.NewJob:
    return pb.NewJob(
        kind=draw.choice(["a", "ab", "send_email", "k" * 127]),
        payload_json=draw.choice(payloads),
        queue=draw.choice(["", "default", "q"]),
        priority=draw.choice([0, 0, 3, -1]),
        key=draw.choice(["", draw.choice(KEYS)]),
    )


@pytest.mark.parametrize("seed", range(40))
def test_a_batch_reads_as_its_jobs_do_one_by_one(seed: int) -> None:
    draw = random.Random(seed)
    jobs: list[pb.NewJob] = []
    while len(jobs) < 60:
        job = draw_job(draw, PAYLOADS)
        for _ in range(draw.choice([1, 2, 9])):
            alike = pb.NewJob.FromString(job.SerializeToString())
            alike.payload_json = draw.choice(PAYLOADS)
            if alike.key:
                alike.key = draw.choice([*KEYS, ""])
            jobs.append(alike)
    found = at_once([job.SerializeToString() for job in jobs])
    assert found == one_by_one(jobs)
    assert found is not None


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("place", [0, 1, 4])
def test_a_payload_that_is_not_simple_takes_the_general_path(wrong: bytes, place: int) -> None:
    jobs = [pb.NewJob(kind="a", payload_json=b"1") for _ in range(5)]
    jobs[place].payload_json = wrong
    assert at_once([job.SerializeToString() for job in jobs]) is None


@pytest.mark.parametrize(
    "more",
    [
        pb.NewJob(delay=Duration(seconds=-1)),
        pb.NewJob(labels={"": "b"}),
        pb.NewJob(key="\0"),
        pb.NewJob(key="k" * 256),
        pb.NewJob(kind="B"),
        pb.NewJob(priority=11),
        pb.NewJob(payload_json=b"2", queue="Q"),
    ],
    ids=str,
)
def test_a_wrong_job_behind_others_goes_the_general_way(more: pb.NewJob) -> None:
    plain = pb.NewJob(kind="a", payload_json=b"1").SerializeToString()
    assert at_once([plain, plain, plain + more.SerializeToString()]) is None
    assert at_once([plain, more.SerializeToString() + plain]) is None or not more.priority


SAYS_MORE = [
    pb.NewJob(labels={"a": "b"}),
    pb.NewJob(headers={"a": "b"}),
    pb.NewJob(delay=Duration()),
    pb.NewJob(max_attempts=1),
    pb.NewJob(hold=True),
    pb.NewJob(unique=pb.Unique(key="n")),
    pb.NewJob(retry_policy=pb.RetryPolicy(min_backoff=Duration(seconds=2)), timeout=Duration(seconds=9)),
    pb.NewJob(payload_json=b'"\\u0041"'),
]


@pytest.mark.parametrize("more", SAYS_MORE, ids=str)
def test_a_job_that_says_more_among_others_is_read_as_it_is_one_by_one(more: pb.NewJob) -> None:
    job = pb.NewJob(kind="a", payload_json=b"1", key="k")
    said = pb.NewJob.FromString(job.SerializeToString())
    said.MergeFrom(more)
    jobs = [job, said, job, said, said, job]
    found = at_once([each.SerializeToString() for each in jobs])
    assert found is not None
    assert found == one_by_one(jobs)
    assert found[1] != found[0]


def test_jobs_with_one_idempotency_key_go_the_general_way() -> None:
    jobs = [pb.NewJob(kind="a", payload_json=b"1", idempotency_key=key) for key in "klm"]
    messages = [job.SerializeToString() for job in jobs]
    assert at_once(messages) == one_by_one(jobs)
    assert at_once([*messages, messages[1]]) is None


@pytest.mark.parametrize("field", list(pb.NewJob.DESCRIPTOR.fields), ids=lambda field: field.name)
def test_a_job_is_plain_where_nothing_is_said_but_plain_fields(field: FieldDescriptor) -> None:
    """So jobs of a run differ in nothing else."""
    job = pb.NewJob(kind="a", payload_json=b"1")
    if field.message_type is None:
        setattr(job, field.name, b"2" if field.name == "payload_json" else OTHER[field.cpp_type])
    elif isinstance(getattr(job, field.name), Message):
        getattr(job, field.name).SetInParent()
    else:
        getattr(job, field.name)["name"] = "value"
    plain = names(lambda each: each.simple)
    is_plain = field.name.removesuffix("_json") in plain and field.name != "payload"
    assert (decode_simple(job, HEADERS) is not None) == is_plain


def test_a_payload_that_ends_as_other_fields_would_is_not_taken_for_them() -> None:
    """The length of a payload decides, not how its bytes look."""
    first = pb.NewJob(kind="a", payload_json=b"1", queue="q", priority=1).SerializeToString()
    tail = pb.NewJob(queue="q", priority=1).SerializeToString()
    with_tail = pb.NewJob(kind="a", payload_json=b'"' + tail + b'"').SerializeToString()
    short = pb.NewJob(kind="a", payload_json=b"12").SerializeToString()
    for message in (with_tail, short, first[:-1] + b"\x02", first + tail):
        parsed = pb.NewJob.FromString(message)
        assert at_once([first, message]) == one_by_one([pb.NewJob.FromString(first), parsed])


def test_jobs_that_differ_in_their_keys_alone_are_one_run() -> None:
    jobs = [pb.NewJob(kind="a", payload_json=b"1", priority=2, key=f"k{number}") for number in range(100)]
    runs = decode_batch([job.SerializeToString() for job in jobs], HEADERS, NOW)
    assert runs is not None
    (run,) = runs
    assert run.keys == [job.key for job in jobs]
    assert run.payloads == [b"1"] * 100


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("wrong", ["\0", "k" * 256], ids=["NUL", "too long"])
def test_a_key_that_is_refused_takes_the_general_path(wrong: str, place: int) -> None:
    jobs = [pb.NewJob(kind="a", payload_json=b"1", key="k") for _ in range(3)]
    jobs[place].key = wrong
    assert at_once([job.SerializeToString() for job in jobs]) is None


def test_bytes_behind_a_key_and_keys_that_look_like_fields_are_read_as_they_are_one_by_one() -> None:
    first = pb.NewJob(kind="a", payload_json=b"1", queue="q", priority=1, key="k").SerializeToString()
    tail = pb.NewJob(queue="q", priority=1, key="x").SerializeToString()
    like_fields = pb.NewJob(kind="a", payload_json=b"1", queue="q", priority=1, key=tail.decode())
    empty_key = first[: -len(b"\x01k")] + b"\x00"
    for message in (like_fields.SerializeToString(), first + tail, first + b"r\x01y", empty_key, first[:-3]):
        parsed = pb.NewJob.FromString(message)
        assert at_once([first, message]) == one_by_one([pb.NewJob.FromString(first), parsed])


@pytest.mark.parametrize("octets", [b"\xff", b"\xed\xa0\x80", b"\xc0\x80"], ids=repr)
def test_a_key_that_is_not_utf_8_is_refused_by_the_reader(octets: bytes) -> None:
    first = pb.NewJob(kind="a", payload_json=b"1", key="k").SerializeToString()
    wrong = first[: -len(b"\x01k")] + bytes([len(octets)]) + octets
    with pytest.raises(DecodeError):
        decode_batch([first, wrong], HEADERS, NOW)


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5, 8])
def test_a_malformed_job_is_refused_by_the_reader(cut: int) -> None:
    for plain in (
        pb.NewJob(kind="a", payload_json=b"12345").SerializeToString(),
        pb.NewJob(kind="a", payload_json=b"1", key="12345").SerializeToString(),
    ):
        with pytest.raises(DecodeError):
            decode_batch([plain, plain[:-cut]], HEADERS, NOW)
