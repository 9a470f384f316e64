"""Pieces of protobuf's wire format, for messages that are put together on the hot path.

https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor

_VARINT, _LENGTH_DELIMITED = 0, 2
_DELIMITED_TYPES = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_MESSAGE)


def varint(value: int) -> bytes:
    """A number that is not negative."""
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


_SHORT = [varint(value) for value in range(1 << 14)]


def length_of(size: int) -> bytes:
    """The length before a text, bytes or a message."""
    return _SHORT[size] if size < 1 << 14 else varint(size)


def tag(field: FieldDescriptor) -> bytes:
    """What stands before the value of a field that is a number, a text, bytes or a message."""
    return varint(field.number << 3 | (_LENGTH_DELIMITED if field.type in _DELIMITED_TYPES else _VARINT))
