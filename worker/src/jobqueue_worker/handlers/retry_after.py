"""Reads the Retry-After header of HTTP (RFC 9110, section 10.2.3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# A server that asks for more is broken or hostile; after a day its word is worth asking for again.
LONGEST = timedelta(days=1)


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """How long the header asks to wait: seconds or a date, between nothing and a day.

    Args:
        value: The header's value, or None where there is none.
        now: An aware time that a date is compared with.

    Returns:
        None for a missing header, or for one that cannot be read: the job's own backoff then decides.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        # Python refuses to read numbers of thousands of digits; these are beyond a day anyway.
        return LONGEST if len(text) > 9 else min(timedelta(seconds=int(text)), LONGEST)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(timedelta(0), min(moment - now, LONGEST))
