"""Reads scalars in JSON and in URLs, by ProtoJSON's strict grammar, except for booleans in URLs.

A JSON token is a `str`, `Number`, `bool`, None, `list` or `dict`, as `tokens` reads it. A text comes from a path or a
query. Readers of both raise `Problem` without a path; their callers add it.
"""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from .errors import Problem, nearest, shown
from .fields import enum_of

Reader = Callable[[Any], Any]

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_PLAIN_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_BASE64 = re.compile(r"([A-Za-z0-9+/]*|[A-Za-z0-9_-]*)(={0,2})")
# Google's client library for Python writes booleans in paths as Python does; others send numbers.
_BOOLEAN_TEXTS = {"true": True, "True": True, "1": True, "false": False, "False": False, "0": False}
_SPECIAL_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

_F = FieldDescriptor
_RANGES = {
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32), ("int32", -(2**31), 2**31 - 1)),
    **dict.fromkeys((_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64), ("int64", -(2**63), 2**63 - 1)),
    **dict.fromkeys((_F.TYPE_UINT32, _F.TYPE_FIXED32), ("uint32", 0, 2**32 - 1)),
    **dict.fromkeys((_F.TYPE_UINT64, _F.TYPE_FIXED64), ("uint64", 0, 2**64 - 1)),
}


class Number(str):
    """A number of a JSON text, kept as text until its type is known."""

    __slots__ = ()


def token_reader(field: FieldDescriptor, any_case: bool) -> Reader:
    """The converter from a JSON token to a value of the field's scalar type (an item, if it is repeated)."""
    return _reader(field, any_case, text=False)


def text_reader(field: FieldDescriptor, any_case: bool) -> Reader:
    """The converter from a text of a path or query to a value of the field's scalar type (an item, if repeated)."""
    return _reader(field, any_case, text=True)


def key_reader(field: FieldDescriptor, any_case: bool) -> Reader:
    """The converter from a key of a JSON object to a key of a map."""
    return boolean_key if field.type == _F.TYPE_BOOL else text_reader(field, any_case)


def _reader(field: FieldDescriptor, any_case: bool, text: bool) -> Reader:
    kind = field.type
    if kind in _RANGES:
        name, low, high = _RANGES[kind]
        return lambda token: integer(token, name, low, high)
    if kind == _F.TYPE_STRING:
        return string
    if kind == _F.TYPE_BOOL:
        return boolean_text if text else boolean
    if kind == _F.TYPE_DOUBLE:
        return double
    if kind == _F.TYPE_FLOAT:
        return single
    if kind == _F.TYPE_BYTES:
        return base64_bytes
    return _Enum(enum_of(field), any_case, text).read


def integer(token: Any, name: str, low: int, high: int) -> int:
    """An integer, as a number or as a string. `1e3` and `5.0` are integers too."""
    if not isinstance(token, str):
        raise Problem(f"must be an {name}; it is {described(token)}")
    if _PLAIN_INTEGER.fullmatch(token):
        value = int(token)
    else:
        value = _integral(token, name)
    if not low <= value <= high:
        raise Problem(f"must be an {name}, from {low} to {high}; it is {described(token)}")
    return value


def _integral(token: str, name: str) -> int:
    if not _NUMBER.fullmatch(token):
        raise Problem(f"must be an {name}; it is {described(token)}")
    try:
        number = Decimal(token)
    except InvalidOperation:
        number = Decimal("Infinity")
    # The exponent is checked first: 1e999999999 would not fit into memory as an integer.
    if not number.is_finite() or number.adjusted() > 20:
        if number == 0:
            return 0
        raise Problem(f"is out of the range of any {name}: {described(token)}")
    value = int(number)
    if value != number:
        raise Problem(f"must be an {name} without a fraction; it is {described(token)}")
    return value


def double(token: Any) -> float:
    """A finite number, or "NaN", "Infinity" or "-Infinity" as a string."""
    if not isinstance(token, str):
        raise Problem(f"must be a number; it is {described(token)}")
    if not _NUMBER.fullmatch(token):
        special = _SPECIAL_FLOATS.get(token)
        if special is None:
            raise Problem(f'must be a number, "NaN", "Infinity" or "-Infinity"; it is {described(token)}')
        return special
    value = float(token)
    if math.isinf(value):
        raise Problem(f"is out of the range of a double: {described(token)}")
    return value


def single(token: Any) -> float:
    """The same as `double`, within the range of a float."""
    value = double(token)
    if math.isfinite(value):
        try:
            struct.pack("<f", value)
        except OverflowError:
            raise Problem(f"is out of the range of a float: {described(token)}") from None
    return value


def boolean(token: Any) -> bool:
    """A JSON true or false."""
    if token is True or token is False:
        return bool(token)
    raise Problem(f"must be true or false; it is {described(token)}")


def boolean_key(text: str) -> bool:
    """The word true or false, in lower case."""
    if text in ("true", "false"):
        return text == "true"
    raise Problem(f"must be true or false; it is {shown(text)}")


def boolean_text(text: str) -> bool:
    """The word true or false, also with a capital, or 1 or 0."""
    value = _BOOLEAN_TEXTS.get(text)
    if value is None:
        raise Problem(f"must be true or false; it is {shown(text)}")
    return value


def string(token: Any) -> str:
    """A JSON string. A lone surrogate is refused, because UTF-8 can't encode it."""
    if not isinstance(token, str) or isinstance(token, Number):
        raise Problem(f"must be a string; it is {described(token)}")
    if not token.isascii():
        try:
            token.encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(token[error.start]):04x}"
            raise Problem(f"must be Unicode text; it has half of a surrogate pair, {half}") from None
    return token


def base64_bytes(token: Any) -> bytes:
    """Base64 of the standard or the URL alphabet, padded or not, without other characters."""
    if not isinstance(token, str) or isinstance(token, Number):
        raise Problem(f"must be a string of base64; it is {described(token)}")
    parts = _BASE64.fullmatch(token)
    if parts is None:
        raise Problem(f"must be base64, with A-Z a-z 0-9 + / or A-Z a-z 0-9 - _; it is {shown(token)}")
    digits, padding = parts.groups()
    if len(digits) % 4 == 1 or (padding and len(digits + padding) % 4):
        raise Problem(f"must be whole base64, padded or not; it is {shown(token)}")
    return base64.b64decode(
        digits + "=" * (-len(digits) % 4), altchars=b"-_" if {"-", "_"} & set(digits) else None
    )


class _Enum:
    """Reads values of an enum: names, exactly or in any case, and numbers."""

    def __init__(self, enum: EnumDescriptor, any_case: bool, text: bool) -> None:
        self.enum = enum
        self.text = text
        self.exact: dict[str, int] = {name: value.number for name, value in enum.values_by_name.items()}
        self.folded: dict[str, int] = {}
        if any_case:
            folded: dict[str, set[int]] = {}
            for name, number in self.exact.items():
                folded.setdefault(name.upper(), set()).add(number)
            # Names that differ only in case must be written exactly.
            self.folded = {name: numbers.pop() for name, numbers in folded.items() if len(numbers) == 1}

    def read(self, token: Any) -> int:
        if isinstance(token, str):
            number = self.exact.get(token)
            if number is None and token.isascii():
                number = self.folded.get(token.upper())
            if number is not None:
                return number
            if isinstance(token, Number) or (self.text and _NUMBER.fullmatch(token)):
                return self.number(token)
            raise Problem(f"{shown(token)} is not a {self.enum.name}{nearest(token, self.exact)}")
        raise Problem(f"must be the name of a {self.enum.name}; it is {described(token)}")

    def number(self, token: str) -> int:
        number = integer(token, "int32", -(2**31), 2**31 - 1)
        if self.enum.is_closed and number not in self.enum.values_by_number:
            raise Problem(f"{number} is not a {self.enum.name}")
        return number


def described(token: Any) -> str:
    """A token for a message."""
    if token is None:
        return "null"
    if isinstance(token, bool):
        return "true" if token else "false"
    if isinstance(token, Number):
        return token if len(token) <= 40 else token[:40] + "…"
    if isinstance(token, str):
        return "the string " + shown(token)
    return "an object" if isinstance(token, dict) else "a list"
