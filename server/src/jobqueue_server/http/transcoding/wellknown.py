"""Reads the messages of google.protobuf that are strings in JSON (Timestamp, Duration, FieldMask), and the wrappers."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from .errors import Problem, shown
from .scalars import Number, described, text_reader, token_reader

# Fills a message from a JSON token, or from a text of a query.
Filler = Callable[[Any, Any], None]

_WRAPPERS = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
_DURATION = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s")
_MASK_PATH = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)*")
_UPPER = re.compile(r"[A-Z]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_LONGEST_SECONDS = 315_576_000_000


def filler(descriptor: Descriptor, any_case: bool, text: bool) -> Filler | None:
    """The function that fills a message of one of these types; None for other types.

    Args:
        descriptor: The type of the message.
        any_case: Whether names of enums may be in any case.
        text: Whether to fill from a text of a query; otherwise from a JSON token.
    """
    known = _FILLERS.get(descriptor.full_name)
    if known is not None:
        return known
    if descriptor.full_name in _WRAPPERS:
        return _wrapper(descriptor.fields_by_name["value"], any_case, text)
    return None


def _wrapper(field: FieldDescriptor, any_case: bool, text: bool) -> Filler:
    read = (text_reader if text else token_reader)(field, any_case)

    def fill(message: Any, token: Any) -> None:
        message.value = read(token)
        message.SetInParent()

    return fill


def _timestamp(message: Any, token: Any) -> None:
    text = _text(token, "a timestamp as 2006-01-02T15:04:05Z")
    parts = _TIMESTAMP.fullmatch(text)
    if parts is None:
        hint = "; a plus in a query is written %2B" if re.search(r" [0-9]{2}:[0-9]{2}$", text) else ""
        raise Problem(f"must be a timestamp such as 2006-01-02T15:04:05Z; it is {shown(text)}{hint}")
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = parts.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC)
        if sign:
            if int(hours) > 23 or int(minutes) > 59:
                raise ValueError("the offset must be within 23:59")
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            moment = moment - offset if sign == "+" else moment + offset
    except (ValueError, OverflowError) as error:
        raise Problem(f"is not a time from the year 1 to 9999: {shown(text)} ({error})") from None
    if not _FIRST <= moment <= _LAST:
        raise Problem(f"is not a time from the year 1 to 9999: {shown(text)}")
    message.seconds = (moment - _EPOCH) // _SECOND
    message.nanos = _nanos(fraction)
    message.SetInParent()


def _duration(message: Any, token: Any) -> None:
    text = _text(token, "a duration in seconds, as 1.5s")
    parts = _DURATION.fullmatch(text)
    if parts is None:
        raise Problem(f"must be a duration in seconds, such as 1.5s; it is {shown(text)}")
    minus, seconds, fraction = parts.groups()
    sign = -1 if minus else 1
    whole, nanos = int(seconds), _nanos(fraction)
    if whole > _LONGEST_SECONDS or (whole == _LONGEST_SECONDS and nanos):
        raise Problem(f"must be within 315576000000s, which is 10,000 years; it is {shown(text)}")
    message.seconds = sign * whole
    message.nanos = sign * nanos
    message.SetInParent()


def _field_mask(message: Any, token: Any) -> None:
    """Paths may have both spellings, as names of fields in a body do: errors name fields as the proto does."""
    text = _text(token, "a field mask: paths of fields, joined by commas")
    paths = text.split(",") if text else []
    for path in paths:
        if not _MASK_PATH.fullmatch(path):
            raise Problem(f"must be paths of fields, joined by commas; {shown(path)} is none")
    message.paths.extend(_UPPER.sub(lambda letter: "_" + letter[0].lower(), path) for path in paths)
    message.SetInParent()


def _text(token: Any, what: str) -> str:
    if not isinstance(token, str) or isinstance(token, Number):
        raise Problem(f"must be {what}; it is {described(token)}")
    return token


def _nanos(fraction: str | None) -> int:
    return int(fraction.ljust(9, "0")) if fraction else 0


_FILLERS: dict[str, Filler] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
    "google.protobuf.FieldMask": _field_mask,
}
