"""What is encoded and was not decoded, and what can be wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

#: The member by which an envelope is known; its value is the version of its form.
MARK = "$jobqueue.encoded"
FORM = 1
_MARK, _ESCAPE = MARK.encode(), b"\\u"
_NAME = re.compile(r"[\w.:/@+ -]{1,255}")
#: The mark, each of its letters as it is or with an escape.
_WRITTEN = re.compile("".join(rf"(?:{re.escape(each)}|\\u(?i:{ord(each):04x}))" for each in MARK).encode())
#: The JSON Schema of one. What is encrypted has a key.
ENVELOPE: dict[str, Any] = {
    "type": "object",
    "title": "encoded payload",
    "required": [MARK, "content_type", "encodings", "data"],
    "properties": {
        MARK: {"const": FORM},
        "content_type": {"type": "string"},
        "encodings": {"type": "array", "minItems": 1, "items": {"type": "string"}},
        "key_id": {"type": "string", "minLength": 1},
        "data": {"type": "string", "pattern": "^[A-Za-z0-9_-]*$"},
    },
    # A payload in plain text must not pass by having the envelope's members beside its own.
    "additionalProperties": False,
}


class Encoded(Exception):
    """A payload or an output that was not decoded. It stands where the value would be, and is raised where it is used.

    Attributes:
        encodings: The names of what it was encoded by, in that order.
        key_id: The name of the key that it was encrypted with. Empty: it was not encrypted.
        why: Why it was not decoded, in words.
    """

    def __init__(
        self, encodings: tuple[str, ...] = (), key_id: str = "", why: str = "this program has no encodings"
    ) -> None:
        self.encodings = encodings
        self.key_id = key_id
        self.why = why
        how = " + ".join(map(plain, encodings[:8])) or "by nothing that it names"
        super().__init__(f"encoded, {how}" + (f", key {plain(key_id)}" if key_id else "") + f": {why}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Encoded) and self.args == other.args

    def __hash__(self) -> int:
        return hash(self.args)

    def _refuse(self, *_: object) -> NoReturn:
        raise self

    # Not `__bool__`: what handles exceptions asks whether there is one.
    __getitem__ = __iter__ = __contains__ = _refuse


def plain(name: str) -> str:
    """The name of a key or an encoding as it may be shown: it comes from who enqueued, and may control a terminal."""
    return name if _NAME.fullmatch(name) else ascii(name[:64])


class EncodingRequired(ValueError):
    """A kind takes encrypted payloads alone, and this program has nothing to encrypt them with."""


class KeyUnknown(Exception):
    """Nothing has the key.

    Attributes:
        key_id: Its name.
    """

    def __init__(self, key_id: str) -> None:
        super().__init__(f"nothing here has the key {key_id!r}: give it to `keys` of AesGcm")
        self.key_id = key_id


class EncodingUnknown(Exception):
    """Something was encoded by what this program does not have."""


class Undecodable(Exception):
    """An envelope is damaged, was made for another kind, job or purpose, or by another key of the same name."""


def shown(value: Any) -> Any:
    """A JSON value that was read: `Encoded` where it is an envelope.

    Args:
        value: As `json.loads` has it.
    """
    return encoded(value) if type(value) is dict and MARK in value else value


def encoded(value: Mapping[str, Any], why: str = "this program has no encodings") -> Encoded:
    """What an envelope says of itself."""
    names, key_id = value.get("encodings"), value.get("key_id")
    return Encoded(
        tuple(str(each) for each in names) if isinstance(names, list) else (),
        key_id if isinstance(key_id, str) else "",
        why,
    )


def envelope_in(text: bytes) -> dict[str, Any] | None:
    """The envelope that a JSON text is. None: it is none, or no JSON.

    One that has the mark and can't be parsed here may be one where it is read: it counts as a malformed one.
    """
    # A name in JSON may be written with escapes: what reads it by its letters alone does not see what a parser sees.
    if _MARK not in text and _ESCAPE not in text:
        return None
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    except (ValueError, RecursionError):  # a number of too many digits, or too much in one another
        return {MARK: None} if _WRITTEN.search(text) else None
    return value if type(value) is dict and MARK in value else None


def is_envelope(text: bytes) -> bool:
    """Whether a JSON text is an envelope. One that is no JSON is none."""
    return envelope_in(text) is not None
