"""The little of certificates and of lists of revoked ones that `ssl` does not tell: DER as RFC 5280 has it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import NamedTuple

_INTEGER, _SEQUENCE, _UTC_TIME, _VERSION = 0x02, 0x30, 0x17, 0xA0
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class CertificateFacts(NamedTuple):
    """What a certificate says of itself.

    Attributes:
        issuer: The issuer's name in DER, which is the same in all that the issuer signs.
        serial: Its number among those of the issuer.
        ends: When it ends, in seconds since 1970.
    """

    issuer: bytes
    serial: int
    ends: float


def read_certificate(der: bytes) -> CertificateFacts:
    """Reads a certificate."""
    _, whole, _ = _part(memoryview(der))
    _, rest, _ = _part(whole)
    tag, _, behind = _part(rest)
    _, serial, rest = _part(behind if tag == _VERSION else rest)
    _, _, rest = _part(rest)  # the algorithm
    _, issuer, rest = _part(rest)
    _, validity, _ = _part(rest)
    _, _, rest = _part(validity)
    tag, ends, _ = _part(rest)
    return CertificateFacts(bytes(issuer), _number(serial), _seconds(tag, bytes(ends).decode("ascii")))


def read_revoked(der: bytes) -> tuple[bytes, Iterator[int]]:
    """The issuer of a list of revoked certificates, as `CertificateFacts` has it, and their serial numbers."""
    _, whole, _ = _part(memoryview(der))
    _, rest, _ = _part(whole)
    tag, _, behind = _part(rest)
    _, _, rest = _part(behind if tag == _INTEGER else rest)  # the version, if it is there; the algorithm
    _, issuer, rest = _part(rest)
    _, _, rest = _part(rest)  # when it was made
    return bytes(issuer), _serials(rest)


def _serials(rest: memoryview) -> Iterator[int]:
    # When the next list comes, the certificates, extensions: each of them may be left out.
    while rest:
        tag, entries, rest = _part(rest)
        while tag == _SEQUENCE and entries:
            _, entry, entries = _part(entries)
            _, serial, _ = _part(entry)
            yield _number(serial)


def _part(der: memoryview) -> tuple[int, memoryview, memoryview]:
    """The tag and the content of the first value, and what follows it."""
    tag, size, at = der[0], der[1], 2
    if size & 0x80:
        at += size & 0x7F
        size = int.from_bytes(der[2:at])
    return tag, der[at : at + size], der[at + size :]


def _number(content: memoryview) -> int:
    return int.from_bytes(content, signed=True)


def _seconds(tag: int, text: str) -> float:
    if tag == _UTC_TIME:
        # Of a year in two digits RFC 5280 says that it is from 1950 to 2049.
        text = ("19" if text >= "50" else "20") + text
    year, month, day, hour, minute, second = (text[:4], *(text[at : at + 2] for at in range(4, 14, 2)))
    return float(
        ssl.cert_time_to_seconds(
            f"{_MONTHS[int(month) - 1]} {int(day):2d} {hour}:{minute}:{second} {year} GMT"
        )
    )
