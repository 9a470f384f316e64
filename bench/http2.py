"""What clients without a gRPC library have in common: the bytes of HTTP/2 and of a call.

A library costs 100 us a message of a stream and 200 to 300 us a call, more than the server does, on cores that it
shares with it: where that is not what is measured, it is left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import grpc
from hpack import Decoder

from grpc_http2 import frames
from grpc_http2.fields import field
from grpc_http2.frames import Setting

#: What the server may send before it is told that it may send more.
WINDOW = 1 << 30
#: A connection's first bytes. Without a table no block of fields needs the memory of those before.
OPENING = (
    frames.PREFACE
    + frames.settings({Setting.HEADER_TABLE_SIZE: 0, Setting.INITIAL_WINDOW_SIZE: WINDOW})
    + frames.window_update(0, WINDOW)
)
SETTINGS_TAKEN = frames.frame(frames.SETTINGS, frames.ACK, 0)


def call_fields(target: str, method: str, *more: tuple[bytes, bytes]) -> bytes:
    """The fields of a call to `/jobqueue.v1.JobQueue/<method>`, as a block that needs no memory of those before."""
    named = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", f"/jobqueue.v1.JobQueue/{method}".encode()),
        (b":authority", target.encode()),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *more,
    )
    return b"".join(field(*pair) for pair in named)


def data_frames(stream: int, message: bytes, *, last: bool) -> bytes:
    """A message's DATA frames; with the last of them the caller has said all, where it is `last`."""
    most = frames.DEFAULT_FRAME_BYTES
    return b"".join(
        frames.frame(
            frames.DATA,
            frames.END_STREAM if last and at + most >= len(message) else 0,
            stream,
            message[at : at + most],
        )
        for at in range(0, len(message), most)
    )


def fields_of(block: bytes) -> dict[str, str]:
    """The fields that the server sent; it sends none that needs a memory of those before."""
    return {str(each[0]): str(each[1]) for each in Decoder().decode(block)}


def status_of(block: bytes) -> str:
    """How the server says that a call ended, as a person reads it."""
    fields = fields_of(block)
    code = int(fields.get("grpc-status", grpc.StatusCode.UNKNOWN.value[0]))
    name = next((each.name for each in grpc.StatusCode if each.value[0] == code), str(code))
    return f"{name}: {fields.get('grpc-message', '')}"


class Frames:
    """The frames in a connection's bytes, as they come."""

    def __init__(self) -> None:
        self._rest = b""

    def of(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Kind, flags, stream and payload of each that is whole now."""
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while end - at >= frames.HEAD_BYTES:
            high, low, kind, flags, stream = frames.read_head(data, at)
            start = at + frames.HEAD_BYTES
            after = start + (high << 16 | low)
            if after > end:
                break
            at = after
            yield kind, flags, stream, data[start:after]
        self._rest = data[at:]
