"""Reads a batch of jobs off the wire: jobs that differ in their payloads alone are decoded as one.

A producer's batch mostly holds one kind, for one queue. Its first job is parsed and checked as any; a job whose bytes
are the same but for the payload needs its payload looked at and nothing else (1 us a job instead of 4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from jobqueue.v1 import job_pb2 as pb

from ...fields import names
from ...model import NewJobs
from ..checks import is_simple_payload
from ..convert import decode_simple
from ..wire import tag

_FIELDS = pb.NewJob.DESCRIPTOR.fields_by_name
_PAYLOAD = tag(_FIELDS["payload_json"])


def _part(wanted: Callable[[int], bool]) -> Callable[[pb.NewJob], pb.NewJob]:
    """Makes the function that answers of what `decode_simple` reads the fields whose numbers are wanted."""
    parts = names(
        lambda field: field.simple and field.name != "payload" and wanted(_FIELDS[field.name].number)
    )
    given = ", ".join(f"{name}=job.{name}" for name in parts)
    made: Callable[[pb.NewJob], pb.NewJob] = eval(f"lambda job: NewJob({given})", {"NewJob": pb.NewJob})
    return made


_before_of = _part(lambda number: number < _FIELDS["payload_json"].number)
_behind_of = _part(lambda number: number > _FIELDS["payload_json"].number)


def decode_batch(messages: Sequence[bytes], headers: Mapping[str, str]) -> list[NewJobs] | None:
    """The jobs of a batch, in its order; None where of one of them more is said than `decode_simple` reads.

    Args:
        messages: Each a NewJob as it came.
        headers: Those of the call.

    Raises:
        DecodeError: One of them is malformed.
    """
    jobs: list[NewJobs] = []
    before, behind = b"", b""
    for message in messages:
        if before and message.startswith(before) and message.endswith(behind):
            payload = _payload(message, len(before), len(message) - len(behind))
            if payload is not None and is_simple_payload(payload):
                jobs[-1].payloads.append(payload)
                continue
        parsed = pb.NewJob.FromString(message)
        new = decode_simple(parsed, headers)
        if new is None:
            return None
        jobs.append(NewJobs.of(new))
        before, behind = _around(parsed)
    return jobs


def _around(job: pb.NewJob) -> tuple[bytes, bytes]:
    """What stands before the length of its payload and behind the payload, in the order of the fields' numbers."""
    return _before_of(job).SerializeToString() + _PAYLOAD, _behind_of(job).SerializeToString()


def _payload(message: bytes, start: int, end: int) -> bytes | None:
    """The bytes between, where they are a length and so many bytes; None for lengths of more than two octets."""
    if end - start < 2:
        return None
    low = message[start]
    if low < 0x80:
        start += 1
    else:
        high = message[start + 1]
        if high >= 0x80:
            return None
        low += (high << 7) - 0x80
        start += 2
    return message[start:end] if low == end - start else None
