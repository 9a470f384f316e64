"""Writes messages as JSON text, by a plan that is made once for each type."""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from .fields import is_map, message_of
from .options import Options
from .printing import WELL_KNOWN, base64_text, scalar_printer

# Writes a value as JSON text.
_Printer = Callable[[Any], str]
# Writes a field of a message with name and colon, or "" if the field is left out.
_FieldPrinter = Callable[[Any], str]


class Renderer:
    """Writes messages as `options.print_options` and `options.raw_json` say."""

    def __init__(self, options: Options) -> None:
        self._options = options.print_options
        self._raw_pairs = options.raw_pairs
        self._plans: dict[Descriptor, _Printer] = {}
        self._answers: dict[tuple[Descriptor, str], _Printer] = {}

    def message(self, message: Any) -> bytes:
        """Writes a whole message.

        Raises:
            ValueError: The message has a value that JSON can't express, such as a Timestamp after the year 9999.
        """
        return _utf8(self._printer(message.DESCRIPTOR)(message))

    def field(self, message: Any, name: str) -> bytes:
        """Writes the value of one field. A message that is not set is written as an empty one."""
        descriptor = message.DESCRIPTOR
        printer = self._answers.get((descriptor, name))
        if printer is None:
            printer = self._value_printer(descriptor.fields_by_name[name])
            self._answers[descriptor, name] = printer
        return _utf8(printer(getattr(message, name)))

    def _printer(self, descriptor: Descriptor) -> _Printer:
        plan = self._plans.get(descriptor)
        if plan is None:
            plan = self._plans[descriptor] = self._plan(descriptor)
        return plan

    def _plan(self, descriptor: Descriptor) -> _Printer:
        if descriptor.full_name == "google.protobuf.Any":
            return self._any
        known = WELL_KNOWN.get(descriptor.full_name)
        if known is not None:
            return known
        if descriptor.full_name in _WRAPPERS:
            inner = self._item_printer(descriptor.fields_by_name["value"])
            return lambda message: inner(message.value)
        printers: list[_FieldPrinter] = []
        raw = {target: value for value, target in self._raw_pairs(descriptor.full_name)}
        # The fields are in the order of the proto.
        for field in descriptor.fields:
            if field.name in raw:
                key = self._key(descriptor.fields_by_name[raw[field.name]])
                printers.append(_raw_printer(key, field))
            else:
                printers.append(self._field_printer(field))

        def print_object(message: Any) -> str:
            return "{" + ",".join([text for printer in printers if (text := printer(message))]) + "}"

        return print_object

    def _key(self, field: FieldDescriptor) -> str:
        name = field.name if self._options.preserve_proto_field_names else field.json_name
        return encode_basestring(name) + ":"

    def _field_printer(self, field: FieldDescriptor) -> _FieldPrinter:
        key, name = self._key(field), field.name
        printer = self._value_printer(field)
        if field.has_presence:

            def print_if_set(message: Any) -> str:
                return key + printer(getattr(message, name)) if message.HasField(name) else ""

            return print_if_set
        if self._options.always_print_primitive_fields:
            return lambda message: key + printer(getattr(message, name))

        def print_unless_empty(message: Any) -> str:
            value = getattr(message, name)
            return key + printer(value) if value else ""

        return print_unless_empty

    def _value_printer(self, field: FieldDescriptor) -> _Printer:
        if is_map(field):
            return self._map_printer(field)
        item = self._item_printer(field)
        if field.is_repeated:
            return lambda values: "[" + ",".join([item(value) for value in values]) + "]" if values else "[]"
        return item

    def _item_printer(self, field: FieldDescriptor) -> _Printer:
        kind = field.message_type
        if kind is None:
            return scalar_printer(field, self._options.always_print_enums_as_ints)
        # Looked up when it is needed, because a type may have fields of the same type.
        known = WELL_KNOWN.get(kind.full_name)
        return known or (lambda message: self._printer(kind)(message))

    def _map_printer(self, field: FieldDescriptor) -> _Printer:
        key_field = message_of(field).fields_by_name["key"]
        value_printer = self._item_printer(message_of(field).fields_by_name["value"])
        if key_field.type == FieldDescriptor.TYPE_STRING:
            key_text: _Printer = encode_basestring
        elif key_field.type == FieldDescriptor.TYPE_BOOL:
            key_text = lambda key: '"true"' if key else '"false"'  # noqa: E731
        else:
            key_text = lambda key: f'"{key}"'  # noqa: E731

        def print_map(entries: Any) -> str:
            if not entries:
                return "{}"
            # Sorted, because the order of a map is random.
            return (
                "{"
                + ",".join([f"{key_text(key)}:{value_printer(entries[key])}" for key in sorted(entries)])
                + "}"
            )

        return print_map

    def _any(self, message: Any) -> str:
        """Writes the message in an Any if its type is known, otherwise its bytes: the rest is still answered."""
        head = '"@type":' + encode_basestring(message.type_url)
        try:
            descriptor = message.DESCRIPTOR.file.pool.FindMessageTypeByName(
                message.type_url.rsplit("/", 1)[-1]
            )
            inner = GetMessageClass(descriptor).FromString(message.value)
        except (KeyError, DecodeError):
            if not message.type_url:
                return "{}"
            return "{" + head + ',"value":' + base64_text(message.value) + "}"
        text = self._printer(descriptor)(inner)
        special = descriptor.full_name in WELL_KNOWN or descriptor.full_name in _WRAPPERS
        if special or descriptor.full_name == "google.protobuf.Any":
            return "{" + head + ',"value":' + text + "}"
        return "{" + head + ("," + text[1:] if text != "{}" else "}")


_WRAPPERS = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)


def _raw_printer(key: str, field: FieldDescriptor) -> _FieldPrinter:
    """Writes bytes that are JSON unchanged. They were checked when they were stored."""
    name = field.name
    has_presence = field.has_presence

    def print_raw(message: Any) -> str:
        if has_presence and not message.HasField(name):
            return ""
        raw: bytes = getattr(message, name)
        if not raw:
            return key + "null" if has_presence else ""
        return key + raw.decode("utf-8", "surrogateescape")

    return print_raw


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
