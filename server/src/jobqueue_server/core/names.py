"""Names of queues and kinds: what they look like, and where a list by name goes on."""

from __future__ import annotations

import re

from ..errors import PageTokenInvalid
from .pages import page_position

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,127}")


def is_name(text: str) -> bool:
    """Whether a queue or a kind may be called this."""
    return _NAME.fullmatch(text) is not None


def page_name(text: str, token: str) -> str:
    """The name after which the page begins; "" for the first page.

    Raises:
        PageTokenInvalid: As in `page_position`.
    """
    position = page_position(text, token)
    if position is None:
        return ""
    name = position.decode("ascii", "replace")
    if not is_name(name):
        raise PageTokenInvalid("page_token: not a token that this server gave; start again without it")
    return name
