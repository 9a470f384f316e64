"""Converts JSON text to `google.protobuf.Value` and back, and keeps as much of the text as a Value can hold."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

from google.protobuf.struct_pb2 import NULL_VALUE, Value

# Above it two integers may be the same double, so a double is not written as an integer.
_LARGEST_INTEGER = 2**53
# Runtimes refuse messages nested deeper than 100 when they read or write them. The answer around a Value takes up to 6.
_MAX_NESTING = 90


class ValueInvalid(Exception):
    """The Value is not a JSON value. The text says what would be right."""


class TooDeep(Exception):
    """The JSON text is nested deeper than a message may be."""


def text_of(value: Value) -> bytes:
    """The JSON text of a Value: keys in order, whole numbers up to 2^53 as integers.

    Raises:
        ValueInvalid: The Value has a number that JSON can't express, or a Value without a kind.
    """
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _plain(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    match kind:
        case "string_value" | "bool_value":
            return getattr(value, kind)
        case "number_value":
            return _number(value.number_value)
        case "struct_value":
            return {name: _plain(item) for name, item in value.struct_value.fields.items()}
        case "list_value":
            return [_plain(item) for item in value.list_value.values]
        case "null_value":
            return None
    raise ValueInvalid("must be a JSON value; a google.protobuf.Value in it has no kind set")


def _number(number: float) -> int | float:
    if not math.isfinite(number):
        raise ValueInvalid(f"must have finite numbers; JSON can't express {number}")
    if number.is_integer() and abs(number) <= _LARGEST_INTEGER:
        return int(number)
    return number


def fill(value: Value, text: bytes) -> None:
    """Sets a Value from JSON text. A number above the largest double becomes the largest double.

    Raises:
        TooDeep: The text is nested deeper than a message may be. `value` is then partly filled.
    """
    try:
        # int() refuses more than 4,300 digits, and all numbers become doubles in any case.
        _fill(value, json.loads(text, parse_int=float), _MAX_NESTING)
    except RecursionError:
        raise TooDeep from None


def _fill(value: Value, plain: Any, room: int) -> None:
    if room <= 0:
        raise TooDeep
    if plain is None:
        value.null_value = NULL_VALUE
    elif isinstance(plain, str):
        value.string_value = plain
    elif isinstance(plain, bool):
        value.bool_value = plain
    elif isinstance(plain, float):
        value.number_value = min(max(plain, -sys.float_info.max), sys.float_info.max)
    elif isinstance(plain, dict):
        value.struct_value.SetInParent()
        for name, item in plain.items():
            # A map entry is a message too.
            _fill(value.struct_value.fields[name], item, room - 3)
    else:
        value.list_value.SetInParent()
        for item in plain:
            _fill(value.list_value.values.add(), item, room - 2)
