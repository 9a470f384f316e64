"""Finds the fields of request messages by name, for bodies, queries and paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from .errors import Problem, nearest, shown


@dataclass(frozen=True, slots=True)
class Place:
    """A field within a message, reached through singular messages.

    Attributes:
        name: Its path, with the names of the proto.
        parents: The message fields on the path.
        field: The field itself.
    """

    name: str
    parents: tuple[FieldDescriptor, ...]
    field: FieldDescriptor

    def parent_of(self, message: Any) -> Any:
        """The message that has the field. Missing messages on the path are made."""
        for field in self.parents:
            message = getattr(message, field.name)
        return message

    def find(self, message: Any) -> Any:
        """The message that has the field; None if a message on the path is not set."""
        for field in self.parents:
            if not message.HasField(field.name):
                return None
            message = getattr(message, field.name)
        return message


def message_of(field: FieldDescriptor) -> Descriptor:
    """The message type of a field."""
    assert field.message_type is not None
    return field.message_type


def enum_of(field: FieldDescriptor) -> EnumDescriptor:
    """The enum type of a field."""
    assert field.enum_type is not None
    return field.enum_type


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map, which descriptors show as a list of entries."""
    entry = field.message_type
    return entry is not None and entry.GetOptions().map_entry


def names(descriptor: Descriptor) -> dict[str, FieldDescriptor]:
    """The fields by both names, the proto's and JSON's. The proto's name wins."""
    table = {field.json_name: field for field in descriptor.fields}
    table.update(descriptor.fields_by_name)
    return table


def given_by_callers(descriptor: Descriptor) -> list[str]:
    """The names of the fields that are not the server's alone to set: a hint must lead to one that counts."""
    behaviour = field_behavior_pb2.field_behavior
    return [
        field.name
        for field in descriptor.fields
        if field_behavior_pb2.OUTPUT_ONLY not in field.GetOptions().Extensions[behaviour]
    ]


def place(descriptor: Descriptor, path: str) -> Place:
    """Finds a field by its path, with names of the proto or of JSON.

    Raises:
        Problem: The field does not exist, or the path leads through a list, a map or a scalar.
    """
    parents: list[FieldDescriptor] = []
    here = descriptor
    steps = path.split(".")
    for index, step in enumerate(steps):
        field = names(here).get(step)
        before = ".".join(steps[:index])
        if field is None:
            where = f"in {before}" if before else f"in {descriptor.name}"
            prefix = before + "." if before else ""
            known = [prefix + name for name in here.fields_by_name]
            raise Problem(f"{shown(path)} does not exist: {shown(step)} is not {where}{nearest(path, known)}")
        if index == len(steps) - 1:
            return Place(".".join([*(parent.name for parent in parents), field.name]), tuple(parents), field)
        if field.message_type is None or field.is_repeated:
            what = "a map" if is_map(field) else "a list" if field.is_repeated else "a scalar"
            raise Problem(
                f"{shown(path)} leads through {before + '.' if before else ''}{step}, which is {what}"
            )
        parents.append(field)
        here = field.message_type
    raise AssertionError("a path has at least one step")


def claim_oneof(message: Message, field: FieldDescriptor) -> None:
    """Refuses a second member of a oneof.

    Raises:
        Problem: Another member is set already.
    """
    oneof = field.containing_oneof
    if oneof is None:
        return
    other = message.WhichOneof(oneof.name)
    if other is not None and other != field.name:
        raise Problem(f"only one of {' and '.join(sorted((other, field.name)))} may be set")
