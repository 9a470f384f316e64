"""When the bytes of a connection of HTTP/1.1 are read: in pieces, in turns with other connections."""

from __future__ import annotations

import asyncio
import time

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .flow import Flow

# What came at once is read in such pieces, for so long; then others have their turn. What fits in one never waits.
_PIECE = 4 << 10
_PIECE_OF_BODY = 64 << 10
_TURN = 0.002
# And so much at most: where a read is this long the loop would go on with others of the same caller.
_MUCH = 128 << 10


class PiecewiseProtocol(HttpToolsProtocol):
    """uvicorn's, which reads all that came at once. The first of a connection's three layers."""

    # Whether the parser stands between two requests; whether it is within the head of one.
    _between = True
    _head_open = False
    # Whether the connection is to end, and nothing more is read.
    _refused = False
    # What has come and waits for its turn, or for answers to the requests before it.
    _rest = b""
    flow: Flow

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for requests."""
        super().connection_made(transport)
        self.flow = Flow(transport)

    def _read_pieces(self, data: bytes) -> None:
        """Reads as long as no request waits for an answer to another, and as its turn lasts.

        A read of 256 KB may bring ten thousand requests, and bodies of ten thousand pieces.
        """
        if len(data) <= _PIECE:
            self._read(data)
            return
        at, ends = 0, time.monotonic() + _TURN
        while at < len(data) and not self._refused:
            size = _PIECE if self._between or self._head_open else _PIECE_OF_BODY
            self._read(data[at : at + size])
            at += size
            if self.pipeline or at >= _MUCH or time.monotonic() > ends:
                self._rest = data[at:]
                self.flow.hold()
                if not self.pipeline:
                    self.loop.call_soon(self._go_on)
                break

    def _go_on(self) -> None:
        """Reads what waits, and then what comes."""
        if self.pipeline or self.transport.is_closing():
            return
        self.flow.held = False
        rest, self._rest = self._rest, b""
        if rest:
            self._unset_keepalive_if_required()
            self._read_pieces(rest)
        if not self.flow.held:
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Begins the next request; behind the last one reads on."""
        super().on_response_complete()
        if self.flow.held and not self.pipeline:
            self.loop.call_soon(self._go_on)

    # ---- the layer above

    def _read(self, data: bytes) -> None:
        """Has the parser read a piece."""
        raise NotImplementedError
