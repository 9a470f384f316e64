"""The text of an API key: `jq_<id>_<secret><checksum>`. Pure functions.

The id is public: 10 characters of Crockford's base 32 (50 bits). The secret is 32 random bytes in base64url, 43
characters. The checksum is the CRC-32 of all before it, 6 characters in base 62: it tells a key from other text, so
that secret scanners and the log filter find one without asking, and a slip of the hand costs no look. The server keeps
SHA-256 of the whole text alone: 256 random bits need no slow hash.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass, field

_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_CHARS = 10
_CHECK_CHARS = 6
#: What a key looks like. SECURITY.md publishes it, and `logs.py` keeps what looks so out of lines.
PATTERN = r"jq_[0-9a-hjkmnp-tv-z]{10}_[A-Za-z0-9_-]{43}[0-9A-Za-z]{6}"
#: How long it is.
CHARS = 63
_is_key = re.compile(PATTERN, re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A new key. `text` is shown to its owner once, and kept nowhere."""

    id: str
    text: str = field(repr=False)
    secret_hash: bytes = field(repr=False)


def mint() -> MintedKey:
    """A new key from the system's randomness."""
    key_id = "".join(secrets.choice(_BASE32) for _ in range(_ID_CHARS))
    body = f"jq_{key_id}_{secrets.token_urlsafe(32)}"
    text = body + _checksum(body)
    return MintedKey(key_id, text, hash_of(text))


def id_of(text: str) -> str | None:
    """The id of what is a key by its form and checksum; else None."""
    if _is_key(text) is None or _checksum(text[:-_CHECK_CHARS]) != text[-_CHECK_CHARS:]:
        return None
    return text[3 : 3 + _ID_CHARS]


def hash_of(text: str) -> bytes:
    """What is stored of a key, 32 bytes."""
    return hashlib.sha256(text.encode()).digest()


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), []
    for _ in range(_CHECK_CHARS):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))
