"""The JSON object that stands for something encoded."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

from ..encoded import FORM, MARK, Undecodable

_BASE64URL = re.compile("[A-Za-z0-9_-]*")
#: So does each envelope begin that is written here; of a checkpoint, whose bytes may be anything, all do.
PREFIX = f'{{"{MARK}":{FORM},'.encode()


@dataclass(frozen=True, slots=True)
class Envelope:
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
        told: dict[str, Any] = {
            MARK: FORM,
            "content_type": self.content_type,
            "encodings": list(self.encodings),
        }
        if self.key_id:
            told["key_id"] = self.key_id
        told["data"] = base64.urlsafe_b64encode(self.data).decode().rstrip("=")
        return json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()


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
        if not _BASE64URL.fullmatch(data):
            raise binascii.Error
        raw = base64.urlsafe_b64decode(data + "=" * (-len(data) % 4))
    except binascii.Error:
        raise Undecodable("the envelope's data must be base64url, without =") from None
    return Envelope(tuple(names), key_id, raw, content_type)
