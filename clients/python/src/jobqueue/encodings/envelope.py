"""The JSON object that stands for something encoded."""

from __future__ import annotations

import base64
import binascii
import functools
import json
from typing import Any, NamedTuple

from ..encoded import FORM, MARK, Undecodable

# Letters of base64url to those of base64, and those that it does not have to what is none.
_TO_BASE64 = bytes.maketrans(b"-_+/=", b"+/!!!")
#: So does each envelope begin that is written here; of a checkpoint, whose bytes may be anything, all do.
PREFIX = f'{{"{MARK}":{FORM},'.encode()


class Envelope(NamedTuple):
    """Something encoded.

    Attributes:
        encodings: By what, in the order in which it was done.
        key_id: The name of the key. Empty: it is not encrypted.
        data: The bytes.
        content_type: Of what was encoded.
    """

    encodings: tuple[str, ...]
    key_id: str
    data: bytes
    content_type: str

    def text(self) -> bytes:
        """As JSON text."""
        before = _before_data(self.encodings, self.key_id, self.content_type)
        return before + base64.urlsafe_b64encode(self.data).rstrip(b"=") + b'"}'


@functools.lru_cache(256)
def _before_data(encodings: tuple[str, ...], key_id: str, content_type: str) -> bytes:
    # Kept, since data is all that differs between most envelopes.
    key = {"key_id": key_id} if key_id else {}
    told = {MARK: FORM, "content_type": content_type, "encodings": encodings, **key, "data": ""}
    return json.dumps(told, separators=(",", ":"), ensure_ascii=False)[:-2].encode()


def read(value: dict[str, Any]) -> Envelope:
    """The envelope that a JSON object is.

    Raises:
        Undecodable: It is malformed, or of a later form.
    """
    if value.get(MARK) != FORM or isinstance(value[MARK], bool):
        raise Undecodable(f"the envelope's {MARK} must be {FORM}")
    names, key_id, data = value.get("encodings"), value.get("key_id", ""), value.get("data")
    content_type = value.get("content_type")
    if not isinstance(names, list) or not names or not all(isinstance(each, str) for each in names):
        raise Undecodable("the envelope's encodings must be a list of names")
    if len(set(names)) != len(names):
        raise Undecodable("the envelope's encodings must be different ones")
    if not isinstance(key_id, str) or not isinstance(data, str) or not isinstance(content_type, str):
        raise Undecodable("the envelope's content_type, key_id and data must be texts")
    try:
        padded = data.encode().translate(_TO_BASE64) + b"=" * (-len(data) % 4)
        raw = binascii.a2b_base64(padded, strict_mode=True)
    except ValueError:
        raise Undecodable("the envelope's data must be base64url, without =") from None
    return Envelope(tuple(names), key_id, raw, content_type)
