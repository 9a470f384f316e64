"""What the opaque tokens of pages and watches have in common: text, cell, and how they name what they are of.

A token is base64url of: the version, an octet; the cell in ten bits, and six that are zero; what the token says.
"""

from __future__ import annotations

import base64
from hashlib import sha256

from ..ids import CELL, CELL_BITS
from ..model import DEFAULT_NAMESPACE
from ..scope import Scope

DIGEST_BYTES = 8

_VERSION = 2
_PADDING_BITS = 16 - CELL_BITS
_HEAD = bytes((_VERSION,)) + (CELL << _PADDING_BITS).to_bytes(2, "big")


def encode(said: bytes) -> str:
    """The token that says this."""
    return base64.urlsafe_b64encode(_HEAD + said).rstrip(b"=").decode()


def decode(token: str) -> bytes:
    """What a token says.

    Raises:
        ValueError: It is not one of this cell's.
    """
    padded = token.encode("ascii") + b"=" * (-len(token) % 4)
    raw = base64.b64decode(padded, altchars=b"-_", validate=True)
    if not raw.startswith(_HEAD):
        raise ValueError("another version, or another cell")
    return raw[len(_HEAD) :]


def within(scope: Scope, text: str) -> str:
    """The text of a list or a watch, of which a token has the digest, made that of one namespace.

    The first one is not named.
    """
    return text if scope.namespace == DEFAULT_NAMESPACE else f"{scope.namespace} {text}"


def digest(text: str) -> bytes:
    """The eight octets by which a token names something."""
    return sha256(text.encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]
