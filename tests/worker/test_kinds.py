"""The schemas that the server checks and the models that the handlers read must agree."""

import json
from importlib.resources import files
from typing import Any

import jsonschema_rs
import pytest
from pydantic import ValidationError

from jobqueue_worker.handlers.payloads import Payload
from jobqueue_worker.handlers.resize_image import ResizeImage
from jobqueue_worker.handlers.send_email import SendEmail
from jobqueue_worker.handlers.summarize_text import DEFAULT_MAX_WORDS, SummarizeText
from jobqueue_worker.handlers.webhook_delivery import WebhookDelivery

pytestmark = pytest.mark.unit


def each(field: str, *values: Any) -> list[dict[str, Any]]:
    return [{field: value} for value in values]


MODELS: dict[str, type[Payload]] = {
    "send_email": SendEmail,
    "resize_image": ResizeImage,
    "summarize_text": SummarizeText,
    "webhook_delivery": WebhookDelivery,
}
SMALLEST: dict[str, dict[str, Any]] = {
    "send_email": {"to": "ada@example.org", "subject": "", "body": ""},
    "resize_image": {"source_url": "https://example.org/x.png", "width": 1, "height": 10_000},
    "summarize_text": {"text": ""},
    "webhook_delivery": {"url": "https://example.org", "body": None},
}
GOOD: dict[str, list[Any]] = {
    "send_email": [
        {"to": "grün@bücher.example"},
        {"cc": "a@b"},
        {"cc": []},
        {"cc": ["a@b", "c@d"], "from": "x@y", "reply_to": "z@z", "html": "<p>"},
    ],
    "resize_image": [
        *each("source_url", "HTTP://x", "http://x:8/y?z=1", "file:cat.png", "file:///a/b"),
        {"width": 100.0},
        {"fit": "cover", "format": "webp", "quality": 1, "output": "inline"},
        {"output": "a b-c_1.png"},
    ],
    "summarize_text": [{"max_words": 1}, {"max_words": 10**20}, {"max_words": 5.0}, {"language": "pt-BR"}],
    "webhook_delivery": [
        *each("body", 0, False, "", [1], {"a": {}}),
        *each("url", "http://x", "HTTPS://x:1/y?z#a", "http://[::1]:80/"),
        {"headers": {"X-A": "b c"}, "secret": "shop", "timeout": "2.5s"},
    ],
}
BAD: dict[str, list[Any]] = {
    "send_email": [
        *each("to", "", "ada", "a@", "@b", "a@b@c", "A <a@b>", "a@b, c@d", "a b@c", "a@b\n", 1, None, []),
        *({field: "x"} for field in ("from", "reply_to", "cc")),
        *({field: 1} for field in ("subject", "body", "html")),
        {"cc": ["a@b", "x"]},
        {"to": "a@" + "b" * 400},
    ],
    "resize_image": [
        *({side: wrong} for side in ("width", "height") for wrong in (0, -1, 10_001, 1.5, "1", True, None)),
        *each("source_url", "", "cat.png", "//x/y", 1, None),
        *({"fit": "x"}, {"format": "gif"}, {"quality": 0}, {"quality": 101}),
        *each("output", "", "../x", "a/b", ".x", "a\\b", "x" * 201),
    ],
    "summarize_text": [
        *each("text", None, 1, []),
        *each("max_words", 0, -1, 1.5, "5", True),
        {"language": "x"},
    ],
    "webhook_delivery": [
        *each("url", "", "x", "ftp://x", "/x", "https:x", 1, None),
        *each("headers", [], {"a": 1}),
        *each("timeout", 5, "5", "5m", "-1s", ""),
        {"secret": 1},
    ],
}


def schema(kind):
    return json.loads(files("jobqueue_server").joinpath("kinds", f"{kind}.json").read_text())


def cases(table):
    return [(kind, SMALLEST[kind] | change) for kind, changes in table.items() for change in changes]


@pytest.mark.parametrize("kind", MODELS)
def test_each_schema_is_valid_2020_12_and_tells_what_each_field_means(kind):
    loaded = schema(kind)
    assert loaded["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema_rs.meta.validate(loaded)
    assert loaded["title"] == kind
    assert loaded["description"]
    assert all(field["description"] for field in loaded["properties"].values())


@pytest.mark.parametrize("kind", MODELS)
def test_schema_and_model_have_the_same_fields_required_ones_and_defaults(kind):
    loaded, fields = schema(kind), MODELS[kind].model_fields
    by_name = {field.alias or name: field for name, field in fields.items()}
    assert set(loaded["properties"]) == set(by_name)
    assert set(loaded["required"]) == {name for name, field in by_name.items() if field.is_required()}
    for name, said in loaded["properties"].items():
        if "default" in said:
            assert by_name[name].default == said["default"]
    assert DEFAULT_MAX_WORDS == 100


@pytest.mark.parametrize(("kind", "payload"), [*SMALLEST.items(), *cases(GOOD)])
def test_good_payloads_pass_and_so_do_unknown_fields(kind, payload):
    payload = payload | {"unknown": {"a": 1}}
    assert jsonschema_rs.is_valid(schema(kind), payload)
    MODELS[kind].model_validate(payload)


@pytest.mark.parametrize(("kind", "payload"), cases(BAD))
def test_bad_payloads_are_refused_by_both(kind, payload):
    assert not jsonschema_rs.is_valid(schema(kind), payload)
    with pytest.raises(ValidationError):
        MODELS[kind].model_validate(payload)


@pytest.mark.parametrize("kind", MODELS)
def test_each_required_field_is_missed(kind):
    for name in SMALLEST[kind]:
        payload = {key: value for key, value in SMALLEST[kind].items() if key != name}
        assert not jsonschema_rs.is_valid(schema(kind), payload)
        with pytest.raises(ValidationError):
            MODELS[kind].model_validate(payload)


@pytest.mark.parametrize("payload", [None, [], "x", 1])
@pytest.mark.parametrize("kind", MODELS)
def test_a_payload_that_is_no_object_is_refused(kind, payload):
    assert not jsonschema_rs.is_valid(schema(kind), payload)
