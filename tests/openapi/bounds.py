"""Values at the bounds that a schema states: what is just within each, and what is just beyond."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tools.openapi import limits
from tools.openapi.fields import DURATION, FIELD_MASK, INT64

from .conftest import Document

NAMES = (["a", "9_.-", "a" * 128], ["A", "-a", "a" * 129, "a\n"])
CONTROL = ["a\n", "\x7f", "\x9f"]
TEXTS = (["", "a b é"], CONTROL)
#: Within and beyond, by the pattern. Each pattern of a request is one of these.
PATTERNS: dict[str, tuple[list[str], list[str]]] = {
    limits.NAME["pattern"]: (NAMES[0], ["", *NAMES[1]]),
    limits.NAME_OR_EMPTY["pattern"]: (["", *NAMES[0]], NAMES[1]),
    limits.PAGE_TOKEN["pattern"]: (["a b é\n"], ["\x00"]),
    limits.LABELS["additionalProperties"]["pattern"]: TEXTS,
    limits.LABEL_FILTER["items"]["pattern"]: (
        ["A/b=", "a" * 63 + "=", "a=" + "v" * 255],
        ["a", "=v", "a b=v", "a" * 64 + "=", "a=" + "v" * 256, "a=\t"],
    ),
    limits.LIMITS["RetryJobsRequest.max_jobs"]["pattern"]: (["0", "1", "9" * 18], ["-1", "a", "1.5"]),
    limits.LIMITS["JobFilter.reason"]["items"]["pattern"]: (["A", "A_9", "A" * 63], ["", "a", "A" * 64, "9"]),
    limits.KEY_ID["pattern"]: (
        ["0123456789", "zyxwvtsrqp"],
        ["", "012345678", "01234567890", "A123456789", "i123456789"],
    ),
    limits.IDENTITY_ID["pattern"]: (
        ["1", "9" * 18],
        ["", "0", "01", "-1", "9" * 19, "a"],
    ),
    limits.LIMITS["PutIdentityRequest.pattern"]["pattern"]: (
        ["*", "a", "a*", "spiffe://example.org/ns/prod/mailer", "a b", "\u00e9*"],
        ["**", "*a", "a*b", "a\n", "a\u007f"],
    ),
    limits.PATTERNS["items"]["pattern"]: (
        ["*", "a*", "a.b-*", "a" * 127 + "*", "a" * 128],
        ["", "**", "*a", "a*b", "A*", "-*", "a" * 128 + "*", "a" * 129],
    ),
    limits.LIMITS["ListQueueKeysRequest.order_by"]["pattern"]: (
        ["", "key", "waiting desc"],
        ["waiting", "key desc", "name"],
    ),
    limits.LIMITS["UpdateQueueKeyRequest.update_mask"]["pattern"]: (
        ["", "paused", "paused,maxRunning"],
        ["maxrunning", "paused,", "limit"],
    ),
    INT64["pattern"]: (["0", "-1", "9223372036854775807"], ["1.5", "a", ""]),
    limits.LIMITS["Capacity.bytes"]["pattern"]: (["0", "9223372036854775807"], ["-1", "1.5", "a"]),
    limits.LIMITS["Unique.payload_fields"]["items"]["pattern"]: (
        ["/a", "/a/0", "/", "//", "/~0~1"],
        ["", "a", "a/b", "/~", "/~2", "/\x00"],
    ),
    limits.CRON_LINE: (
        ["@yearly", "*/5 * * * *", "0 30 2 L JAN MON#2"],
        ["", "* * * *", "@reboot", "* * * * * * *"],
    ),
    limits.TIME_ZONE: (["", "Europe/Berlin", "Etc/GMT+7"], ["Europe Berlin", "Z\u00fcrich"]),
    limits.LIMITS["UpdateScheduleRequest.update_mask"]["pattern"]: (
        ["", "spec", "labels,policy.catchUpWindow,job", "policy.catch_up_window"],
        ["policy.catchupwindow", "spec,", "paused", "spec.cron"],
    ),
    limits.LIMITS["PutKindRequest.update_mask"]["pattern"]: (
        ["", "outputSchema", "output_schema", "schema,version,limits.maxRunning"],
        ["outputschema", "schema,", "name", "limits.rate.count"],
    ),
    FIELD_MASK["pattern"]: (
        ["", "keyPolicy", "key_policy", "keyPolicy.maxRunning,keyPolicy.rate"],
        ["-key", "keyPolicy,", "keyPolicy maxRunning"],
    ),
}
#: Of names in maps.
NAME_PATTERNS: dict[str, tuple[list[str], list[str]]] = {
    limits.ANNOTATIONS["propertyNames"]["pattern"]: (["A/b", "a" * 64], ["", "a b", "-a", "a" * 65]),
    limits.LABELS["propertyNames"]["pattern"]: (["A/b", "a" * 63], ["", "a b", "-a", "a" * 64]),
    limits.LIMITS["NewJob.headers"]["propertyNames"]["pattern"]: (["A-b!"], ["", "a b", "é"]),
}
_LEASE = {"job_id": str(uuid4()), "attempt": 1}
#: An element of a list, of which a thousand may stand beside each other, by the list's name.
ELEMENTS: dict[str, Callable[[int], Any]] = {
    "reason": lambda index: f"R{index}",
    "grants": lambda index: {"permissions": ["READ"]},
    "networks": lambda index: f"10.0.0.{index}",
    "queues": lambda index: f"q{index}",
    "follow_ups": lambda index: {"kind": "work"},
    "held": lambda index: _LEASE,
    "ids": lambda index: str(uuid4()),
    "jobs": lambda index: {"kind": "work"},
    "kinds": lambda index: f"k{index}",
    "labels": lambda index: f"k{index}=",
    "leases": lambda index: _LEASE,
    "outcomes": lambda index: {**_LEASE, "release": {}},
    "payload_fields": lambda index: f"/p{index}",
    "replace": lambda index: "PAYLOAD",
    "cron": lambda index: f"{index} 0 * * *",
    "subscriptions": lambda index: {"kinds": [f"k{index}"]},
    "unanswered": lambda index: _LEASE,
}


@dataclass(frozen=True)
class Bound:
    """A value to send.

    Attributes:
        value: It.
        within: Whether it is to be taken.
        in_words: What it is beyond has no form in JSON Schema, so that only the server refuses it.
    """

    value: Any
    within: bool
    in_words: bool = False


def bounds(name: str, schema: Document) -> Iterator[Bound]:
    """All of a schema without references; a schema that bounds nothing has none."""
    for value in (schema.get(each) for each in ("minimum", "maximum")):
        if value is not None:
            yield Bound(value, True)
    if "minimum" in schema:
        yield Bound(schema["minimum"] - 1, False)
    if "maximum" in schema:
        yield Bound(schema["maximum"] + 1, False)
    yield from _texts(schema)
    yield from _spans(schema)
    if "maxItems" in schema:
        element = ELEMENTS[name]
        yield Bound([element(index) for index in range(schema["maxItems"])], True)
        yield Bound([element(index) for index in range(schema["maxItems"] + 1)], False)
    if "minItems" in schema:
        yield Bound([], False)
    if isinstance(each := schema.get("additionalProperties"), dict):
        yield from _maps(schema, each)


def _texts(schema: Document) -> Iterator[Bound]:
    if schema.get("format") == "uuid":
        one = str(uuid4())
        yield from (Bound(value, True) for value in (one, one.upper()))
        yield from (Bound(value, False) for value in ("", one[:-1], one + "0", "x" * 36))
        return
    if schema.get("format") == "date-time":
        yield Bound("2026-01-01T00:00:00.123456789+02:00", True)
        yield from (Bound(value, False) for value in ("2026-01-01", "soon", ""))
    # A JSON pointer begins with a slash, and may have nothing else.
    fill = "/" if schema.get("pattern", "").startswith("^(/") else "a"
    if "maxLength" in schema:
        yield Bound(fill * schema["maxLength"], True)
        yield Bound(fill * (schema["maxLength"] + 1), False)
    if "minLength" in schema:
        yield Bound(fill * schema["minLength"], True)
        yield Bound(fill * (schema["minLength"] - 1), False)
    if "enum" in schema:
        yield from (Bound(value, True) for value in schema["enum"])
        yield from (Bound(value, False) for value in ("NONE_OF_THEM", ""))
    if "pattern" in schema and schema["pattern"] != DURATION["pattern"]:
        within, beyond = PATTERNS[schema["pattern"]]
        longest = schema.get("maxLength", 1 << 20)
        yield from (Bound(value, True) for value in within if schema.get("minLength", 0) <= len(value))
        yield from (Bound(value, False) for value in beyond if len(value) <= longest)


def _spans(schema: Document) -> Iterator[Bound]:
    """Of a Duration, which without bounds in the document has none."""
    if "x-minimum" not in schema:
        return
    low, high = (_nanoseconds(schema[each]) for each in ("x-minimum", "x-maximum"))
    yield from (Bound(_written(value), True) for value in (low, high))
    yield Bound(_written(high + 1), False, in_words=True)
    if low:
        yield Bound(_written(low - 1), False, in_words=True)
    yield from (Bound(value, False) for value in ("1", "1m", "-1s", "1.s"))


def _nanoseconds(text: str) -> int:
    seconds, _, fraction = text.removesuffix("s").partition(".")
    return int(seconds) * 10**9 + int(fraction.ljust(9, "0"))


def _written(nanoseconds: int) -> str:
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}s"


def _maps(schema: Document, each: Document) -> Iterator[Bound]:
    for one in bounds("", each):
        yield Bound({"k": one.value}, one.within)
    names = schema.get("propertyNames", {})
    sample = "" if each["type"] == "string" else 0
    if "pattern" in names:
        within, beyond = NAME_PATTERNS[names["pattern"]]
        yield from (Bound({name: sample}, True) for name in within)
        yield from (Bound({name: sample}, False) for name in beyond)
    if "maxLength" in names:
        yield Bound({"a" * names["maxLength"]: sample}, True)
        yield Bound({"a" * (names["maxLength"] + 1): sample}, False)
    if "maxProperties" in schema:
        yield Bound({f"k{index}": sample for index in range(schema["maxProperties"])}, True)
        yield Bound({f"k{index}": sample for index in range(schema["maxProperties"] + 1)}, False)
