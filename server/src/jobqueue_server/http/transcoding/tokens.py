"""Reads JSON text piece by piece, with positions: numbers stay text, duplicate keys are refused, depth is bounded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from .errors import Problem, TranscodingError, malformed, shown
from .scalars import Number

MAX_DEPTH = 100

# A key without escapes, with its colon and blanks: one step for nearly all keys.
_KEY = re.compile(r'"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*')
_AFTER = re.compile(r"[ \t\n\r]*([,}\]])[ \t\n\r]*")
_BLANKS = re.compile(r"[ \t\n\r]*")
# Strings, and other text without brackets. An open string matches too: otherwise each of its quotes would be tried.
_STRINGS = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKETS = re.compile(r"[^\[\]{}]+")


class _NotANumber(Exception):
    """The text has NaN, Infinity or -Infinity outside of a string."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise Problem(f"has the key {shown(name)} twice", stops=True)
            seen.add(name)
    return members


def _constant(name: str) -> Any:
    raise _NotANumber(name)


# Numbers keep their text. The json module would make an int of 20 digits, and infinity of 1e999.
_DECODER = json.JSONDecoder(
    parse_int=Number, parse_float=Number, parse_constant=_constant, object_pairs_hook=_pairs
)


class Text:
    """A JSON text that is read piece by piece.

    Args:
        body: UTF-8 without a byte order mark.

    Raises:
        TranscodingError: The body is not UTF-8, or is nested deeper than MAX_DEPTH.
    """

    def __init__(self, body: bytes) -> None:
        try:
            self.text = body.decode()
        except UnicodeDecodeError as error:
            raise malformed(
                f"the body is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}"
            ) from None
        if self.text.startswith("\ufeff"):
            raise malformed("the body starts with a byte order mark; JSON has none")
        if is_too_deep(self.text):
            raise malformed(f"the body nests deeper than {MAX_DEPTH} levels")

    def skip(self, at: int) -> int:
        """The position of the next character that is not blank."""
        if self.text[at : at + 1] not in (" ", "\n", "\t", "\r"):
            return at
        blanks = _BLANKS.match(self.text, at)
        return blanks.end() if blanks else at

    def at(self, at: int) -> str:
        """The character at a position; "" at the end."""
        return self.text[at : at + 1]

    def value(self, at: int) -> tuple[Any, int]:
        """The value that starts at a position, and the position after it.

        Raises:
            TranscodingError: No JSON value starts there.
            Problem: The value has an object with a duplicate key.
        """
        try:
            return _DECODER.raw_decode(self.text, at)
        except json.JSONDecodeError as error:
            raise self.broken(error.msg, error.pos) from None
        except _NotANumber as error:
            raise Problem(f"must be JSON; a bare {error} is not a JSON number", stops=True) from None

    def pass_over(self, at: int, problem: Problem) -> None:
        """The position after a value in which a problem was found.

        Raises:
            Problem: The same problem, or an error in the value's JSON.
        """
        if problem.stops:
            raise problem
        self.end = self.value(at)[1] if problem.end is None else problem.end

    def members(self, at: int) -> Iterator[tuple[str, int]]:
        """The keys of the object that starts at a position, each with the position of its value.

        The reader of a value must set `end` to the position after it, before it asks for the next key.
        """
        self.end = self.skip(at + 1)
        if self.at(self.end) == "}":
            self.end += 1
            return
        while True:
            plain = _KEY.match(self.text, self.end)
            if plain is not None:
                yield plain[1], plain.end()
                if self._is_last("}"):
                    return
                continue
            if self.at(self.end) != '"':
                raise self.broken("Expecting a key in double quotes", self.end)
            key, place = self.value(self.end)
            place = self.skip(place)
            if self.at(place) != ":":
                raise self.broken("Expecting ':' delimiter", place)
            yield key, self.skip(place + 1)
            if self._is_last("}"):
                return

    def items(self, at: int) -> Iterator[int]:
        """The positions of the items of the list that starts at a position. `end` as for `members`."""
        self.end = self.skip(at + 1)
        if self.at(self.end) == "]":
            self.end += 1
            return
        while True:
            yield self.end
            if self._is_last("]"):
                return

    def _is_last(self, bracket: str) -> bool:
        after = _AFTER.match(self.text, self.end)
        char = after[1] if after else ""
        if after is None or char not in (",", bracket):
            raise self.broken(f"Expecting ',' or '{bracket}'", self.skip(self.end))
        self.end = after.end() if char == "," else after.end(1)
        return char == bracket

    def broken(self, what: str, at: int) -> TranscodingError:
        """400 with the line and column."""
        line = self.text.count("\n", 0, at) + 1
        column = at - self.text.rfind("\n", 0, at)
        found = shown(self.text[at : at + 20]) if at < len(self.text) else "the end"
        return malformed(f"the body is not JSON: line {line}, column {column}: {what}; found {found}")


def is_too_deep(text: str) -> bool:
    """Whether a text nests deeper than MAX_DEPTH."""
    # A rough count comes first: brackets in strings can only make it too high.
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in _NO_BRACKETS.sub("", _STRINGS.sub("", text)):
        if bracket in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        else:
            depth -= 1
    return False
