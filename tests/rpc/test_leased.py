"""A delivery that is put together on the wire is the one that its messages would be."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from jobqueue.v1 import lease_pb2
from jobqueue_server.core.catalog.catalog import Lane
from jobqueue_server.core.lease.lease import Lease, LeaseTemplate
from jobqueue_server.fields import TERMS
from jobqueue_server.rpc.leased import delivery_bytes, leased_job, length_of_terms
from jobqueue_server.rpc.wire import length_of, varint
from jobqueue_server.store.upkeep.clock import uuid_of

pytestmark = pytest.mark.unit

LANES = [Lane(1, 1, 1, "default", "work", False, 1), Lane(2, 2, 1, "ü" * 3, "k" * 128, False, 1)]

#: Of each of the terms some values, by its column.
SOME: dict[str, list[Any]] = {
    "priority": [-10, 0, 10],
    "max_attempts": [3, 1000],
    "timeout_ms": [None, 1000, 604_800_000, 1500],
    "labels": [None, '{"a": "b", "c": "ü"}'],
    "headers": [
        None,
        b'{"x-request-id": "r"}',
        '{"x-request-id": "r"}',
        b'{"x-request-id": "%b"}' % (b"r" * 128),
        b'{"x-request-id": "r\\"\\u00fc"}',
        b'{"x-request-id": ""}',
        b'{"x-request-id": "r", "traceparent": "00-1"}',
        '{"x-request-id": "r", "traceparent": ""}',
        b'{"x-request-id": "r", "traceparent": "\\u0022"}',
        b'{"x-request-id": "r", "tracestate": "00-1"}',
        b'{"traceparent": "00-1", "x-request-id": "r"}',
        b'{"a": "x-request-id"}',
    ],
}
KEYS = ["customer 42", "ü" * 255]


def lease(number: int, template: LeaseTemplate, draw: random.Random) -> Lease:
    milliseconds = 1_790_000_000_000 + number // 3
    given = Lease(
        draw.choice([1, 7, 2**30]) << 32 | draw.choice([number, 2**31 + number]),
        uuid_of(milliseconds.to_bytes(6, "big") + draw.randbytes(10)),
        template,
        draw.choice([b"null", b"{}" * 64, b"[" + b" " * 20_000 + b"]"]),
    )
    given.checkpoint = draw.choice([b"", b"\x00checkpoint"])
    if template.keyed:
        given.has_key(draw.choice(KEYS))
    return given


def some_template(draw: random.Random) -> LeaseTemplate:
    return LeaseTemplate(
        draw.choice(LANES),
        draw.choice([1, 2, 1000]),
        draw.choice([0, 3]),
        datetime.now(UTC),
        tuple(draw.choice(SOME[column.name]) for column in TERMS),
        keyed=draw.choice([False, True]),
    )


def told(lease: Lease) -> lease_pb2.LeasedJob:
    """What a worker is to read of a lease, field by field."""
    template = lease.template
    terms = dict(zip([column.name for column in TERMS], template.terms, strict=True))
    job = lease_pb2.LeasedJob(
        lease_id=lease.lease_id,
        id=str(lease.job_id),
        attempt=template.attempt,
        kind=template.lane.kind,
        payload_json=lease.payload,
        queue=template.lane.queue,
        max_attempts=terms["max_attempts"],
        failures=template.failures,
        priority=terms["priority"],
        labels=json.loads(terms["labels"] or "{}"),
        headers=json.loads(terms["headers"] or "{}"),
        checkpoint=lease.checkpoint,
        key=lease.key,
    )
    job.created_at.FromMilliseconds(lease.job_id.int >> 80)
    if terms["timeout_ms"] is not None:
        job.timeout.FromMilliseconds(terms["timeout_ms"])
    return job


def test_it_reads_back_as_the_same_message() -> None:
    draw = random.Random(7)
    seen: set[str] = set()
    for count in (0, 1, 300):
        template = [some_template(draw) for _ in range(40)]
        # Runs of leases have their template in common, and some change with each.
        leases = [lease(number, template[number // 7 % 40], draw) for number in range(count)]
        leases += [lease(number, draw.choice(template), draw) for number in range(count)]
        jobs = [told(each) for each in leases]
        assert [leased_job(each, as_value=False) for each in leases] == jobs
        seen.update(field.name for job in jobs for field, _ in job.ListFields())
        expected = lease_pb2.LeaseResponse(delivery=lease_pb2.Delivery(seq=2**40 + count, jobs=jobs))
        assert lease_pb2.LeaseResponse.FromString(delivery_bytes(2**40 + count, leases)) == expected
    # A payload is given as a Value only to a worker that asks for that.
    assert seen == {field.name for field in lease_pb2.LeasedJob.DESCRIPTOR.fields} - {"payload"}


@pytest.mark.parametrize("headers", SOME["headers"])
def test_headers_are_delivered_as_they_were_given_however_they_are_written(
    headers: str | bytes | None,
) -> None:
    draw = random.Random(7)
    terms = tuple(
        {"labels": None, "headers": headers}.get(column.name, SOME[column.name][-1]) for column in TERMS
    )
    given = lease(1, LeaseTemplate(LANES[0], 1, 0, datetime.now(UTC), terms, keyed=False), draw)
    assert leased_job(given, as_value=False) == told(given)


def test_what_may_be_long_of_the_terms_counts_towards_a_deliverys_size() -> None:
    for _ in range(20):
        template = some_template(random.Random())
        terms = dict(zip([column.name for column in TERMS], template.terms, strict=True))
        long = (terms["labels"] or "", terms["headers"] or b"")
        assert length_of_terms(template.terms) == sum(map(len, long))


def test_numbers_of_every_length_are_written_as_protobuf_writes_them() -> None:
    for bits in range(63):
        for value in ((1 << bits) - 1, 1 << bits):
            expected = lease_pb2.Pong(seq=value).SerializeToString()[1:]
            if value:
                assert varint(value) == length_of(value) == expected
