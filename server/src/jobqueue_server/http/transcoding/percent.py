"""Strict percent-decoding of paths and queries."""

from __future__ import annotations

import re
from enum import Enum
from urllib.parse import unquote_to_bytes

from .errors import Problem

_BROKEN = re.compile(r"%(?![0-9A-Fa-f]{2})")
_RUN = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_SLASH = re.compile(r"(%2[Ff])")
# RFC 3986's gen-delims and sub-delims, encoded.
_RESERVED = re.compile(r"(%(?:2[1346789ABCFabcf]|3[ABDFabdf]|40|5[BDbd]))")


class UnescapeSpec(Enum):
    """Which escapes are decoded in a variable of several segments, named as in Envoy. In one segment all are.

    The comment of HttpRule asks for all escapes but the slash, so that a client gets back what it has encoded. The
    comment of Http says that by default all reserved characters stay escaped, which is what Envoy does.
    """

    ALL_CHARACTERS_EXCEPT_SLASH = "slash"
    ALL_CHARACTERS_EXCEPT_RESERVED = "reserved"
    ALL_CHARACTERS = "none"


def decode(text: str) -> str:
    """Decodes every escape.

    Raises:
        Problem: An escape is cut or not hexadecimal, or the bytes are not UTF-8.
    """
    if "%" not in text:
        return text
    broken = _BROKEN.search(text)
    if broken is not None:
        escape = text[broken.start() : broken.start() + 3]
        raise Problem(f'has the broken escape "{escape}"; a percent sign itself is written %25')
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        escape = next(run[0] for run in _RUN.finditer(text) if not _is_utf8(run[0]))
        raise Problem(f'has escapes that are not UTF-8: "{escape[:60]}"') from None


def decode_segments(text: str, spec: UnescapeSpec) -> str:
    """Decodes a value of several segments, in which some escapes stay. Raises as `decode`."""
    if "%" not in text:
        return text
    if spec is UnescapeSpec.ALL_CHARACTERS:
        return decode(text)
    kept = _SLASH if spec is UnescapeSpec.ALL_CHARACTERS_EXCEPT_SLASH else _RESERVED
    # The parts with odd indices are the escapes that stay.
    return "".join(part if i % 2 else decode(part) for i, part in enumerate(kept.split(text)))


def _is_utf8(run: str) -> bool:
    try:
        unquote_to_bytes(run).decode()
    except UnicodeDecodeError:
        return False
    return True
