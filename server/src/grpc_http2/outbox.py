"""What one connection sends, and what of it waits: for the other side's windows, or for the network."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from typing import TYPE_CHECKING, Any

from . import frames
from .budget import Budget
from .limits import Limits, Usage

if TYPE_CHECKING:
    from .answer_side import AnswerSide
    from .connection import Connection

# A caller that does not read is waited for from here on.
WRITE_BUFFER = 256 << 10
# Beyond it nothing more is read of a caller that does not read: what it still asks for would be answered too.
DEAF_BYTES = 1 << 20
# What is sent in one turn of the loop goes together, up to here.
FLUSH_BYTES = 64 << 10
# A piece of a message that is smaller brings little for the work that it is.
SMALL_BYTES = 64


class Outbox:
    """Sends frames: at once where there is room, else in the order of turns.

    Args:
        connection: Ends where its caller does not read.
        loop: The loop that it lives on.
        budget: Is told of what was answered.
        limits: The server's.
        usage: What all connections hold.

    Attributes:
        window: Bytes of messages that the other side takes now, of all streams together.
        frame_bytes: The most content of a frame that it takes.
        paused: Whether what was sent last still waits for the network.
        deaf: Whether so much waits for the network that nothing more is read.
        waiting: Streams that wait for the network to go on, in order.
        blocked: Streams that have something to send and no room for it, in the order of their turns.
        held_up: Calls that are not handled before their caller has read more, in order, and what wakes each.
        unread: Bytes of answers for which the other side has no room yet, or that the network has not taken.
        moved: Whether anything was sent that had waited for room, since the last second.
    """

    __slots__ = (
        "_buffered",
        "_connection",
        "_crowded_at",
        "_flushed",
        "_letting_in",
        "_limits",
        "_loop",
        "_lost",
        "_out",
        "_out_bytes",
        "_stuck",
        "_taken",
        "_transport",
        "_usage",
        "blocked",
        "budget",
        "deaf",
        "frame_bytes",
        "held_up",
        "moved",
        "paused",
        "unread",
        "waiting",
        "window",
    )

    def __init__(
        self, connection: Connection, loop: AbstractEventLoop, budget: Budget, limits: Limits, usage: Usage
    ) -> None:
        self.window = frames.DEFAULT_WINDOW
        self.frame_bytes = frames.DEFAULT_FRAME_BYTES
        self.paused = False
        self.deaf = False
        self.waiting: dict[AnswerSide, None] = {}
        self.unread = 0
        self.moved = False
        self.budget = budget
        self._connection = connection
        self._loop = loop
        self._limits = limits
        self._usage = usage
        self._transport: Any = None
        self._lost = False
        self.blocked: dict[AnswerSide, None] = {}
        self.held_up: dict[AnswerSide, Future[None]] = {}
        self._crowded_at = limits.connection_unread // 8
        self._letting_in = False
        self._out: list[bytes] = []
        self._out_bytes = 0
        # What the transport was given, what of it it held when that was last looked at, what the network had taken
        # then, and for how many seconds it has taken nothing.
        self._flushed = 0
        self._buffered = 0
        self._taken = 0
        self._stuck = 0

    def open(self, transport: Any) -> None:
        """There is a connection."""
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER)

    def lost(self) -> None:
        """There is none any more, and nothing is sent."""
        self._lost = True
        self.blocked.clear()
        self._buffer_holds(0)

    # ---- frames

    def write(self, data: bytes) -> None:
        """Sends whole frames, together with what else is sent in this turn of the loop.

        Each by itself would be a system call of 8 us: a quarter of all that 200 streams cost.
        """
        if self._lost:
            return
        if not self._out:
            self._loop.call_soon(self.flush)
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hands it to the network."""
        if self._out and not self._lost:
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

    # ---- messages, within the windows

    def pump(self, stream: AnswerSide) -> None:
        """Sends what a stream has to send and may; the rest gets its turn when there is room."""
        unsent = stream.unsent
        while unsent:
            size = min(len(unsent), stream.window, self.window, self.frame_bytes)
            if size <= 0 or self.paused:
                if stream.window > 0:
                    # For want of the connection's room, so in its turn.
                    self.blocked[stream] = None
                return
            stream.window -= size
            self.window -= size
            stream.waited = 0
            self.moved = True
            piece = bytes(unsent[:size])
            del unsent[:size]
            self.keep(-size)
            self.write(frames.head(size, frames.DATA, 0, stream.id) + piece)
            if size >= SMALL_BYTES or not unsent:
                # Else a caller could have each byte sent by itself, and be allowed for more.
                self.budget.answers += 1
        self.blocked.pop(stream, None)
        if not self.paused:
            stream.on_drained()
        else:
            self.waiting[stream] = None

    def pump_all(self) -> None:
        """There is room again: everybody's turn."""
        if self.blocked:
            blocked, self.blocked = self.blocked, {}
            for stream in blocked:
                self.pump(stream)

    # ---- the network

    def resumed(self) -> bool:
        """The network goes on. Answers whether the caller is to be read again."""
        self.paused = False
        waiting, self.waiting = self.waiting, {}
        for stream in waiting:
            stream.on_drained()
        self.pump_all()
        if not self.deaf:
            return False
        self.deaf = False
        self._buffer_holds(self._transport.get_write_buffer_size())
        return True

    def tick(self) -> None:
        """Ends the connection where the network has taken nothing of what waits for it, for too many seconds."""
        self._buffer_holds(self._transport.get_write_buffer_size())
        taken = self._flushed - self._buffered
        self._stuck = self._stuck + 1 if self._buffered and taken <= self._taken else 0
        self._taken = taken
        if self._stuck >= self._limits.stall:
            self._connection.drop(f"its caller has read nothing for {self._stuck} s")

    def _network_is_full(self) -> None:
        """Bounds what waits for the network: frames that need no window, of a caller that reads none of them."""
        self._buffer_holds(self._transport.get_write_buffer_size())
        if self.unread > self._limits.connection_unread:
            self._connection.drop(f"its caller has not read {self.unread} bytes")
        elif self._buffered > DEAF_BYTES and not self.deaf and not self._transport.is_closing():
            self.deaf = True
            self._connection.halt()

    # ---- what is unread

    def keep(self, size: int) -> None:
        """So many bytes more wait for the other side, or less."""
        self.unread += size
        self._usage.unread += size
        if self.held_up and not self._letting_in:
            self._let_in()

    def is_crowded(self) -> bool:
        """Whether a call that is handled now would bring one more answer to many that are not read."""
        return self.unread > self._crowded_at or bool(self.held_up)

    async def until_room(self, stream: AnswerSide) -> None:
        """Waits until the caller has read so much that a further call is to be handled, and those before this one."""
        stream.waited = 0
        turn = self.held_up[stream] = self._loop.create_future()
        try:
            await turn
        finally:
            del self.held_up[stream]

    def _let_in(self) -> None:
        """The next call is handled, if there is room. The one behind it comes when that one may have answered."""
        self._letting_in = False
        if self.unread > self._crowded_at:
            return
        for turn in self.held_up.values():
            if not turn.done():
                turn.set_result(None)
                self._letting_in = True
                self._loop.call_soon(self._let_in)
                return

    def is_too_much(self) -> bool:
        """Whether the answer that waits now is one too many, and its call is to end; it counts as a reset.

        Where there are too many of those too, the connection ends: each call is work. Where it is an answer too many of
        all connections together, the caller that reads least is cut off instead.
        """
        if self.unread > self._limits.connection_unread:
            self.budget.resets += 1
            if self.budget.resets > self._limits.reset_burst:
                self._connection.drop(f"its caller has not read {self.unread} bytes, and asks for more")
            return True
        if self._usage.unread > self._limits.unread:
            self._usage.relieve_unread()
        return False

    def _buffer_holds(self, size: int) -> None:
        self.keep(size - self._buffered)
        self._buffered = size
