"""One header field of a request, and what it means."""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache

_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
# Any more is no bound.
_MOST_SECONDS = 366 * 86400.0
_timeout = re.compile(r"([0-9]{1,8})([HMSmun])").fullmatch
_name_is_sane = re.compile(rb"[0-9a-z_.!#$%&'*+^`|~-]+").fullmatch
_ends_a_line = re.compile(rb"[\0\r\n]").search
# HTTP/2 has no such fields (RFC 9113, section 8.2.2).
_OF_HTTP_1 = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
# The transport's own, which no handler is told.
_OWN = frozenset((b"te", b"content-type", b"content-length", b"grpc-encoding", b"grpc-accept-encoding"))
_LONGEST_KNOWN_NAME = 64

Pair = tuple[str, str | bytes]


# What a field is for: metadata; what all calls of a method share; the time limit; nothing, as no request may have it.
# No enum, because each field of each call is looked at.
METADATA, SHARED, TIMEOUT, WRONG = range(4)


class Header:
    """A field.

    Attributes:
        name, value: As they came.
        size: What it counts (RFC 7541, section 4.1).
        kind: What it is for: METADATA, SHARED, TIMEOUT or WRONG.
        pairs: Of METADATA, what handlers are told.
        timeout: Of TIMEOUT, in seconds.
        unreadable: Why gRPC can't read it, where it can't.
    """

    __slots__ = ("kind", "name", "pairs", "size", "timeout", "unreadable", "value")

    def __init__(self, name: bytes, value: bytes) -> None:
        self.name = name
        self.value = value
        self.size = 32 + len(name) + len(value)
        self.pairs: tuple[Pair, ...] = ()
        self.unreadable = ""
        known = _known_name if len(name) <= _LONGEST_KNOWN_NAME else _known_name.__wrapped__
        self.kind, text = known(name)
        if self.kind == METADATA:
            if _ends_a_line(value):
                self.kind = WRONG
            elif text.endswith("-bin"):
                self._read_bytes()
            else:
                self.pairs = ((text, value.decode("latin-1")),)
        elif self.kind != WRONG:
            if _ends_a_line(value) and not text.startswith(":"):
                self.kind = WRONG
            elif self.kind == TIMEOUT:
                self._read_timeout()

    def _read_bytes(self) -> None:
        try:
            # Several values may come as one, and padded or not.
            pieces = [_unpadded_base64(piece) for piece in self.value.split(b",")]
        except binascii.Error:
            start = self.value[:64].decode("latin-1")
            self.unreadable = f"the metadata {self.name[:64].decode()} is not base64: {start!r}"
        else:
            name = self.name.decode()
            self.pairs = tuple((name, piece) for piece in pieces)

    def _read_timeout(self) -> None:
        self.timeout = 0.0
        text = self.value.decode("latin-1")
        found = _timeout(text)
        if found is None:
            self.unreadable = (
                f"grpc-timeout is {text[:64]!r}; it is 1 to 8 digits and one of HMSmun, as in 30S"
            )
        else:
            self.timeout = min(int(found[1]) * _UNITS[found[2]], _MOST_SECONDS)


@lru_cache(maxsize=1024)
def _known_name(name: bytes) -> tuple[int, str]:
    """What a field of this name is for, and the name as text."""
    if name.startswith(b":"):
        return SHARED, ":"
    if not _name_is_sane(name) or name in _OF_HTTP_1:
        return WRONG, ""
    if name == b"grpc-timeout":
        return TIMEOUT, "grpc-timeout"
    return (SHARED if name in _OWN else METADATA), name.decode()


def _unpadded_base64(text: bytes) -> bytes:
    text = text.strip().rstrip(b"=")
    return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
