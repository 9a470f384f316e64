"""What the opaque tokens of pages and watches have in common: text, cell, and how they name what they are of.

A token is base64url of: the version, an octet; the cell in ten bits, and six that are zero; what the token says. In
tokens of version 1, from before migration 0012, there is no cell, and digests are BLAKE2b. They are still read, so that
a watch or a list goes on across the upgrade.
"""

from __future__ import annotations

import base64
from hashlib import blake2b, sha256

from ..ids import CELL, CELL_BITS
from ..model import DEFAULT_NAMESPACE
from ..scope import Scope

DIGEST_BYTES = 8

_VERSION = 2
_FORMER = 1
_PADDING_BITS = 16 - CELL_BITS
_HEAD = bytes((_VERSION,)) + (CELL << _PADDING_BITS).to_bytes(2, "big")


def encode(said: bytes) -> str:
    """The token that says this."""
    return base64.urlsafe_b64encode(_HEAD + said).rstrip(b"=").decode()


def decode(token: str) -> tuple[bytes, bool]:
    """What a token says, and whether its digests are those of version 1.

    Raises:
        ValueError: It is not one of this cell's.
    """
    padded = token.encode("ascii") + b"=" * (-len(token) % 4)
    raw = base64.b64decode(padded, altchars=b"-_", validate=True)
    if raw.startswith(_HEAD):
        return raw[len(_HEAD) :], False
    if raw[:1] == bytes((_FORMER,)):
        return raw[1:], True
    raise ValueError("another version, or another cell")


def within(scope: Scope, text: str) -> str:
    """The text of a list or a watch, of which a token has the digest, made that of one namespace.

    The first one is not named: in tokens of before there is none, and they are still good.
    """
    return text if scope.namespace == DEFAULT_NAMESPACE else f"{scope.namespace} {text}"


def digest(text: str, *, former: bool = False) -> bytes:
    """The eight octets by which a token names something; `former`: as version 1 does."""
    octets = text.encode("utf-8", "surrogatepass")
    if former:
        return blake2b(octets, digest_size=DIGEST_BYTES).digest()
    return sha256(octets).digest()[:DIGEST_BYTES]
