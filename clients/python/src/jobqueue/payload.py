"""Payloads and outputs: Python values to JSON text and back."""

from __future__ import annotations

import json
from typing import Any

# Kept: to make one takes as long as to write a small output.
_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class JsonText:
    """JSON text that goes as it is, taken wherever a payload or an output is: `JsonText('{"n": 1.0}')`.

    Args:
        text: The text, or its bytes in UTF-8. The server refuses what is no JSON.
    """

    __slots__ = ("raw",)

    def __init__(self, text: str | bytes) -> None:
        self.raw = text.encode() if isinstance(text, str) else bytes(text)


def encode(value: Any, what: str) -> bytes:
    """The value as compact JSON text.

    Args:
        value: Anything that `json.dumps` takes, or a `JsonText`. NaN and infinities are no JSON.
        what: How to call it in an error, for example `payload`.

    Raises:
        TypeError: It holds something that JSON has no form for.
        ValueError: It holds NaN, an infinity, half of a surrogate pair, or itself.
    """
    if isinstance(value, JsonText):
        return value.raw
    try:
        return _JSON.encode(value).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{what} holds half of a surrogate pair, which UTF-8 has no form for: {error}"
        ) from None
    except TypeError as error:
        hint = "" if what == "the value" else "; a kind that define_kind makes takes objects of its types"
        raise TypeError(f"{what} is no JSON: {error}{hint}") from None
    except ValueError as error:
        raise ValueError(f"{what} is no JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{what} is nested too deeply for JSON") from None


def decode(text: bytes) -> Any:
    """The value of a JSON text. Integers keep all their digits. Empty: None."""
    return json.loads(text) if text else None
