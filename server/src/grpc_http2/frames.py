"""HTTP/2's frames and codes (RFC 9113, sections 4, 6 and 7)."""

from __future__ import annotations

import struct
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES = 9
#: Of these the last ones, which say whose frame it is.
STREAM_BYTES = 4
#: What a side may send before the other has said anything about it.
DEFAULT_WINDOW = 65_535
DEFAULT_FRAME_BYTES = 16_384
MOST_WINDOW = (1 << 31) - 1
MOST_FRAME_BYTES = (1 << 24) - 1
MOST_STREAM_ID = (1 << 31) - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

#: A frame's head: the length in two parts, kind, flags, stream.
read_head = struct.Struct(">BHBBL").unpack_from
_pack_head = struct.Struct(">BHBBL").pack
_pack_setting = struct.Struct(">HL").pack
read_settings = struct.Struct(">HL").iter_unpack
_pack_number = struct.Struct(">L").pack


class Setting(IntEnum):
    """What the sides tell each other of themselves."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ErrorCode(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class ConnectionBroken(Exception):
    """The other side broke the protocol: its connection ends with this reason and text."""

    def __init__(self, reason: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def head(length: int, kind: int, flags: int, stream: int) -> bytes:
    """A frame's first nine bytes."""
    return _pack_head(length >> 16, length & 0xFFFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return head(len(payload), kind, flags, stream) + payload


def settings(values: dict[Setting, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_pack_setting(name, value) for name, value in values.items()))


def window_update(stream: int, more: int) -> bytes:
    """Lets the other side send so many bytes more: on a stream, or on the connection (0)."""
    return frame(WINDOW_UPDATE, 0, stream, _pack_number(more))


def reset(stream: int, reason: ErrorCode) -> bytes:
    """Ends a stream."""
    return frame(RST_STREAM, 0, stream, _pack_number(reason))


def go_away(last: int, reason: ErrorCode, message: str = "") -> bytes:
    """Says that streams after the last one are not looked at."""
    return frame(GOAWAY, 0, 0, _pack_number(last) + _pack_number(reason) + message.encode())


def header_frames(stream: int, block: bytes, end: bool, most: int) -> bytes:
    """A block of fields as HEADERS, and CONTINUATION where a frame has no room for it."""
    flags = END_STREAM if end else 0
    if len(block) <= most:
        return frame(HEADERS, flags | END_HEADERS, stream, block)
    parts = [block[at : at + most] for at in range(0, len(block), most)]
    last = len(parts) - 1
    return b"".join(
        frame(
            CONTINUATION if number else HEADERS,
            (0 if number else flags) | (END_HEADERS if number == last else 0),
            stream,
            part,
        )
        for number, part in enumerate(parts)
    )


def unpadded(flags: int, payload: bytes) -> bytes:
    """The content of a DATA or HEADERS frame, without padding and priority.

    Raises:
        ConnectionBroken: There is more padding than frame.
    """
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise ConnectionBroken(
                ErrorCode.FRAME_SIZE_ERROR, "a padded frame must begin with the length of its padding"
            )
        start, end = 1, end - payload[0]
    if flags & WITH_PRIORITY:
        start += 5
    if start > end:
        raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "a frame's padding must be shorter than the frame")
    return payload[start:end]
