"""A lease as its worker sees it, on a stream and in the answer to a call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache

from google.protobuf.duration_pb2 import Duration

from jobqueue.v1 import lease_pb2

from ..core.session import Lease
from .convert import filled
from .wire import length_of, tag, varint

_JOB = lease_pb2.LeasedJob.DESCRIPTOR.fields_by_name
_LEASE_ID = tag(_JOB["lease_id"])
# An id is a UUID in its 36 characters.
_ID = tag(_JOB["id"]) + length_of(36)
_PAYLOAD = tag(_JOB["payload_json"])
_DELIVERY = tag(lease_pb2.LeaseResponse.DESCRIPTOR.fields_by_name["delivery"])
_JOBS = tag(lease_pb2.Delivery.DESCRIPTOR.fields_by_name["jobs"])


def delivery_bytes(seq: int, leases: Sequence[Lease]) -> bytes:
    """A LeaseResponse with a Delivery, as it goes on the wire.

    The fields of a message may come in any order and in any number of pieces, so what the jobs of a lane have in common
    is serialized once, and what is a job's own is put beside it: 2 us a job instead of 6 by messages.
    """
    parts = [lease_pb2.Delivery(seq=seq).SerializeToString()]
    for lease in leases:
        payload, lease_id = lease.payload, lease.lease_id
        job = b"".join(
            (
                _LEASE_ID, _lease_id(lease_id), _ID, str(lease.job_id).encode(), _PAYLOAD, length_of(len(payload)),
                payload, _created(lease.job_id.int >> 80),
                _alike(
                    lease.lane.kind, lease.lane.queue, lease.attempt, lease.max_attempts, lease.failures,
                    lease.priority, lease.timeout_ms,
                ),
                _beside(lease.labels, lease.headers),
            )
        )  # fmt: skip
        if lease.checkpoint:
            job += lease_pb2.LeasedJob(checkpoint=lease.checkpoint).SerializeToString()
        parts += (_JOBS, length_of(len(job)), job)
    delivery = b"".join(parts)
    return _DELIVERY + length_of(len(delivery)) + delivery


def _lease_id(lease_id: int) -> bytes:
    """Its varint: two octets of its own, and the higher ones that it shares with thousands of its session."""
    return _LOW_OCTETS[lease_id & 0x3FFF] + _high_octets(lease_id >> 14)


# Every lease id is above 2^32, so that these are never the last octets.
_LOW_OCTETS = [bytes((low & 0x7F | 0x80, low >> 7 | 0x80)) for low in range(1 << 14)]
_high_octets = lru_cache(maxsize=1024)(varint)


@lru_cache(maxsize=256)
def _created(milliseconds: int) -> bytes:
    """The field created_at: the time of the id, which many jobs have in common."""
    message = lease_pb2.LeasedJob()
    message.created_at.FromMilliseconds(milliseconds)
    return message.SerializeToString()


@lru_cache(maxsize=1024)
def _alike(
    kind: str, queue: str, attempt: int, max_attempts: int, failures: int, priority: int, timeout_ms: int | None
) -> bytes:  # fmt: skip
    """The fields that many jobs have in common."""
    message = lease_pb2.LeasedJob(
        kind=kind,
        queue=queue,
        attempt=attempt,
        max_attempts=max_attempts,
        failures=failures,
        priority=priority,
        timeout=None if timeout_ms is None else _timeout(timeout_ms),
    )
    return message.SerializeToString()


@lru_cache(maxsize=256)
def _beside(labels: str | None, headers: bytes | None) -> bytes:
    """The labels and headers, which the jobs of one call have in common."""
    message = lease_pb2.LeasedJob(
        labels=_decoded(labels) if labels else None, headers=_decoded(headers) if headers else None
    )
    return message.SerializeToString()


def _timeout(milliseconds: int) -> Duration:
    return Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)


def leased_job(lease: Lease, *, as_value: bool) -> lease_pb2.LeasedJob:
    """The message of a lease that was just handed over."""
    message = lease_pb2.LeasedJob(
        lease_id=lease.lease_id,
        id=str(lease.job_id),
        attempt=lease.attempt,
        kind=lease.lane.kind,
        queue=lease.lane.queue,
        max_attempts=lease.max_attempts,
        failures=lease.failures,
        priority=lease.priority,
        checkpoint=lease.checkpoint,
    )
    if not (as_value and filled(message.payload, lease.payload)):
        message.payload_json = lease.payload
    message.created_at.FromMilliseconds(lease.job_id.int >> 80)
    if lease.timeout_ms is not None:
        message.timeout.CopyFrom(_timeout(lease.timeout_ms))
    if lease.labels:
        message.labels.update(_decoded(lease.labels))
    if lease.headers:
        message.headers.update(_decoded(lease.headers))
    return message


@lru_cache(maxsize=256)
def _decoded(text: str | bytes) -> dict[str, str]:
    """A JSON object of strings. The jobs of a batch mostly have the same, and decoding costs 2 us."""
    decoded: dict[str, str] = json.loads(text)
    return decoded
