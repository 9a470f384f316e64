"""A lease as its worker sees it, on a stream and in the answer to a call."""

from __future__ import annotations

import json
from functools import lru_cache

from google.protobuf.duration_pb2 import Duration

from jobqueue.v1 import lease_pb2

from ..core.session import Lease
from .convert import filled


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
    milliseconds = lease.job_id.int >> 80
    message.created_at.seconds = milliseconds // 1000
    message.created_at.nanos = milliseconds % 1000 * 1_000_000
    if lease.timeout_ms is not None:
        message.timeout.CopyFrom(
            Duration(seconds=lease.timeout_ms // 1000, nanos=lease.timeout_ms % 1000 * 1_000_000)
        )
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
