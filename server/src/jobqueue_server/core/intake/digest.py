"""What an idempotency key stands for, as digests; and whether a payload is JSON that everybody can read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from math import inf, isfinite, nan
from typing import Any

from pydantic_core import from_json

from ...errors import FieldInvalid
from ...fields import FIELDS, Type, required, unset
from ...model import NewJob, Unique

DIGEST_BYTES = 16
OWNER_BYTES = 8
MAX_DEPTH = 100
# A double ends at 1.8e308, and with it the readers of most languages; integers have their digits kept up to here.
MAX_INTEGER_DIGITS = 308

_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def key_digest(namespace: int, key: str) -> bytes:
    """The 16 bytes under which a key is kept: a key of 10 kB would overflow a row of the index.

    In SQL: `substring(sha256(convert_to(namespace || ':' || key, 'UTF8')) for 16)`.
    """
    return sha256(f"{namespace}:{key}".encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]


def lane_key_digest(namespace: int, queue: str, kind: str, key: str) -> bytes:
    """The 16 bytes under which a key is kept for one queue and kind, where another principal has it already.

    It is the digest of no key of `key_digest`, as no namespace has a slash in its number.
    """
    said = f"{namespace}/{queue}/{kind}:{key}"
    return sha256(said.encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]


@lru_cache(maxsize=10_000)
def owner_digest(principal: str) -> bytes:
    """The 8 bytes that tell the principal of one key from that of another: its name may have 500 characters."""
    return sha256(principal.encode("utf-8", "surrogatepass")).digest()[:OWNER_BYTES]


def name_digest(namespace: int, new: NewJob, unique: Unique) -> bytes:
    """The 16 bytes under which the name of a job is kept. Payloads are compared as in `request_digest`.

    The form is kept for ever, as names live across upgrades.
    """
    scope = unique.scope
    where = [new.queue if scope.of_queue else None, new.kind if scope.of_kind else None]
    if unique.key is not None:
        what: list[object] = ["key", unique.key]
    else:
        payload = _decode_keeping_numbers(new.payload.decode())
        if unique.payload_fields:
            what = ["parts", [[pointer, *_part(payload, pointer)] for pointer in unique.payload_fields]]
        else:
            what = ["payload", payload]
    said = _encode_sorted([namespace, *where, *what])
    return sha256(said.encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]


def _part(value: Any, pointer: str) -> list[object]:
    """The part of a JSON value that a pointer (RFC 6901) names, in a list; an empty list if there is none."""
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if type(value) is dict and step in value:
            value = value[step]
        elif type(value) is list and _is_index(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return []
    return [value]


_is_index = re.compile(r"0|[1-9][0-9]{0,8}").fullmatch


def request_digest(new: NewJob) -> bytes:
    """The 16 bytes that tell whether two requests ask for the same job.

    Covers every field of `fields.py` that is digested and differs from its default, the payload as JSON with sorted
    keys and with its numbers as they were written, and the delay as sent; not the key and not the headers. So it is
    the same over both transports, however the payload was spaced, and a field that a later version adds changes
    nothing while it is unset. The form is kept for ever (tests hold it with fixed vectors): keys live across upgrades.
    About 6 us for a payload of 128 B.

    Args:
        new: Its payload has passed `check_json`.
    """
    said = _said_of(new)
    said["payload"] = _decode_keeping_numbers(new.payload.decode())
    return sha256(_encode_sorted(said).encode()).digest()[:DIGEST_BYTES]


# How a value is written, as Python.
_WRITTEN = {
    Type.TEXT: "{}",
    Type.NUMBER: "{}",
    Type.MOMENT: "({} - EPOCH) // MICROSECOND",
    Type.SPAN: "{} // MICROSECOND",
    Type.RETRY_POLICY: "[{0}.min_backoff // MICROSECOND, {0}.max_backoff // MICROSECOND]",
    Type.TEXTS: "dict({})",
    Type.HOLD: "True",
    Type.UNIQUE: "{}.said",
}


def _compiled() -> Callable[[NewJob], dict[str, object]]:
    """Makes the function that answers what a job says beside its payload.

    Its text is made of the list of fields, as dataclasses make theirs: a loop over the list takes 1 us more, of 6.
    """
    lines = ["def said_of(new):", "    said = {}"]
    names: dict[str, Any] = {"EPOCH": _EPOCH, "MICROSECOND": _MICROSECOND}
    for field in FIELDS:
        if not field.digested or field.type is Type.JSON:
            continue
        value, indent = f"new.{field.name}", "    "
        if not required(field.name):
            nothing = names[f"no_{field.name}"] = unset(field.name)
            differs = " is not None" if nothing is None else f" != no_{field.name}" if nothing else ""
            lines.append(f"    if {value}{differs}:")
            indent += "    "
        lines.append(f"{indent}said[{field.name!r}] = {_WRITTEN[field.type].format(value)}")
    exec("\n".join([*lines, "    return said"]), names)
    made: Callable[[NewJob], dict[str, object]] = names["said_of"]
    return made


_said_of = _compiled()


def _number(token: str) -> tuple[float, str]:
    # Written as [NaN,"7"], which no JSON text holds, so that 7 and "7" differ, and 1.0 and 1 too.
    return (nan, token)


_decode_keeping_numbers = json.JSONDecoder(parse_int=_number, parse_float=_number).decode
_encode_sorted = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode


class _Refused(Exception):
    """A rule of ours that JSON itself does not have."""


class _KeyRepeated(Exception):
    """A key stands twice in one object; the decoder does not say where."""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _KeyRepeated
    return made


def _integer(token: str) -> str:
    if len(token.lstrip("-")) > MAX_INTEGER_DIGITS:
        raise _Refused(f"an integer has more than {MAX_INTEGER_DIGITS} digits; send it as a string")
    return token


def _real(token: str) -> str:
    if float(token) in (inf, -inf):
        raise _Refused(f"the number {token[:40]} is beyond the range of a double; send it as a string")
    return token


def _constant(token: str) -> object:
    raise _Refused(f"{token} is not JSON; send null or a string")


_decode_strictly = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_real, parse_constant=_constant
).decode


def check_json(payload: bytes, path: str) -> None:
    r"""Checks that the bytes are JSON text (RFC 8259, UTF-8, no byte order mark) which every reader takes alike.

    Refused beside what is no JSON: NaN and Infinity, a key that stands twice in one object, nesting beyond 100 levels,
    half of a surrogate pair, and numbers beyond the range of a double. `\u0000` is allowed: the payload is stored as
    the bytes that were sent, never as jsonb. About 1 us for a flat payload of 128 B, 4 us where `is_simple_json` leaves
    it to the rules one by one.

    Raises:
        FieldInvalid: At `path`, with what is wrong and where.
    """
    if is_simple_json(payload):
        return
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise FieldInvalid.of(path, f"is not UTF-8: {error.reason} at byte {error.start}") from None
    try:
        value = _decode_strictly(text)
    except json.JSONDecodeError as error:
        words = (error.msg[:1].lower() + error.msg[1:]).removesuffix(" at")
        raise FieldInvalid.of(path, f"is not JSON: {words} at {_place(text, error.pos)}") from None
    except _Refused as refused:
        raise FieldInvalid.of(path, str(refused)) from None
    except _KeyRepeated:
        key, position = _repeated_key(text)
        words = (
            f"the key {json.dumps(key[:100])} stands twice in one object, again at {_place(text, position)}"
        )
        raise FieldInvalid.of(path, words) from None
    except RecursionError:
        raise FieldInvalid.of(path, f"is nested deeper than {MAX_DEPTH} levels") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _deeper_than(MAX_DEPTH, text):
        raise FieldInvalid.of(path, f"is nested deeper than {MAX_DEPTH} levels")
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            place = _place(text, _lone_surrogate(text))
            raise FieldInvalid.of(path, f"holds half of a surrogate pair at {place}") from None


def is_simple_json(payload: bytes) -> bool:
    """Whether the payload surely passes every rule. False says nothing: the rules are then held one by one.

    The parser, which is ten times as fast as Python's own, takes keys that stand twice; but then there are more
    quotation marks than the keys and strings that it answers account for.
    """
    if b"\\" in payload:
        return False  # an escape may be a quotation mark, or half of a surrogate pair
    try:
        strings = _strings(from_json(payload, allow_inf_nan=False, cache_strings=False), MAX_DEPTH)
    except (ValueError, OverflowError):
        return False
    return payload.count(b'"') == 2 * strings


def _strings(value: Any, levels: int) -> int:
    """How many keys and strings a value holds.

    Raises:
        OverflowError: It is nested deeper than that many levels, or holds a number that every rule must look at.
    """
    kind = type(value)
    if kind is str:
        return 1
    if kind is dict or kind is list:
        if levels == 0:
            raise OverflowError
        count, inner = (len(value), value.values()) if kind is dict else (0, value)
        for item in inner:
            count += 1 if type(item) is str else _strings(item, levels - 1)
        return count
    if (kind is int and not -_SURE_INTEGER < value < _SURE_INTEGER) or (
        kind is float and not isfinite(value)
    ):
        raise OverflowError
    return 0


_SURE_INTEGER = 1 << 63


def _place(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    return f"line {line} column {position - text.rfind(chr(10), 0, position)}"


_OTHER_THAN_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[^][{}"]+')


def _deeper_than(levels: int, text: str) -> bool:
    """Whether well-formed JSON is nested deeper: its brackets alone, peeled from inside, a level each turn."""
    brackets = _OTHER_THAN_BRACKETS.sub("", text).replace("{", "[").replace("}", "]")
    for _ in range(levels):
        if not brackets:
            return False
        brackets = brackets.replace("[]", "")
    return bool(brackets)


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][{},:]')


def _repeated_key(text: str) -> tuple[str, int]:
    """The first key that its object already has, and where, in a text that is well-formed at least up to there."""
    objects: list[set[str] | None] = []
    string, start = '""', 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark[0] == '"':
            string, start = mark, token.start()
        elif mark == "{":
            objects.append(set())
        elif mark == "[":
            objects.append(None)
        elif mark in "}]":
            objects.pop()
        elif mark == ":" and (keys := objects[-1]) is not None:
            key = json.loads(string)
            if key in keys:
                return key, start
            keys.add(key)
    return "", 0


_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)")


def _lone_surrogate(text: str) -> int:
    """Where the first escape of a surrogate stands that is not one of a pair."""
    high: re.Match[str] | None = None
    for escape in _ESCAPE.finditer(text):
        code = int(escape[1], 16) if escape[1] else 0
        if high is not None and not (0xDC00 <= code <= 0xDFFF and escape.start() == high.end()):
            return high.start()
        if high is None and 0xDC00 <= code <= 0xDFFF:
            return escape.start()
        high = escape if 0xD800 <= code <= 0xDBFF else None
    return high.start() if high is not None else 0
