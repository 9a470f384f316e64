"""Fields of messages as JSON Schema: what stands in the JSON of HTTP."""

from __future__ import annotations

from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from jobqueue_server.http.contract import OPTIONS

from .limits import LIMITS, NOT_TAKEN
from .names import schema_name

Schema = dict[str, Any]

# No field of the contract takes a negative one.
DURATION: Schema = {
    "type": "string",
    "pattern": r"^[0-9]{1,12}(\.[0-9]{1,9})?s$",
    "examples": ["30s", "1.5s"],
}
TIMESTAMP: Schema = {"type": "string", "format": "date-time"}
_PATH = r"[a-z][a-zA-Z0-9_]*(\.[a-z][a-zA-Z0-9_]*)*"
FIELD_MASK: Schema = {
    "type": "string",
    "pattern": f"^({_PATH}(,{_PATH})*)?$",
    "examples": ["keyPolicy.maxRunning"],
}
INT64: Schema = {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"}

_SCALARS: dict[int, Schema] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_INT64: INT64,
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_STRINGS: dict[str, Schema] = {
    "google.protobuf.FieldMask": FIELD_MASK,
    "google.protobuf.Duration": DURATION,
    "google.protobuf.Timestamp": TIMESTAMP,
    # Any JSON.
    "google.protobuf.Value": {},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string", "description": "The type of the message."}},
        "required": ["@type"],
    },
}


def component(descriptor: Descriptor | EnumDescriptor) -> str:
    """What a message or an enum is called in this tool: `Job`, `JobStatus`."""
    outer = descriptor.containing_type
    return f"{outer.name if outer else ''}{descriptor.name}"


def schema_of(descriptor: Descriptor | EnumDescriptor) -> str:
    """The name of its schema."""
    return schema_name(component(descriptor))


def reference(name: str) -> Schema:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def owner(field: FieldDescriptor) -> Descriptor:
    """The message that a field belongs to; only extensions have none."""
    assert field.containing_type is not None
    return field.containing_type


def message(field: FieldDescriptor) -> Descriptor:
    """The message that a field holds; a body or an answer is always one."""
    assert field.message_type is not None
    return field.message_type


def schema(field: FieldDescriptor) -> Schema:
    """A field's schema, without its description.

    Raises:
        KeyError: The field has a type that no field of the contract had so far; say what its JSON is.
    """
    name = f"{component(owner(field))}.{field.name}"
    made = _whole(field, NOT_TAKEN.get(name, frozenset()))
    limits = LIMITS.get(name, {})
    # What a reference says is kept beside what is said here.
    return {**made, **limits}


def lists_its_values(field: FieldDescriptor) -> bool:
    """Whether the values of an enum stand at the field itself, since requests may not give all of them."""
    return f"{component(owner(field))}.{field.name}" in NOT_TAKEN


def fields(message: Descriptor) -> list[FieldDescriptor]:
    """The fields that a message has in JSON: of two that stand for the same JSON, the one that holds it."""
    hidden = {as_bytes for _, as_bytes in OPTIONS.raw_pairs(message.full_name)}
    return [field for field in message.fields if field.name not in hidden]


def behaves(field: FieldDescriptor, behavior: Any) -> bool:
    """Whether a field has this google.api.field_behavior."""
    return behavior in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]


def always_printed(field: FieldDescriptor) -> bool:
    """Whether an answer has it even where it is empty."""
    return field.is_repeated or not field.has_presence


def _whole(field: FieldDescriptor, not_taken: frozenset[str]) -> Schema:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {"type": "object", "additionalProperties": _one(field.message_type.fields_by_name["value"])}
    one = _one(field, not_taken)
    return {"type": "array", "items": one} if field.is_repeated else one


def _one(field: FieldDescriptor, not_taken: frozenset[str] = frozenset()) -> Schema:
    if field.message_type is not None:
        known = _STRINGS.get(field.message_type.full_name)
        return dict(known) if known is not None else reference(schema_of(field.message_type))
    if field.enum_type is not None:
        if not_taken:
            names = [value.name for value in field.enum_type.values if value.name not in not_taken]
            return {"type": "string", "enum": names}
        return reference(schema_of(field.enum_type))
    return dict(_SCALARS[field.type])
