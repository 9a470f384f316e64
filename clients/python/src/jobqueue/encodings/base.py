"""What an encoding is, and what it is told of what it encodes."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Literal, NamedTuple

Purpose = Literal["payload", "output", "checkpoint"]
# The first of what is authenticated: another form of it gets another name.
_DOMAIN = b"jobqueue.encoded/1"


class Place(NamedTuple):
    """Where something encoded belongs.

    Attributes:
        purpose: What it is.
        kind: The job's kind.
        job_id: The job's id. Empty for payloads: theirs is not known when they are encoded.
        content_type: Of what was encoded.
    """

    purpose: Purpose
    kind: str
    job_id: str = ""
    content_type: str = "application/json"

    def authenticated(self, encodings: Iterable[str], key_id: str) -> bytes:
        """All that an envelope is bound to, as bytes: no two places have the same."""
        before, after = _around(self.purpose, self.kind, self.content_type, key_id, *encodings)
        return before + framed(self.job_id.encode()) + after


def framed(*parts: bytes) -> bytes:
    """The parts, each with its length before it (4 bytes, big-endian)."""
    return b"".join(len(each).to_bytes(4, "big") + each for each in parts)


@functools.lru_cache(256)
def _around(purpose: str, kind: str, *texts: str) -> tuple[bytes, bytes]:
    # Kept, since a job's id is all that differs between the jobs of a kind.
    before = framed(_DOMAIN, purpose.encode(), kind.encode())
    return before, framed(*(each.encode() for each in texts))


class Encoding:
    """Bytes to bytes and back. Inherit for one of your own; it must be safe in threads.

    What `encode` raises fails the enqueue, or the attempt; nothing is sent.

    Attributes:
        name: What envelopes call it. Another form of its bytes is another name.
        key_id: The name of the key with which it encrypts. Empty: it does not encrypt.
        asks: Whether keys come from a function that may be slow.
    """

    name = ""
    key_id = ""
    asks = False

    async def key(self, key_id: str) -> bytes:
        """A key by its name. Of those that encrypt.

        Raises:
            KeyUnknown: Nothing has it.
        """
        return b""

    def encode(
        self, data: bytes, key: bytes, authenticated: bytes, idempotency_key: str | None
    ) -> bytes | None:
        """Encodes. None: it leaves these bytes as they are.

        Args:
            data: The bytes.
            key: Of `key_id`.
            authenticated: What the result is bound to.
            idempotency_key: With it the same bytes must become the same bytes. None: they need not.
        """
        raise NotImplementedError

    def decode(self, data: bytes, key: bytes, authenticated: bytes) -> bytes:
        """The bytes that were encoded.

        Raises:
            Undecodable: They are damaged, or bound to something else.
        """
        raise NotImplementedError
