"""The message of a lease, for a stream and for the answer to a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from pydantic_core import from_json

from jobqueue.v1 import lease_pb2

from ..core.lease.lease import Lease, LeaseTemplate
from ..fields import FIELDS, LONG, TERMS, Field
from .convert import filled
from .wire import length_of, map_of, tag, text_of, varint

_JOB = lease_pb2.LeasedJob.DESCRIPTOR.fields_by_name
_LEASE_ID = tag(_JOB["lease_id"])
# An id is a UUID of 36 characters.
_ID = tag(_JOB["id"]) + length_of(36)
_PAYLOAD = tag(_JOB["payload_json"])
_KEY = tag(_JOB["key"])
# Caches of the parts that leases share. Texts have their own cache, because there are many more of them.
_SHARED = [
    field
    for field in FIELDS
    if field.delivered and (field.of_template or any(not column.each for column in field.columns))
]
_TEXTS = [field for field in _SHARED if any(column.type in LONG for column in field.columns)]
_COMMON = [field for field in _SHARED if field not in _TEXTS]
_LABELS, _HEADERS = tag(_JOB["labels"]), tag(_JOB["headers"])
_DELIVERY = tag(lease_pb2.LeaseResponse.DESCRIPTOR.fields_by_name["delivery"])
_JOBS = tag(lease_pb2.Delivery.DESCRIPTOR.fields_by_name["jobs"])
_LENGTH_OF_REST = len(_LEASE_ID) + 2 + len(_ID) + 36 + len(_PAYLOAD)
# The first letters of an id say when it was made.
_TIME = 13


def delivery_bytes(seq: int, leases: Sequence[Lease]) -> bytes:
    """A serialized LeaseResponse with a Delivery.

    The fields of a message may come in any order and in any number of pieces. So the fields that jobs of a lane share
    are serialized once, and the fields of each job are added: 2 us a job instead of 6 by messages.
    """
    parts = [lease_pb2.Delivery(seq=seq).SerializeToString()]
    template, time, keyed = None, "", False
    alike, length_alike, high, number = b"", 0, -1, b""
    for lease in leases:
        payload, lease_id, text = lease.payload, lease.lease_id, str(lease.job_id)
        if lease.template is not template or text[:_TIME] != time:
            template, time = lease.template, text[:_TIME]
            keyed = template.keyed
            alike = _in_common(template, lease.job_id)
            length_alike = len(alike) + _LENGTH_OF_REST
        if lease_id >> 14 != high:
            high = lease_id >> 14
            number = _high_octets(high)
        length = length_of(len(payload))
        more = (
            lease_pb2.LeasedJob(checkpoint=lease.checkpoint).SerializeToString() if lease.checkpoint else b""
        )
        if keyed:
            more += text_of(_KEY, lease.key)
        parts += (
            _JOBS,
            length_of(length_alike + len(number) + len(length) + len(payload) + len(more)),
            _LEASE_ID, _LOW_OCTETS[lease_id & 0x3FFF], number,
            _ID, text.encode(),
            _PAYLOAD, length, payload,
            alike, more,
        )  # fmt: skip
    delivery = b"".join(parts)
    return _DELIVERY + length_of(len(delivery)) + delivery


# The varint of a lease id: two octets of its own, and higher ones that it shares with thousands of its session's ids.
# Every lease id is above 2^32, so the lower octets are never the last ones.
_LOW_OCTETS = [bytes((low & 0x7F | 0x80, low >> 7 | 0x80)) for low in range(1 << 14)]
_high_octets = lru_cache(maxsize=1024)(varint)


@lru_cache(maxsize=256)
def _created(milliseconds: int) -> bytes:
    """The serialized field created_at: the time of the id, which many jobs share."""
    message = lease_pb2.LeasedJob()
    message.created_at.FromMilliseconds(milliseconds)
    return message.SerializeToString()


@lru_cache(maxsize=1024)
def _alike(*values: Any) -> bytes:
    """The serialized fields that many jobs share."""
    given = {field.name: value for field, value in zip(_COMMON, values, strict=True)}
    if given["timeout"] is not None:
        given["timeout"] = Duration(
            seconds=given["timeout"] // 1000, nanos=given["timeout"] % 1000 * 1_000_000
        )
    return lease_pb2.LeasedJob(**given).SerializeToString()


def _name(name: bytes) -> bytes:
    """What an entry of a map begins with, up to the length of its value."""
    return b"\n%b%b\x12" % (length_of(len(name)), name)


_REQUEST_ID, _TRACEPARENT = _name(b"x-request-id"), _name(b"traceparent")


def _beside(*, labels: str | None, headers: str | bytes | None) -> bytes:
    """The serialized labels and headers."""
    if labels is None and headers:
        # Each call has its own id and its own trace: no cache has them.
        found = _of_call(headers.encode() if isinstance(headers, str) else headers)
        if found is not None:
            return found
    return _texts(labels, headers)


def _of_call(text: bytes) -> bytes | None:
    """The serialized headers of a request id, with a trace or without, as the intake writes them; None for others."""
    parts = text.split(b'"')
    if (
        len(parts) not in (5, 9)
        or parts[:3] != [b"{", b"x-request-id", b": "]
        or parts[-1] != b"}"
        or b"\\" in text
    ):
        return None
    if len(parts) == 5:
        return _header(_REQUEST_ID, parts[3])
    if parts[4:7] != [b", ", b"traceparent", b": "]:
        return None
    return _header(_REQUEST_ID, parts[3]) + _header(_TRACEPARENT, parts[7])


def _header(name: bytes, value: bytes) -> bytes:
    length = length_of(len(value))
    return b"%b%b%b%b%b" % (_HEADERS, length_of(len(name) + len(length) + len(value)), name, length, value)


@lru_cache(maxsize=256)
def _texts(labels: str | None, headers: str | bytes | None) -> bytes:
    """The same, of any headers, which the jobs of one call share."""
    return b"".join(
        map_of(before, _decoded(text)) for before, text in ((_LABELS, labels), (_HEADERS, headers)) if text
    )


def _read(field: Field) -> str:
    """The expression that reads a field of a template."""
    if field.of_template:
        return f"template.{field.of_template}"
    (column,) = field.columns
    return f"template.terms[{TERMS.index(column)}]"


def _compiled() -> Callable[[LeaseTemplate, UUID], bytes]:
    """Makes the function that serializes the fields that leases of a template share.

    Their jobs were made in the same millisecond.
    """
    common = ", ".join(map(_read, _COMMON))
    texts = ", ".join(f"{field.name}={_read(field)}" for field in _TEXTS)
    made: Callable[[LeaseTemplate, UUID], bytes] = eval(
        f"lambda template, job_id: alike({common}) + beside({texts}) + created(job_id.int >> 80)",
        {"alike": _alike, "beside": _beside, "created": _created},
    )
    return made


_in_common = _compiled()


def _compiled_length() -> Callable[[Sequence[Any]], int]:
    lengths = [f"len(terms[{number}] or '')" for number, column in enumerate(TERMS) if column.type in LONG]
    made: Callable[[Sequence[Any]], int] = eval(f"lambda terms: {' + '.join(lengths)}")
    return made


#: The characters and octets of the long values in `LeaseTemplate.terms`.
length_of_terms = _compiled_length()


def leased_job(lease: Lease, *, as_value: bool) -> lease_pb2.LeasedJob:
    """The message of a lease that was just delivered."""
    message = lease_pb2.LeasedJob.FromString(_in_common(lease.template, lease.job_id))
    message.lease_id, message.id = lease.lease_id, str(lease.job_id)
    if lease.checkpoint:
        message.checkpoint = lease.checkpoint
    if lease.key:
        message.key = lease.key
    if not (as_value and filled(message.payload, lease.payload)):
        message.payload_json = lease.payload
    return message


@lru_cache(maxsize=256)
def _decoded(text: str | bytes) -> dict[str, str]:
    """Reads a JSON object of strings. Cached, because the jobs of a batch mostly have the same one."""
    decoded: dict[str, str] = from_json(text, cache_strings="keys")
    return decoded
