"""Reads a batch of jobs off the wire: jobs that differ in their payloads and keys alone are decoded as one.

A producer's batch mostly holds one kind, for one queue. Its first job is parsed and checked as any; a job whose bytes
are the same but for the payload and the key needs these looked at and nothing else (1 us a job instead of 4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from jobqueue.v1 import job_pb2 as pb

from ...fields import names
from ...model import NewJobs
from ..checks import is_key, is_simple_payload
from ..convert import decode, decode_simple
from ..wire import tag

_FIELDS = pb.NewJob.DESCRIPTOR.fields_by_name
_PAYLOAD, _KEY = _FIELDS["payload_json"], _FIELDS["key"]
_PAYLOAD_TAG, _KEY_TAG = tag(_PAYLOAD), tag(_KEY)


def _part(wanted: Callable[[int], bool]) -> Callable[[pb.NewJob], pb.NewJob]:
    """Makes the function that answers of what jobs of a run share the fields whose numbers are wanted."""
    parts = names(lambda field: field.simple and not field.own and wanted(_FIELDS[field.name].number))
    given = ", ".join(f"{name}=job.{name}" for name in parts)
    made: Callable[[pb.NewJob], pb.NewJob] = eval(f"lambda job: NewJob({given})", {"NewJob": pb.NewJob})
    return made


# A message has its fields in the order of their numbers: some, the payload, some, the key, and some.
_before_of = _part(lambda number: number < _PAYLOAD.number)
_between_of = _part(lambda number: _PAYLOAD.number < number < _KEY.number)
_behind_of = _part(lambda number: number > _KEY.number)


def decode_batch(
    messages: Sequence[bytes], headers: Mapping[str, str], now: datetime
) -> list[NewJobs] | None:
    """The jobs of a batch, in its order; None where something is wrong with them.

    Args:
        messages: Each a NewJob as it came.
        headers: Those of the call.
        now: The time of the database's clock.

    Raises:
        DecodeError: One of them is malformed.
    """
    jobs: list[NewJobs] = []
    payloads: list[bytes] = []
    keys: list[str] | None = None
    before, between, behind = b"", b"", b""
    for message in messages:
        if before and message.startswith(before):
            start, end = _delimited(message, len(before))
            if end and message.startswith(between, end) and is_simple_payload(payload := message[start:end]):
                end += len(between)
                if keys is None:
                    if end == len(message):
                        payloads.append(payload)
                        continue
                elif (key := _key(message, end, behind)) is not None:
                    payloads.append(payload)
                    keys.append(key)
                    continue
        parsed = pb.NewJob.FromString(message)
        simple = decode_simple(parsed, headers)
        new = simple or decode(parsed, headers, now)
        if new is None:
            return None
        some = NewJobs.of(new)
        jobs.append(some)
        if simple is None:
            before = b""
            continue
        payloads, keys = some.payloads, some.keys
        before = _before_of(parsed).SerializeToString() + _PAYLOAD_TAG
        between, behind = _between_of(parsed).SerializeToString(), _behind_of(parsed).SerializeToString()
        if keys is None:
            between += behind
        else:
            between += _KEY_TAG
    own = [some.new.idempotency_key for some in jobs if some.new.idempotency_key is not None]
    return jobs if len(set(own)) == len(own) else None


def _key(message: bytes, start: int, behind: bytes) -> str | None:
    """The key whose length stands there, where it may be one, and where the message ends with what is behind it."""
    start, end = _delimited(message, start)
    if not end or message[end:] != behind:
        return None
    try:
        key = message[start:end].decode()
    except UnicodeDecodeError:
        return None
    return key if is_key(key) else None


def _delimited(message: bytes, at: int) -> tuple[int, int]:
    """Where the bytes begin and end whose length stands there; (0, 0) for lengths of more than two octets.

    Also where a message is too short for them.
    """
    size = len(message)
    if at + 2 > size:
        return 0, 0
    length = message[at]
    if length < 0x80:
        start = at + 1
    else:
        high = message[at + 1]
        if high >= 0x80:
            return 0, 0
        length += (high << 7) - 0x80
        start = at + 2
    end = start + length
    return (start, end) if end <= size else (0, 0)
