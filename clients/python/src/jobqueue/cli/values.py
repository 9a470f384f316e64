"""What people write on a command line, as Python values: durations, times, `k=v`, payloads."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from jobqueue import OnConflict, Rate, Unique, UniqueField, UniqueScope, Until

from .exits import Refused

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_WHOLE = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)


def duration(text: str, where: str) -> timedelta:
    """`1500ms`, `30s`, `5m`, `1h30m` or `2d` as a timedelta."""
    if not _WHOLE.fullmatch(text):
        raise Refused(
            f"{text!r} should be a number with a unit, such as 1500ms, 30s, 5m, 1h30m or 2d", where=where
        )
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)))
    except OverflowError:
        raise Refused(f"{text!r} is longer than time itself", where=where) from None


_RATE = re.compile(r"(\d{1,9})/(?:(\d+(?:\.\d+)?))?(ms|s|sec|m|min|h|hour|d|day)", re.ASCII)
_RATE_UNITS = {**_UNITS, "sec": 1, "min": 60, "hour": 3600, "day": 86_400}


def rate(text: str, burst: int | None, where: str) -> Rate:
    """`10/min`, `5/s` or `100/15m` as a rate."""
    parts = _RATE.fullmatch(text)
    if parts is None:
        raise Refused(f"{text!r} should be starts in a time, such as 10/min, 5/s or 100/15m", where=where)
    count, number, unit = parts.groups()
    period = timedelta(seconds=float(number or 1) * _RATE_UNITS[unit])
    return Rate(int(count), period, burst=burst or 0)


def optional_duration(text: str | None, where: str) -> timedelta | None:
    """As `duration`, of an option that may be left out."""
    return None if text is None else duration(text, where)


T = TypeVar("T")
_Choice = TypeVar("_Choice", bound=StrEnum)
_CHOICES: dict[str, type[StrEnum]] = {"scope": UniqueScope, "until": Until, "on_conflict": OnConflict}


def unique(
    place: Callable[[str], str], fields: Sequence[str] = (), replace: Sequence[str] = (), **given: str | None
) -> Unique:
    """The name of a job's work, of texts as people write them.

    Args:
        place: What to call an attribute of `Unique` in an error.
        fields: Its `payload_fields`.
        replace: Its `replace`.
        given: Its other attributes; None where one is left out.
    """
    values: dict[str, Any] = {}
    for name, text in given.items():
        if text is None:
            continue
        if name in ("period", "max_delay"):
            values[name] = duration(text, place(name))
        elif name in _CHOICES:
            values[name] = _choice(_CHOICES[name], text, place(name))
        else:
            values[name] = text
    changed = tuple(_choice(UniqueField, each, place("replace")) for each in replace)
    return Unique(payload_fields=tuple(fields), replace=changed, **values)


def _choice(choices: type[_Choice], text: str, where: str) -> _Choice:
    """A member of an enum by its name."""
    if text.upper() not in choices.__members__:
        raise Refused(f"{text!r} should be one of {', '.join(choices.__members__)}", where=where)
    return choices[text.upper()]


def moment(text: str | None, where: str) -> datetime | None:
    """An ISO 8601 time as a datetime; without a zone it is this machine's local time."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise Refused(
            f"{text!r} should be a time such as 2030-01-31T18:00:00Z, or 2030-01-31T18:00 in local time",
            where=where,
        ) from None


def moment_or_ago(text: str | None, where: str) -> datetime | None:
    """A time, or a duration: so long ago."""
    if text is None:
        return None
    try:
        return datetime.now(UTC) - duration(text, where)
    except Refused:
        return moment(text, where)


def choice(choices: Mapping[str, T], text: str, where: str) -> T:
    """What a word stands for."""
    if text.lower() not in choices:
        raise Refused(f"{text!r} should be one of {', '.join(choices)}", where=where)
    return choices[text.lower()]


def pairs(texts: Iterable[str], where: str) -> dict[str, str]:
    """`k=v` of an option that may be given several times."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Refused(f"{text!r} should be name=value", where=where)
        if name in found:
            raise Refused(f"{name} is given twice", where=where)
        found[name] = value
    return found


def payload(text: str | None) -> bytes:
    """The payload as it is to be sent: the JSON text as given, from `-` (stdin) or `@file` where these are named.

    It is looked at here only to say early and well what is wrong with it; not a byte is changed.
    """
    if text is None:
        return b"null"
    where = "payload"
    if text == "-":
        raw, where = sys.stdin.buffer.read(), "payload from stdin"
    elif text.startswith("@"):
        raw, where = file(text[1:], where="payload"), f"payload in {text[1:]}"
    else:
        raw = text.encode("utf-8", "surrogateescape")
    check_json(
        raw,
        where,
        hint='in a shell, put it into single quotes: \'{"name": "Ada"}\'' if where == "payload" else "",
    )
    return raw


def file(path: str, *, where: str) -> bytes:
    """The bytes of a file."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Refused(f"{path} can't be read: {error.strerror}", where=where) from None


def check_json(raw: bytes, where: str, *, hint: str = "") -> Any:
    """The value of a JSON text, with numbers as text, so that none is too large.

    Raises:
        Refused: It is no JSON; says where it stops to be.
    """
    try:
        return json.loads(raw.decode("utf-8"), parse_int=str, parse_float=str, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise Refused(f"is not UTF-8: byte {error.start + 1}", where=where) from None
    except json.JSONDecodeError as error:
        tip = f"; {hint}" if hint else ""
        raise Refused(
            f"is no JSON: {error.msg} (line {error.lineno}, column {error.colno}){tip}", where=where
        ) from None
    except ValueError as error:
        raise Refused(f"is no JSON: {error}", where=where) from None
    except RecursionError:
        raise Refused("is nested too deeply", where=where) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
