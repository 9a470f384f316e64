"""Pages of lists: sizes and opaque tokens."""

from __future__ import annotations

import base64
import binascii
from hashlib import blake2b

from ..errors import FieldInvalid, PageTokenInvalid
from ..model import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from .kinds import NAME

_VERSION = b"\x01"
_SCOPE_BYTES = 8


def page_size(asked: int) -> int:
    """The size to use: 50 for 0, at most 1,000.

    Raises:
        FieldInvalid: It is negative.
    """
    if asked < 0:
        raise FieldInvalid.of(
            "page_size", f"must be from 0 (the default, {DEFAULT_PAGE_SIZE}) to {MAX_PAGE_SIZE}"
        )
    return min(asked or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def page_token(scope: str, position: bytes) -> str:
    """A token for what comes after `position` in the list that `scope` describes (its name and its filter)."""
    return base64.urlsafe_b64encode(_VERSION + _digest(scope) + position).rstrip(b"=").decode()


def page_position(scope: str, token: str) -> bytes | None:
    """The position that the token carries; None for the empty token, which means the first page.

    Raises:
        PageTokenInvalid: The token is not one of ours, or belongs to another list or filter.
    """
    if not token:
        return None
    try:
        raw = base64.b64decode(
            token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True
        )
    except (binascii.Error, ValueError):
        raise PageTokenInvalid(
            "page_token: not a token that this server gave; start again without it"
        ) from None
    version, digest, position = raw[:1], raw[1 : 1 + _SCOPE_BYTES], raw[1 + _SCOPE_BYTES :]
    if version != _VERSION or not position:
        raise PageTokenInvalid("page_token: not a token that this server gave; start again without it")
    if digest != _digest(scope):
        raise PageTokenInvalid(
            "page_token: belongs to another list or filter; keep all other fields as they were"
        )
    return position


def page_name(scope: str, token: str) -> str:
    """The name after which the page begins; "" for the first page.

    Raises:
        PageTokenInvalid: As in `page_position`.
    """
    position = page_position(scope, token)
    if position is None:
        return ""
    name = position.decode("ascii", "replace")
    if not NAME.fullmatch(name):
        raise PageTokenInvalid("page_token: not a token that this server gave; start again without it")
    return name


def _digest(scope: str) -> bytes:
    return blake2b(scope.encode("utf-8", "surrogatepass"), digest_size=_SCOPE_BYTES).digest()
