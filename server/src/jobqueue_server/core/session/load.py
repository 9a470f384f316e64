"""What workers of a server take by queue and kind, and how many jobs pass it: written with the heartbeat for all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

from ..catalog.catalog import Lane
from ..claim.targets import Group
from ..events.flows import Flow
from ..lease.session import Session
from ..lease.states import SessionState

#: The longest text of a server's load. What does not fit is left out, the smallest first.
MAX_BYTES = 64 << 10
#: Bytes of a payload that fits whatever it holds.
ANY_SIZE = 1 << 40
#: The slots of a worker that does not bound them.
ANY_SLOTS = 1 << 30
_AT_ONCE = 500
_LEAVES = frozenset({SessionState.MOVING, SessionState.DRAINING, SessionState.WITHHELD})

#: A namespace, a queue and a kind; a kind of "" stands for the whole queue, in which a session counts once, and a
#: queue of "" for all that a server has of the namespace.
Place = tuple[int, str, str]


class Connected(Protocol):
    """The sessions of a server, as `measured` needs them."""

    def get(self, session_id: int) -> Session | None:
        """The session, if its worker was last connected here."""

    def all(self) -> Sequence[Session]:
        """Every session."""


@dataclass(slots=True)
class Workers:
    """The sessions that take a kind from a queue, and how its jobs come and go.

    Attributes:
        sessions: Those that take jobs.
        slots: Theirs, for this kind.
        free: Of these, the free ones.
        draining: Those that are connected and take no more.
        isolating: Of those that take jobs, those that hold a job that runs alone.
        full_by_kind: Those whose slots for the kind are taken, while others are free.
        full_by_bytes: Those that hold as many bytes as they take.
        largest: The longest payload that one of them with a free slot takes now.
        most_slots: The slots of the one that has the most, and `most_free` of the one that has the most free.
        weighed: Whether a job of the kind takes several slots.
        arrived: The jobs that were enqueued in the last minute.
        ended: The jobs that ended in the last minute, with an attempt.
    """

    sessions: int = 0
    slots: int = 0
    free: int = 0
    draining: int = 0
    isolating: int = 0
    full_by_kind: int = 0
    full_by_bytes: int = 0
    largest: int = 0
    most_slots: int = 0
    most_free: int = 0
    weighed: bool = False
    arrived: int = 0
    ended: int = 0

    @property
    def kind_is_full(self) -> bool:
        """Whether all have slots, and none of them for this kind."""
        return 0 < self.sessions == self.full_by_kind

    def add(self, other: Workers) -> None:
        """Counts these too."""
        self.sessions += other.sessions
        self.slots += other.slots
        self.free += other.free
        self.draining += other.draining
        self.isolating += other.isolating
        self.full_by_kind += other.full_by_kind
        self.full_by_bytes += other.full_by_bytes
        self.arrived += other.arrived
        self.ended += other.ended
        if other.largest > self.largest:
            self.largest = other.largest
        if other.most_slots > self.most_slots:
            self.most_slots = other.most_slots
        if other.most_free > self.most_free:
            self.most_free = other.most_free

    def take_several(self) -> None:
        """A job of the kind takes several slots."""
        self.weighed = True

    def flowed(self, flow: Flow) -> None:
        """Counts these jobs too, which came and ended."""
        self.arrived += flow.arrived
        self.ended += flow.ended


_MOST = ("most_slots", "most_free")
_COUNTS = tuple(field.name for field in fields(Workers) if field.name not in (*_MOST, "largest", "weighed"))

Load = dict[Place, Workers]


async def measured(sessions: Connected, groups: Iterable[Group]) -> Load:
    """What the sessions of a server take.

    Those that bound nothing but slots are counted once for each group. It lets the loop go on in between.

    Args:
        sessions: All that are connected to it. A worker that makes calls is none of these, also during a call.
        groups: Those of them that take jobs, and others.
    """
    load: Load = {}
    pace = _Pace()
    for group in list(groups):
        alike = Workers()
        for session in list(group.sessions):
            await pace.step()
            if session.state is not SessionState.LIVE:
                continue
            if not session.bounded:
                alike.add(_unbounded(session))
            elif sessions.get(session.id) is session:
                _add_bounded(load, session)
        if alike.sessions:
            _add(load, group.namespace, group.subscriptions, alike)
    one = Workers(draining=1)
    for session in sessions.all():
        if session.state in _LEAVES:
            await pace.step()
            _add(load, session.scope.namespace, session.subscriptions, one)
    return load


def add_flows(
    load: Load, flows: Iterable[tuple[int, Flow]], lane_by_id: Callable[[int], Lane | None]
) -> None:
    """Adds how many jobs came and ended, also of kinds that no session takes."""
    for lane_id, flow in flows:
        lane = lane_by_id(lane_id)
        if lane is not None:
            _at(load, (lane.namespace, lane.queue, lane.kind)).flowed(flow)


def mark_weighed(load: Load, lanes: Iterable[Lane]) -> None:
    """Marks what is taken of these lanes and takes several slots."""
    for lane in lanes:
        if lane.weight > 1:
            workers = load.get((lane.namespace, lane.queue, lane.kind))
            if workers is not None:
                workers.take_several()


class _Pace:
    """Lets the loop go on after so many steps: 500 sessions take 1 to 3 ms."""

    def __init__(self) -> None:
        self._steps = 0

    async def step(self) -> None:
        self._steps += 1
        if self._steps % _AT_ONCE == 0:
            await asyncio.sleep(0)


def _add(load: Load, namespace: int, subscriptions: Iterable[tuple[str, str]], workers: Workers) -> None:
    for queue, kind in places_of(subscriptions):
        _at(load, (namespace, queue, kind)).add(workers)


def _at(load: Load, place: Place) -> Workers:
    found = load.get(place)
    if found is None:
        found = load[place] = Workers()
    return found


def places_of(subscriptions: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Where a session counts that takes these, each a queue and a kind."""
    return {*subscriptions, *((queue, "") for queue, _ in subscriptions), ("", "")}


def _unbounded(session: Session) -> Workers:
    free, isolating = _free(session, session.free), int(session.isolated > 0)
    largest = ANY_SIZE if free else 0
    slots = session.capacity.slots
    return Workers(1, slots, free, isolating=isolating, largest=largest, most_slots=slots, most_free=free)


def _add_bounded(load: Load, session: Session) -> None:
    """Counts a session that bounds kinds or bytes: for each kind that it bounds by itself."""
    capacity = session.capacity
    held = session.bytes_held + capacity.reserved_bytes
    largest = capacity.bytes - held if capacity.bytes and held else ANY_SIZE
    free = _free(session, session.free)
    full = int(0 < capacity.bytes <= held)
    whole = Workers(
        1,
        capacity.slots,
        free,
        0,
        int(session.isolated > 0),
        0,
        full,
        largest if free else 0,
        capacity.slots,
        free,
    )
    for queue, kind in places_of(session.subscriptions):
        workers = whole
        cap = capacity.by_kind.get(kind)
        if cap is not None:
            left = _free(session, session.free_for(kind))
            workers = replace(
                whole,
                slots=min(capacity.slots, cap),
                free=left,
                full_by_kind=int(not left and free > 0),
                largest=largest if left else 0,
                most_free=free if left else 0,
            )
        _at(load, (session.scope.namespace, queue, kind)).add(workers)


def _free(session: Session, left: int) -> int:
    """Its slots without a job. One that is reserved has none yet: for a moment, whether or not a job comes of it."""
    return 0 if session.receipts.wanted else max(0, left + session.capacity.reserved)


def written(load: Mapping[Place, Workers], most: int = MAX_BYTES) -> str:
    """A load as text, that of the most slots first; it is no longer than `most`."""
    parts: list[str] = []
    left = most - 2
    for place, workers in sorted(load.items(), key=lambda entry: (-entry[1].slots, entry[0])):
        counts = {name: count for name in _COUNTS if (count := getattr(workers, name))}
        if 0 < workers.largest < ANY_SIZE:
            counts["largest"] = workers.largest
        if workers.weighed:
            counts |= {name: getattr(workers, name) for name in _MOST}
        part = json.dumps([*place, counts], separators=(",", ":"))
        left -= len(part) + 1
        if left < 0:
            break
        parts.append(part)
    return f"[{','.join(parts)}]"


def read(text: str) -> Load:
    """A load as it was written. What a newer server says of it in addition is passed over."""
    load: Load = {}
    for namespace, queue, kind, counts in json.loads(text):
        largest = counts.get("largest", ANY_SIZE) if counts.get("free") else 0
        known = {name: counts.get(name, 0) for name in _COUNTS}
        # Where it is not said, one may have all of them.
        most_slots = counts.get("most_slots", known["slots"])
        most_free = counts.get("most_free", known["free"])
        load[namespace, queue, kind] = Workers(
            **known, largest=largest, most_slots=most_slots, most_free=most_free
        )
    return load
