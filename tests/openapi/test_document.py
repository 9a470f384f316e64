"""The document is OpenAPI 3.1, needs nothing from elsewhere, and its examples are what its schemas say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV31SpecValidator

from .conftest import Document, operations, read_document, validator

pytestmark = pytest.mark.unit

EXAMPLES = [
    (f"{name} {status}", said["schema"], said["example"])
    for name, (_, _, operation) in operations(read_document()).items()
    for status, response in operation["responses"].items()
    for said in response.get("content", {}).values()
    if "example" in said
]
EXAMPLES += [
    (name, {"$ref": f"#/components/schemas/{name}"}, example)
    for name, schema in read_document()["components"]["schemas"].items()
    for example in schema.get("examples", [])
]


# Said of the schema as a whole.
UNSAID = {("ErrorDetail", "@type"), ("Status", "details")}


def walk(value: Any) -> Iterator[Any]:
    """A value and all within."""
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)


def test_it_is_openapi_3_1(document: Document) -> None:
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


def test_the_other_one_is_openapi_2(swagger: Document) -> None:
    OpenAPIV2SpecValidator(swagger).validate()


def test_it_refers_to_nothing_outside_of_itself(document: Document) -> None:
    references = [each["$ref"] for each in walk(document) if isinstance(each, dict) and "$ref" in each]
    assert all(reference.startswith("#/components/") for reference in references)
    assert [server["url"] for server in document["servers"]] == ["/"]


@pytest.mark.parametrize("version", ["2", "3.1"])
def test_generators_can_make_types_of_it(version: str, document: Document, swagger: Document) -> None:
    """What they make of the rest, tests/openapi/generators compiles and calls, where the toolchains are."""
    read, schemas = (
        (swagger, swagger["definitions"]) if version == "2" else (document, document["components"]["schemas"])
    )
    for name in schemas:
        assert f"New{name}" not in schemas, "Go's constructor of the one is the name of the other"
    called = {said["operationId"] for item in read["paths"].values() for said in item.values()}
    assert not {f"{name}Response" for name in called} & set(schemas), "oapi-codegen calls its own types so"
    for each in walk(read):
        if isinstance(each, dict) and "$ref" in each:
            assert version == "3.1" or set(each) == {"$ref"}
            assert "properties" not in each, "openapi-generator drops what is referred to"
        if isinstance(each, dict):
            assert not isinstance(each.get("type"), list), "no generator has a type for two types"


@pytest.mark.parametrize("version", ["2", "3.1"])
def test_each_variable_of_a_path_is_a_parameter(version: str, document: Document, swagger: Document) -> None:
    for path, item in (swagger if version == "2" else document)["paths"].items():
        for said in item.values():
            named = {each["name"] for each in said.get("parameters", []) if each.get("in") == "path"}
            assert set(re.findall(r"{(\w+)}", path)) == named, path


def test_each_schema_is_used(document: Document) -> None:
    used = {each["$ref"] for each in walk(document) if isinstance(each, dict) and "$ref" in each}
    used |= {f"#/components/securitySchemes/{name}" for each in document["security"] for name in each}
    for kind, components in document["components"].items():
        assert {f"#/components/{kind}/{name}" for name in components} - used == set()


@pytest.mark.parametrize(("where", "schema", "example"), EXAMPLES, ids=[where for where, *_ in EXAMPLES])
def test_an_example_is_what_its_schema_says(
    document: Document, where: str, schema: Document, example: Any
) -> None:
    validator(document, schema).validate(example)


def test_each_field_and_parameter_is_described(document: Document) -> None:
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        for field, said in schema.get("properties", {}).items():
            # What is nothing but a constant says all by it.
            assert said.get("description") or "const" in said or (name, field) in UNSAID, (
                name,
                field,
            )
    for name, (_, _, operation) in operations(document).items():
        assert operation["summary"]
        for parameter in operation["parameters"]:
            assert "$ref" in parameter or parameter["description"], name


def test_no_text_has_the_line_ends_of_a_comment(document: Document) -> None:
    """Within a paragraph a line end is where the .proto file is full, which means nothing to a reader."""
    for each in walk(document):
        if isinstance(each, dict) and isinstance(text := each.get("description"), str):
            assert not re.search(r"[a-z,;]\n(?!\n| *- )[a-z]", text), text


def test_a_choice_has_its_name(document: Document) -> None:
    new_job = document["components"]["schemas"]["JobToEnqueue"]
    (start,) = new_job["allOf"]
    assert (start["title"], [way["title"] for way in start["oneOf"]]) == (
        "start",
        ["run_at", "delay", "none of them"],
    )
    both = validator(document, {"$ref": "#/components/schemas/JobToEnqueue"})
    assert both.is_valid({"kind": "a", "delay": "1s"})
    assert both.is_valid({"kind": "a"})
    assert not both.is_valid({"kind": "a", "delay": "1s", "run_at": "2026-01-01T00:00:00Z"})
    (outcome,) = document["components"]["schemas"]["Outcome"]["allOf"]
    assert "none of them" not in [way["title"] for way in outcome["oneOf"]]


def test_json_stands_as_json_and_never_as_bytes(document: Document) -> None:
    text = {
        name for each in walk(document["components"]["schemas"]) if isinstance(each, dict) for name in each
    }
    assert not text & {"payload_json", "output_json", "schema_json"}
    payload = document["components"]["schemas"]["JobToEnqueue"]["properties"]["payload"]
    assert set(payload) == {"description"}


def test_a_stream_is_told_in_each_of_its_forms(document: Document) -> None:
    answer = operations(document)["WatchJobs"][2]["responses"]["200"]
    assert list(answer["content"]) == ["application/x-ndjson", "text/event-stream", "application/json"]
