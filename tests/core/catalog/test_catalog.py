from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from importlib.resources import files

import pytest

from jobqueue_server.core.catalog.kinds import MAX_SCHEMA_BYTES, check_kind
from jobqueue_server.core.catalog.schema import PayloadSchema, SchemaInvalid
from jobqueue_server.core.names import page_name
from jobqueue_server.core.pages import page_token
from jobqueue_server.errors import FieldInvalid, PageTokenInvalid, PayloadInvalid
from jobqueue_server.model import Kind, RetryPolicy

pytestmark = pytest.mark.unit


def _schema(**schema) -> PayloadSchema:
    return PayloadSchema(json.dumps(schema))


def _violations(schema: PayloadSchema, payload: bytes) -> dict[str, str]:
    with pytest.raises(PayloadInvalid) as caught:
        schema.check(payload, "job.payload")
    return {violation.field: violation.description for violation in caught.value.violations}


def test_each_violation_names_its_place_and_not_the_secret():
    schema = _schema(
        type="object",
        required=["to", "body"],
        properties={
            "to": {"type": "string"},
            "items": {"type": "array", "items": {"properties": {"x": {"type": "integer"}}}},
            "odd key": {"const": 1},
        },
    )
    payload = b'{"to":"secret" , "items":[{"x":1},{"x":"secret"}], "odd key":"secret"}'
    assert _violations(schema, payload) == {
        "job.payload.body": "is required",
        "job.payload.items[1].x": 'the value is not of type "integer"',
        'job.payload["odd key"]': "1 was expected",
    }
    assert _violations(schema, b"[]") == {"job.payload": 'the value is not of type "object"'}


def test_a_rule_is_told_in_the_words_of_its_schema_and_not_as_a_regular_expression():
    lower = {"pattern": "^[a-z]+$"}
    schema = _schema(
        properties={
            "titled": {"title": " lower case word ", "description": "Something else.", **lower},
            "described": {"description": "Lower case letters alone.", **lower},
            "bare": lower,
            "blank": {"title": " ", **lower},
            "referred": {"$ref": "#/$defs/word"},
            "each": {
                "items": {
                    "anyOf": [{"title": "word", **lower}, {"type": "integer"}],
                    "title": "word or number",
                }
            },
            "names": {"propertyNames": {"$ref": "#/$defs/word"}},
            "long": {"description": "Lower case. " * 100, **lower},
            "elsewhere": {"$ref": "urn:other"},
        },
        **{
            "$defs": {
                "word": {"title": "word", **lower},
                "other": {"$id": "urn:other", "title": "word", **lower},
            }
        },
    )
    payload = {
        "titled": "S3CRET", "described": "S3CRET", "bare": "S3CRET", "blank": "S3CRET", "referred": "S3CRET",
        "each": ["a", "S3CRET"], "names": {"A1": 1}, "long": "S3CRET", "elsewhere": "S3CRET",
    }  # fmt: skip
    found = _violations(schema, json.dumps(payload).encode())
    assert len(found.pop("job.payload.long")) == 300
    assert found == {
        "job.payload.titled": "is no lower case word",
        "job.payload.described": "does not fit: Lower case letters alone.",
        "job.payload.bare": 'the value does not match "^[a-z]+$"',
        "job.payload.blank": 'the value does not match "^[a-z]+$"',
        "job.payload.referred": "is no word",
        "job.payload.elsewhere": 'the value does not match "^[a-z]+$"',
        "job.payload.each[1]": "is no word or number",
        "job.payload.names": '"A1" is no word',
    }


@pytest.mark.parametrize(
    ("kind", "field", "value", "words"),
    [
        ("send_email", "to", "ada", "is no mail address"),
        ("send_email", "cc", "ada", "does not fit: Who gets a copy: one address or several."),
        ("send_email", "subject", "a\nb", "does not fit: The subject line. Line breaks and"),
        ("webhook_delivery", "url", "ftp://x", "is no http or https url"),
        ("webhook_delivery", "timeout", "10", "is no time such as 10s or 2.5s"),
        ("webhook_delivery", "headers", {"a b": "c"}, '"a b" is no name of an HTTP header'),
        ("resize_image", "source_url", "cat.png", "is no http, https or file url"),
        ("resize_image", "output", "../cat.png", "is no plain name of a file"),
        ("summarize_text", "language", "English!", "is no language tag"),
    ],
)
def test_the_built_in_kinds_say_their_rules_in_words(kind, field, value, words):
    text = (files("jobqueue_server") / "kinds" / f"{kind}.json").read_text()
    found = _violations(PayloadSchema(text), json.dumps({field: value}).encode())
    assert found[f"job.payload.{field}"].startswith(words)


def versions(*numbers: int | None) -> PayloadSchema:
    """A schema of versions as typed kinds have it: each has its own field, of a type that all share."""
    branches = [
        {
            "type": "object",
            "required": [f"field_{number}"],
            "properties": {f"field_{number}": {"$ref": "#/$defs/Text"}},
            **({} if number is None else {"x-payload-version": number}),
        }
        for number in numbers
    ]
    return PayloadSchema(json.dumps({"anyOf": branches, "$defs": {"Text": {"type": "string"}}}))


@pytest.mark.parametrize(
    ("headers", "payload", "found"),
    [
        ("3", b"{}", {"job.payload.field_3": "is required"}),
        ("2", b'{"field_2": 7}', {"job.payload.field_2": 'the value is not of type "string"'}),
        # A job without the header has a payload of version 1; of a version that has no branch, the first one's words.
        ("1", b"{}", {"job.payload.field_3": "is required"}),
        ("9", b"{}", {"job.payload.field_3": "is required"}),
    ],
    ids=["newest", "older", "no branch", "too new"],
)
def test_a_payload_that_fits_no_version_gets_the_words_of_its_own(headers, payload, found):
    schema = versions(3, 2)
    schema.check(b'{"field_2": "x"}', "job.payload", "3")
    for _ in range(2):
        with pytest.raises(PayloadInvalid) as caught:
            schema.check(payload, "job.payload", headers)
        assert {each.field: each.description for each in caught.value.violations} == found


def test_a_choice_that_is_not_of_versions_keeps_its_own_words():
    (words,) = _violations(versions(2, None), b"{}").values()
    assert "anyOf" in words
    # Nor can a version be told from the others whose rules are elsewhere than in the definitions.
    elsewhere = [
        {"x-payload-version": 1, "$ref": "#/properties/a"},
        {"x-payload-version": 2, "type": "string"},
    ]
    (words,) = _violations(_schema(anyOf=elsewhere, properties={"a": {"type": "string"}}), b"7").values()
    assert "anyOf" in words


def test_at_most_ten_violations_are_told():
    assert len(_violations(_schema(items={"type": "string"}), b"[" + b",".join([b"1"] * 50) + b"]")) == 10


def test_big_integers_survive_validation():
    schema = _schema(properties={"n": {"type": "integer", "maximum": 12345678901234567890123}})
    schema.check(b'{"n":12345678901234567890123}', "job.payload")
    assert list(_violations(schema, b'{"n":12345678901234567890124}')) == ["job.payload.n"]


def test_formats_are_held():
    assert list(_violations(_schema(properties={"to": {"format": "email"}}), b'{"to":"nobody"}')) == [
        "job.payload.to"
    ]


def test_a_pattern_that_backtracks_without_end_is_refused_in_time():
    payload = json.dumps("a" * 5000 + "!").encode()
    assert _violations(_schema(pattern="^(a+)+(?=b)$"), payload)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("5", "boolean"),
        ('{"type":"strin"}', "at type: .*strin"),
        ('{"properties":{"a":{"minimum":"x"}}}', "at properties.a.minimum"),
        ('{"$ref":"http://example.org/x"}', "nothing is fetched"),
        ('{"$ref":"#/$defs/missing"}', "missing"),
        ('{"pattern":"("}', "regex"),
    ],
)
def test_what_is_no_schema_is_refused_in_the_validators_words(schema, words):
    with pytest.raises(SchemaInvalid, match=words):
        PayloadSchema(schema)
    with pytest.raises(FieldInvalid, match="kind.schema: is not a JSON Schema"):
        check_kind(Kind("a", schema))
    with pytest.raises(FieldInvalid, match="kind.output_schema: is not a JSON Schema"):
        check_kind(Kind("a", output_schema=schema))


GOOD = Kind("a", "{}", RetryPolicy(timedelta(milliseconds=1), timedelta(days=7)), 1000, timedelta(seconds=1))


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (replace(GOOD, name=""), "kind.name"),
        (replace(GOOD, name="A"), "kind.name"),
        (replace(GOOD, name="-a"), "kind.name"),
        (replace(GOOD, name="a\n"), "kind.name"),
        (replace(GOOD, name="a" * 129), "kind.name"),
        (replace(GOOD, schema='"\ud800"'), "kind.schema"),
        (replace(GOOD, schema="{}\x00"), "kind.schema"),
        (replace(GOOD, schema=" " * MAX_SCHEMA_BYTES + "{}"), "kind.schema"),
        (replace(GOOD, max_attempts=0), "kind.max_attempts"),
        (replace(GOOD, max_attempts=1001), "kind.max_attempts"),
        (replace(GOOD, timeout=timedelta(milliseconds=999)), "kind.timeout"),
        (replace(GOOD, timeout=timedelta(days=7, seconds=1)), "kind.timeout"),
        (
            replace(GOOD, retry_policy=RetryPolicy(timedelta(0), timedelta(1))),
            "kind.retry_policy.min_backoff",
        ),
        (
            replace(GOOD, retry_policy=RetryPolicy(timedelta(1), timedelta(8))),
            "kind.retry_policy.max_backoff",
        ),
        (
            replace(GOOD, retry_policy=RetryPolicy(timedelta(2), timedelta(1))),
            "kind.retry_policy.max_backoff",
        ),
    ],
)
def test_each_bound_of_a_kind_is_held_at_its_path(kind, field):
    check_kind(GOOD)
    with pytest.raises(FieldInvalid) as caught:
        check_kind(kind)
    assert [violation.field for violation in caught.value.violations] == [field]


def test_a_forged_name_in_a_token_is_refused():
    assert page_name("kinds", page_token("kinds", b"send_email")) == "send_email"
    for name in (b"\x00", b"A", b"\xff", b"a\n"):
        with pytest.raises(PageTokenInvalid):
            page_name("kinds", page_token("kinds", name))
