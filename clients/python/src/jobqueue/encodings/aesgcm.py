"""Encryption by AES-256-GCM."""

from __future__ import annotations

import functools
import hmac
import os
from collections.abc import Mapping
from typing import Any

from ..encoded import KeyUnknown, Undecodable
from .base import Encoding, framed
from .keys import NAME, AskForKey, Keys, check_name

_NONCE_BYTES = 12
_TAG_BYTES = 16
_MOST_CIPHERS = 4
_NONCE_KEY_OF = b"jobqueue.encoded/1 nonce"


class AesGcm(Encoding):
    """Encrypts and authenticates. It needs `jobqueue[encryption]`.

    Nonces are random; with an idempotency key they are made of it and of all that is encrypted, so that the same call
    again has the same bytes. Either way a key is good for 2^32 messages: take another one before.

    Args:
        keys: Each key by its name, 32 bytes; or a function that answers one by its name, None if there is none, or an
            awaitable of that. A plain function is called in a thread. A key of a function is kept for five minutes, and
            that it has none for 15 seconds. What is asked for comes from who enqueued: look it up, and never build a
            path of it.
        primary: The name of the key that encrypts. All of them decrypt.

    Raises:
        ImportError: The package cryptography is not there.
        KeyUnknown: `keys` has no primary key.
        TypeError: The name of a key is no text, or `keys` neither a mapping nor a function.
        ValueError: A key does not have 32 bytes, or the primary no name; one for a function is of letters, digits and
            `_.:/-`, 255 at most.
    """

    name = "aes256gcm"

    def __init__(self, keys: Mapping[str, bytes] | AskForKey, *, primary: str) -> None:
        cipher, self._invalid = _library()
        # To make one takes longer than to encrypt 1 kB.
        self._cipher = functools.lru_cache(_MOST_CIPHERS)(cipher)
        check_name(primary)
        if not primary:
            raise ValueError("primary is empty: it is the name of the key that encrypts")
        self._keys = Keys(keys)
        if isinstance(keys, Mapping) and primary not in keys:
            raise KeyUnknown(primary)
        if self._keys.asks and not NAME.fullmatch(primary):
            raise ValueError(f"primary={primary!r}: it is 1 to 255 letters, digits and _ . : / -")
        self.key_id = primary
        self.asks = self._keys.asks

    async def key(self, key_id: str) -> bytes:
        """As `Encoding.key`."""
        return await self._keys.get(key_id)

    def encode(self, data: bytes, key: bytes, authenticated: bytes, idempotency_key: str | None) -> bytes:
        """As `Encoding.encode`: the nonce, then the ciphertext with its tag."""
        if idempotency_key is None:
            nonce = os.urandom(_NONCE_BYTES)
        else:
            nonce = keyed_nonce(key, authenticated, idempotency_key, data)
        sealed: bytes = self._cipher(key).encrypt(nonce, data, authenticated)
        return nonce + sealed

    def decode(self, data: bytes, key: bytes, authenticated: bytes) -> bytes:
        """As `Encoding.decode`."""
        if len(data) < _NONCE_BYTES + _TAG_BYTES:
            raise Undecodable("aes256gcm: it is cut off")
        try:
            opened: bytes = self._cipher(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], authenticated)
        except self._invalid:
            raise Undecodable(
                "aes256gcm: it was changed, or encrypted for another kind, job or purpose, or with another key of "
                "this name"
            ) from None
        return opened


def keyed_nonce(key: bytes, authenticated: bytes, idempotency_key: str, data: bytes) -> bytes:
    """A nonce that is the same for the same, and another one as soon as anything differs that the cipher is given.

    Two messages with one nonce would give away the key of the tags, also if only what is authenticated differs.

    Args:
        key: Of the cipher.
        authenticated: What the message is bound to.
        idempotency_key: Of the job.
        data: The very bytes that go into the cipher.
    """
    what = framed(authenticated, idempotency_key.encode(), data)
    return hmac.digest(_nonce_key(key), what, "sha256")[:_NONCE_BYTES]


@functools.lru_cache(_MOST_CIPHERS)
def _nonce_key(key: bytes) -> bytes:
    # HKDF-SHA256 (RFC 5869) without salt, one block.
    drawn = hmac.digest(b"\0" * 32, key, "sha256")
    return hmac.digest(drawn, _NONCE_KEY_OF + b"\x01", "sha256")


def _library() -> tuple[Any, type[Exception]]:
    try:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise ImportError("AesGcm needs the package: pip install 'jobqueue[encryption]'") from None
    return AESGCM, InvalidTag
