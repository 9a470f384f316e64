"""Groups of sessions with the same subscriptions: where their jobs may wait, and which session gets the next one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Protocol, TypeVar

from ...store.claim.claims import ClaimTarget
from ..catalog.catalog import Lane
from .full import FullLimits
from .lines import Line, Lines
from .pool import Pool

# A claim of several queues takes so many jobs of each at least, if they are there.
LEAST_OF_QUEUE = 20
UNBOUNDED = (1 << 31) - 1
_Each = TypeVar("_Each")


class Lanes(Protocol):
    """The lanes that there are."""

    def lane_at(self, namespace: int, queue: str, kind: str) -> Lane | None:
        """The one of this queue and kind."""


class Group(Pool):
    """Sessions of one namespace with the same subscriptions; one that bounds kinds or bytes is a group of its own."""

    def __init__(self, namespace: int, subscriptions: frozenset[tuple[str, str]]) -> None:
        super().__init__()
        self.namespace = namespace
        self.subscriptions = subscriptions
        self.queues: list[list[Lane]] = []
        self._own: set[int] = set()
        # Of these the lanes whose jobs take several slots. Those that are too heavy for each session are not here.
        self._heavy: list[list[Lane]] = []
        self._weights: set[int] = set()
        self._fitting: set[int] = set()
        self.turn = 0
        # By queue, of what lanes each claim is that asks for limits.
        self._asking: list[list[list[Lane]]] = []
        self._asking_turn = 0
        self._kinds: dict[int, frozenset[str]] = {}

    @property
    def outdated(self) -> bool:
        """Whether its sessions are large enough for other kinds now than when it last saw the lanes."""
        return bool(self._weights) and self._fitting != self._fit()

    def _fit(self) -> set[int]:
        most = self.largest
        return {weight for weight in self._weights if weight <= most}

    def turned(self) -> None:
        """A claim was made for it: the next one begins with the next queue."""
        self.turn += 1

    def see(self, lanes: Lanes) -> None:
        """Takes in the lanes that exist now. It looks for each that it takes: there may be many others."""
        by_queue: dict[int, list[Lane]] = defaultdict(list)
        own = sorted(
            (lane for place in self.places if (lane := lanes.lane_at(*place)) is not None),
            key=lambda lane: lane.id,
        )
        self._weights = {lane.weight for lane in own if lane.weight > 1}
        self._fitting = self._fit()
        for lane in own:
            if lane.weight == 1 or lane.weight in self._fitting:
                by_queue[lane.queue_id].append(lane)
        self.queues = [by_queue[queue_id] for queue_id in sorted(by_queue)]
        self._own = {lane.id for lanes in self.queues for lane in lanes}
        heavy = ([lane for lane in lanes if lane.weight > 1] for lanes in self.queues)
        self._heavy = [lanes for lanes in heavy if lanes]
        asking = ([lane for lane in lanes if lane.closed] for lanes in self.queues)
        self._asking = [_claimed_together(lanes) for lanes in asking if lanes]
        self._kinds = {
            each[0][0].queue_id: frozenset(lane.kind for lanes in each for lane in lanes)
            for each in self._asking
        }

    @property
    def places(self) -> Iterator[tuple[int, str, str]]:
        """The namespace, the queue and the kind of each lane that it would take."""
        return ((self.namespace, queue, kind) for queue, kind in self.subscriptions)

    def takes(self, lane: Lane) -> bool:
        """Whether this is one of its lanes, as it last saw them."""
        return lane.id in self._own

    @property
    def lanes(self) -> list[Lane]:
        """All of its lanes."""
        return [lane for lanes in self.queues for lane in lanes]

    def waiting(self, lines: Lines, counted: list[Lane] | None = None) -> bool:
        """Whether a job may be waiting in one of its lanes, those aside of which a queue or a kind limits how many run.

        With `counted`, such lanes of one queue, whether one may be waiting there.
        """
        queues = self.queues if counted is None else [counted]
        return any(self._ready(lanes, lines, counted is not None) for lanes in queues)

    def weighs(self, lines: Lines) -> bool:
        """Whether a job that takes several slots may be waiting, where no limit is asked."""
        return bool(self._heavy) and any(self._ready(lanes, lines) for lanes in self._heavy)

    def counted(self, lines: Lines, full: FullLimits) -> Iterator[list[Lane]]:
        """The lanes of each claim that asks for limits, where none of these is used up and a job may be waiting.

        The queues take turns. In a queue those of the highest priority go first, and of equals each in its turn.
        """
        for each in turns(self._asking, self._asking_turn):
            found: list[tuple[int, list[Lane]]] = []
            for lanes in turns(each, self._asking_turn // len(self._asking)):
                if lanes[0].counted and not full.holds(lanes[0]):
                    ready = self._ready(lanes, lines, counted=True)
                    if ready:
                        found.append((max(line.priority for line in ready), lanes))
            yield from (lanes for _, lanes in sorted(found, key=lambda one: -one[0]))

    @property
    def asks(self) -> bool:
        """Whether a claim of it may have to ask for limits."""
        return bool(self._asking)

    def kinds_beside(self, lane: Lane) -> frozenset[str]:
        """The kinds of its closed lanes in the queue of this one."""
        return self._kinds.get(lane.queue_id, frozenset([lane.kind]))

    def asked(self) -> None:
        """Claims that ask for limits were made for it: the next ones begin with the next queue."""
        self._asking_turn += 1

    def isolated(self, lines: Lines) -> list[list[Lane]]:
        """The lanes in which an isolated job may be waiting, where no limit is asked: those of one weight together."""
        if not lines.isolated:
            return []
        found: dict[int, list[Lane]] = defaultdict(list)
        for lane in self.lanes:
            if lane.id in lines.isolated and not lane.closed:
                found[lane.weight].append(lane)
        return list(found.values())

    def counted_isolated(self, lines: Lines, full: FullLimits) -> list[list[Lane]]:
        """As `counted`, those lanes in which an isolated job may be waiting."""
        if not lines.isolated:
            return []
        found = (
            [lane for lane in lanes if lane.id in lines.isolated]
            for each in self._asking
            for lanes in each
            if lanes[0].counted and not full.holds(lanes[0])
        )
        return [lanes for lanes in found if lanes]

    def slots_left(self, lines: Lines, wanted: int, most_claimed: int) -> int:
        """How many slots jobs may take, `wanted` at most, that have not stood in any of its lines.

        What waits in line goes first, at any priority and in any queue. Where only a few jobs wait these are the slots
        that the next claim, of `most_claimed` jobs, can't use. A claim that is under way has its slots already.
        """
        ready = [line for lanes in self.queues for line in self._ready(lanes, lines)]
        if any(line.saturated or line.lane.weight > 1 for line in ready):
            return 0
        kept = most_claimed if ready and not any(session.claiming for session in self.sessions) else 0
        return max(min(self.credit(kept + wanted) - kept, wanted), 0)

    @staticmethod
    def _ready(lanes: list[Lane], lines: Lines, counted: bool = False) -> list[Line]:
        own = {lane.id for lane in lanes if (lane.counted if counted else not lane.closed)}
        return [line for line in lines.of_queue(lanes[0].queue_id) if line.ready and line.lane.id in own]

    def targets(
        self, lines: Lines, most: int, counted: list[Lane] | None = None
    ) -> tuple[list[ClaimTarget], list[Line]]:
        """The targets of a claim of `most` jobs of one slot, with their lines; with `counted`, of one in these lanes.

        The queues take turns, each down to its first saturated priority. A line that is not saturated is asked for
        `most` jobs; saturated lines share them. Mostly, a queue gives no more than its turns come to. The commit
        unlocks what was locked and not taken, so to ask for too much is only waste.
        """
        caps = self._caps()
        chosen: list[tuple[int, Line]] = []
        own = self.queues if counted is None else [counted]
        for turn in range(len(own)):
            # A kind whose slots are all taken does not stand in the way of lower priorities.
            ready = [
                line
                for line in self._ready(own[(turn + self.turn) % len(own)], lines, counted is not None)
                if caps.get(line.lane.kind, most) > 0 and (line.lane.weight == 1 or counted is not None)
            ]
            saturated = max((line.priority for line in ready if line.saturated), default=None)
            chosen += [(turn, line) for line in ready if saturated is None or line.priority >= saturated]
        sharing = sum(line.saturated for _, line in chosen)
        share = math.ceil(most / sharing) if sharing else most
        queues = len({turn for turn, _ in chosen})
        # Of kinds of one priority the oldest job goes first, so none may be cut off before the others. And a claim must
        # take the jobs whose sizes were compared.
        by_turn = len({(turn, line.priority) for turn, line in chosen}) == len(chosen) and not self.bounded
        of_queue = UNBOUNDED
        if by_turn:
            of_queue = max(math.ceil(most / queues), LEAST_OF_QUEUE) if queues > 1 else most
        targets: list[ClaimTarget] = []
        read: list[Line] = []
        for turn, line in sorted(chosen, key=lambda entry: -entry[1].priority):
            kind = line.lane.kind
            take = min(share if line.saturated else most, caps.get(kind, most))
            if take > 0:
                targets.append(ClaimTarget(line.lane.id, line.priority, take, line.floor, turn, of_queue))
                read.append(line)
                if kind in caps:
                    caps[kind] -= take
        return targets, read

    def every_target(self, lines: Lines, most: int) -> tuple[list[ClaimTarget], list[Line]]:
        """As `targets`, of each line in which a job may be waiting, to see which of all jobs goes first."""
        caps = self._caps()
        targets: list[ClaimTarget] = []
        read: list[Line] = []
        for turn, lanes in enumerate(turns(self.queues, self.turn)):
            for line in sorted(self._ready(lanes, lines), key=lambda line: -line.priority):
                kind = line.lane.kind
                take = min(most, caps.get(kind, most))
                if take > 0:
                    targets.append(
                        ClaimTarget(line.lane.id, line.priority, take, line.floor, turn, UNBOUNDED)
                    )
                    read.append(line)
                    if kind in caps:
                        caps[kind] -= take
        return targets, read

    @property
    def bounded(self) -> bool:
        """Whether its one session bounds kinds or bytes."""
        return any(session.bounded for session in self.sessions) if len(self.sessions) == 1 else False

    def _caps(self) -> dict[str, int]:
        """What is left under the caps by kind; a group that has them is one session."""
        if len(self.sessions) != 1:
            return {}
        return {
            kind: session.left_of(kind) or 0 for session in self.sessions for kind in session.capacity.by_kind
        }


def turns(all_of_them: list[_Each], turn: int) -> list[_Each]:
    """All of them, beginning with the one whose turn it is."""
    first = turn % max(len(all_of_them), 1)
    return all_of_them[first:] + all_of_them[:first]


def _claimed_together(lanes: list[Lane]) -> list[list[Lane]]:
    """Gated lanes of one queue as claims lease from them: for one kind with limits at most, and jobs of one weight."""
    alike: dict[tuple[int, int], list[Lane]] = defaultdict(list)
    for lane in lanes:
        alike[lane.kind_id if lane.kind_limited else 0, lane.weight].append(lane)
    return [alike[key] for key in sorted(alike)]
