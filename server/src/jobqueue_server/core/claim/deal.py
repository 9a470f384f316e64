"""How the next jobs are dealt to sessions."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator

from ..lease.session import Session


def deal(sessions: Iterable[Session], most: int, *, whole: bool = False) -> list[Session]:
    """The sessions that get the next `most` jobs, in order: one entry for each job."""
    return [session for session, chunk in deal_chunks(sessions, most, whole=whole) for _ in range(chunk)]


def deal_chunks(
    sessions: Iterable[Session], most: int, *, whole: bool = False
) -> Iterator[tuple[Session, int]]:
    """Who gets how many of the next `most` jobs: up to half a session's free credit, the largest free share first.

    So a new worker gets some at once, and messages stay few. With `whole` it is all of a session's credit: there are
    fewer messages then, which is all that counts where there is more to do than can be done.

    Args:
        sessions: Those with the most free credit first; no more of them is read than is needed.
        most: How many jobs.
        whole: Whether shares are whole.
    """
    others = iter(sessions)
    dealt: list[tuple[int, int, Session]] = []  # with what is left of their credit, the most first
    other = next(others, None)
    free = 0 if other is None else other.free
    while most > 0 and (dealt or other is not None):
        if other is not None and (not dealt or free >= -dealt[0][0]):
            session, left = other, free
            other = next(others, None)
            free = 0 if other is None else other.free
        else:
            left, _, session = heapq.heappop(dealt)
            left = -left
        chunk = min(left if whole else math.ceil(left / 2), most)
        most -= chunk
        if left > chunk:
            heapq.heappush(dealt, (chunk - left, -most, session))
        yield session, chunk
