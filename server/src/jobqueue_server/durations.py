"""Spans of time as people write them: `30s`, `5m`, `1h30m`, `7d`, `1500ms`."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_PART = r"(\d+(?:\.\d+)?)(ms|s|m|h|d)"
_WHOLE = re.compile(rf"(?:{_PART})+", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """The span that a text names.

    Raises:
        ValueError: when it is none; the text says what would be.
    """
    written = text.strip().lower()
    if not _WHOLE.fullmatch(written):
        raise ValueError("should be a number with a unit, such as 1500ms, 30s, 5m, 12h or 7d")
    parts = re.findall(_PART, written, re.ASCII)
    try:
        return sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta())
    except OverflowError:
        raise ValueError("is longer than time itself") from None


def format_duration(span: timedelta) -> str:
    """The shortest text that `parse_duration` reads as this span, in whole milliseconds."""
    rest = round(span / timedelta(milliseconds=1))
    text = ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, round(_UNITS[unit] / timedelta(milliseconds=1)))
        if count:
            text += f"{count}{unit}"
    return text or "0s"
