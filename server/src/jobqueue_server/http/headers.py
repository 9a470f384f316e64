"""The headers of a request: the metadata of the call, and its time limit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..errors import FieldInvalid

#: The answer metadata that sets the HTTP status, and is not sent as a header.
HTTP_CODE = "x-http-code"

_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_is_grpc_timeout = re.compile(r"([0-9]{1,8})([HMSmun])").fullmatch
_is_seconds = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?").fullmatch


def metadata(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers by name in lower case; of a repeated name the last value, as over gRPC."""
    return {name.decode("latin-1").lower(): value.decode("latin-1").strip() for name, value in headers}


def one(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """The value of one header, named in lower case as in ASGI; of a repeated one the last; "" if it is missing."""
    value = b""
    for other, given in headers:
        if other == name:
            value = given
    return value.decode("latin-1").strip()


def sent(answer_metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The answer metadata as headers."""
    return tuple(
        ("-".join(part.capitalize() for part in name.split("-")), value)
        for name, value in answer_metadata.items()
        if name != HTTP_CODE
    )


def seconds_allowed(metadata: Mapping[str, str]) -> float | None:
    """The shorter one of `Grpc-Timeout` and `X-Server-Timeout`, in seconds; None if both are missing.

    Raises:
        FieldInvalid: One is malformed. If it were ignored, the call could take longer than its caller waits.
    """
    given = []
    if "grpc-timeout" in metadata:
        parts = _is_grpc_timeout(metadata["grpc-timeout"])
        if parts is None:
            raise FieldInvalid.of(
                "grpc-timeout",
                "must be at most 8 digits and a unit of H, M, S, m, u and n, such as 500m for 0.5 s",
            )
        given.append(int(parts[1]) * _UNITS[parts[2]])
    if "x-server-timeout" in metadata:
        if not _is_seconds(metadata["x-server-timeout"]):
            raise FieldInvalid.of("x-server-timeout", "must be a number of seconds, such as 2.5")
        given.append(float(metadata["x-server-timeout"]))
    return min(given, default=None)


def content_length(metadata: Mapping[str, str]) -> int:
    """The value of Content-Length, in bytes; 0 if it is missing."""
    text = metadata.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0
