"""What decides who gets which job, built alone: lanes, sessions, lines, inserts, hand-off; without a database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from jobqueue_server.core.catalog.catalog import Lane
from jobqueue_server.core.claim.activity import Activity
from jobqueue_server.core.claim.delivery import Delivery
from jobqueue_server.core.claim.full import FullLimits
from jobqueue_server.core.claim.handoff import HandOff
from jobqueue_server.core.claim.insert_pacing import InsertPacing
from jobqueue_server.core.claim.lines import Lines
from jobqueue_server.core.claim.offers import Offers
from jobqueue_server.core.claim.takers import Takers
from jobqueue_server.core.events.database_state import DatabaseState
from jobqueue_server.core.events.ends import Ends
from jobqueue_server.core.events.flows import Flows
from jobqueue_server.core.events.wakes import Wakes
from jobqueue_server.core.lease.early_cancels import EarlyCancels
from jobqueue_server.core.lease.session import Session
from jobqueue_server.core.tuning import Tuning
from jobqueue_server.metrics import Metrics
from tests.store.stored import SCOPE

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOT_USED: Any = None


class Link:
    """A stream that nothing is written to here."""


class Clock:
    """Shows what it was set to."""

    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> datetime:
        return self.at


class Load:
    """As busy as a test says."""

    def __init__(self, **told: Any) -> None:
        self.arrived = self.stored = self.ended = 0
        self.busy = self.cpu_overcommitted = self.workers_keep_up = False
        self.cpu_underused = True
        self.calls = 0.0
        vars(self).update(told)

    def brought(self, jobs: int) -> None:
        self.stored += jobs

    def have_ended(self, jobs: int) -> None:
        self.ended += jobs


class Peers:
    """Other servers: what they are told is kept."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int, bool]] = []

    def hear_ready(self, listener: Callable[[int, int, bool], object]) -> None:
        """They tell nothing."""

    def tell_ready(self, lane_id: int, priority: int, isolated: bool) -> None:
        self.told.append((lane_id, priority, isolated))


class Lanes:
    """A catalog of lanes that are there from the beginning; the lane with number n is of queue `queues[n]`."""

    def __init__(self, *lanes: Lane) -> None:
        self.on_change: list[Callable[[Sequence[Lane]], None]] = []
        self._lanes = {lane.id: lane for lane in lanes}

    def lanes(self) -> list[Lane]:
        return list(self._lanes.values())

    def lane_by_id(self, lane_id: int) -> Lane | None:
        return self._lanes.get(lane_id)

    def lane_at(self, namespace: int, queue: str, kind: str) -> Lane | None:
        place = namespace, queue, kind
        return next(
            (lane for lane in self._lanes.values() if (lane.namespace, lane.queue, lane.kind) == place), None
        )


def lane(
    number: int, queue: int = 1, kind: str = "", *, closed: bool = False, most: int | None = None
) -> Lane:
    """A lane of the queue `q<queue>`, of which so many may run; its kind by its own number where none is given."""
    names = f"q{queue}", kind or f"k{number}"
    return Lane(number, queue, number, *names, closed, SCOPE.namespace, max_running=most)


def session(
    number: int,
    slots: int,
    *lanes: Lane,
    by_kind: Mapping[str, int] | None = None,
    bytes_limit: int = 0,
) -> Session:
    """A session with a stream and free slots, which takes jobs of these lanes."""
    subscriptions = frozenset((each.queue, each.kind) for each in lanes)
    made = Session(SCOPE, number, 1, f"worker-{number}", timedelta(seconds=30), subscriptions)
    made.capacity.set(slots, by_kind or {}, bytes_limit)
    made.attach(Link())  # type: ignore[arg-type]
    return made


class Brain:
    """What deals jobs to sessions, with the lines that they wait in; nothing reaches a database."""

    def __init__(self, *lanes: Lane, load: Any = None, tuning: Tuning | None = None) -> None:
        made: Any = Load()
        self.load: Any = made if load is None else load
        clock: Any = Clock()
        catalog: Any = Lanes(*lanes)
        self.ends = Ends()
        peers: Any = Peers()
        self.told = peers.told
        self.database = DatabaseState()
        self.activity = Activity()
        self.takers = Takers(catalog, self.activity, self.database)
        self.lines = Lines(catalog, clock, self.activity, self.ends, peers, self.database)
        self.wakes = Wakes()
        self.delivery = Delivery(
            NOT_USED,
            catalog,
            self.takers,
            self.activity,
            NOT_USED,
            EarlyCancels(timedelta(), 1.0),
            self.wakes,
            Metrics(),
            Flows(self.ends),
        )
        self.metrics = Metrics()
        self.full = FullLimits(self.activity, self.ends, self.metrics)
        self.insert_pacing = InsertPacing(
            self.takers, self.lines, self.activity, self.load, self.full, tuning
        )
        self.hand_off = HandOff(
            self.takers,
            self.lines,
            self.insert_pacing,
            self.delivery,
            self.activity,
            self.load,
            self.full,
            tuning,
        )

        self.offers = Offers(
            self.takers, self.lines, self.delivery, self.activity, self.load, tuning or Tuning()
        )

    def attach(self, *sessions: Session) -> None:
        for each in sessions:
            self.takers.attach(each)

    def reserve(
        self,
        lane: Lane,
        jobs: int,
        priority: int = 0,
        sizes: Sequence[int] | None = None,
        *,
        asks: bool = False,
    ) -> dict[int, int]:
        """How many of the next jobs each session's slots are kept for, by its number."""
        kept = self.hand_off.reserve(lane, priority, sizes or [1] * jobs, asks=asks)
        found: dict[int, int] = {}
        for each, count in kept.sessions:
            found[each.id] = found.get(each.id, 0) + count
        assert sum(found.values()) == kept.count
        return found
