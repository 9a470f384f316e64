"""Etags of queues: a revision as a text that says nothing to callers."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

#: No queue has it.
NO_REVISION = 0
_ETAG = re.compile(r"[A-Za-z0-9_-]{1,64}")


def etag_of(revision: int) -> str:
    """What stands for a revision; empty for that of a queue that does not exist."""
    return urlsafe_b64encode(str(revision).encode()).decode().rstrip("=") if revision else ""


def revision_of(etag: str) -> int | None:
    """The revision that an etag asks for; None: any. A text that is no etag asks for one that no queue has."""
    if not etag:
        return None
    if not _ETAG.fullmatch(etag):
        return NO_REVISION
    try:
        text = urlsafe_b64decode(etag + "=" * (-len(etag) % 4)).decode()
    except ValueError:
        return NO_REVISION
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else NO_REVISION
