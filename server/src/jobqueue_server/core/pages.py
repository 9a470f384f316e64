"""Pages of lists: sizes and opaque tokens."""

from __future__ import annotations

from ..errors import FieldInvalid, PageTokenInvalid
from ..model import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from . import tokens


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


def page_token(text: str, position: bytes) -> str:
    """A token for what comes after `position` in the list that `text` describes (its name and its filter)."""
    return tokens.encode(tokens.digest(text) + position)


def page_position(text: str, token: str) -> bytes | None:
    """The position that the token carries; None for the empty token, which means the first page.

    Raises:
        PageTokenInvalid: The token is not one of ours, or belongs to another list or filter.
    """
    if not token:
        return None
    try:
        said = tokens.decode(token)
    except ValueError:
        raise PageTokenInvalid(
            "page_token: not a token that this server gave; start again without it"
        ) from None
    digest, position = said[: tokens.DIGEST_BYTES], said[tokens.DIGEST_BYTES :]
    if not position:
        raise PageTokenInvalid("page_token: not a token that this server gave; start again without it")
    if digest != tokens.digest(text):
        raise PageTokenInvalid(
            "page_token: belongs to another list or filter; keep all other fields as they were"
        )
    return position
