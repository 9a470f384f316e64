"""What the frames of a caller mean: RFC 9113, sections 5 and 6, and gRPC's beginning of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from . import frames
from .call import Call
from .fields import MAX_METADATA_BYTES, RequestFields, RequestHead
from .frames import ConnectionBroken, ErrorCode, Setting
from .messages import ENCODINGS
from .reader import FRAME_BYTES
from .states import TABLE, Verdict

if TYPE_CHECKING:
    from .connection import Connection

# What the other side may send before it is looked at.
CONNECTION_WINDOW = 16 << 20
# Bytes of a block of fields for which it counts as one frame that brings nothing: up to 1 us each.
_BLOCK_BYTES = 4
# What the block of a call counts as whose metadata is too large: up to 2,000 fields of a few bytes each.
_LARGE_BLOCK = 2048
# What clients may add to a deadline when they say it, and the seconds in which a call may wait to be read. More calls a
# second with so short a deadline need no resets either.
_ROUNDING, _LAG = 0.1, 0.25
#: What a request is told that is no call.
HINT = "This port speaks gRPC, which is HTTP/2. HTTP/JSON is answered on a port of its own.\n"
#: The content of the PING whose echo says that the other side knows that the connection is to end.
LEAVING = b"leaving\0"

_NAMES = {
    frames.DATA: "DATA",
    frames.HEADERS: "HEADERS",
    frames.RST_STREAM: "RST_STREAM",
    frames.WINDOW_UPDATE: "WINDOW_UPDATE",
}


class FrameHandler:
    """Takes the frames of one connection. Each method may raise ConnectionBroken."""

    __slots__ = ("_budget", "_connection", "_credit", "_fields", "_out", "_streams")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._streams = connection.streams
        self._budget = connection.budget
        self._out = connection.out
        self._fields = RequestFields()
        # Bytes that came and were not given back to the other side's window.
        self._credit = 0

    def data(self, number: int, flags: int, payload: bytes) -> None:
        """The content of messages."""
        length = len(payload)
        if length:
            self._credit += length
            if self._credit >= CONNECTION_WINDOW // 2:
                self._out.write(frames.window_update(0, self._credit))
                self._credit = 0
        elif not flags & frames.END_STREAM:
            self._budget.idle()
        stream = self._streams.live.get(number)
        if stream is None:
            self._not_live(frames.DATA, number, bool(flags & frames.END_STREAM))
            return
        if flags & frames.PADDED:
            payload = frames.unpadded(flags & frames.PADDED, payload)
            if not payload:
                self._budget.idle()
        if stream.ended:
            self._budget.idle()
            stream.flush_status()
        elif length:
            stream.on_data(payload, length)
        if flags & frames.END_STREAM and not stream.half_closed:
            stream.close()

    def fields(self, number: int, block: bytes, end: bool) -> None:
        """What a call begins with, or what ends what its caller says."""
        if len(block) > MAX_METADATA_BYTES:
            # Before it is read, which may take a tenth of a second.
            self._budget.idle(len(block) // _BLOCK_BYTES)
        # Also where the request is refused: what it adds to the table counts.
        request = self._fields.read(block)
        if request.too_large:
            self._budget.idle(_LARGE_BLOCK)
        streams = self._streams
        stream = streams.live.get(number)
        if stream is not None:
            if not end or request.wrong or not request.shared.trailers:
                streams.reset(stream, ErrorCode.PROTOCOL_ERROR)
            elif stream.half_closed:
                streams.reset(stream, ErrorCode.STREAM_CLOSED)
            else:
                stream.close()
            return
        if number % 2 == 0:
            raise ConnectionBroken(
                ErrorCode.PROTOCOL_ERROR, f"a client's streams must have odd numbers; this is stream {number}"
            )
        if number <= streams.last or streams.refuses:
            self._not_live(frames.HEADERS, number, end)
            return
        streams.last = number
        if (
            len(streams.live) >= self._connection.terms.most_streams
            or len(self._out.held_up) >= self._connection.terms.limits.waiting
        ):
            streams.refuse(number, ErrorCode.REFUSED_STREAM, end)
        elif request.wrong or request.shared.trailers:
            streams.refuse(number, ErrorCode.PROTOCOL_ERROR, end)
        else:
            self._call(number, request, end)

    def _call(self, number: int, request: RequestHead, end: bool) -> None:
        """Starts a call, or refuses an unknown method."""
        handler = self._connection.terms.find(request.shared.path)
        call = self._streams.live[number] = Call(self._connection, number, request, handler)
        if request.too_large:
            call.finish(
                grpc.StatusCode.RESOURCE_EXHAUSTED.value[0],
                f"the call's metadata is over {MAX_METADATA_BYTES} bytes",
            )
        elif request.shared.method != "POST":
            call.refuse(405, HINT)
        elif request.shared.content_type != "application/grpc" and not request.shared.content_type.startswith(
            ("application/grpc+", "application/grpc;")
        ):
            call.refuse(415, HINT)
        elif request.unreadable:
            call.finish(grpc.StatusCode.INVALID_ARGUMENT.value[0], request.unreadable)
        elif handler is None:
            call.finish(
                grpc.StatusCode.UNIMPLEMENTED.value[0], f"there is no method {request.shared.path[:256]}"
            )
        elif request.shared.encoding not in ENCODINGS:
            call.finish(
                grpc.StatusCode.UNIMPLEMENTED.value[0],
                f"messages may be compressed by gzip or deflate, not by {request.shared.encoding[:64]}",
            )
        else:
            call.begin()
        if end:
            call.close()

    def other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """A frame that is neither of a call's fields nor of its messages."""
        if kind == frames.WINDOW_UPDATE:
            self._window_update(number, payload)
        elif kind == frames.RST_STREAM:
            self._reset(number, payload)
        elif kind == frames.PING:
            self._ping(flags, number, payload)
        elif kind == frames.SETTINGS:
            self._settings(flags, number, payload)
        elif kind == frames.PUSH_PROMISE:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "a client must not send PUSH_PROMISE")
        else:
            self._budget.idle()
            if kind == frames.GOAWAY and number:
                # Else it opens no more streams; those that there are go on.
                raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "GOAWAY must be on stream 0")
            if kind == frames.PRIORITY and not number:
                raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "PRIORITY must not be on stream 0")
            if kind == frames.PRIORITY and len(payload) != 5:
                raise ConnectionBroken(
                    ErrorCode.FRAME_SIZE_ERROR, f"PRIORITY has {len(payload)} bytes; it must have 5"
                )
            # What else there is are kinds that are yet to come.

    def _not_live(self, kind: int, number: int, end: bool) -> None:
        """A frame of a stream that is not under way: the table says what becomes of it."""
        state = self._streams.state(number)
        verdict, reason = TABLE[state][kind]
        if verdict is Verdict.CONNECTION_ERROR:
            raise ConnectionBroken(reason, f"{_NAMES[kind]} on stream {number}: {state.value}")
        self._budget.idle()
        if verdict is Verdict.STREAM_ERROR:
            self._out.write(frames.reset(number, reason))
        elif end:
            self._streams.said_all(number)

    def _reset(self, number: int, payload: bytes) -> None:
        """The caller ends a call."""
        stream = self._streams.live.get(number)
        if stream is None or not _is_late(stream):
            self._budget.reset()
        if len(payload) != 4:
            raise ConnectionBroken(
                ErrorCode.FRAME_SIZE_ERROR, f"RST_STREAM has {len(payload)} bytes; it must have 4"
            )
        if stream is None:
            self._not_live(frames.RST_STREAM, number, True)
            return
        stream.half_closed = True
        stream.on_reset()
        self._streams.on_closed(stream)

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 8:
            raise ConnectionBroken(
                ErrorCode.FRAME_SIZE_ERROR, f"PING has {len(payload)} bytes; it must have 8"
            )
        if number:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "PING must be on stream 0")
        self._budget.idle()
        if not flags & frames.ACK:
            self._out.write(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif payload == LEAVING:
            self._connection.say_last()

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        self._budget.idle()
        if number:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "SETTINGS must be on stream 0")
        if flags & frames.ACK:
            if payload:
                raise ConnectionBroken(
                    ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS must be empty"
                )
            return
        if len(payload) % 6:
            raise ConnectionBroken(
                ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS has {len(payload)} bytes; it must be a multiple of 6"
            )
        window = self._streams.window
        for name, value in frames.read_settings(payload):
            if name == Setting.INITIAL_WINDOW_SIZE:
                if value > frames.MOST_WINDOW:
                    message = f"INITIAL_WINDOW_SIZE is {value}; the most is {frames.MOST_WINDOW}"
                    raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR, message)
                window = value
            elif name == Setting.ENABLE_PUSH:
                if value > 1:
                    raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, f"ENABLE_PUSH is {value}; it is 0 or 1")
            elif name == Setting.MAX_FRAME_SIZE:
                if not frames.DEFAULT_FRAME_BYTES <= value <= frames.MOST_FRAME_BYTES:
                    message = f"MAX_FRAME_SIZE is {value}; it must be 16384 to 16777215"
                    raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, message)
                self._out.frame_bytes = min(value, FRAME_BYTES)
        if window != self._streams.window:
            # Once a frame, which may say it ten thousand times, with thousands of streams each.
            more, self._streams.window = window - self._streams.window, window
            for stream in self._streams.live.values():
                stream.window += more
                if stream.window > frames.MOST_WINDOW:
                    message = f"SETTINGS open a stream's window to {stream.window}; the most is {frames.MOST_WINDOW}"
                    raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR, message)
        self._out.write(frames.frame(frames.SETTINGS, frames.ACK, 0))
        for stream in [stream for stream in self._streams.live.values() if stream.unsent]:
            self._out.pump(stream)

    def _window_update(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionBroken(
                ErrorCode.FRAME_SIZE_ERROR, f"WINDOW_UPDATE has {len(payload)} bytes; it must have 4"
            )
        more = int.from_bytes(payload, "big") & frames.MOST_WINDOW
        stream = self._streams.live.get(number)
        if number and stream is None:
            self._not_live(frames.WINDOW_UPDATE, number, False)
            return
        self._budget.idle()
        if stream is None:
            self._out.window += more
            if not more:
                raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE is 0; it must be 1 or more")
            if self._out.window > frames.MOST_WINDOW:
                message = f"the connection's window is {self._out.window}; the most is {frames.MOST_WINDOW}"
                raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR, message)
            self._out.pump_all()
            return
        stream.window += more
        if not more:
            self._streams.reset(stream, ErrorCode.PROTOCOL_ERROR)
        elif stream.window > frames.MOST_WINDOW:
            self._streams.reset(stream, ErrorCode.FLOW_CONTROL_ERROR)
        elif stream.unsent:
            self._out.pump(stream)


def _is_late(call: Call) -> bool:
    """Whether a call's deadline has come, or nearly: clients round up what they say of it, and their clock is first."""
    left, whole = call.time_remaining(), call.timeout
    return left is not None and whole is not None and left <= max(_ROUNDING * whole, _LAG)
