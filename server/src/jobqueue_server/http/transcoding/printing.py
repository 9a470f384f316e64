"""The JSON text of scalars, and of messages with a special form in JSON."""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from .fields import enum_of

_F = FieldDescriptor
_SMALL = (_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32, _F.TYPE_UINT32, _F.TYPE_FIXED32)
# Above it two integers may be the same double, so a double is not written as an integer.
_LARGEST_INTEGER = 2**53
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOWER_AFTER_UNDERSCORE = re.compile(r"_([a-z])")


def scalar_printer(field: FieldDescriptor, enums_as_ints: bool) -> Callable[[Any], str]:
    """The function that writes a value of the field (an item, if the field is repeated)."""
    kind = field.type
    if kind == _F.TYPE_STRING:
        return encode_basestring
    if kind in _SMALL:
        return str
    if kind == _F.TYPE_BOOL:
        return lambda value: "true" if value else "false"
    if kind == _F.TYPE_ENUM:
        if enum_of(field).full_name == "google.protobuf.NullValue":
            return lambda value: "null"
        if enums_as_ints:
            return str
        texts = {number: f'"{value.name}"' for number, value in enum_of(field).values_by_number.items()}
        # A number without a name comes from a newer version. It stays a number, as ProtoJSON says.
        return lambda value: texts.get(value) or str(value)
    if kind == _F.TYPE_DOUBLE:
        return double_text
    if kind == _F.TYPE_FLOAT:
        return single_text
    if kind == _F.TYPE_BYTES:
        return base64_text
    return lambda value: f'"{value}"'


def double_text(value: float) -> str:
    """The shortest text that reads back as the same double. Whole numbers up to 2^53 have no point."""
    if value.is_integer() and abs(value) <= _LARGEST_INTEGER and (value or math.copysign(1, value) > 0):
        return str(int(value))
    return _special(value) or repr(value)


def single_text(value: float) -> str:
    """As `double_text`, but the shortest text that reads back as the same 32 bits."""
    if not math.isfinite(value):
        return _special(value)
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.pack("<f", short) == struct.pack("<f", value):
                return double_text(short)
        except OverflowError:
            # The largest floats, rounded up, would be out of the range of a float.
            continue
    return double_text(float(f"{value:.9g}"))


def base64_text(value: bytes) -> str:
    """Standard base64 with padding, quoted."""
    return f'"{base64.b64encode(value).decode()}"'


def _special(value: float) -> str:
    if math.isnan(value):
        return '"NaN"'
    if math.isinf(value):
        return '"Infinity"' if value > 0 else '"-Infinity"'
    return ""


def _fraction(nanos: int) -> str:
    """The fraction of a second with 0, 3, 6 or 9 digits."""
    if not nanos:
        return ""
    if nanos % 1_000_000 == 0:
        return f".{nanos // 1_000_000:03d}"
    if nanos % 1_000 == 0:
        return f".{nanos // 1_000:06d}"
    return f".{nanos:09d}"


def _timestamp(message: Any) -> str:
    try:
        if not 0 <= message.nanos < 1_000_000_000:
            raise OverflowError("nanos")
        seconds = _seconds_text(message.seconds)
    except OverflowError:
        raise ValueError(
            f"no Timestamp of the years 1 to 9999: {message.seconds} s, {message.nanos} ns"
        ) from None
    return f'"{seconds}{_fraction(message.nanos)}Z"'


@lru_cache(maxsize=4096)
def _seconds_text(seconds: int) -> str:
    # Cached: times of a job and of jobs in a list often have the same second, and this is most of the cost.
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]


def _duration(message: Any) -> str:
    seconds, nanos = message.seconds, message.nanos
    if abs(seconds) > 315_576_000_000 or abs(nanos) >= 1_000_000_000 or seconds * nanos < 0:
        raise ValueError(f"no Duration: {seconds} s, {nanos} ns")
    sign = "-" if seconds < 0 or nanos < 0 else ""
    return f'"{sign}{abs(seconds)}{_fraction(abs(nanos))}s"'


def _field_mask(message: Any) -> str:
    paths = []
    for path in message.paths:
        camel = _LOWER_AFTER_UNDERSCORE.sub(lambda part: part[1].upper(), path)
        if "_" in camel or any(char.isupper() for char in path):
            raise ValueError(f"no path of a FieldMask in JSON: {path!r}")
        paths.append(camel)
    return encode_basestring(",".join(paths))


def _value(message: Any) -> str:
    kind = message.WhichOneof("kind")
    if kind == "string_value":
        return encode_basestring(message.string_value)
    if kind == "number_value":
        if not math.isfinite(message.number_value):
            raise ValueError(f"no number of JSON in a Value: {message.number_value}")
        return double_text(message.number_value)
    if kind == "bool_value":
        return "true" if message.bool_value else "false"
    if kind == "struct_value":
        return _struct(message.struct_value)
    if kind == "list_value":
        return _list(message.list_value)
    return "null"


def _struct(message: Any) -> str:
    fields = message.fields
    return (
        "{" + ",".join([f"{encode_basestring(name)}:{_value(fields[name])}" for name in sorted(fields)]) + "}"
    )


def _list(message: Any) -> str:
    return "[" + ",".join([_value(value) for value in message.values]) + "]"


WELL_KNOWN: dict[str, Callable[[Any], str]] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
    "google.protobuf.FieldMask": _field_mask,
    "google.protobuf.Value": _value,
    "google.protobuf.Struct": _struct,
    "google.protobuf.ListValue": _list,
}
