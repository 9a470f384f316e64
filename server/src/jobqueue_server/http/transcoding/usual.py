"""Reads the JSON bodies that callers mostly send, in one pass and without words for what is wrong.

What it is not sure of, `BodyReader` reads: that one knows every rule of ProtoJSON, and takes six times as long.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from .errors import Problem
from .fields import enum_of, is_map, message_of, names
from .options import Options
from .tokens import is_too_deep
from .wellknown import filler

_BLANK = r"[ \t\n\r]*"
_BLANKS = " \t\n\r"
_open = re.compile(_BLANK + r"\{" + _BLANK).match
_open_list = re.compile(r"\[" + _BLANK).match
# A name, and a text without escapes with what is behind it.
_member = re.compile(
    rf'"([A-Za-z_]+)"{_BLANK}:{_BLANK}(?:"([^"\\\x00-\x1f]*)"{_BLANK}([,}}]){_BLANK})?'
).match
_after = re.compile(_BLANK + r"([,}\]])" + _BLANK).match


class _Unusual(Exception):
    """It may be right or wrong."""


class _Field(NamedTuple):
    """How a member of an object is read.

    Attributes:
        name: The field of the message.
        only: The oneof that it shares with other fields; empty: none.
        type: The type that its value has as JSON; None: it is read piece by piece, or is text that is kept.
        read: With a type, makes the argument of the message's constructor from the value; None: it is that. Without
            one, answers the argument, and where it ends, from the text and a place in it; None: the text is kept.
    """

    name: str
    only: str
    type: type | None
    read: Callable[..., Any] | None


class UsualBodies:
    """Reads bodies of which the fields are texts, numbers, times, maps of texts, raw JSON, and messages of these.

    Args:
        options: `raw_json` counts here. With another than the strict rule for unknown fields, nothing is usual.
    """

    def __init__(self, options: Options) -> None:
        self._raw_pairs = options.raw_pairs
        self._types: dict[Descriptor, _Message] = {}
        self._is_off = options.ignore_unknown_fields

    def fields(self, descriptor: Descriptor, body: bytes, *, looked_at: bool) -> dict[str, Any] | None:
        """The arguments of the constructor of a message; None where a body is unusual or wrong.

        Args:
            descriptor: The message's type, which is an object in JSON.
            body: The body.
            looked_at: Whether the caller looks at raw JSON: that it is JSON, and how deep. What stands last in the
                body is not read here then. To read a value costs more the larger it is.
        """
        if self._is_off:
            return None
        try:
            text = body.decode()
            if not looked_at and is_too_deep(text):
                return None
            known = self._types.get(descriptor) or self._type(descriptor)
            if looked_at and (given := known.like_the_last(text)) is not None:
                return given
            given, end = known.fields(text, 0, looked_at=looked_at)
            if looked_at:
                known.learn(given)
        except (_Unusual, ValueError, TypeError, LookupError, RecursionError, StopIteration, Problem):
            return None
        return given if end == len(text) else None

    def _type(self, descriptor: Descriptor) -> _Message:
        known = self._types.get(descriptor)
        if known is None:
            # Known before its fields are: one of them may be of its own type.
            known = self._types[descriptor] = _Message(descriptor)
            known.add(self._fields(descriptor))
        return known

    def _fields(self, descriptor: Descriptor) -> dict[str, _Field]:
        """The fields by both of their names."""
        table = {}
        kept = dict(self._raw_pairs(descriptor.full_name))
        for name, field in names(descriptor).items():
            oneof = field.containing_oneof
            only = "" if oneof is None or len(oneof.fields) == 1 else oneof.name
            if field.name in kept:
                table[name] = _Field(kept[field.name], only, None, None)
            elif field.name not in kept.values() and (how := self._how(field)) is not None:
                table[name] = _Field(field.name, only, *how)
        return table

    def _how(self, field: FieldDescriptor) -> tuple[type | None, Callable[..., Any] | None] | None:
        """The type and the reader of a field; None: such fields are unusual."""
        if is_map(field):
            entry = message_of(field).fields_by_name
            texts = all(entry[part].type == FieldDescriptor.TYPE_STRING for part in ("key", "value"))
            return (dict, _texts) if texts else None
        if field.type == FieldDescriptor.TYPE_ENUM:
            # A number, or a name in small letters, is right and unusual.
            numbers = {name: value.number for name, value in enum_of(field).values_by_name.items()}
            if field.is_repeated:
                return list, lambda values: [numbers[value] for value in values]
            return str, numbers.__getitem__
        if field.message_type is not None:
            return self._how_message(field.message_type, is_repeated=field.is_repeated)
        if field.is_repeated:
            return (list, _text_items) if field.type == FieldDescriptor.TYPE_STRING else None
        return _SCALARS.get(field.type)

    def _how_message(
        self, descriptor: Descriptor, *, is_repeated: bool
    ) -> tuple[type | None, Callable[..., Any]] | None:
        if descriptor.full_name in ("google.protobuf.Duration", "google.protobuf.Timestamp"):
            return None if is_repeated else (str, _timed(descriptor))
        if descriptor.file.package.startswith("google.protobuf"):
            return None
        message = self._type(descriptor)
        return None, message.read_list if is_repeated else message.read


class _Layout(NamedTuple):
    """What bodies say that differ in their texts and in the raw JSON that is last.

    Attributes:
        match: Matches the whole of such a body; its groups are the values.
        names: The fields.
    """

    match: Callable[[str], re.Match[str] | None]
    names: tuple[str, ...]


# So many layouts are remembered of a type; what a caller sends looks alike.
_MOST_LAYOUTS = 32


class _Message:
    """A type of messages. Its readers answer what begins at a place in the text, and where what follows begins."""

    def __init__(self, descriptor: Descriptor) -> None:
        self._make = GetMessageClass(descriptor)
        self._known: dict[str, _Field] = {}
        self._has_another = re.compile("").search
        self._layouts: dict[tuple[str, ...], _Layout | None] = {}
        self._last: _Layout | None = None

    def add(self, fields: dict[str, _Field]) -> None:
        """Gives it its fields."""
        self._known.update(fields)
        self._has_another = re.compile(f',{_BLANK}"(?:{"|".join(sorted(fields))})"{_BLANK}:').search

    def like_the_last(self, text: str) -> dict[str, Any] | None:
        """What a body says that has the layout of the one before; None: it has another, or none that is remembered."""
        layout = self._last
        if layout is None or (found := layout.match(text)) is None:
            return None
        given: dict[str, Any] = dict(zip(layout.names, found.groups(), strict=True))
        kept = given.popitem()
        if self._has_another(text, found.start(len(layout.names))):
            return None
        given[kept[0]] = kept[1].encode()
        return given

    def learn(self, given: dict[str, Any]) -> None:
        """Remembers the layout of a body that was read."""
        names = tuple(given)
        if names not in self._layouts:
            if len(self._layouts) >= _MOST_LAYOUTS:
                self._layouts.clear()
            self._layouts[names] = self._layout_of(names)
        self._last = self._layouts[names]

    def _layout_of(self, names: tuple[str, ...]) -> _Layout | None:
        members = []
        for name in names:
            spelt = "|".join(key for key, field in self._known.items() if field.name == name)
            _, _, kind, read = next(field for field in self._known.values() if field.name == name)
            is_kept = kind is None and read is None
            if is_kept != (name == names[-1]) or not (is_kept or (kind is str and read is None)):
                return None
            value = r"(.*[^ \t\n\r])" if is_kept else r'"([^"\\\x00-\x1f]*)"'
            members.append(f'"(?:{spelt})"{_BLANK}:{_BLANK}{value}{_BLANK}')
        whole = rf"{_BLANK}\{{{_BLANK}{f',{_BLANK}'.join(members)}\}}{_BLANK}"
        return _Layout(re.compile(whole, re.DOTALL).fullmatch, names) if names else None

    def read(self, text: str, at: int) -> tuple[Any, int]:
        """A message. Raises as `fields`."""
        given, end = self.fields(text, at)
        return self._make(**given), end

    def fields(self, text: str, at: int, *, looked_at: bool = False) -> tuple[dict[str, Any], int]:
        """The arguments of the constructor of a message, and where what follows it begins.

        Args:
            text: The body.
            at: Where its brace stands, or blanks before it.
            looked_at: As in `UsualBodies.fields`, for a message that is the whole body.

        Raises:
            Exception: It is unusual or wrong.
        """
        given: dict[str, Any] = {}
        oneofs: set[str] = set()
        found = _open(text, at)
        if found is None:
            raise _Unusual
        at = found.end()
        found = _after(text, at)
        if found is not None and found[1] == "}":
            return given, found.end()
        while (member := _member(text, at)) is not None:
            key, value, then = member.group(1, 2, 3)
            name, only, kind, read = self._known[key]
            if name in given or only in oneofs:
                break
            if only:
                oneofs.add(only)
            at = member.end()
            if then is not None:
                # The value is a text.
                if kind is str:
                    given[name] = value if read is None else read(value)
                elif kind is None and read is None:
                    given[name] = text[member.start(2) - 1 : member.end(2) + 1].encode()
                else:
                    break
            else:
                if kind is not None:
                    value, end = _scan(text, at)
                    if type(value) is not kind:
                        break
                    given[name] = value if read is None else read(value)
                elif read is not None:
                    given[name], end = read(text, at)
                else:
                    if looked_at and not self._has_another(text, at):
                        # The last member ends before the last brace.
                        end = len(text.rstrip(_BLANKS).removesuffix("}").rstrip(_BLANKS))
                    else:
                        end = _scan(text, at)[1]
                    given[name] = text[at:end].encode()
                found = _after(text, end)
                if found is None:
                    break
                then, at = found[1], found.end()
            if then != ",":
                if then == "]":
                    break
                return given, at
        raise _Unusual

    def read_list(self, text: str, at: int) -> tuple[list[Any], int]:
        """A list of such messages. Raises as `fields`."""
        items: list[Any] = []
        found = _open_list(text, at)
        if found is not None and text.startswith("]", found.end()):
            return items, found.end() + 1
        while found is not None:
            item, end = self.read(text, found.end())
            items.append(item)
            found = _after(text, end)
            if found is not None and found[1] != ",":
                if found[1] == "}":
                    break
                return items, found.end(1)
        raise _Unusual


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Unusual
    return members


def _constant(name: str) -> Any:
    raise _Unusual


_decoder: Any = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_constant)
_scan = _decoder.scan_once


def _timed(descriptor: Descriptor) -> Callable[[str], Any]:
    make = GetMessageClass(descriptor)
    fill = filler(descriptor, False, text=False)
    assert fill is not None, "it is well known"

    def read(value: str) -> Any:
        message = make()
        fill(message, value)
        return message

    return read


def _texts(values: dict[str, Any]) -> dict[str, str]:
    if values and set(map(type, values.values())) != {str}:
        raise _Unusual
    return values


def _text_items(values: list[Any]) -> list[str]:
    if values and set(map(type, values)) != {str}:
        raise _Unusual
    return values


def _digits(value: str) -> int:
    """A number of 64 bits, which JSON has as text."""
    if not (value.isascii() and value.isdigit()):
        raise _Unusual
    return int(value)


#: Numbers that may also be written otherwise, as text or as 1.0, are unusual then.
_SCALARS: dict[int, tuple[type, Callable[[Any], Any] | None]] = {
    FieldDescriptor.TYPE_STRING: (str, None),
    FieldDescriptor.TYPE_BOOL: (bool, None),
    FieldDescriptor.TYPE_INT32: (int, None),
    FieldDescriptor.TYPE_UINT32: (int, None),
    FieldDescriptor.TYPE_INT64: (str, _digits),
    FieldDescriptor.TYPE_UINT64: (str, _digits),
}
