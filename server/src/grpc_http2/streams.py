"""The streams of one connection, by their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from . import frames
from .budget import Budget
from .frames import ErrorCode
from .limits import Limits
from .outbox import Outbox
from .states import StreamState

if TYPE_CHECKING:
    from .answer_side import AnswerSide
    from .call import Call

_MOST_CUT_SHORT = 4096


class StreamTable:
    """Knows the state of each number.

    Args:
        out: What the connection sends.
        budget: What its caller may do for nothing.

    Attributes:
        window: What a new stream may be sent, as the caller has set it.
        live: The calls under way.
        last: The highest number that a caller's call had.
        refuses: Whether calls with higher numbers are not looked at.
        when_empty: Is called whenever the last call has ended.
    """

    __slots__ = ("_budget", "_cut_short", "_out", "last", "live", "refuses", "when_empty", "window")

    def __init__(self, out: Outbox, budget: Budget) -> None:
        self.window = frames.DEFAULT_WINDOW
        self.live: dict[int, Call] = {}
        self.last = 0
        self.refuses = False
        self.when_empty: Callable[[], None] | None = None
        self._out = out
        self._budget = budget
        # Streams that ended before the caller had said all: it may not know, and what still comes is passed over.
        self._cut_short: dict[int, None] = {}

    def __iter__(self) -> Iterator[Call]:
        """The calls under way; some may end meanwhile."""
        return iter(list(self.live.values()))

    def state(self, number: int) -> StreamState:
        """Of the stream with this number."""
        stream = self.live.get(number)
        if stream is not None:
            return StreamState.HALF_CLOSED if stream.half_closed else StreamState.OPEN
        # Even ones are the server's, which opens none.
        if number <= self.last and number % 2:
            return StreamState.CUT_SHORT if number in self._cut_short else StreamState.CLOSED
        return StreamState.BEYOND if self.refuses and number % 2 else StreamState.IDLE

    def said_all(self, number: int) -> None:
        """The caller has said all of a stream that was cut short, or has reset it."""
        self._cut_short.pop(number, None)

    def refuse(self, number: int, reason: ErrorCode, end: bool) -> None:
        """Begins no stream for a call.

        Raises:
            ConnectionBroken: There are too many of them.
        """
        self._budget.idle()
        self._out.write(frames.reset(number, reason))
        if not end:
            self._cut(number)

    def reset(self, stream: AnswerSide, reason: ErrorCode) -> None:
        """Ends a stream whose caller broke the protocol, which counts as if that had ended it.

        Raises:
            ConnectionBroken: There are too many of them.
        """
        self.lose(stream, reason)
        self._budget.reset()

    def lose(self, stream: AnswerSide, reason: ErrorCode) -> None:
        """Ends a stream that can't go on."""
        self._out.write(frames.reset(stream.id, reason))
        stream.on_reset()
        self.on_closed(stream)

    def on_closed(self, stream: AnswerSide) -> None:
        """A stream has ended."""
        if self.live.pop(stream.id, None) is None:
            return
        if self._out.blocked:
            self._out.blocked.pop(stream, None)
        if not stream.half_closed:
            self._cut(stream.id)
        if self.when_empty is not None and not self.live:
            self.when_empty()

    def tick(self, limits: Limits) -> None:
        """Once a second: ends requests that do not become whole, and calls whose answers are not read."""
        moved, self._out.moved = self._out.moved, False
        receiving = 0
        for stream in self:
            if stream.unsent or stream in self._out.held_up:
                # Where others of the connection are read, or its network is full, a stream waits for its turn.
                if (stream.unsent and stream.window <= 0) or not (moved or self._out.paused):
                    stream.waited += 1
                    if stream.waited > limits.stall:
                        self.lose(stream, ErrorCode.CANCEL)
            elif stream.receiving:
                receiving += 1
                stream.waited += 1
                if receiving > limits.receiving and stream.waited > 1:
                    self.lose(stream, ErrorCode.REFUSED_STREAM)
                else:
                    stream.look_at_its_time()

    def all_gone(self) -> None:
        """The connection is no more."""
        calls, self.live = self.live, {}
        for call in calls.values():
            call.on_reset()

    def _cut(self, number: int) -> None:
        """What still comes on the stream was sent before the caller could know that it has ended."""
        self._cut_short[number] = None
        if len(self._cut_short) > _MOST_CUT_SHORT:
            del self._cut_short[next(iter(self._cut_short))]
