"""Checkpoints that are values: JSON text while they are stored."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ..encoded import Encoded, shown
from ..payload import JsonText, decode
from .codec import Codec
from .shapes import Mismatch


class CheckpointUnreadable(Exception):
    """A checkpoint is not of the type that a handler reads it as. Not caught, it is a failure like any other."""


def text_of(value: Any) -> bytes:
    """The JSON text of a value.

    Args:
        value: Of a type that payloads may have.

    Raises:
        TypeError: JSON has no form for it here.
    """
    if isinstance(value, JsonText):
        return value.raw
    of: Any = type(value)
    codec = _codec(of)
    try:
        return codec.encode(value).raw
    except Mismatch as mismatch:
        raise TypeError(f"checkpoint{mismatch.path}: must be {mismatch.expected}") from None
    except TypeError as error:
        raise TypeError(f"checkpoint: {error}") from None


def read(data: bytes, of: Any, *, opened: bool) -> Any:
    """The value that a checkpoint stands for.

    Args:
        data: The checkpoint.
        of: The type.
        opened: Whether encodings have decoded it.

    Raises:
        Encoded: It is encoded and was not decoded.
        CheckpointUnreadable: It is not of the type.
    """
    try:
        value = decode(data)
    # Half of UTF-8, too.
    except (ValueError, RecursionError):
        # Not from that: its words may quote the checkpoint, which may have been encrypted.
        raise CheckpointUnreadable(
            "checkpoint: must be JSON text, as `save_checkpoint` makes it of a value"
        ) from None
    if not opened and type(encoded := shown(value)) is Encoded:
        raise encoded
    try:
        return _codec(of).value(value)
    except Mismatch as mismatch:
        raise CheckpointUnreadable(f"checkpoint{mismatch.path}: must be {mismatch.expected}") from None


@lru_cache(maxsize=256)
def _codec(of: Any) -> Codec:
    return Codec(of, "checkpoint")
