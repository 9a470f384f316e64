"""Parts of protobuf's wire format, for messages that the hot path builds by hand.

https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_VARINT, _LENGTH_DELIMITED = 0, 2
_DELIMITED_TYPES = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_MESSAGE)


def varint(value: int) -> bytes:
    """The varint of a number that is not negative."""
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


_SHORT = [varint(value) for value in range(1 << 14)]


def length_of(size: int) -> bytes:
    """The length prefix of a text, bytes or a message."""
    return _SHORT[size] if size < 1 << 14 else varint(size)


def tag(field: FieldDescriptor) -> bytes:
    """The tag of a field: a number, or a text, bytes or a message."""
    return varint(field.number << 3 | (_LENGTH_DELIMITED if field.type in _DELIMITED_TYPES else _VARINT))


def entries_of(field: FieldDescriptor) -> Callable[[bytes], Sequence[bytes]]:
    """Makes a reader of a message with a list of messages: it answers these as bytes, without reading them.

    The reader ignores all other fields. It raises DecodeError for bytes that are not a message.
    """
    file = FileDescriptorProto(name="entries.proto", package="entries", syntax="proto3")
    file.message_type.add(name="Entries").field.add(
        name="entries",
        number=field.number,
        type=FieldDescriptorProto.TYPE_BYTES,
        label=FieldDescriptorProto.LABEL_REPEATED,
    )
    pool = DescriptorPool()
    pool.Add(file)
    parse = GetMessageClass(pool.FindMessageTypeByName("entries.Entries")).FromString

    def read(raw: bytes) -> Sequence[bytes]:
        entries: Sequence[bytes] = parse(raw).entries  # type: ignore[attr-defined]
        return entries

    return read


def map_of(field: bytes, values: Mapping[str, str]) -> bytes:
    """A serialized map of strings, for the tag of its field. It costs a third of a message."""
    entries = []
    for name, value in values.items():
        key, content = name.encode(), value.encode()
        entry = b"\n%b%b\x12%b%b" % (length_of(len(key)), key, length_of(len(content)), content)
        entries.append(b"%b%b%b" % (field, length_of(len(entry)), entry))
    return b"".join(entries)


def text_of(field: bytes, text: str | bytes) -> bytes:
    """A serialized text, for the tag of its field."""
    octets = text.encode() if isinstance(text, str) else text
    return b"%b%b%b" % (field, length_of(len(octets)), octets)
