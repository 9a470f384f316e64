"""How much a caller may have the server do that brings little or nothing."""

from __future__ import annotations

from .frames import ConnectionBroken, ErrorCode
from .limits import Limits

# Frames of a caller's that an answer's frame allows for: WINDOW_UPDATE of the stream and of the connection, a PING that
# measures the way, and one to spare.
_PER_ANSWER = 4


class Budget:
    """Counts one connection's idle frames and resets. Both get back so much a second, and by what was answered.

    Attributes:
        answers: Frames of messages that were sent, since they were last counted.
        ended_well: Calls that ended by a status, since they were last counted.
        resets: Calls that their caller ended, or that ended since it broke the protocol or reads nothing.
    """

    __slots__ = ("_idle_frames", "_limits", "answers", "ended_well", "resets")

    def __init__(self, limits: Limits) -> None:
        self.answers = 0
        self.ended_well = 0
        self.resets = 0
        self._limits = limits
        self._idle_frames = 0

    def idle(self, frames_like_it: int = 1) -> None:
        """Counts a frame that brought little: WINDOW_UPDATE, PING, an empty one, a byte of a message.

        Each frame of an answer allows for a few of them: callers say how much they have read, and measure the way.

        Raises:
            ConnectionBroken: There are too many of them.
        """
        self._idle_frames += frames_like_it
        if self._idle_frames > self._limits.idle_burst:
            self._count_answers()
            if self._idle_frames > self._limits.idle_burst:
                raise ConnectionBroken(
                    ErrorCode.ENHANCE_YOUR_CALM,
                    f"over {self._limits.idle_burst} frames that bring little or nothing",
                )

    def reset(self) -> None:
        """Counts a call that its caller ended, or that ended since its caller broke the protocol.

        Raises:
            ConnectionBroken: There are too many of them.
        """
        self.resets += 1
        if self.resets > self._limits.reset_burst:
            self._count_answers()
            if self.resets > self._limits.reset_burst:
                raise ConnectionBroken(
                    ErrorCode.ENHANCE_YOUR_CALM,
                    f"over {self._limits.reset_burst} resets beyond the calls that ended well",
                )

    def tick(self) -> None:
        """A second has passed."""
        self._count_answers()
        self._idle_frames = max(0, self._idle_frames - self._limits.idle_per_second)
        self.resets = max(0, self.resets - self._limits.resets_per_second)

    def _count_answers(self) -> None:
        """Takes what was answered off what is counted."""
        answers, self.answers = self.answers, 0
        calls, self.ended_well = self.ended_well, 0
        self._idle_frames = max(0, self._idle_frames - _PER_ANSWER * (answers + calls))
        self.resets = max(0, self.resets - calls)
