"""Descriptors, router and document are one: each binding is an operation, with its parameters, body and errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import pytest
from google.longrunning import operations_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from jobqueue.v1 import access_admin_pb2, access_pb2, bulk_pb2, insight_pb2, jobqueue_pb2, queue_admin_pb2
from jobqueue_server.errors import registry
from jobqueue_server.gate import declared_access
from jobqueue_server.http import ops
from jobqueue_server.http.errors import REASONS, STATUS_OF
from jobqueue_server.http.transcoding.errors import Problem, TranscodingError
from tools import bindings as contract
from tools import comments
from tools.openapi import longrunning
from tools.openapi.operations import path as path_of
from tools.openapi.operations import varies
from tools.openapi.responses import REASONS_OF

from .conftest import Document, bindings, operations

METHODS = [
    method
    for file in (
        jobqueue_pb2.DESCRIPTOR,
        queue_admin_pb2.DESCRIPTOR,
        access_admin_pb2.DESCRIPTOR,
        insight_pb2.DESCRIPTOR,
        bulk_pb2.DESCRIPTOR,
        operations_pb2.DESCRIPTOR,
    )
    for service in file.services_by_name.values()
    for method in service.methods
]
BOUND = sorted(bindings())
#: Those whose .proto file is not ours.
FOREIGN = {name for name in BOUND if bindings()[name].method.containing_service == longrunning.SERVICE}
# Served with the page at /docs, by which alone they are asked for.
ASSETS = re.compile(r"/docs/.+")


def spelled(path: str) -> str:
    """A template with its variables named by the field alone."""
    return re.sub(r"{([a-z_.]+)}", lambda match: "{" + match[1].rpartition(".")[2] + "}", path)


def test_each_binding_is_one_operation_and_each_operation_a_binding_or_operational(
    document: Document,
) -> None:
    rows = [row.split("\t") for row in contract.rows()]
    of_descriptors = {(name.rpartition(".")[2], method, spelled(path)) for name, method, path, *_ in rows}
    of_router = {(name, binding.http_method, path_of(binding)) for name, binding in bindings().items()}
    of_document = {(name, method, path) for name, (method, path, _) in operations(document).items()}
    operational = {("GET", path) for path in ops.PATHS if not ASSETS.fullmatch(path)}
    assert of_descriptors == {each for each in of_router if each[0] not in FOREIGN}
    assert {method.name for method in longrunning.SERVICE.methods} == FOREIGN
    assert of_router <= of_document
    assert {(method, path) for _, method, path in of_document - of_router} == operational
    for name, (_, path, said) in operations(document).items():
        assert (said["tags"] == ["ops"]) == (path in ops.PATHS), name


def test_a_stream_of_requests_alone_has_no_operation(document: Document) -> None:
    told = set(operations(document))
    assert {method.name for method in METHODS if method.name not in told} == {"Lease"}


def given(said: Document, place: str) -> set[str]:
    """The parameters of an operation that stand at a place."""
    return {each["name"] for each in said["parameters"] if each.get("in") == place}


def candidates(message: Descriptor) -> Iterator[tuple[str, FieldDescriptor]]:
    """Every name that a query could have, two levels deep."""
    for field in message.fields:
        yield field.name, field
        kind = field.message_type
        # What is a string in JSON has no fields there.
        for inner in kind.fields if kind and not kind.full_name.startswith("google.protobuf.") else ():
            yield f"{field.name}.{inner.name}", inner


def sample(field: FieldDescriptor) -> str:
    """A text that such a field takes."""
    if field.message_type is not None:
        return {"Timestamp": "2026-01-01T00:00:00Z", "FieldMask": "a"}.get(field.message_type.name, "1s")
    if field.enum_type is not None:
        return field.enum_type.values[-1].name
    return "a" if field.type == FieldDescriptor.TYPE_STRING else "1"


@pytest.mark.parametrize("name", BOUND)
def test_a_parameter_of_the_document_is_taken_and_every_one_that_is_taken_is_in_it(
    name: str, document: Document
) -> None:
    binding = bindings()[name]
    said = operations(document)[name][2]
    taken = set()
    for parameter, field in candidates(binding.method.input_type):
        request = GetMessageClass(binding.method.input_type)()
        try:
            binding.query.read(request, f"{parameter}={sample(field)}")
        except (Problem, TranscodingError):
            continue
        taken.add(parameter)
    assert given(said, "query") == taken
    assert given(said, "path") == {
        variable.rpartition(".")[2] for variable in binding.variables if varies(binding, variable)
    }
    assert all(each["required"] for each in said["parameters"] if each.get("in") == "path")


@pytest.mark.parametrize("name", BOUND)
def test_a_body_is_told_where_one_is_taken(name: str, document: Document) -> None:
    binding = bindings()[name]
    body = operations(document)[name][2].get("requestBody")
    assert bool(body) == bool(binding.body)
    if body is None:
        return
    (content,) = body["content"].items()
    assert content[0] == "application/json"
    schema = document["components"]["schemas"][content[1]["schema"]["$ref"].rpartition("/")[2]]
    whole = binding.method.input_type
    kind = whole if binding.body == "*" else whole.fields_by_name[binding.body].message_type
    assert kind is not None
    hidden = {"payload_json", "output_json", "schema_json", "output_schema_json"}
    bound = set(binding.variables) if binding.body == "*" else set()
    assert set(schema["properties"]) == {field.name for field in kind.fields} - hidden - bound


@cache
def listed() -> dict[str, set[tuple[int, str]]]:
    """The statuses and reasons that the .proto files name for each method, those of any method with them."""
    files = contract.contract()
    said = {element.name: element.comment for file in files for element in comments.elements(file)}
    known = registry()

    def of(comment: str) -> set[tuple[int, str]]:
        return {
            (known[error.reason].http_status or STATUS_OF[error.code], error.reason)
            for error in comments.errors(comment)
        }

    common = of(said["JobQueue"])
    ours = {name.rpartition(".")[2]: comment for name, comment in comments.methods(files).items()}
    foreign = {name: "\n".join(lines) for name, (*_, lines) in longrunning.SAID.items()}
    return {name: of(comment) | common for name, comment in {**ours, **foreign}.items()}


def told(said: Document) -> set[tuple[int, str]]:
    """The statuses and reasons of an operation, which stand in its texts and as a list alike."""
    found = set()
    for status, response in said["responses"].items():
        assert status.isdecimal(), "any other status would be a documented one"
        if (reasons := response.get(REASONS_OF)) is None:
            assert status < "400" or said["operationId"] == "Ready"
            continue
        assert re.findall(r"^- `([A-Z_]+)`: \S", response["description"], re.MULTILINE) == reasons
        found |= {(int(status), reason) for reason in reasons}
    return found


@pytest.mark.parametrize("name", BOUND)
def test_each_reason_that_the_contract_names_is_in_the_document(name: str, document: Document) -> None:
    of_http = {(status, reason) for status, (reason, _) in REASONS.items()}
    wanted = listed()[name]
    assert told(operations(document)[name][2]) - (of_http - wanted) == wanted


def test_each_reason_of_http_alone_is_at_some_operation(document: Document) -> None:
    everywhere = {pair for *_, said in operations(document).values() for pair in told(said)}
    of_http = {(status, reason) for status, (reason, _) in REASONS.items()}
    # They answer another operation than the one that is there, or none.
    assert of_http - everywhere == {(400, "REQUEST_MALFORMED"), (405, "METHOD_NOT_ALLOWED")}


@pytest.mark.parametrize("name", BOUND)
def test_each_operation_has_the_permission_that_its_method_declares(name: str, document: Document) -> None:
    declared = declared_access(bindings()[name].method)
    said = operations(document)[name][2]
    names = [access_pb2.Access.Permission.Name(each) for each in declared.any_of]
    assert said["x-permissions"] == names
    assert said["description"].endswith(f"Permission: {' or '.join(names)}.")
    assert "WWW-Authenticate" in said["responses"]["401"]["headers"]


def test_the_scheme_of_keys_is_told_and_a_server_may_ask_nobody(document: Document) -> None:
    (name,) = document["components"]["securitySchemes"]
    scheme = document["components"]["securitySchemes"][name]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert document["security"] == [{name: []}, {}]


@pytest.mark.parametrize("name", [name for name in BOUND if name not in FOREIGN])
def test_version_2_lists_the_same_statuses_as_the_contract(name: str, swagger: Document) -> None:
    binding = bindings()[name]
    said = swagger["paths"][spelled(binding.template.text)][binding.http_method.lower()]
    statuses = {int(status) for status in said["responses"] if status.isdecimal() and status >= "400"}
    assert statuses == {status for status, _ in listed()[name]}
