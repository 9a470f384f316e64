"""How the messages of a server stream stand in one HTTP body: lines of JSON, server-sent events, or a JSON array."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Protocol

from .errors import TranscodingError

_weight = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)").fullmatch
# Within JSON text these are blanks between tokens: in a string they stand escaped.
_BREAKS = bytes.maketrans(b"\r\n", b"  ")
# Within strings they may stand as they are, and some readers of lines end a line there.
_UNICODE_BREAKS = (
    (b"\xc2\x85", b"\\u0085"),
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)


class Framing(Protocol):
    """What is written for what happens in a stream. It keeps nothing: `first` says whether a message went before.

    Attributes:
        content_type: Of the body.
        heartbeat: Written into a long silence; it means nothing to a reader.
    """

    content_type: str
    heartbeat: bytes

    def message(self, message: bytes, event_id: str, first: bool) -> bytes:
        """One message, as JSON text; `event_id` is "" where it has none."""

    def error(self, status: bytes, retry_after: timedelta | None, first: bool) -> bytes:
        """The end by an error, as JSON text."""

    def end(self, first: bool) -> bytes:
        """The end of what has ended well."""


class Lines:
    """NDJSON: a message a line, an error as `{"error": ...}` in the last one.

    A heartbeat is a blank that the next line begins with, where JSON allows it; an empty line is none to most readers.
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
    """Server-sent events, as HTML defines them: a message an event with its id, an error an event named `error`."""

    content_type = "text/event-stream"
    heartbeat = b": \n\n"

    def message(self, message: bytes, event_id: str, first: bool) -> bytes:
        """As `Framing` says."""
        line = b"data: " + one_line(message) + b"\n\n"
        # An id with one of these would be cut, or not be kept.
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
    """One JSON array, for streams that end: an error is its last element, `{"error": ...}`."""

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


#: The one that is meant by default first.
FRAMINGS: tuple[Framing, ...] = (Lines(), Events(), Array())


def framing_for(accept: str) -> Framing:
    """The framing that a caller wants most.

    Of those that it wants alike, the one that it names more exactly is taken, and then the first in `FRAMINGS`.

    Args:
        accept: The header; "" takes the first.

    Raises:
        TranscodingError: 406; it takes none of them.
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
    """The same JSON without a line break in it, for any reader's idea of one."""
    message = message.translate(_BREAKS)
    for char, escape in _UNICODE_BREAKS:
        message = message.replace(char, escape)
    return message


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    """Each type or range with its weight; what can't be read says nothing."""
    for item in accept.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        weights = [part for part in parameters if part.startswith("q=")]
        weight = _weight(weights[0]) if weights else None
        if name and (weight or not weights):
            yield name, float(weight[1]) if weight else 1.0


def _wanted(content_type: str, ranges: list[tuple[str, float]]) -> tuple[float, int]:
    """The weight of the most exact range that holds the type, and how exact it is."""
    for exact, name in ((2, content_type), (1, content_type.partition("/")[0] + "/*"), (0, "*/*")):
        weights = [weight for other, weight in ranges if other == name]
        if weights:
            return max(weights), exact
    return 0.0, 0
