"""Cuts a member's text out of a JSON object without changing a byte of it."""

from __future__ import annotations

import json
from typing import Any

# Numbers stay text: only the extent of a value matters here, and Python refuses to read very long ones.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)
_SPACE = " \t\n\r"


def member_text(document: bytes, name: str) -> bytes | None:
    """The value of member `name` of the JSON object `document`, as it is written there.

    Decoding and encoding again would lose digits of large integers and fractions, key order and spelling; what
    the producer wrote is what a receiver should see and what a signature should cover. As in `json.loads`, the
    last of several members of one name counts.

    Returns:
        None where the object has no such member.

    Raises:
        ValueError: The document is not a JSON object.
    """
    text = document.decode("utf-8")
    found: str | None = None
    position = _expect(text, _skip(text, 0), "{")
    if text[position : position + 1] == "}":
        return None
    while True:
        key, position = _value(text, position)
        start = _expect(text, _skip(text, position), ":")
        _, position = _value(text, start)
        if key == name:
            found = text[start:position]
        position = _skip(text, position)
        if text[position : position + 1] == "}":
            return None if found is None else found.encode("utf-8")
        position = _expect(text, position, ",")


def _skip(text: str, position: int) -> int:
    while text[position : position + 1] in _SPACE and position < len(text):
        position += 1
    return position


def _expect(text: str, position: int, character: str) -> int:
    if text[position : position + 1] != character:
        raise ValueError(f"expected {character!r} at character {position} of the JSON text")
    return _skip(text, position + 1)


def _value(text: str, position: int) -> tuple[Any, int]:
    return _DECODER.raw_decode(text, position)
