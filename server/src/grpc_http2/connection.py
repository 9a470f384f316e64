"""One HTTP/2 connection of the server: its frames, its streams, and how much either side may send."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import grpc

from . import frames
from .fields import MAX_BLOCK_BYTES, MAX_METADATA_BYTES, RequestFields
from .frames import ConnectionBroken, Reason, Setting
from .limits import Limits, Usage
from .messages import ENCODINGS, MessageRefused
from .stream import SMALL_BYTES, STREAM_WINDOW, Handler, Stream

_log = logging.getLogger(__name__)

# What the other side may send before it is looked at.
CONNECTION_WINDOW = 16 << 20
FRAME_BYTES = 64 << 10
# A caller that does not read is waited for from here on.
WRITE_BUFFER = 256 << 10
# Beyond it nothing more is read of a caller that does not read: what it still asks for would be answered too.
DEAF_BYTES = 1 << 20
MOST_CUT_SHORT = 4096
# Frames of a caller's that an answer's frame allows for: WINDOW_UPDATE of the stream and of the connection, a PING that
# measures the way, and one to spare.
_PER_ANSWER = 4
# Bytes of a block of fields for which it counts as one frame that brings nothing: 1.6 us each, in Huffman's code.
_BLOCK_BYTES = 4
# What the block of a call counts as whose metadata is too large: up to 2,000 fields of a few bytes each.
_LARGE_BLOCK = 2048
# What is sent in one turn of the loop goes together, up to here.
FLUSH_BYTES = 64 << 10
# Bytes of requests after which a connection tells the server again how much it holds.
_HELD_STEP = 16 << 10

# Its echo says that the other side knows that the connection is to end.
_LEAVING = b"leaving\0"

_NOT_HTTP_2 = (
    b"HTTP/1.1 400 Bad Request\r\n"
    b"content-type: text/plain\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
)
_HINT = "This port speaks gRPC, which is HTTP/2. HTTP/JSON is answered on a port of its own.\n"
_HTTP_1_METHODS = (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"PATC", b"OPTI")
# From here on what came can be nothing else than the preface.
_PREFACE_BEGINS = 3

Find = Callable[[str], Handler | None]


class Connection(asyncio.Protocol):
    """Serves the calls of one connection, which is in `connections` while it lives.

    Attributes:
        loop: The loop that it lives on.
        peer: Who connected, as gRPC names them.
        tasks: Handlers of the whole server.
        most_bytes: Of one message.
        limits: The server's.
        window: Bytes that the other side takes now, of all streams together.
        held: Bytes of calls that came and could not be handed on yet.
        unread: Bytes of answers for which the other side has no room yet, or that the network has not taken.
        answers: Frames of messages that were sent, since they were last counted.
        ended_well: Calls that ended by a status, since they were last counted.
        frame_bytes: The most content of a frame that it takes.
        paused: Whether what was sent last still waits for the network.
        waiting: Streams that wait for that to end, in order.
        lost: Whether the connection is no more.
    """

    __slots__ = (
        "__weakref__",
        "_block",
        "_block_end",
        "_block_stream",
        "_blocked",
        "_broken",
        "_buffered",
        "_connections",
        "_credit",
        "_cut_short",
        "_deaf",
        "_emptied",
        "_fields",
        "_find",
        "_flushed",
        "_greeted",
        "_heard",
        "_held_mark",
        "_held_told",
        "_idle_frames",
        "_last_id",
        "_leaving",
        "_leaving_for",
        "_most_streams",
        "_moved",
        "_out",
        "_out_bytes",
        "_pending",
        "_quiet",
        "_resets",
        "_retires_in",
        "_said_hello",
        "_said_last",
        "_stream_window",
        "_streams",
        "_stuck",
        "_taken",
        "_transport",
        "_ungreeted",
        "_usage",
        "answers",
        "ended_well",
        "frame_bytes",
        "held",
        "limits",
        "loop",
        "lost",
        "most_bytes",
        "paused",
        "peer",
        "tasks",
        "unread",
        "waiting",
        "window",
    )

    def __init__(
        self,
        find: Find,
        tasks: set[asyncio.Task[None]],
        connections: set[Connection],
        *,
        most_bytes: int,
        most_streams: int,
        retires_in: float | None,
        limits: Limits,
        usage: Usage,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.peer = ""
        self.tasks = tasks
        self.most_bytes = most_bytes
        self.limits = limits
        self.window = frames.DEFAULT_WINDOW
        self.frame_bytes = frames.DEFAULT_FRAME_BYTES
        self.held = 0
        self.unread = 0
        self.answers = 0
        self.ended_well = 0
        self.paused = False
        self.waiting: dict[Stream, None] = {}
        self.lost = False
        self._usage = usage
        self._find = find
        self._connections = connections
        self._most_streams = most_streams
        self._retires_in = retires_in
        self._transport: Any = None
        self._fields = RequestFields()
        self._streams: dict[int, Stream] = {}
        # Those that have something to send and no room for it, in the order of their turns.
        self._blocked: dict[Stream, None] = {}
        # Streams that ended before the other side had said all: it may not know, and what still comes is passed over.
        self._cut_short: dict[int, None] = {}
        self._stream_window = frames.DEFAULT_WINDOW
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._pending = b""
        self._said_hello = False
        self._greeted = False
        self._ungreeted = 0
        self._broken = False
        self._block: bytearray | None = None
        self._block_stream = 0
        self._block_end = False
        self._last_id = 0
        self._credit = 0
        self._emptied: asyncio.Future[None] | None = None
        self._leaving = False
        self._leaving_for = 0
        self._said_last = False
        self._heard = True
        self._quiet = 0
        self._idle_frames = 0
        self._resets = 0
        # What the transport was given, what of it it held when that was last looked at, what the network had taken
        # then, and for how many seconds it has taken nothing.
        self._flushed = 0
        self._buffered = 0
        self._taken = 0
        self._stuck = 0
        self._deaf = False
        # Whether anything was sent that had waited for room, since the last second.
        self._moved = False
        self._held_told = 0
        self._held_mark = _HELD_STEP

    # ---- asyncio

    def connection_made(self, transport: Any) -> None:
        """Waits for the other side's first words."""
        self._transport = transport
        self._connections.add(self)
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        place = transport.get_extra_info("peername")
        if isinstance(place, tuple):
            host, port = place[:2]
            self.peer = f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"

    def _hello(self) -> None:
        """Says what this side takes: not before the other side speaks HTTP/2, since HTTP/1.1 can't read it."""
        self._said_hello = True
        self.write(
            frames.settings(
                {
                    Setting.MAX_CONCURRENT_STREAMS: self._most_streams,
                    Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                    Setting.MAX_FRAME_SIZE: FRAME_BYTES,
                    Setting.MAX_HEADER_LIST_SIZE: MAX_METADATA_BYTES,
                }
            )
            + frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
        )

    def connection_lost(self, error: Exception | None) -> None:
        """Every call on it has lost its caller."""
        self.lost = True
        streams, self._streams = self._streams, {}
        self._blocked.clear()
        for stream in streams.values():
            stream.gone()
        self._connections.discard(self)
        self._buffer_holds(0)
        self.held = 0
        self.report_held()
        self._no_calls()

    def pause_writing(self) -> None:
        """The network does not keep up."""
        self.paused = True

    def resume_writing(self) -> None:
        """It does again."""
        self.paused = False
        waiting, self.waiting = self.waiting, {}
        for stream in waiting:
            stream.sent()
        self._pump()
        if self._deaf:
            self._deaf = False
            self._buffer_holds(self._transport.get_write_buffer_size())
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Takes whole frames out of what came."""
        if self._broken:
            # With TLS what had come is still handed on after the close.
            return
        self._heard = True
        if self._pending:
            data = self._pending + data
            self._pending = b""
        try:
            if not self._greeted:
                data = self._greeting(data)
            self._pending = self._frames(data)
        except ConnectionBroken as broken:
            self._break(broken)
        except Exception:
            _log.exception("the connection of %s ends: the server failed to handle what came", self.peer)
            self._break(ConnectionBroken(Reason.INTERNAL_ERROR, "the server failed to handle what came"))

    def _greeting(self, data: bytes) -> bytes:
        """What follows the other side's first words: the preface, which is followed by SETTINGS."""
        preface = frames.PREFACE
        if not self._said_hello and len(data) >= _PREFACE_BEGINS and data[: len(preface)] in preface:
            self._hello()
        if data.startswith(preface):
            at = len(preface)
            if len(data) < at + frames.HEAD_BYTES:
                self._pending = data
                return b""
            _, _, kind, flags, _ = frames.read_head(data, at)
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise ConnectionBroken(Reason.PROTOCOL_ERROR, "the preface is not followed by SETTINGS")
            self._greeted = True
            return data[at:]
        if preface.startswith(data) or any(method.startswith(data) for method in _HTTP_1_METHODS):
            self._pending = data
            return b""
        if data.startswith(_HTTP_1_METHODS):
            self.write(_NOT_HTTP_2 % (len(_HINT), _HINT.encode()))
            self._close()
            return b""
        raise ConnectionBroken(Reason.PROTOCOL_ERROR, "the connection does not begin as HTTP/2 does")

    def _frames(self, data: bytes) -> bytes:
        """Handles the whole frames in it, and answers what is left."""
        if not self._greeted:
            return self._pending
        at, end = 0, len(data)
        while end - at >= frames.HEAD_BYTES and not self.lost:
            high, low, kind, flags, number = frames.read_head(data, at)
            length = high << 16 | low
            if length > FRAME_BYTES:
                raise ConnectionBroken(
                    Reason.FRAME_SIZE_ERROR, f"a frame has {length} bytes; the most is {FRAME_BYTES}"
                )
            start = at + frames.HEAD_BYTES
            at = start + length
            if at > end:
                return data[start - frames.HEAD_BYTES :]
            number &= frames.MOST_STREAM_ID
            if self._block is not None and kind != frames.CONTINUATION:
                raise ConnectionBroken(Reason.PROTOCOL_ERROR, "a block of fields was not ended")
            if kind == frames.DATA:
                self._data(number, flags, data[start:at], length)
            elif kind == frames.HEADERS:
                self._headers(number, flags, data[start:at])
            else:
                self._other(kind, flags, number, data[start:at])
        return data[at:] if at else data

    # ---- frames

    def _data(self, number: int, flags: int, payload: bytes, length: int) -> None:
        if length:
            self._credit += length
            if self._credit >= CONNECTION_WINDOW // 2:
                self.write(frames.window_update(0, self._credit))
                self._credit = 0
        elif not flags & frames.END_STREAM:
            self.idle()
        stream = self._streams.get(number)
        if stream is None:
            if self._was_open(number, "DATA"):
                self._of_the_past(number, bool(flags & frames.END_STREAM))
            return
        if flags & frames.PADDED:
            payload = frames.unpadded(flags & frames.PADDED, payload)
            if not payload:
                self.idle()
        if stream.ended:
            self.idle()
            stream.tell()
        elif length:
            stream.fed(payload, length)
        if flags & frames.END_STREAM and not stream.half_closed:
            stream.close()

    def _headers(self, number: int, flags: int, payload: bytes) -> None:
        if flags & (frames.PADDED | frames.WITH_PRIORITY):
            payload = frames.unpadded(flags, payload)
        if flags & frames.END_HEADERS:
            self._fields_came(number, payload, bool(flags & frames.END_STREAM))
            return
        self._block, self._block_stream = bytearray(payload), number
        self._block_end = bool(flags & frames.END_STREAM)

    def _continued(self, number: int, flags: int, payload: bytes) -> None:
        block = self._block
        if block is None or number != self._block_stream:
            raise ConnectionBroken(Reason.PROTOCOL_ERROR, "CONTINUATION of nothing")
        if len(payload) < SMALL_BYTES:
            self.idle()
        block += payload
        if len(block) > MAX_BLOCK_BYTES:
            raise ConnectionBroken(
                Reason.ENHANCE_YOUR_CALM,
                f"a call's fields are over {MAX_BLOCK_BYTES} bytes; the most is {MAX_METADATA_BYTES}",
            )
        if flags & frames.END_HEADERS:
            self._block = None
            self._fields_came(number, bytes(block), self._block_end)

    def _fields_came(self, number: int, block: bytes, end: bool) -> None:
        if len(block) > MAX_METADATA_BYTES:
            # Before it is read, which may take a tenth of a second.
            self.idle(len(block) // _BLOCK_BYTES)
        # Also where nobody is interested: what it adds to the table counts.
        request = self._fields.read(block)
        if request.too_large:
            self.idle(_LARGE_BLOCK)
        stream = self._streams.get(number)
        if stream is not None:
            if not end or request.wrong or not request.trailers:
                self.reset(stream, Reason.PROTOCOL_ERROR)
            elif stream.half_closed:
                self.reset(stream, Reason.STREAM_CLOSED)
            else:
                stream.close()
            return
        if number <= self._last_id and number % 2:
            if number not in self._cut_short:
                raise ConnectionBroken(Reason.STREAM_CLOSED, f"HEADERS of {number}, which has ended")
            self._of_the_past(number, end)
            return
        if number % 2 == 0:
            raise ConnectionBroken(
                Reason.PROTOCOL_ERROR, f"a caller's streams have odd numbers, and not {number}"
            )
        if self._said_last:
            # Behind the last one that we said to look at: the caller was told, and can call elsewhere.
            self.idle()
            self.write(frames.reset(number, Reason.REFUSED_STREAM))
            return
        self._last_id = number
        if len(self._streams) >= self._most_streams:
            self._refuse(number, Reason.REFUSED_STREAM, end)
            return
        if request.wrong or request.trailers:
            self._refuse(number, Reason.PROTOCOL_ERROR, end)
            return
        self._call(number, request, end)

    def _refuse(self, number: int, reason: Reason, end: bool) -> None:
        self.idle()
        self.write(frames.reset(number, reason))
        if not end:
            self._cut(number)

    def _call(self, number: int, request: Any, end: bool) -> None:
        handler = self._find(request.path)
        stream = self._streams[number] = Stream(self, number, request, handler, self._stream_window)
        if request.too_large:
            stream.finish(
                grpc.StatusCode.RESOURCE_EXHAUSTED.value[0],
                f"the call's metadata is over {MAX_METADATA_BYTES} bytes",
            )
        elif request.method != "POST":
            stream.refuse(405, _HINT)
        elif request.content_type != "application/grpc" and not request.content_type.startswith(
            ("application/grpc+", "application/grpc;")
        ):
            stream.refuse(415, _HINT)
        elif request.unreadable:
            stream.finish(grpc.StatusCode.INVALID_ARGUMENT.value[0], request.unreadable)
        elif handler is None:
            stream.finish(grpc.StatusCode.UNIMPLEMENTED.value[0], f"there is no method {request.path[:256]}")
        elif request.encoding not in ENCODINGS:
            stream.finish(
                grpc.StatusCode.UNIMPLEMENTED.value[0],
                f"messages may be compressed by gzip or deflate, not by {request.encoding[:64]}",
            )
        else:
            stream.begin()
        if end:
            stream.close()

    def _other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == frames.WINDOW_UPDATE:
            self._window_update(number, payload)
        elif kind == frames.RST_STREAM:
            self._count_reset()
            if len(payload) != 4:
                raise ConnectionBroken(Reason.FRAME_SIZE_ERROR, "RST_STREAM has four bytes")
            self._was_open(number, "RST_STREAM")
            stream = self._streams.get(number)
            if stream is not None:
                stream.half_closed = True
                stream.gone()
                self.over(stream)
            self._cut_short.pop(number, None)
        elif kind == frames.PING:
            if len(payload) != 8:
                raise ConnectionBroken(Reason.FRAME_SIZE_ERROR, "PING has eight bytes")
            if number:
                raise ConnectionBroken(Reason.PROTOCOL_ERROR, "PING is of the connection")
            self.idle()
            if flags & frames.ACK:
                if self._leaving and payload == _LEAVING:
                    self._say_last()
            else:
                self.write(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.SETTINGS:
            self.idle()
            self._settings(flags, number, payload)
        elif kind == frames.CONTINUATION:
            self._continued(number, flags, payload)
        elif kind == frames.PUSH_PROMISE:
            raise ConnectionBroken(Reason.PROTOCOL_ERROR, "a caller pushes nothing")
        elif kind == frames.GOAWAY:
            # It opens no more streams; those that there are go on.
            self.idle()
            if number:
                raise ConnectionBroken(Reason.PROTOCOL_ERROR, "GOAWAY is of the connection")
        elif kind == frames.PRIORITY:
            self.idle()
            if not number:
                raise ConnectionBroken(Reason.PROTOCOL_ERROR, "PRIORITY is of a stream")
            if len(payload) != 5:
                raise ConnectionBroken(Reason.FRAME_SIZE_ERROR, "PRIORITY has five bytes")
        else:
            # Kinds that are yet to come.
            self.idle()

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionBroken(Reason.PROTOCOL_ERROR, "SETTINGS are of the connection")
        if flags & frames.ACK:
            if payload:
                raise ConnectionBroken(Reason.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS is empty")
            return
        if len(payload) % 6:
            raise ConnectionBroken(Reason.FRAME_SIZE_ERROR, "SETTINGS are of six bytes each")
        window = self._stream_window
        for name, value in frames.read_settings(payload):
            if name == Setting.INITIAL_WINDOW_SIZE:
                if value > frames.MOST_WINDOW:
                    raise ConnectionBroken(Reason.FLOW_CONTROL_ERROR, f"a window of {value}")
                window = value
            elif name == Setting.ENABLE_PUSH:
                if value > 1:
                    raise ConnectionBroken(Reason.PROTOCOL_ERROR, f"ENABLE_PUSH is {value}; it is 0 or 1")
            elif name == Setting.MAX_FRAME_SIZE:
                if not frames.DEFAULT_FRAME_BYTES <= value <= frames.MOST_FRAME_BYTES:
                    raise ConnectionBroken(Reason.PROTOCOL_ERROR, f"frames of {value} bytes")
                self.frame_bytes = min(value, FRAME_BYTES)
        if window != self._stream_window:
            # Once a frame, which may say it ten thousand times, with thousands of streams each.
            more, self._stream_window = window - self._stream_window, window
            for stream in self._streams.values():
                stream.window += more
                if stream.window > frames.MOST_WINDOW:
                    raise ConnectionBroken(Reason.FLOW_CONTROL_ERROR, f"a window of {stream.window}")
        self.write(frames.frame(frames.SETTINGS, frames.ACK, 0))
        for stream in [stream for stream in self._streams.values() if stream.unsent]:
            self.pump(stream)

    def _window_update(self, number: int, payload: bytes) -> None:
        self.idle()
        if len(payload) != 4:
            raise ConnectionBroken(Reason.FRAME_SIZE_ERROR, "WINDOW_UPDATE has four bytes")
        more = int.from_bytes(payload, "big") & frames.MOST_WINDOW
        if not number:
            self.window += more
            if not more:
                raise ConnectionBroken(Reason.PROTOCOL_ERROR, "a window grows by nothing")
            if self.window > frames.MOST_WINDOW:
                raise ConnectionBroken(Reason.FLOW_CONTROL_ERROR, f"a window of {self.window}")
            if self._blocked:
                self._pump()
            return
        stream = self._streams.get(number)
        if stream is None:
            self._was_open(number, "WINDOW_UPDATE")
            return
        stream.window += more
        if not more:
            self.reset(stream, Reason.PROTOCOL_ERROR)
        elif stream.window > frames.MOST_WINDOW:
            self.reset(stream, Reason.FLOW_CONTROL_ERROR)
        elif stream.unsent:
            self.pump(stream)

    def idle(self, frames_like_it: int = 1) -> None:
        """Counts a frame that brought little: WINDOW_UPDATE, PING, an empty one, a byte of a message.

        Each frame of an answer allows for a few of them: callers say how much they have read, and measure the way.

        Raises:
            ConnectionBroken: There are too many of them.
        """
        self._idle_frames += frames_like_it
        if self._idle_frames > self.limits.idle_burst:
            self._count_answers()
            if self._idle_frames > self.limits.idle_burst:
                raise ConnectionBroken(
                    Reason.ENHANCE_YOUR_CALM,
                    f"over {self.limits.idle_burst} frames that bring little or nothing",
                )

    def _count_reset(self) -> None:
        """Counts a call that its caller ended, or that ended since its caller broke the protocol.

        Raises:
            ConnectionBroken: There are too many of them.
        """
        self._resets += 1
        if self._resets > self.limits.reset_burst:
            self._count_answers()
            if self._resets > self.limits.reset_burst:
                raise ConnectionBroken(
                    Reason.ENHANCE_YOUR_CALM,
                    f"over {self.limits.reset_burst} resets beyond the calls that ended well",
                )

    def _count_answers(self) -> None:
        """Takes what was answered off what is counted."""
        answers, self.answers = self.answers, 0
        calls, self.ended_well = self.ended_well, 0
        self._idle_frames = max(0, self._idle_frames - _PER_ANSWER * (answers + calls))
        self._resets = max(0, self._resets - calls)

    def _was_open(self, number: int, what: str) -> bool:
        """Whether a stream is one of the past; not where it is behind the last one that we said to look at.

        Raises:
            ConnectionBroken: There was no such stream.
        """
        if 0 < number <= self._last_id:
            return True
        if number and self._said_last:
            self.idle()
            return False
        raise ConnectionBroken(Reason.PROTOCOL_ERROR, f"{what} on stream {number}, which is not open")

    def _of_the_past(self, number: int, end: bool) -> None:
        """Something came on a stream that is no more. That is well where the other side could not know."""
        self.idle()
        if number not in self._cut_short:
            self.write(frames.reset(number, Reason.STREAM_CLOSED))
        elif end:
            del self._cut_short[number]

    def hold(self, size: int) -> None:
        """Bytes of a call came that can't be handed on yet.

        Raises:
            MessageRefused: There are too many of them.
        """
        self.held += size
        if self.held <= self._held_mark:
            return
        self.report_held()
        if self.held > self.limits.connection_held:
            raise MessageRefused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"over {self.limits.connection_held} bytes of this connection wait to be whole or to be read",
            )
        if self._usage.held > self.limits.held and self._usage.relieve_held(self):
            raise MessageRefused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"over {self.limits.held} bytes of all connections wait to be whole or to be read",
            )

    def report_held(self) -> None:
        """Tells the server how much is held. In steps: each message would be counted twice over otherwise."""
        self._usage.held += self.held - self._held_told
        self._held_told = self.held
        self._held_mark = min(self.held + _HELD_STEP, self.limits.connection_held)

    # ---- sending

    def write(self, data: bytes) -> None:
        """Sends whole frames, together with what else is sent in this turn of the loop.

        Each by itself would be a system call of 8 us: a quarter of all that 200 streams cost.
        """
        if self.lost:
            return
        if not self._out:
            self.loop.call_soon(self._flush)
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes >= FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._out and not self.lost:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self._flushed += self._out_bytes
            self._out_bytes = 0
            self._transport.write(data)
            if self.paused:
                self._network_is_full()
            return
        self._out.clear()
        self._out_bytes = 0

    def _network_is_full(self) -> None:
        """Bounds what waits for the network: frames that need no window, of a caller that reads none of them."""
        self._buffer_holds(self._transport.get_write_buffer_size())
        if self.unread > self.limits.connection_unread:
            self.drop(f"its caller has not read {self.unread} bytes")
        elif self._buffered > DEAF_BYTES and not self._deaf and not self._transport.is_closing():
            self._deaf = True
            self._transport.pause_reading()

    def _buffer_holds(self, size: int) -> None:
        self.keep(size - self._buffered)
        self._buffered = size

    def keep(self, size: int) -> None:
        """So many bytes more wait for the other side, or less."""
        self.unread += size
        self._usage.unread += size

    def bound_unread(self, stream: Stream) -> None:
        """Ends a stream whose answer is one too many of those that nobody reads; or who reads least of all callers."""
        if self.unread > self.limits.connection_unread:
            self._resets += 1
            self.lose(stream, Reason.ENHANCE_YOUR_CALM)
        elif self._usage.unread > self.limits.unread:
            self._usage.relieve_unread()

    def _close(self) -> None:
        """Ends the connection behind what was sent."""
        self._flush()
        self._transport.close()

    def pump(self, stream: Stream) -> None:
        """Sends what a stream has to send and may; the rest gets its turn when there is room."""
        unsent = stream.unsent
        while unsent:
            size = min(len(unsent), stream.window, self.window, self.frame_bytes)
            if size <= 0 or self.paused:
                if stream.window > 0:
                    # For want of the connection's room, so in its turn.
                    self._blocked[stream] = None
                return
            stream.window -= size
            self.window -= size
            stream.waited = 0
            self._moved = True
            piece = bytes(unsent[:size])
            del unsent[:size]
            self.keep(-size)
            self.write(frames.head(size, frames.DATA, 0, stream.id) + piece)
            if size >= SMALL_BYTES or not unsent:
                # Else a caller could have each byte sent by itself, and be allowed for more.
                self.answers += 1
        self._blocked.pop(stream, None)
        if not self.paused:
            stream.sent()
        else:
            self.waiting[stream] = None

    def _pump(self) -> None:
        blocked, self._blocked = self._blocked, {}
        for stream in blocked:
            self.pump(stream)

    def reset(self, stream: Stream, reason: Reason) -> None:
        """Ends a stream whose other side broke the protocol, which counts as if that had ended it."""
        self.lose(stream, reason)
        self._count_reset()

    def lose(self, stream: Stream, reason: Reason) -> None:
        """Ends a stream that can't go on."""
        self.write(frames.reset(stream.id, reason))
        stream.gone()
        self.over(stream)

    def over(self, stream: Stream) -> None:
        """A stream has ended."""
        if self._streams.pop(stream.id, None) is None:
            return
        self._blocked.pop(stream, None)
        if not stream.half_closed:
            self._cut(stream.id)
        if self._leaving and not self._streams:
            self._no_calls()

    def _no_calls(self) -> None:
        if self._said_last:
            self._close()
        if self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    async def calls_end(self) -> None:
        """Returns once no call is under way."""
        while self._streams:
            self._emptied = self.loop.create_future()
            await self._emptied

    def _cut(self, number: int) -> None:
        """What still comes on the stream was sent before the other side could know that it has ended."""
        self._cut_short[number] = None
        if len(self._cut_short) > MOST_CUT_SHORT:
            del self._cut_short[next(iter(self._cut_short))]

    # ---- its life

    def tick(self, keepalive: int, timeout: int) -> None:
        """Once a second: looks whether the other side is there and reads, and whether the connection is old."""
        self._count_answers()
        self._idle_frames = max(0, self._idle_frames - self.limits.idle_per_second)
        self._resets = max(0, self._resets - self.limits.resets_per_second)
        self.report_held()
        if not self._greeted:
            self._ungreeted += 1
            if self._ungreeted >= self.limits.greeting:
                self._transport.abort()
                return
        if self._heard or self._deaf:
            self._heard = False
            self._quiet = 0
        else:
            self._quiet += 1
            if self._quiet == keepalive and self._greeted:
                self.write(frames.frame(frames.PING, 0, 0, b"alive?\0\0"))
            elif self._quiet >= keepalive + timeout:
                _log.info("%s has not answered for %d s, and is taken for gone", self.peer, self._quiet)
                self._transport.abort()
                return
        self._look_whether_it_reads()
        if not self.lost:
            self._look_at_streams()
        if self._retires_in is not None:
            self._retires_in -= 1
            if self._retires_in <= 0:
                self._retires_in = None
                self.leave()
        if self._leaving and not self._said_last:
            self._leaving_for += 1
            if self._leaving_for > self.limits.leaving:
                # It never said that it knows. It is told from where on its calls are not looked at.
                self._say_last()

    def _look_whether_it_reads(self) -> None:
        """Ends the connection where the network has taken nothing of what waits for it."""
        self._buffer_holds(self._transport.get_write_buffer_size())
        taken = self._flushed - self._buffered
        self._stuck = self._stuck + 1 if self._buffered and taken <= self._taken else 0
        self._taken = taken
        if self._stuck >= self.limits.stall:
            self.drop(f"its caller has read nothing for {self._stuck} s")

    def _look_at_streams(self) -> None:
        """Ends requests that do not become whole, and calls whose answers nobody reads."""
        moved, self._moved = self._moved, False
        receiving = 0
        for stream in list(self._streams.values()):
            if stream.unsent:
                # Where others of the connection are read, or its network is full, a stream waits for its turn.
                if stream.window <= 0 or not (moved or self.paused):
                    stream.waited += 1
                    if stream.waited > self.limits.stall:
                        self.lose(stream, Reason.CANCEL)
            elif stream.receiving:
                receiving += 1
                stream.waited += 1
                if receiving > self.limits.receiving and stream.waited > 1:
                    self.lose(stream, Reason.REFUSED_STREAM)
                else:
                    stream.look_at_its_time()

    def leave(self) -> None:
        """Takes no new calls once the other side knows; ends when those that there are have."""
        if self._leaving:
            return
        self._leaving = True
        if not self._greeted:
            self._close()
            return
        # First a word that refuses nothing. What the caller sent before it heard that comes before its echo.
        self.write(
            frames.go_away(frames.MOST_STREAM_ID, Reason.NO_ERROR) + frames.frame(frames.PING, 0, 0, _LEAVING)
        )

    def _say_last(self) -> None:
        if self._said_last:
            return
        self._said_last = True
        self.write(frames.go_away(self._last_id, Reason.NO_ERROR))
        if not self._streams:
            self._close()

    def end(self) -> None:
        """Ends the calls that there are, and the connection."""
        self._leaving = True
        for stream in list(self._streams.values()):
            stream.cut()
        self._say_last()
        self._close()

    def abort(self) -> None:
        """Ends the connection, whatever there is still to send."""
        self._transport.abort()

    def drop(self, why: str) -> None:
        """Ends the connection at once: its caller could not be told, or would still be owed too much."""
        _log.info("the connection of %s ends: %s", self.peer, why)
        self._transport.abort()
        self.connection_lost(None)

    def _break(self, broken: ConnectionBroken) -> None:
        self._broken = True
        _log.info("the connection of %s ends: %s (%s)", self.peer, broken.message, broken.reason.name)
        self.write(frames.go_away(self._last_id, broken.reason, broken.message))
        self._close()
        self._pending = b""
