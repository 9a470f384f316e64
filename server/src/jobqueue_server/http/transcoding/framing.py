"""The forms of a server stream in an HTTP body: lines of JSON, server-sent events, or a JSON array."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Protocol

from .errors import TranscodingError

_weight = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)").fullmatch
# Outside of strings these are blanks in JSON text; in strings they are escaped.
_BREAKS = bytes.maketrans(b"\r\n", b"  ")
# Strings may have these unescaped, and some readers of lines end a line there.
_UNICODE_BREAKS = (
    (b"\xc2\x85", b"\\u0085"),
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)


class Framing(Protocol):
    """What is written for each event of a stream. It has no state: `first` says whether this is the first message.

    Attributes:
        content_type: The Content-Type of the body.
        heartbeat: The bytes for a long silence. Readers ignore them.
    """

    content_type: str
    heartbeat: bytes

    def message(self, message: bytes, event_id: str, first: bool) -> bytes:
        """One message, given as JSON text. `event_id` is "" if it has none."""

    def error(self, status: bytes, retry_after: timedelta | None, first: bool) -> bytes:
        """The end of a stream with an error, given as JSON text."""

    def end(self, first: bool) -> bytes:
        """The end of a stream without an error."""


class Lines:
    """NDJSON: each message is a line, an error is `{"error": ...}` in the last line.

    A heartbeat is a blank at the beginning of the next line, where JSON allows it. Most readers refuse an empty line.
    """

    content_type = "application/x-ndjson"
    heartbeat = b" "

    def message(self, message: bytes, event_id: str, first: bool) -> bytes:
        """As `Framing` says."""
        return one_line(message) + b"\n"

    def error(self, status: bytes, retry_after: timedelta | None, first: bool) -> bytes:
        """As `Framing` says."""
        return b'{"error":' + one_line(status) + b"}\n"

    def end(self, first: bool) -> bytes:
        """As `Framing` says."""
        return b""


class Events:
    """Server-sent events, as HTML defines them. A message is an event with its id, an error an event named `error`."""

    content_type = "text/event-stream"
    heartbeat = b": \n\n"

    def message(self, message: bytes, event_id: str, first: bool) -> bytes:
        """As `Framing` says."""
        line = b"data: " + one_line(message) + b"\n\n"
        # An id with one of these characters would be cut or ignored.
        if not event_id or any(char in event_id for char in "\r\n\0"):
            return line
        return b"id: " + event_id.encode() + b"\n" + line

    def error(self, status: bytes, retry_after: timedelta | None, first: bool) -> bytes:
        """As `Framing` says."""
        retry = b""
        if retry_after is not None:
            retry = b"retry: %d\n" % max(1, retry_after // timedelta(milliseconds=1))
        return b"event: error\n" + retry + b"data: " + one_line(status) + b"\n\n"

    def end(self, first: bool) -> bytes:
        """As `Framing` says."""
        return b""


class Array:
    """One JSON array, for streams that end. An error is its last element, `{"error": ...}`."""

    content_type = "application/json"
    heartbeat = b" "

    def message(self, message: bytes, event_id: str, first: bool) -> bytes:
        """As `Framing` says."""
        return (b"[" if first else b",\n") + message

    def error(self, status: bytes, retry_after: timedelta | None, first: bool) -> bytes:
        """As `Framing` says."""
        return self.message(b'{"error":' + status + b"}", "", first) + b"]\n"

    def end(self, first: bool) -> bytes:
        """As `Framing` says."""
        return b"[]\n" if first else b"]\n"


#: The first one is the default.
FRAMINGS: tuple[Framing, ...] = (Lines(), Events(), Array())


def framing_for(accept: str) -> Framing:
    """The framing that a caller prefers.

    Of framings with equal weights, the one that `Accept` names more exactly wins, and then the first in `FRAMINGS`.

    Args:
        accept: The value of `Accept`; "" chooses the first framing.

    Raises:
        TranscodingError: 406; the caller accepts none of them.
    """
    if not accept.strip():
        return FRAMINGS[0]
    ranges = list(_ranges(accept))
    best = max(FRAMINGS, key=lambda framing: _wanted(framing.content_type, ranges))
    if not _wanted(best.content_type, ranges)[0]:
        there = ", ".join(framing.content_type for framing in FRAMINGS)
        message = f"this is a stream, which is answered as one of {there}; Accept takes none of them"
        raise TranscodingError(406, "INVALID_ARGUMENT", message)
    return best


def one_line(message: bytes) -> bytes:
    """The same JSON without line breaks of any kind."""
    message = message.translate(_BREAKS)
    for char, escape in _UNICODE_BREAKS:
        message = message.replace(char, escape)
    return message


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    """Each media type or range with its weight. Malformed entries are ignored."""
    for item in accept.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        weights = [part for part in parameters if part.startswith("q=")]
        weight = _weight(weights[0]) if weights else None
        if name and (weight or not weights):
            yield name, float(weight[1]) if weight else 1.0


def _wanted(content_type: str, ranges: list[tuple[str, float]]) -> tuple[float, int]:
    """The weight of the most exact range that has the type, and how exact the range is."""
    for exact, name in ((2, content_type), (1, content_type.partition("/")[0] + "/*"), (0, "*/*")):
        weights = [weight for other, weight in ranges if other == name]
        if weights:
            return max(weights), exact
    return 0.0, 0
