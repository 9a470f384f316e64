"""One HTTP/2 connection of the server: what it is made of, and how it begins and ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import frames
from .answer_side import Handler
from .budget import Budget
from .fields import MAX_METADATA_BYTES
from .frame_handler import CONNECTION_WINDOW, HINT, LEAVING, FrameHandler
from .frames import ConnectionBroken, ErrorCode, Setting
from .life import Life
from .limits import Held, Limits, Usage
from .outbox import Outbox
from .peer import PeerCertificate, certificate_of
from .reader import FRAME_BYTES, FrameReader, SpeaksHttp1
from .request_side import STREAM_WINDOW
from .states import Phase
from .streams import StreamTable
from .turn import Turn

_log = logging.getLogger(__name__)

_NOT_HTTP_2 = (
    b"HTTP/1.1 400 Bad Request\r\n"
    b"content-type: text/plain\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
)


@dataclass(slots=True)
class Terms:
    """What the connections of one server have in common.

    Attributes:
        find: The handler of a path, such as `/jobqueue.v1.JobQueue/EnqueueJob`.
        most_bytes: Of one message.
        most_streams: Calls under way on one connection.
        keepalive: Seconds of silence after which the other side is asked whether it is there.
        keepalive_timeout: Seconds that it has to answer.
        limits: What callers can make the server hold and do.
        tasks: Handlers that run.
        connections: Those that live.
        usage: What they hold.
        turn: How long they may take in a turn of the loop.
    """

    find: Callable[[str], Handler | None]
    most_bytes: int
    most_streams: int
    keepalive: int
    keepalive_timeout: int
    limits: Limits
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    connections: set[Connection] = field(default_factory=set)
    usage: Usage = field(init=False)
    turn: Turn = field(default_factory=Turn)

    def __post_init__(self) -> None:
        self.usage = Usage(self.limits, self.connections)


class Connection(asyncio.Protocol):
    """Serves the calls of one connection.

    Bytes come to the FrameReader, its frames to the FrameHandler, their content to a Call, which is one of the streams.
    What calls answer goes through the Outbox.

    Args:
        terms: The server's.
        retires_in: Seconds after which it takes no new calls; None: never.

    Attributes:
        loop: The loop that it lives on.
        peer: Who connected, as gRPC names them.
        certificate: What they showed; None: they showed none.
        phase: Where it is between its beginning and its end; see `states`.
    """

    __slots__ = (
        "__weakref__",
        "_ended",
        "_life",
        "_reader",
        "_transport",
        "_waits_for_turn",
        "budget",
        "certificate",
        "held",
        "loop",
        "out",
        "peer",
        "phase",
        "streams",
        "terms",
    )

    def __init__(self, terms: Terms, retires_in: float | None) -> None:
        self.loop = asyncio.get_running_loop()
        self.peer = ""
        self.certificate: PeerCertificate | None = None
        self.phase = Phase.GREETING
        self.terms = terms
        self.budget = Budget(terms.limits)
        self.held = Held(terms.limits, terms.usage)
        self.out = Outbox(self, self.loop, self.budget, terms.limits, terms.usage)
        self.streams = StreamTable(self.out, self.budget)
        self._reader = FrameReader(FrameHandler(self), self.budget, self._hello, terms.turn)
        self._life = Life(self, retires_in)
        self._transport: Any = None
        self._ended: asyncio.Future[None] | None = None
        # Whether whole frames are left in what has come, for the next turn of the loop.
        self._waits_for_turn = False

    # ---- asyncio

    def connection_made(self, transport: Any) -> None:
        """Waits for the other side's first words."""
        self._transport = transport
        self.out.open(transport)
        self.terms.connections.add(self)
        self.certificate = certificate_of(transport)
        place = transport.get_extra_info("peername")
        if isinstance(place, tuple):
            host, port = place[:2]
            self.peer = f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"

    def connection_lost(self, error: Exception | None) -> None:
        """Every call on it has lost its caller."""
        self.phase = Phase.LOST
        self._reader.halted = True
        self.out.lost()
        self.streams.all_gone()
        self.held.clear()
        self.terms.connections.discard(self)
        self._no_calls()

    def pause_writing(self) -> None:
        """The network does not keep up."""
        self.out.paused = True

    def resume_writing(self) -> None:
        """It does again."""
        if self.out.resumed():
            self._wait_for_turn()

    def data_received(self, data: bytes) -> None:
        """Takes whole frames out of what came."""
        if self.phase >= Phase.ENDING:
            # With TLS what had come is still handed on after the close.
            return
        self._life.heard = True
        if self._waits_for_turn or self.out.deaf:
            # So it is where reading is paused.
            self._reader.keep(data)
            return
        self._take(data)

    # ---- frames

    def _take(self, data: bytes) -> None:
        try:
            if self._reader.feed(data):
                self._wait_for_turn()
        except ConnectionBroken as broken:
            self._break(broken)
        except SpeaksHttp1:
            self.out.write(_NOT_HTTP_2 % (len(HINT), HINT.encode()))
            self._close()
        except Exception:
            _log.exception("the connection of %s ends: the server failed to handle what came", self.peer)
            self._break(ConnectionBroken(ErrorCode.INTERNAL_ERROR, "the server failed to handle what came"))
        else:
            if self.phase is Phase.GREETING and self._reader.greeted:
                self.phase = Phase.OPEN

    def _wait_for_turn(self) -> None:
        """Goes on with what has come when it is its turn, and reads no more before."""
        if not self._waits_for_turn and not self._transport.is_closing():
            self._waits_for_turn = True
            self._transport.pause_reading()
            self.terms.turn.wait(self._go_on)

    def _go_on(self) -> None:
        self._waits_for_turn = False
        if self.phase >= Phase.ENDING or self.out.deaf:
            return
        self._reader.halted = False
        self._take(b"")
        if not self._waits_for_turn and not self.out.deaf and not self._transport.is_closing():
            self._transport.resume_reading()

    def halt(self) -> None:
        """Reads no more while so much waits for the network."""
        self._reader.halted = True
        self._transport.pause_reading()

    def _hello(self) -> None:
        """Says what this side takes."""
        self.out.write(
            frames.settings(
                {
                    Setting.MAX_CONCURRENT_STREAMS: self.terms.most_streams,
                    Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                    Setting.MAX_FRAME_SIZE: FRAME_BYTES,
                    Setting.MAX_HEADER_LIST_SIZE: MAX_METADATA_BYTES,
                }
            )
            + frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
        )

    # ---- its life

    def tick(self) -> None:
        """Once a second: looks whether the other side is there and reads, and whether the connection is old."""
        self.budget.tick()
        self.held.unfinished(self._reader.unfinished)
        self._life.tick(self._reader.stands())
        if self.phase < Phase.LOST:
            self.out.tick()
        if self.phase < Phase.LOST:
            self.streams.tick(self.terms.limits)

    def leave(self) -> None:
        """Takes no new calls once the other side knows; ends when those that there are have."""
        if self.phase is Phase.GREETING:
            self._close()
        elif self.phase is Phase.OPEN:
            self.phase = Phase.LEAVING
            # First a word that refuses nothing. What the caller sent before it heard that comes before its echo.
            self.out.write(
                frames.go_away(frames.MOST_STREAM_ID, ErrorCode.NO_ERROR)
                + frames.frame(frames.PING, 0, 0, LEAVING)
            )

    def say_last(self) -> None:
        """The other side knows, or had the time to: it is told which of its calls is the last that is served."""
        if self.phase is not Phase.LEAVING:
            return
        self.phase = Phase.LEFT
        self.streams.refuses = True
        self.streams.when_empty = self._no_calls
        self.out.write(frames.go_away(self.streams.last, ErrorCode.NO_ERROR))
        if not self.streams.live:
            self._close()

    def end(self) -> None:
        """Ends the calls that there are, and the connection."""
        self.leave()
        for stream in self.streams:
            stream.shut_down()
        self.say_last()
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
        _log.info("the connection of %s ends: %s (%s)", self.peer, broken.message, broken.reason.name)
        self.out.write(frames.go_away(self.streams.last, broken.reason, broken.message))
        self._close()

    def _close(self) -> None:
        """Ends the connection behind what was sent."""
        self.phase = max(self.phase, Phase.ENDING)
        self.out.flush()
        self._transport.close()

    # ---- its calls

    async def calls_end(self) -> None:
        """Returns once no call is under way."""
        self.streams.when_empty = self._no_calls
        while self.streams.live:
            self._ended = self.loop.create_future()
            await self._ended

    def _no_calls(self) -> None:
        if self.phase is Phase.LEFT:
            self._close()
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
