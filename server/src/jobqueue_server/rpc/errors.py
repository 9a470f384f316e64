"""Turns errors into gRPC statuses: code, message and details. No other file does."""

from __future__ import annotations

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from ..errors import FieldViolation, JobQueueError

DOMAIN = "jobqueue"
DETAILS_KEY = "grpc-status-details-bin"

#: gRPC's status code for the name of each google.rpc.Code.
CODES: dict[str, grpc.StatusCode] = {code.name: code for code in grpc.StatusCode}

# A peer refuses more than 8 KiB of metadata, and all of a status travels as metadata: the message twice, once
# with every byte that is no printable ASCII, or a percent sign, written as three, the details as base64. So 1 KiB and
# 3 KiB come to less than 8.
_MESSAGE_BYTES = 1 << 10
_DETAILS_BYTES = 3 << 10
_TEXT_BYTES = 512


def code_of(error: JobQueueError) -> grpc.StatusCode:
    """The gRPC code of an error."""
    return CODES.get(error.code, grpc.StatusCode.INTERNAL)


def message_of(error: JobQueueError) -> str:
    """The error's text, cut to the size that fits into metadata."""
    text = error.message
    as_it_is = text.isascii() and text.isprintable() and "%" not in text
    return _cut(text, _MESSAGE_BYTES if as_it_is else _MESSAGE_BYTES // 3)


def status_of(error: JobQueueError) -> Status:
    """The status with its details: ErrorInfo always, BadRequest and RetryInfo if the error has them."""
    status = Status(code=Code.Value(code_of(error).name), message=message_of(error))
    info = ErrorInfo(reason=error.reason, domain=DOMAIN)
    room = _DETAILS_BYTES
    for name, value in error.metadata.items():
        text = _cut(value, _TEXT_BYTES)
        room -= len(name) + len(text.encode()) + 8
        if room >= 0:
            info.metadata[name] = text
    status.details.append(_packed(info))
    if error.violations:
        status.details.append(_packed(_bad_request(error.violations, room)))
    if error.retry_after is not None:
        delay = Duration()
        delay.FromTimedelta(error.retry_after)
        status.details.append(_packed(RetryInfo(retry_delay=delay)))
    return status


def _bad_request(violations: tuple[FieldViolation, ...], room: int) -> BadRequest:
    """As many violations as fit; the last one says how many are left out."""
    found = BadRequest()
    for count, violation in enumerate(violations):
        field = _cut(violation.field, _TEXT_BYTES // 2)
        description = _cut(violation.description, _TEXT_BYTES)
        room -= len(field.encode()) + len(description.encode()) + 8
        if room < 0 and count:
            found.field_violations[-1].description += f" (and {len(violations) - count} more fields)"
            break
        found.field_violations.add(field=field, description=description)
    return found


def _packed(message: ErrorInfo | BadRequest | RetryInfo) -> AnyMessage:
    detail = AnyMessage()
    detail.Pack(message)
    return detail


def _cut(text: str, limit: int) -> str:
    """The text cut to `most` bytes of UTF-8, without half characters and lone surrogates."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode()
    return raw[: limit - 3].decode("utf-8", "ignore") + "..."
