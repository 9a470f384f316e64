"""Checks the head of a request, in addition to the grammar, which the parser checks."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

import httptools

from .errors import Refused

MOST_BYTES = 64 << 10

Lines = list[tuple[bytes, bytes]]


def malformed(message: str) -> Refused:
    """The error for a request that can't be read, or that can be read in two ways."""
    return Refused(400, "INVALID_ARGUMENT", message)


def check(method: bytes, version: str, hosts: int, codings: Sequence[bytes]) -> None:
    """Refuses heads that the parser accepts, but that a proxy may read in another way.

    Args:
        method: The method.
        version: The version of HTTP, such as 1.1.
        hosts: The number of Host headers.
        codings: The values of all Transfer-Encoding headers.

    Raises:
        Refused: The text says what is wrong.
    """
    if version not in ("1.1", "1.0"):
        raise malformed(f"the request is of HTTP/{version}; this port speaks HTTP/1.1")
    if hosts != 1 and (hosts or version == "1.1"):
        raise malformed(f"the request has {hosts or 'no'} Host headers; it must have one")
    if codings and [coding.strip().lower() for coding in codings] != [b"chunked"]:
        raise malformed("the request's Transfer-Encoding must be chunked and nothing else")
    if method == b"CONNECT":
        message = "CONNECT is not allowed; this server is not a proxy"
        raise Refused(405, "UNIMPLEMENTED", message, (("Allow", ""),))


def check_size(size: int) -> None:
    """Refuses a head that is too large.

    Raises:
        Refused: The head is over the limit.
    """
    if size > MOST_BYTES:
        raise malformed(f"the path and headers are over {MOST_BYTES} bytes, the most that is taken")


def size(target: bytes, lines: Lines) -> int:
    """The size of target and headers in bytes, in the usual spelling."""
    return len(target) + sum(len(name) + len(value) + 4 for name, value in lines)


def place(target: bytes) -> tuple[str, bytes, bytes]:
    """The path of a target, decoded and as sent, and its query.

    Raises:
        Refused: The target has no path.
    """
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        raise malformed("the request's target is no path") from None
    raw = url.path
    if raw is None:
        raise malformed("the request's target has no path; / is one")
    path = raw.decode("latin-1")
    return unquote(path) if "%" in path else path, raw, url.query or b""


def without_upgrade(method: bytes, target: bytes, version: str, lines: Lines) -> bytes:
    """The head without the headers that ask for another protocol."""
    line = b"%b %b HTTP/%b\r\n" % (method, target, version.encode())
    fields = [b"%b: %b\r\n" % field for field in lines if field[0] != b"upgrade"]
    return b"".join((line, *fields, b"\r\n"))
