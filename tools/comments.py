"""Reads the comments of a compiled .proto file."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    ServiceDescriptorProto,
)

_ERROR = re.compile(r"- ([A-Z_]+), ([A-Z_]+): (\S.*)")
_HTTP = re.compile(r"HTTP (\d{3})\.")


@dataclass(frozen=True)
class Element:
    """A message, field, oneof, enum, value, service or method, and the comment above it."""

    name: str
    comment: str


@dataclass(frozen=True)
class Error:
    """One line below `Errors:`."""

    code: str
    reason: str
    http_status: int | None
    when: str


def elements(file: FileDescriptorProto) -> list[Element]:
    """Everything in the file that a comment can stand above."""
    comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
    return [Element(name, comments.get(tuple(path), "")) for name, path in _places(file)]


def methods(files: Iterable[FileDescriptorProto]) -> dict[str, str]:
    """The comment of every RPC, by its name."""
    names = {
        f"{service.name}.{method.name}"
        for file in files
        for service in file.service
        for method in service.method
    }
    found = {element.name: element.comment for file in files for element in elements(file)}
    return {name: found[name] for name in names}


def errors(comment: str) -> list[Error]:
    """The errors that a comment lists."""
    text = re.sub(r"\n +(?! *- )", " ", re.sub(r"\n ", "\n", comment))
    found = []
    for line in text.splitlines():
        if match := _ERROR.fullmatch(line.strip()):
            http = _HTTP.search(match[3])
            found.append(Error(match[1], match[2], int(http[1]) if http else None, match[3]))
    return found


def _places(file: FileDescriptorProto) -> Iterator[tuple[str, Sequence[int]]]:
    yield from _each(file, "message_type", (), "", _in_message)
    yield from _each(file, "enum_type", (), "", _in_enum)
    yield from _each(file, "service", (), "", _in_service)


def _in_message(
    message: DescriptorProto, path: tuple[int, ...], name: str
) -> Iterator[tuple[str, Sequence[int]]]:
    if message.options.map_entry:
        return
    yield name, path
    yield from _each(message, "field", path, f"{name}.")
    # The oneof of an optional field stands in no file.
    synthetic = {field.oneof_index for field in message.field if field.proto3_optional}
    for place in _each(message, "oneof_decl", path, f"{name}."):
        if place[1][-1] not in synthetic:
            yield place
    yield from _each(message, "nested_type", path, f"{name}.", _in_message)
    yield from _each(message, "enum_type", path, f"{name}.", _in_enum)


def _in_enum(
    enum: EnumDescriptorProto, path: tuple[int, ...], name: str
) -> Iterator[tuple[str, Sequence[int]]]:
    yield name, path
    yield from _each(enum, "value", path, f"{name}.")


def _in_service(
    service: ServiceDescriptorProto, path: tuple[int, ...], name: str
) -> Iterator[tuple[str, Sequence[int]]]:
    yield name, path
    yield from _each(service, "method", path, f"{name}.")


def _itself(_element: Any, path: tuple[int, ...], name: str) -> Iterator[tuple[str, Sequence[int]]]:
    yield name, path


def _each(
    parent: Any, field: str, path: tuple[int, ...], prefix: str, inside: Any = _itself
) -> Iterator[tuple[str, Sequence[int]]]:
    number = parent.DESCRIPTOR.fields_by_name[field].number
    for index, element in enumerate(getattr(parent, field)):
        yield from inside(element, (*path, number, index), prefix + element.name)
