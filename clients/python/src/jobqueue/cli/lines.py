"""Jobs from NDJSON: a job a line, as REST takes it, the payload's text untouched."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any, get_args, get_origin, get_type_hints

from jobqueue import NewJob, RetryPolicy, Unique

from . import values
from .exits import Refused

# Numbers as text: an integer of any length is found the end of.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)
_SPACE = re.compile(r"[ \t\r\n]*")


def job_of(raw: bytes, where: str, *, default_key: str | None) -> NewJob:
    """The job of a line.

    Args:
        raw: The line, a JSON object such as `{"kind": "send_email", "payload": {...}, "delay": "5m"}`.
        where: How to call the line in an error.
        default_key: Its idempotency key, if the line has none.

    Raises:
        Refused: The line is no job; says which field is wrong.
    """
    document = values.check_json(raw, where)
    if not isinstance(document, dict):
        raise Refused('should be an object such as {"kind": "send_email", "payload": {}}', where=where)
    members = list(_members(raw.decode("utf-8")))
    given = dict(members)
    if len(given) != len(members):
        raise Refused("names a field twice", where=where)
    known: dict[str, Any] = {}
    for name, text in given.items():
        if name not in _FIELDS:
            near = get_close_matches(name, _FIELDS, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(_FIELDS)}"
            raise Refused(f"there is no field {name}{hint}", where=where)
        target, convert = _FIELDS[name]
        if text != "null" or name == "payload":
            known[target] = convert(text, f"{where}: {name}")
    if "kind" not in known:
        raise Refused("has no kind", where=where)
    known.setdefault("idempotency_key", default_key)
    known.setdefault("payload_json", b"null")
    return NewJob(known.pop("kind"), **known)


def _members(text: str) -> Iterator[tuple[str, str]]:
    """Names and texts of the members of an object that is known to be valid JSON."""
    at = _skip(text, text.index("{") + 1)
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, at)
        begin = _skip(text, text.index(":", at) + 1)
        end = _DECODER.raw_decode(text, begin)[1]
        yield name, text[begin:end]
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found is not None else at


def _text(text: str, where: str) -> str:
    value = json.loads(text)
    if not isinstance(value, str):
        raise Refused(f"should be a text, not {text[:40]}", where=where)
    return value


def _whole(text: str, where: str) -> int:
    if not text.removeprefix("-").isdecimal() or len(text) > 10:
        raise Refused(f"should be a whole number, not {text[:40]}", where=where)
    return int(text)


def _flag(text: str, where: str) -> bool:
    if text not in ("true", "false"):
        raise Refused(f"should be true or false, not {text[:40]}", where=where)
    return text == "true"


def _texts(text: str, where: str) -> dict[str, str]:
    value = json.loads(text)
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise Refused(
            f'should be an object of texts such as {{"customer": "42"}}, not {text[:40]}', where=where
        )
    return value


def _policy(text: str, where: str) -> RetryPolicy:
    value = _texts(text, where)
    if unknown := value.keys() - {"min_backoff", "max_backoff"}:
        raise Refused(f"has no field {min(unknown)}; there are min_backoff and max_backoff", where=where)
    return RetryPolicy(**{name: values.duration(each, f"{where}.{name}") for name, each in value.items()})


_LISTS = {"payload_fields": "/user/id", "replace": "PAYLOAD"}


def _unique(text: str, where: str) -> Unique:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise Refused(f'should be an object such as {{"key": "user-7"}}, not {text[:40]}', where=where)
    names = [each.name for each in fields(Unique)]
    if unknown := value.keys() - set(names):
        raise Refused(f"has no field {min(unknown)}; there are {', '.join(names)}", where=where)
    for name, example in _LISTS.items():
        some = value.get(name, [])
        if not isinstance(some, list) or not all(isinstance(each, str) for each in some):
            raise Refused(f"should be a list of texts such as {example}", where=f"{where}.{name}")
    texts = {name: each for name, each in value.items() if name not in _LISTS}
    for name, each in texts.items():
        if not isinstance(each, str):
            raise Refused(f"should be a text, not {json.dumps(each)[:40]}", where=f"{where}.{name}")
    pointers, replace = (value.get(name, []) for name in _LISTS)
    return values.unique(lambda name: f"{where}.{name}", pointers, replace, **texts)


# How the text of a field becomes a value of its type.
_CONVERT: dict[type, Callable[[str, str], Any]] = {
    str: _text,
    int: _whole,
    bool: _flag,
    datetime: lambda text, where: values.moment(_text(text, where), where),
    timedelta: lambda text, where: values.duration(_text(text, where), where),
    RetryPolicy: _policy,
    Unique: _unique,
    Mapping: _texts,
}


def _converter(hint: Any) -> Callable[[str, str], Any]:
    """By the first that is known of the types that a field may have."""
    types = [get_origin(one) or one for one in (hint, *get_args(hint))]
    return next(_CONVERT[one] for one in types if one in _CONVERT)


_FIELDS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "kind": ("kind", _text),
    "payload": ("payload_json", lambda text, where: text.encode()),
    **{
        name: (name, _converter(hint))
        for name, hint in get_type_hints(NewJob).items()
        if name not in ("kind", "payload", "payload_json", "encodings")
    },
}
