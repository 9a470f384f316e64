"""Fills Struct, Value and ListValue from JSON tokens. Numbers become doubles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.struct_pb2 import NULL_VALUE

from .errors import Problem
from .scalars import Number, described, double, string


def _struct(message: Any, token: Any) -> None:
    if not isinstance(token, dict):
        raise Problem(f"must be a JSON object; it is {described(token)}")
    message.SetInParent()
    for name, item in token.items():
        try:
            _value(message.fields[string(name)], item)
        except Problem as problem:
            raise problem.under(f"[{name[:60]}]") from None


def _list(message: Any, token: Any) -> None:
    if not isinstance(token, list):
        raise Problem(f"must be a list; it is {described(token)}")
    message.SetInParent()
    for index, item in enumerate(token):
        try:
            _value(message.values.add(), item)
        except Problem as problem:
            raise problem.under(f"[{index}]") from None


def _value(message: Any, token: Any) -> None:
    if token is None:
        message.null_value = NULL_VALUE
    elif isinstance(token, bool):
        message.bool_value = token
    elif isinstance(token, Number):
        message.number_value = double(token)
    elif isinstance(token, str):
        message.string_value = string(token)
    elif isinstance(token, list):
        _list(message.list_value, token)
    else:
        _struct(message.struct_value, token)


STRUCTS: dict[str, Callable[[Any, Any], None]] = {
    "google.protobuf.Struct": _struct,
    "google.protobuf.ListValue": _list,
    "google.protobuf.Value": _value,
}
