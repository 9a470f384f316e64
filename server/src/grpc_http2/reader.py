"""Takes whole frames out of a connection's bytes, from its first one on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from . import frames
from .budget import Budget
from .fields import MAX_BLOCK_BYTES, MAX_METADATA_BYTES
from .frames import ConnectionBroken, ErrorCode
from .outbox import SMALL_BYTES
from .turn import Turn

FRAME_BYTES = 64 << 10
# A read that is as short waits for another turn only where its blocks of fields are longer than those of most calls: to
# read one may take milliseconds.
_SHORT_READ = 2 << 10
_SHORT_BLOCK = 256
_HTTP_1_METHODS = (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"PATC", b"OPTI")
# The first byte of TLS.
_TLS_HANDSHAKE = b"\x16"
# From here on what came can be nothing else than the preface.
_PREFACE_BEGINS = 3


class SpeaksHttp1(Exception):
    """The caller speaks HTTP/1.1."""


class Frames(Protocol):
    """Who takes frames. All methods may raise ConnectionBroken."""

    def data(self, number: int, flags: int, payload: bytes) -> None:
        """DATA."""

    def fields(self, number: int, block: bytes, end: bool) -> None:
        """HEADERS and what continues them; `end`: the caller says no more."""

    def other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """Any other frame."""


class FrameReader:
    """Hands frames on, one after the other.

    Args:
        taker: Takes them.
        budget: What the caller may do for nothing.
        hello: Is called once the caller is known to speak HTTP/2.
        turn: Says how long frames are handled.

    Attributes:
        greeted: Whether the caller has said the preface, and then SETTINGS.
        moved: Whether a frame became whole since this was last set to False.
        halted: Whether no more frames are to be handed on for now.
    """

    __slots__ = (
        "_block",
        "_block_end",
        "_block_stream",
        "_budget",
        "_hello",
        "_pending",
        "_said_hello",
        "_size",
        "_taker",
        "_turn",
        "greeted",
        "halted",
        "moved",
    )

    def __init__(self, taker: Frames, budget: Budget, hello: Callable[[], None], turn: Turn) -> None:
        self.greeted = False
        self.halted = False
        self.moved = False
        self._taker = taker
        self._budget = budget
        self._hello = hello
        self._turn = turn
        self._said_hello = False
        self._pending = b""
        # What came at once of which that is left.
        self._size = 0
        # A block of fields of which more is to come.
        self._block: bytearray | None = None
        self._block_stream = 0
        self._block_end = False

    def keep(self, data: bytes) -> None:
        """Takes bytes for later."""
        self._pending += data

    def feed(self, data: bytes) -> bool:
        """Hands on the whole frames in it. Answers whether some are left for the connection's next turn.

        Args:
            data: What came; empty where it is the connection's turn to go on.

        Raises:
            ConnectionBroken: The caller breaks the protocol.
            SpeaksHttp1: It speaks another.
        """
        # Each connection handles at least one frame in its turn.
        free = not data
        if self._pending:
            data, self._pending = self._pending + data, b""
        at = 0
        if not self.greeted:
            at = self._greeting(data)
            if not self.greeted:
                self._pending = data
                return False
        end = len(data)
        size = max(end, self._size)
        # From this byte on the time is looked at, and then once a short read again.
        look_at = at + _SHORT_READ if free or size <= _SHORT_READ else at
        turn_ends = 0.0
        while end - at >= frames.HEAD_BYTES and not self.halted:
            high, low, kind, flags, number = frames.read_head(data, at)
            length = high << 16 | low
            if length > FRAME_BYTES:
                raise ConnectionBroken(
                    ErrorCode.FRAME_SIZE_ERROR, f"a frame has {length} bytes; the most is {FRAME_BYTES}"
                )
            start = at + frames.HEAD_BYTES
            if start + length > end:
                break
            if not free and (at >= look_at or (kind == frames.HEADERS and length > _SHORT_BLOCK)):
                look_at = at + _SHORT_READ
                if not turn_ends:
                    turn_ends = self._turn.ends(size)
                if time.monotonic() >= turn_ends:
                    self._pending, self._size, self.moved = data[at:], size, True
                    return True
            at = start + length
            free = False
            number &= frames.MOST_STREAM_ID
            if self._block is not None and kind != frames.CONTINUATION:
                raise ConnectionBroken(
                    ErrorCode.PROTOCOL_ERROR, "a header block must be followed by CONTINUATION until it ends"
                )
            if kind == frames.DATA:
                self._taker.data(number, flags, data[start:at])
            elif kind == frames.HEADERS:
                self._headers(number, flags, data[start:at])
            elif kind == frames.CONTINUATION:
                self._continued(number, flags, data[start:at])
            else:
                self._taker.other(kind, flags, number, data[start:at])
        self.moved = at > 0
        self._pending, self._size = data[at:] if at else data, 0
        return False

    @property
    def unfinished(self) -> int:
        """Bytes of frames, and of blocks of fields, that are not whole."""
        return len(self._pending) + (0 if self._block is None else len(self._block))

    def stands(self) -> bool:
        """Whether nothing became whole of what there is, since this was last asked."""
        moved, self.moved = self.moved, False
        return self._block is not None or (bool(self._pending) and not moved)

    def _greeting(self, data: bytes) -> int:
        """Where in it the frames begin, once the caller has greeted."""
        preface = frames.PREFACE
        if not self._said_hello and len(data) >= _PREFACE_BEGINS and preface.startswith(data[: len(preface)]):
            # Not before: HTTP/1.1 can't read it.
            self._said_hello = True
            self._hello()
        if data.startswith(preface):
            at = len(preface)
            if len(data) >= at + frames.HEAD_BYTES:
                _, _, kind, flags, _ = frames.read_head(data, at)
                if kind != frames.SETTINGS or flags & frames.ACK:
                    raise ConnectionBroken(
                        ErrorCode.PROTOCOL_ERROR, "the preface must be followed by SETTINGS"
                    )
                self.greeted = True
            return at
        if data.startswith(_HTTP_1_METHODS):
            raise SpeaksHttp1
        if data.startswith(_TLS_HANDSHAKE):
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "it begins TLS, which this port does not speak")
        if not preface.startswith(data) and not any(method.startswith(data) for method in _HTTP_1_METHODS):
            raise ConnectionBroken(
                ErrorCode.PROTOCOL_ERROR, "the connection must begin with the preface of HTTP/2"
            )
        return 0

    def _headers(self, number: int, flags: int, payload: bytes) -> None:
        if flags & (frames.PADDED | frames.WITH_PRIORITY):
            payload = frames.unpadded(flags, payload)
        if flags & frames.END_HEADERS:
            self._taker.fields(number, payload, bool(flags & frames.END_STREAM))
            return
        self._block, self._block_stream = bytearray(payload), number
        self._block_end = bool(flags & frames.END_STREAM)

    def _continued(self, number: int, flags: int, payload: bytes) -> None:
        block = self._block
        if block is None or number != self._block_stream:
            raise ConnectionBroken(
                ErrorCode.PROTOCOL_ERROR, "CONTINUATION must follow HEADERS of the same stream"
            )
        if len(payload) < SMALL_BYTES:
            self._budget.idle()
        block += payload
        if len(block) > MAX_BLOCK_BYTES:
            raise ConnectionBroken(
                ErrorCode.ENHANCE_YOUR_CALM,
                f"a call's fields are over {MAX_BLOCK_BYTES} bytes; the most is {MAX_METADATA_BYTES}",
            )
        if flags & frames.END_HEADERS:
            self._block = None
            self._taker.fields(number, bytes(block), self._block_end)
