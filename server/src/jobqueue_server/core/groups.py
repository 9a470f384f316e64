"""Groups of sessions with the same subscriptions: where to look for their jobs, and whom to deal them to."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable

from ..store.jobs import Look
from .catalog import Lane
from .lines import Line, Lines
from .session import Session


class Group:
    """Sessions with the same subscriptions; one that bounds kinds or bytes is a group of its own."""

    def __init__(self, subscriptions: frozenset[tuple[str, str]]) -> None:
        self.subscriptions = subscriptions
        self.sessions: set[Session] = set()
        self.queues: list[list[Lane]] = []
        self.turn = 0

    def see(self, lanes: Iterable[Lane]) -> None:
        """Takes in the lanes that exist now."""
        by_queue: dict[int, list[Lane]] = defaultdict(list)
        for lane in lanes:
            if (lane.queue, lane.kind) in self.subscriptions:
                by_queue[lane.queue_id].append(lane)
        self.queues = [by_queue[queue_id] for queue_id in sorted(by_queue)]

    @property
    def lanes(self) -> list[Lane]:
        """All of its lanes."""
        return [lane for lanes in self.queues for lane in lanes]

    def waiting(self, lines: Lines) -> bool:
        """Whether a job may be waiting in one of its lanes."""
        return any(self._ready(lanes, lines) for lanes in self.queues)

    @staticmethod
    def _ready(lanes: list[Lane], lines: Lines) -> list[Line]:
        own = {lane.id for lane in lanes if not lane.gated}
        return [line for line in lines.of_queue(lanes[0].queue_id) if line.ready and line.lane.id in own]

    def looks(self, lines: Lines, most: int) -> tuple[list[Look], list[Line]]:
        """Where to look for `most` jobs, with the lines: the queues in turns, each down to its first thick priority.

        A thin line is asked for as many as there are seats; thick ones share them. What is locked and not taken is
        let go at the commit, so asking for too much is only waste.
        """
        caps = self._caps()
        chosen: list[tuple[int, Line]] = []
        for turn in range(len(self.queues)):
            # A kind whose slots are all taken does not stand in the way of lower priorities.
            ready = [
                line
                for line in self._ready(self.queues[(turn + self.turn) % len(self.queues)], lines)
                if caps.get(line.lane.kind, most) > 0
            ]
            thick = max((line.priority for line in ready if line.thick), default=None)
            chosen += [(turn, line) for line in ready if thick is None or line.priority >= thick]
        sharing = sum(line.thick for _, line in chosen)
        share = math.ceil(most / sharing) if sharing else most
        looks: list[Look] = []
        looked: list[Line] = []
        for turn, line in sorted(chosen, key=lambda entry: -entry[1].priority):
            kind = line.lane.kind
            take = min(share if line.thick else most, caps.get(kind, most))
            if take > 0:
                looks.append(Look(line.lane.id, line.priority, take, line.floor, turn))
                looked.append(line)
                if kind in caps:
                    caps[kind] -= take
        return looks, looked

    def _caps(self) -> dict[str, int]:
        """What is left under the caps by kind; a group that has them is one session."""
        return {kind: session.free_for(kind) for session in self.sessions for kind in session.slots_by_kind}


def deal(sessions: Iterable[Session], most: int, *, whole: bool = False) -> list[Session]:
    """Who gets the next `most` jobs; each entry is one job's seat."""
    return [session for session, chunk in deal_chunks(sessions, most, whole=whole) for _ in range(chunk)]


def deal_chunks(sessions: Iterable[Session], most: int, *, whole: bool = False) -> list[tuple[Session, int]]:
    """Who gets how many of the next `most` jobs: up to half a session's free credit, the largest free share first.

    So a new worker gets some at once, and messages stay few. With `whole` it is all of a session's credit: there are
    fewer messages then, which is all that counts where there is more to do than can be done.
    """
    heap = [(-free, order, session) for order, session in enumerate(sessions) if (free := session.free) > 0]
    heapq.heapify(heap)
    chunks: list[tuple[Session, int]] = []
    while heap and most > 0:
        free, order, session = heapq.heappop(heap)
        chunk = min(-free if whole else math.ceil(-free / 2), most)
        chunks.append((session, chunk))
        most -= chunk
        if free + chunk < 0:
            heapq.heappush(heap, (free + chunk, order, session))
    return chunks
