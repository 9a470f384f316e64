"""What a request message has under which name: the tables that bodies, queries and paths are read by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from .errors import Problem, nearest, shown


@dataclass(frozen=True, slots=True)
class Place:
    """A field within a message, reached through singular messages.

    Attributes:
        name: Its path, in the names of the proto.
        parents: The fields of messages on the way.
        field: The field itself.
    """

    name: str
    parents: tuple[FieldDescriptor, ...]
    field: FieldDescriptor

    def parent_of(self, message: Any) -> Any:
        """The message that holds the field; made on the way if it is missing."""
        for field in self.parents:
            message = getattr(message, field.name)
        return message

    def find(self, message: Any) -> Any:
        """The message that holds the field, or None where one on the way is unset."""
        for field in self.parents:
            if not message.HasField(field.name):
                return None
            message = getattr(message, field.name)
        return message


def message_of(field: FieldDescriptor) -> Descriptor:
    """The type of a field that is of messages."""
    assert field.message_type is not None
    return field.message_type


def enum_of(field: FieldDescriptor) -> EnumDescriptor:
    """The type of a field that is of an enum."""
    assert field.enum_type is not None
    return field.enum_type


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map, which descriptors show as a list of entries."""
    entry = field.message_type
    return entry is not None and entry.GetOptions().map_entry


def names(descriptor: Descriptor) -> dict[str, FieldDescriptor]:
    """Fields by both spellings, that of the proto and that of JSON; the proto's own wins."""
    table = {field.json_name: field for field in descriptor.fields}
    table.update(descriptor.fields_by_name)
    return table


def place(descriptor: Descriptor, path: str) -> Place:
    """Finds a field by its path, in either spelling.

    Raises:
        Problem: There is none, or the way leads through a list, a map or a scalar.
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
        Problem: Another one is set already.
    """
    oneof = field.containing_oneof
    if oneof is None:
        return
    other = message.WhichOneof(oneof.name)
    if other is not None and other != field.name:
        raise Problem(f"only one of {' and '.join(sorted((other, field.name)))} may be set")
