"""Blocks of header fields, read as RFC 7541 (HPACK) has them."""

from __future__ import annotations

import re
from typing import Any

from hpack import HPACKDecodingError, OversizedHeaderListError
from hpack.table import HeaderTable

from .header import SHARED, Header
from .huffman import decoded

# What callers may make of the table: what every endpoint begins with, and this one never says otherwise.
_MOST_TABLE_BYTES = HeaderTable.DEFAULT_SIZE
# More octets of a number than this are an attack.
_MOST_OCTETS = 5
# Literals that are remembered, by their names; longer ones are not.
_MOST_LAST = 32
_LONGEST_LAST = 512
# The beginning of a block is kept where it is no longer, and its fields are no larger.
_LONGEST_BEGINNING = 1024
_MOST_BEGINNING_BYTES = 4096

_INDEXED, _TO_BE_ADDED, _NEW_SIZE = 0x80, 0x40, 0x20
# By index. There is no field 0.
_STATIC = [Header(b"", b""), *(Header(*pair) for pair in HeaderTable.STATIC_TABLE)]
_STATIC_END = len(_STATIC)


class Beginning:
    """The fields that a block begins with, kept because the next block mostly begins with the same.

    Args:
        block: The bytes of these fields.
        headers: The fields.
        size: Of the fields.
        changes: Of the decoder, before it read the block.

    Attributes:
        meaning: What its user has found that they mean.
    """

    __slots__ = ("_block", "_changes", "_moves", "_oldest", "headers", "meaning", "size")

    def __init__(self, block: bytes, headers: list[Header], size: int, changes: int) -> None:
        self.headers = headers
        self.size = size
        self.meaning: Any = None
        self._block = block
        self._changes = changes
        # Whether each byte is the index of a field, and the largest of them.
        self._moves = _are_indexes(block) is not None
        self._oldest = max(block)

    def end(self, block: bytes, changes: int, fields: int) -> int:
        """Where these fields end in a block; 0 where it begins with others.

        The index of a field in the table grows by one with each field that is added. So the bytes are moved by as
        much. The oldest field that they mean must still be there.

        Args:
            block: The block.
            changes: Of the decoder, before it reads the block.
            fields: How many there are in the table.
        """
        added = changes - self._changes
        if added:
            if not self._moves or added >= len(_MOVED):
                return 0
            if self._oldest >= _NEWEST:
                if self._oldest + added >= min(_NEWEST + fields, _LAST + 1):
                    return 0
                self._oldest += added
            self._block = self._block.translate(_MOVED[added])
            self._changes = changes
        return len(self._block) if block.startswith(self._block) else 0


# The indexes of one byte: that of the newest field of the table, and the last one.
_NEWEST, _LAST = 0xBE, 0xFE
_are_indexes = re.compile(rb"[\x81-\xfe]+").fullmatch
# By how many fields were added: each index before, and what it is then.
_MOVED = [
    bytes((*range(_NEWEST), *(min(at + added, 0xFF) for at in range(_NEWEST, 0x100)))) for added in range(5)
]


class HeaderDecoder:
    """Reads the blocks of one connection, in the order in which they come.

    A field of the table is one object for as long as it is there. A literal that says what the last one of its name
    said is the same object again. So what a field means is worked out once.

    Args:
        most_bytes: Of the fields of a block, by their sizes.

    Attributes:
        changes: How often the table was changed.
        repeats: Whether the block that was read last has no metadata but such as were there before.
    """

    __slots__ = (
        "_beginning", "_last", "_most_bytes", "_table", "_table_bytes", "_table_size", "changes", "repeats",
    )  # fmt: skip

    def __init__(self, most_bytes: int) -> None:
        self.changes = 0
        self.repeats = False
        self._most_bytes = most_bytes
        # The dynamic table, its newest field last.
        self._table: list[Header] = []
        self._table_bytes = 0
        self._table_size = _MOST_TABLE_BYTES
        self._last: dict[bytes, Header] = {}
        self._beginning: Beginning | None = None

    def read(self, block: bytes) -> tuple[Beginning | None, list[Header], int]:
        """What it begins with, if that was there before; its other fields; and the size of all.

        Raises:
            OversizedHeaderListError: They are too large. The table is then not known any more.
            HPACKDecodingError: It is no such block. The same holds.
        """
        try:
            beginning = self._beginning
            if beginning is not None and (at := beginning.end(block, self.changes, len(self._table))):
                return beginning, *self._read(block, at, beginning.size, beginning.headers)
            return None, *self._read(block, 0, 0, [])
        except IndexError:
            raise HPACKDecodingError("it is cut off, or means a field that is not in the table") from None

    def _read(self, block: bytes, at: int, size: int, begun: list[Header]) -> tuple[list[Header], int]:
        """The fields from there on, behind those of the beginning; and the size of all."""
        headers: list[Header] = []
        end, table, most, changes, rest = len(block), self._table, self._most_bytes, self.changes, at
        # Where, and behind how many fields of which size, the first literal is, and the first that is new.
        literal = new = None
        while at < end:
            first = block[at]
            start = at
            at += 1
            if first > _INDEXED:
                index = first & 0x7F
                if index == 0x7F:
                    index, at = _number(block, at, index)
                header = _STATIC[index] if index < _STATIC_END else table[_STATIC_END - 1 - index]
            elif first == _INDEXED:
                raise HPACKDecodingError("there is no field 0")
            elif first >= _TO_BE_ADDED or first < _NEW_SIZE:
                most_index = 0x3F if first >= _TO_BE_ADDED else 0x0F
                header, at, is_new = self._literal(block, at, first & most_index, most_index)
                if literal is None:
                    literal = start, len(headers), size
                if is_new and new is None:
                    new = start, len(headers), size
                if first >= _TO_BE_ADDED:
                    self._add(header)
            elif headers or rest:
                raise HPACKDecodingError("the size of the table changes behind a field")
            else:
                at = self._resize(block, at, first & 0x1F)
                continue
            size += header.size
            if size > most:
                raise OversizedHeaderListError(f"the fields are over {most} bytes")
            headers.append(header)
        self.repeats = new is None
        if new is not None:
            at, count, size_there = literal if self.changes != changes and literal is not None else new
            if at > rest:
                self._begins(block[:at], [*begun, *headers[:count]], size_there, changes)
        return headers, size

    def _begins(self, block: bytes, headers: list[Header], size: int, changes: int) -> None:
        """Expects these fields at the beginning of the next block."""
        is_small = len(block) <= _LONGEST_BEGINNING and size <= _MOST_BEGINNING_BYTES
        self._beginning = Beginning(block, headers, size, changes) if is_small else None

    def _literal(self, block: bytes, at: int, index: int, most: int) -> tuple[Header, int, bool]:
        """A field that is written out, but perhaps for its name; where it ends; whether it is new metadata."""
        if index == most:
            index, at = _number(block, at, most)
        if index:
            table = self._table
            name = (_STATIC[index] if index < _STATIC_END else table[_STATIC_END - 1 - index]).name
        else:
            name, at = _text(block, at)
        value, at = _text(block, at)
        last = self._last.get(name)
        if last is not None and last.value == value:
            return last, at, False
        header = Header(name, value)
        if header.size <= _LONGEST_LAST:
            if len(self._last) >= _MOST_LAST:
                self._last.clear()
            self._last[name] = header
        return header, at, header.kind != SHARED

    def _add(self, header: Header) -> None:
        """Puts a field into the table, and takes out the oldest for which there is no room."""
        self.changes += 1
        self._table.append(header)
        self._table_bytes += header.size
        if self._table_bytes > self._table_size:
            self._evict()

    def _resize(self, block: bytes, at: int, size: int) -> int:
        if size == 0x1F:
            size, at = _number(block, at, size)
        if size > _MOST_TABLE_BYTES:
            raise HPACKDecodingError(f"the table's size is {size}; the most is {_MOST_TABLE_BYTES}")
        # More than any beginning of a block outlives.
        self.changes += len(_MOVED)
        self._table_size = size
        self._evict()
        return at

    def _evict(self) -> None:
        # A field that is larger than the table goes as the last: nothing is left then.
        while self._table_bytes > self._table_size:
            self._table_bytes -= self._table.pop(0).size


def _number(block: bytes, at: int, prefix: int) -> tuple[int, int]:
    """A number that does not fit in its prefix, and where it ends."""
    number, shift = prefix, 0
    for octet in block[at : at + _MOST_OCTETS]:
        at += 1
        number += (octet & 0x7F) << shift
        if octet < 0x80:
            return number, at
        shift += 7
    raise HPACKDecodingError("a number is cut off, or has too many octets")


def _text(block: bytes, at: int) -> tuple[bytes, int]:
    """A text, and where it ends."""
    length = block[at]
    at += 1
    in_code = length >= 0x80
    if in_code:
        length -= 0x80
    if length == 0x7F:
        length, at = _number(block, at, length)
    end = at + length
    if end > len(block):
        raise HPACKDecodingError("a text is cut off")
    text = block[at:end]
    return (decoded(text) if in_code else text), end
