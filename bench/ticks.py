"""A schedule that is kept to tens of microseconds, by the kernel's own timer.

The event loops wait by whole milliseconds, and would add half of one to everything that is counted from its schedule.
"""

from __future__ import annotations

import ctypes
import os
import time

_LIBC = ctypes.CDLL(None, use_errno=True)
_MONOTONIC = 1
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
# Faster ticks than this would only wake the process more often; each then carries several calls.
_SHORTEST = 500_000


class _Span(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    @classmethod
    def of(cls, nanoseconds: int) -> _Span:
        return cls(*divmod(nanoseconds, 1_000_000_000))


class _Timer(ctypes.Structure):
    _fields_ = (("interval", _Span), ("value", _Span))


class Ticks:
    """Says which calls are due, at a fixed rate from the moment it is made.

    Args:
        rate: Calls a second.

    Attributes:
        file: Readable whenever a call may have come due; for `add_reader` and epoll.
    """

    def __init__(self, rate: float) -> None:
        self._gap = 1e9 / rate
        self._number = 0
        self.file = _LIBC.timerfd_create(_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self.file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self.started = time.monotonic_ns()
        gap = max(int(self._gap), _SHORTEST)
        timer = _Timer(_Span.of(gap), _Span.of(gap))
        if _LIBC.timerfd_settime(self.file, 0, ctypes.byref(timer), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def due(self) -> list[int]:
        """When each call was to be made that is due by now and was not told before, as of `time.monotonic_ns`."""
        try:
            os.read(self.file, 8)
        except BlockingIOError:
            pass
        now = time.monotonic_ns()
        found = []
        while (at := self.started + int(self._number * self._gap)) <= now:
            found.append(at)
            self._number += 1
        return found

    def close(self) -> None:
        """Ends it."""
        os.close(self.file)
