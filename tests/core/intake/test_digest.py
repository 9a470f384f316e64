from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue_server.core.intake import digest
from jobqueue_server.core.intake.digest import (
    MAX_DEPTH,
    check_json,
    is_simple_json,
    key_digest,
    name_digest,
    request_digest,
)
from jobqueue_server.errors import FieldInvalid
from jobqueue_server.fields import FIELDS, Field, Type
from jobqueue_server.lifecycle import Hold
from jobqueue_server.model import NewJob, OnConflict, RetryPolicy, Unique, UniqueScope, Until

pytestmark = pytest.mark.unit

MAIL = NewJob("send_email", b'{"to":"a@example.org","n":7}')
WHOLE = NewJob(
    kind="resize_image",
    payload=b'[1.0,"1.0",null,true,{"b":-0,"a":1e3}]',
    queue="images",
    priority=-3,
    delay=timedelta(seconds=90),
    max_attempts=5,
    timeout=timedelta(minutes=1),
    retry_policy=RetryPolicy(timedelta(seconds=1), timedelta(seconds=9)),
    idempotency_key="key",
    labels={"b": "2", "a": "1"},
    headers={"h": "x"},
)
TIMED = NewJob("a", b'"\\u00e9\xf0\x9f\x98\x80"', run_at=datetime(2026, 1, 2, 3, 4, 5, 678901, UTC))


def test_digests_are_the_same_in_every_version():
    # Never change a vector: keys that were stored by an older version must still be recognised.
    assert key_digest(1, "order-7").hex() == "479af1d23908924da5528ee72a47d7fa"
    assert request_digest(MAIL).hex() == "7a7cace9f50ba083d6be02731fe0ebc6"
    assert request_digest(WHOLE).hex() == "3fa5998ecb6aa1346933808cba748631"
    assert request_digest(TIMED).hex() == "75f4f190d1e4606b1c1cdb6483824ea9"


def test_a_key_belongs_to_its_namespace_and_may_be_long():
    assert len({key_digest(1, "a"), key_digest(2, "a"), key_digest(1, "b"), key_digest(1, "a" * 10_000)}) == 4
    assert len(key_digest(1, "a" * 10_000)) == 16


@pytest.mark.parametrize(
    "same",
    [
        replace(MAIL, payload=b' { "n" : 7 ,\n"to":"\\u0061@example.org"}'),
        replace(MAIL, idempotency_key="another"),
        replace(MAIL, headers={"x-request-id": "r"}),
        replace(MAIL, queue="default", priority=0),
    ],
)
def test_spacing_key_headers_and_defaults_do_not_matter(same):
    assert request_digest(same) == request_digest(MAIL)


@pytest.mark.parametrize(
    "other",
    [
        replace(MAIL, kind="send_emails"),
        replace(MAIL, payload=b'{"to":"a@example.org","n":7.0}'),
        replace(MAIL, payload=b'{"to":"a@example.org","n":"7"}'),
        replace(MAIL, payload=b'{"to":"a@example.org","n":[null,"7"]}'),
        replace(MAIL, payload=b'{"to":"a@example.org","n":8}'),
        replace(MAIL, queue="mail"),
        replace(MAIL, priority=1),
        replace(MAIL, delay=timedelta(seconds=1)),
        replace(MAIL, delay=timedelta()),
        replace(MAIL, run_at=datetime(2026, 1, 1, tzinfo=UTC)),
        replace(MAIL, max_attempts=3),
        replace(MAIL, timeout=timedelta(seconds=1)),
        replace(MAIL, retry_policy=RetryPolicy(timedelta(seconds=1), timedelta(seconds=60))),
        replace(MAIL, labels={"a": "b"}),
        replace(MAIL, key="customer 42"),
    ],
)
def test_every_field_that_is_set_matters(other):
    assert request_digest(other) != request_digest(MAIL)


OTHER: dict[Type, Any] = {
    Type.TEXT: "other",
    Type.NUMBER: 7,
    Type.MOMENT: datetime(2026, 1, 1, tzinfo=UTC),
    Type.SPAN: timedelta(seconds=7),
    Type.RETRY_POLICY: RetryPolicy(timedelta(seconds=1), timedelta(seconds=60)),
    Type.TEXTS: {"other": "value"},
    Type.JSON: b'"other"',
    Type.HOLD: Hold.HAND,
    Type.UNIQUE: Unique("other"),
}


@pytest.mark.parametrize("field", [field for field in FIELDS if field.asked], ids=lambda field: field.name)
def test_two_requests_differ_in_each_field_that_is_declared_to_be_digested(field: Field):
    other = replace(MAIL, **{field.name: OTHER[field.type]})
    assert (request_digest(other) != request_digest(MAIL)) == field.digested


def test_integers_beyond_a_double_are_told_apart():
    one, other = (replace(MAIL, payload=b"1234567890123456789%d" % digit) for digit in (1, 2))
    assert request_digest(one) != request_digest(other)


@pytest.mark.parametrize(
    "payload",
    [
        b"7",
        b' {"a":\t[1, 2.5e3, "x", null, true, false, {}]}\r\n',
        b"12345678901234567890",
        b'"\\ud83d\\ude00 \xf0\x9f\x98\x80"',
        b'"\\\\ud800"',
        b'"\\u0000"',
        b'[{"a":1},{"a":1},{"b":{"a":1},"a":1}]',
        b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
        b"[" + b",".join([b"[]"] * 5000) + b"]",
        b'"' + b"[" * 5000 + b'"',
        b"9" * 308,
        b"1e308",
    ],
)
def test_json_that_everybody_can_read_is_taken(payload):
    check_json(payload, "job.payload")


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "is not JSON: expecting value at line 1 column 1"),
        (b"{", "line 1 column 2"),
        (b'{"a":1,}', "at line 1 column 8"),
        (b"[1,\n2,,]", "at line 2 column 3"),
        (b"nul", "is not JSON"),
        (b"01", "is not JSON"),
        (b"1_000", "is not JSON"),
        (b"\xd9\xa1".decode().encode(), "is not JSON"),
        (b"{} x", "extra data at line 1 column 4"),
        (b"'a'", "is not JSON"),
        (b"NaN", "NaN is not JSON"),
        (b'{"a":[-Infinity]}', "-Infinity is not JSON"),
        (b'"\xff"', "is not UTF-8: invalid start byte at byte 1"),
        (b'"\xed\xa0\x80"', "is not UTF-8"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        ('"a"'.encode("utf-16"), "is not UTF-8"),
        (b'"\x00"', "invalid control character at line 1 column 2"),
        (b'{"a":1,"b":{"a":1,"a":2}}', 'the key "a" stands twice in one object, again at line 1 column 19'),
        (b'{"a":1,\n "\\u0061":2}', 'the key "a" stands twice in one object, again at line 2 column 2'),
        (b'{"a":1,"a":{"b":1,"b":2}}', 'the key "a" stands twice'),
        (b'["\\ud83d\\ude00", "\\ud800"]', "half of a surrogate pair at line 1 column 19"),
        (b'{"\\udc00":1}', "half of a surrogate pair at line 1 column 3"),
        (b"1e309", "beyond the range of a double"),
        (b"-1e200000", "beyond the range of a double"),
        (b"9" * 309, "308 digits"),
        (b"9" * 100_000, "308 digits"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "deeper than 100"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "deeper than 100"),
        (b"[" * 500_000 + b"]" * 500_000, "deeper than 100"),
        (b"[" * 1_000_000, "deeper than 100"),
    ],
)
def test_what_somebody_could_not_read_is_refused_with_its_place(payload, words):
    with pytest.raises(FieldInvalid) as caught:
        check_json(payload, "jobs[3].payload")
    assert words in caught.value.message
    assert [violation.field for violation in caught.value.violations] == ["jobs[3].payload"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.slow
@given(_JSON, st.booleans())
def test_every_value_is_taken_however_it_is_written(value, ascii_only):
    payload = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    spaced = json.dumps(value, ensure_ascii=not ascii_only, indent=1).encode("utf-8", "surrogatepass")
    check_json(payload, "job.payload")
    assert request_digest(NewJob("a", payload)) == request_digest(NewJob("a", spaced))


@given(st.binary() | st.text(alphabet='{}[]",:\\u0aAdD8c1-.eE tn').map(str.encode))
def test_nothing_but_field_invalid_comes_out_of_any_bytes(payload):
    try:
        check_json(payload, "job.payload")
    except FieldInvalid:
        return
    request_digest(NewJob("a", payload))


_PARTS = st.sampled_from(
    [
        '"a"',
        '"b:c"',
        '"',
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        " ",
        "1",
        "-0",
        "1.5e3",
        "1e999",
        "1" * 400,
        "NaN",
        "null",
        "\\",
        "\x01",
    ]
)
_OBJECTS = st.lists(st.tuples(st.sampled_from("abc"), _JSON)).map(
    lambda pairs: "{" + ", ".join(f"{json.dumps(name)} :{json.dumps(value)}" for name, value in pairs) + "}"
)


@given((_OBJECTS | st.lists(_PARTS, max_size=12).map("".join)).map(str.encode) | st.binary(max_size=20))
def test_simple_json_passes_every_rule(payload):
    taken = is_simple_json(payload)
    rules = digest.is_simple_json
    digest.is_simple_json = lambda payload: False
    try:
        check_json(payload, "job.payload")
        passes = True
    except FieldInvalid:
        passes = False
    finally:
        digest.is_simple_json = rules
    assert passes or not taken


def test_most_payloads_are_simple_json():
    for payload in (
        b'{"to": "a@b.c", "n": 1, "of": [1.5, {"x": "y"}]}',
        b'"text"',
        b"7",
        b"[]",
        '{"ü": 1}'.encode(),
    ):
        assert is_simple_json(payload)
    assert not is_simple_json(b'{"a": 1, "a": 1}')


# ---- names


def name(payload: bytes = b'{"user":{"id":7},"n":1}', **said: Any) -> bytes:
    return name_digest(1, replace(MAIL, payload=payload), Unique(**said))


@pytest.mark.parametrize(
    ("said", "digest"),
    [
        ({"key": "user-7"}, "13fbbb1eeda2d7a5c63742d363706fbe"),
        ({"key": "user-7", "scope": UniqueScope.QUEUE_AND_KIND}, "b80411e3c7a300542f9f0f7e3f4cf620"),
        ({"key": "user-7", "scope": UniqueScope.QUEUE}, "335e616c8085bb27206011b6114f6fe9"),
        ({"key": "user-7", "scope": UniqueScope.NAMESPACE}, "b45492d72e2b8ba361c4db0a888fc736"),
        ({}, "1534e764233dfddec178437562545785"),
        ({"payload_fields": ("/user/id", "/nobody")}, "752e426cbba7c547c95a65c8c23c93a1"),
    ],
)
def test_the_form_of_a_name_is_kept_for_ever(said, digest):
    assert name(**said).hex() == digest


def test_what_a_job_does_with_a_name_is_no_part_of_it():
    assert name(key="k", until=Until.ENDS, period=timedelta(hours=1), on_conflict=OnConflict.REJECT) == name(
        key="k"
    )


def test_a_name_stands_once_in_its_namespace_and_scope_alone():
    other = replace(MAIL, kind="other", queue="other")
    for scope in UniqueScope:
        unique = Unique("k", scope=scope)
        assert name_digest(1, MAIL, unique) != name_digest(2, MAIL, unique)
        assert (name_digest(1, MAIL, unique) == name_digest(1, other, unique)) == (
            scope is UniqueScope.NAMESPACE
        )


def test_a_key_is_never_the_name_that_a_payload_makes():
    assert name(b'"k"') != name(b'"k"', key="k")
    assert name(b"7", payload_fields=("/a",)) != name(b'[["/a"]]')


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("/a/b", b"1"),
        ("/a~1b", b"2"),
        ("/m~0n", b"3"),
        ("/list/1", b"4"),
        ("/", b"5"),
        ("/~01", b"6"),
    ],
)
def test_a_pointer_finds_its_part(pointer, found):
    whole = b'{"a":{"b":1},"a/b":2,"m~n":3,"list":[0,4],"":5,"~1":6}'
    part = b'{"a":{"b":%b},"a/b":%b,"m~n":%b,"list":[1,%b],"":%b,"~1":%b,"more":true}' % ((found,) * 6)
    assert name(whole, payload_fields=(pointer,)) == name(part, payload_fields=(pointer,))
    assert name(whole, payload_fields=(pointer,)) != name(b"{}", payload_fields=(pointer,))


@pytest.mark.parametrize(
    "pointer", ["/list/2", "/list/01", "/list/-", "/list/-1", "/a/b/c", "/nobody", "/list/x"]
)
def test_a_pointer_beside_everything_finds_nothing(pointer):
    whole = b'{"a":{"b":1},"list":[0,4]}'
    assert name(whole, payload_fields=(pointer,)) == name(b"null", payload_fields=(pointer,))
