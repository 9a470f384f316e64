"""What is asked for again and again, and when next: so that one read can be for many who ask one after another."""

from __future__ import annotations

import heapq
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

#: Who asks more rarely is not waited for, in seconds.
RAREST = 60.0
#: Of so many questions, at most, it is remembered when they were asked: who asks chooses their names.
MOST_ASKED = 10_000
#: How much later than before a question may come.
_LATE = 0.2


class _Asked(NamedTuple, Generic[Value]):
    """When it was asked for last, when that is expected again (None: it is not), and how it is read."""

    at: float
    next_at: float | None
    read: Callable[[], Awaitable[Value]]


class Expected(Generic[Key, Value]):
    """Expects each question again after as long a time as between the last two. A wrong guess costs a read in vain.

    Args:
        seconds: For how long an answer holds. What is asked for more often is not expected: it is answered from that.
        most: How much is expected at once.
        clock: Seconds, from any time on.
    """

    def __init__(self, seconds: float, *, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        # In the order of the last questions.
        self._asked: dict[Key, _Asked[Value]] = {}
        self._look_at = 0.0

    def asked(self, key: Key, read: Callable[[], Awaitable[Value]]) -> None:
        """This is asked for now."""
        now = self._clock()
        last = self._asked.pop(key, None)
        every = 0.0 if last is None else now - last.at
        next_at = now + every if self._seconds <= every <= RAREST else None
        self._asked[key] = _Asked(now, next_at, read)
        if len(self._asked) > MOST_ASKED:
            del self._asked[next(iter(self._asked))]

    def soon(self) -> list[tuple[Key, Callable[[], Awaitable[Value]]]]:
        """What is expected while an answer of now holds, each once; none, where a look before still covers that."""
        now = self._clock()
        if now < self._look_at:
            return []
        self._forget(now - RAREST - _LATE)
        until = now + self._seconds - _LATE
        due = heapq.nsmallest(
            self._most,
            (
                (asked.next_at, number, key)
                for number, (key, asked) in enumerate(self._asked.items())
                if asked.next_at is not None and now - _LATE < asked.next_at < until
            ),
        )
        self._look_at = due[-1][0] if len(due) == self._most else until
        for _, _, key in due:
            self._asked[key] = self._asked[key]._replace(next_at=None)
        return [(key, self._asked[key].read) for _, _, key in due]

    def _forget(self, until: float) -> None:
        while self._asked:
            oldest = next(iter(self._asked))
            if self._asked[oldest].at > until:
                break
            del self._asked[oldest]
