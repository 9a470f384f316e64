"""The schemas of messages and enums: text of the document of OpenAPI 2, types and rules of the descriptors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from google.api import field_behavior_pb2 as behavior
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, OneofDescriptor

from . import fields
from .fields import Schema, component, schema_of
from .names import schema_name
from .texts import flowing

Comments = Mapping[str, str]
# Their schemas are in fields.py, and that of google.rpc.Status is in responses.py.
_KNOWN = ("google.protobuf.", "google.rpc.")


class Schemas:
    """Collects the schemas that operations ask for, with all that they hold.

    Args:
        definitions: Of the document of OpenAPI 2.
        comments: Of the .proto files, by name, for the oneofs, of which OpenAPI 2 knows nothing.
    """

    def __init__(self, definitions: Mapping[str, Any], comments: Comments) -> None:
        self._definitions = definitions
        self._comments = comments
        self._given: set[str] = set()
        self._answered: set[str] = set()
        self._found: dict[str, Callable[[], Schema]] = {}

    def given(self, message: Descriptor) -> Schema:
        """A reference to a message that callers send."""
        self._reach(message, self._given)
        return fields.reference(schema_of(message))

    def answered(self, message: Descriptor) -> Schema:
        """A reference to a message that the server answers."""
        self._reach(message, self._answered)
        return fields.reference(schema_of(message))

    def body(
        self, name: str, message: Descriptor, *, dropped: Iterable[str] = (), optional: Iterable[str] = ()
    ) -> Schema:
        """A reference to what is left of a message when the path has given some of its fields.

        Args:
            name: Of the schema.
            message: The message.
            dropped: Fields that the body doesn't have.
            optional: Fields that the body may leave out, or repeat.
        """
        for field in fields.fields(message):
            self._reach_field(field, self._given)
        without, free = frozenset(dropped), frozenset(optional)
        self._given.add(name)
        self._found[name] = lambda: self._message(message, name, without, free)
        return fields.reference(name)

    def parameter(self, field: FieldDescriptor) -> Schema:
        """The schema of a field that stands in a path or a query."""
        self._reach_field(field, self._given)
        return fields.schema(field)

    def all(self) -> dict[str, Schema]:
        """Every schema that was asked for."""
        return {name: self._found[name]() for name in sorted(self._found)}

    def example(self, name: str) -> Any:
        """The example of a definition of OpenAPI 2; None where it has none."""
        return self._definitions.get(name, {}).get("example")

    def _reach(self, message: Descriptor, way: set[str]) -> None:
        name = schema_of(message)
        if name in way:
            return
        way.add(name)
        self._found.setdefault(name, lambda: self._message(message, name))
        for field in fields.fields(message):
            self._reach_field(field, way)

    def _reach_field(self, field: FieldDescriptor, way: set[str]) -> None:
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            self._reach_field(kind.fields_by_name["value"], way)
        elif kind is not None and not kind.full_name.startswith(_KNOWN):
            self._reach(kind, way)
        elif field.enum_type is not None and not fields.lists_its_values(field):
            enum = field.enum_type
            self._found.setdefault(schema_of(enum), lambda: self._enum(enum))

    def _enum(self, enum: EnumDescriptor) -> Schema:
        known = self._definition(enum)
        return {
            "type": "string",
            "description": flowing(known["description"]),
            "enum": [value.name for value in enum.values],
        }

    def _message(
        self,
        message: Descriptor,
        name: str,
        dropped: frozenset[str] = frozenset(),
        optional: frozenset[str] = frozenset(),
    ) -> Schema:
        known = self._definition(message)
        made: Schema = {"type": "object"}
        if description := flowing(known.get("description", "")):
            made["description"] = description
        shown = [field for field in fields.fields(message) if field.name not in dropped]
        made["properties"] = {field.name: self._property(field) for field in shown}
        if required := [each for each in self._required(shown, name) if each not in optional]:
            made["required"] = required
        if name not in self._answered:
            # What the server answers may grow; what it is given must be known to it.
            made["additionalProperties"] = False
        if choices := [self._choice(oneof) for oneof in _choices(message)]:
            made["allOf"] = choices
        if name in self._given and (example := known.get("example")) is not None:
            made["examples"] = [example]
        return made

    def _required(self, shown: Iterable[FieldDescriptor], name: str) -> list[str]:
        if name in self._given:
            return [field.name for field in shown if fields.behaves(field, behavior.REQUIRED)]
        return [field.name for field in shown if fields.always_printed(field)]

    def _property(self, field: FieldDescriptor) -> Schema:
        made = fields.schema(field)
        description = flowing(self._comment(fields.owner(field), field.name))
        oneof = field.containing_oneof
        if oneof is not None and len(_members(oneof)) == 1 and (said := self._said(oneof)):
            # The other member is the same JSON as bytes: what is said of both is said of the one that is left.
            description = f"{said} {description}"
        made["description"] = description
        # Not readOnly where a field is OUTPUT_ONLY: it stands in answers alone, and generators make it optional there.
        return made

    def _choice(self, oneof: OneofDescriptor) -> Schema:
        names = [field.name for field in _members(oneof)]
        ways: list[Schema] = [{"title": name, "required": [name]} for name in names]
        if "must be set" not in (said := self._said(oneof)):
            ways.append({"title": "none of them", "not": {"anyOf": [{"required": [name]} for name in names]}})
        return {"title": oneof.name, "description": said, "oneOf": ways}

    def _said(self, oneof: OneofDescriptor) -> str:
        return flowing(self._comments.get(f"{component(oneof.containing_type)}.{oneof.name}", ""))

    def _comment(self, message: Descriptor, field: str) -> str:
        return self._comments[f"{component(message)}.{field}"]

    def _definition(self, descriptor: Descriptor | EnumDescriptor) -> Mapping[str, Any]:
        for name in (schema_name(descriptor.name), f"{descriptor.name.removesuffix('Request')}Body"):
            if name in self._definitions:
                found: Mapping[str, Any] = self._definitions[name]
                return found
        outer = descriptor.containing_type
        found = self._definitions[f"{outer.name}.{descriptor.name}" if outer else descriptor.name]
        return found


def _members(oneof: OneofDescriptor) -> list[FieldDescriptor]:
    shown = {field.name for field in fields.fields(oneof.containing_type)}
    return [field for field in oneof.fields if field.name in shown]


def _choices(message: Descriptor) -> list[OneofDescriptor]:
    """The oneofs that are a choice in JSON too."""
    return [oneof for oneof in message.oneofs if len(_members(oneof)) > 1]
