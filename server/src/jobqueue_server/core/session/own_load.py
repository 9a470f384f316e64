"""What the workers of this server take: counted for all that take alike, and by place only where it is asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from ..catalog.catalog import Lane
from ..claim.targets import Group
from ..events.flows import Flow, Flows
from ..lease.session import Session
from ..lease.states import SessionState
from .load import ANY_SIZE, Load, Place, Workers, at_place, places_of, written

_AT_ONCE = 500
_LEAVES = frozenset({SessionState.MOVING, SessionState.DRAINING, SessionState.WITHHELD})


class Connected(Protocol):
    """The sessions of a server, as `counted` needs them."""

    def get(self, session_id: int) -> Session | None:
        """The session, if its worker was last connected here."""

    def all(self) -> Collection[Session]:
        """Every session."""


class Grouped(Protocol):
    """Where the groups of sessions are that take jobs."""

    @property
    def groups(self) -> Collection[Group]:
        """All of them."""


class Lanes(Protocol):
    """The lanes that this server has seen."""

    @property
    def news(self) -> int:
        """Grows with each that is made, changed or forgotten."""

    def lane_by_id(self, lane_id: int) -> Lane | None:
        """The one with this number."""

    def lane_at(self, namespace: int, queue: str, kind: str) -> Lane | None:
        """The one of this queue and kind."""


@dataclass(slots=True)
class Share:
    """What sessions have together that take the same.

    Attributes:
        namespace: Theirs.
        subscriptions: What they take, each a queue and a kind.
        workers: All of them, as they count for each kind that none of them bounds by itself, and for whole queues.
        by_kind: The same, for each kind that one of them bounds.
    """

    namespace: int
    subscriptions: frozenset[tuple[str, str]]
    workers: Workers = field(default_factory=Workers)
    by_kind: dict[str, Workers] = field(default_factory=dict)

    def of(self, kind: str) -> Workers:
        """As they count for a kind."""
        return self.by_kind.get(kind, self.workers)

    def add(self, workers: Workers) -> None:
        """These too, which bound no kind."""
        self.workers.add(workers)
        for of_kind in self.by_kind.values():
            of_kind.add(workers)


class OwnLoad:
    """The load of this server at a moment. To count it takes a step for each session, however much each of them takes.

    Attributes:
        laid_out_in: How many seconds it took to lay it out by place; 0: it was not.

    Args:
        shares: What was counted.
        by_queue: The places in `shares` of those that take anything of a queue, by namespace and queue.
        flows: What came and ended.
        lanes: Of which lanes that is.
    """

    def __init__(
        self,
        shares: list[Share],
        by_queue: Mapping[tuple[int, str], list[int]],
        flows: Flows,
        lanes: Lanes,
    ) -> None:
        self._shares = shares
        self._by_queue = by_queue
        self._flows = flows
        self._lanes = lanes
        self._found: dict[Place, Workers | None] = {}
        self._whole: Load | None = None
        self.laid_out_in = 0.0

    def get(self, place: Place) -> Workers | None:
        """What is taken of a place; None: nothing, and nothing came or ended there."""
        if self._whole is not None:
            return self._whole.get(place)
        if place not in self._found:
            self._found[place] = self._look(place)
        return self._found[place]

    def _look(self, place: Place) -> Workers | None:
        namespace, queue, kind = place
        if not queue:
            return self.totals().get(namespace)
        taken = [self._shares[number] for number in self._by_queue.get((namespace, queue), ())]
        if kind:
            taken = [share for share in taken if (queue, kind) in share.subscriptions]
        flow = self._flow(place) if kind else None
        if not taken and flow is None:
            return None
        found = Workers()
        for share in taken:
            found.add(share.of(kind))
        if flow is not None:
            found.flowed(flow)
        return found

    def _flow(self, place: Place) -> Flow | None:
        lane = self._lanes.lane_at(*place)
        return None if lane is None else self._flows.of(lane.id)

    def totals(self) -> Mapping[int, Workers]:
        """All that the server has, by namespace."""
        found: dict[int, Workers] = {}
        for share in self._shares:
            found.setdefault(share.namespace, Workers()).add(share.workers)
        return found

    def items(self) -> Iterable[tuple[Place, Workers]]:
        """Every place. The first call lays them all out, which takes 1 us for each of what each session takes."""
        if self._whole is None:
            began = time.monotonic()
            self._whole = _laid_out(self._shares, self._flows.last_minute(), self._lanes)
            self.laid_out_in = time.monotonic() - began
        return self._whole.items()


class OwnLoads:
    """Counts what the workers take that are connected to this server, and what passed it in the last minute.

    Args:
        sessions: All that are connected. A worker that makes calls is none of these, also during a call.
        takers: Those of them that take jobs, and others.
        flows: What came and ended.
        lanes: All.
    """

    def __init__(self, sessions: Connected, takers: Grouped, flows: Flows, lanes: Lanes) -> None:
        self._sessions = sessions
        self._takers = takers
        self._flows = flows
        self._lanes = lanes
        # Where each queue is taken: it holds for as long as the same is taken by any session.
        self._taken: list[tuple[int, frozenset[tuple[str, str]]]] = []
        self._by_queue: dict[tuple[int, str], list[int]] = {}
        # What was last written, and of what.
        self._written_of: object = None
        self._text = ""

    async def now(self) -> OwnLoad:
        """The load now."""
        shares = await counted(self._sessions, self._takers.groups)
        taken = [(share.namespace, share.subscriptions) for share in shares]
        if taken != self._taken:
            self._taken, self._by_queue = taken, _by_queue(taken)
        return OwnLoad(shares, self._by_queue, self._flows, self._lanes)

    async def text(self) -> str:
        """The load now, as it is written. Where nothing of it changed, it is the text from before."""
        shares = await counted(self._sessions, self._takers.groups)
        flows = {lane_id: (flow.arrived, flow.ended) for lane_id, flow in self._flows.last_minute()}
        of = (shares, flows, self._lanes.news)
        if of != self._written_of:
            load: Load = {}
            pace = _Pace()
            for share in shares:
                await pace.step(len(share.subscriptions))
                _add_share(load, share)
            _add_lanes(load, self._flows.last_minute(), self._lanes)
            self._text = written(load)
            self._written_of = of
        return self._text


async def counted(sessions: Connected, groups: Iterable[Group]) -> list[Share]:
    """What the sessions of a server have, those together that take the same. It lets the loop go on in between."""
    shares: dict[tuple[int, frozenset[tuple[str, str]]], Share] = {}
    bounded: list[tuple[Share, list[Session]]] = []
    pace = _Pace()
    for group in list(groups):
        alike = Workers()
        single: list[Session] = []
        for session in list(group.sessions):
            await pace.step()
            if session.bounded:
                single.append(session)
            elif session.state is SessionState.LIVE:
                alike.add(_unbounded(session))
        if alike.sessions or single:
            share = _share(shares, group.namespace, group.subscriptions)
            share.workers.add(alike)
            if single:
                bounded.append((share, single))
    for share, single in bounded:
        # A session may bound any number of kinds. Those that it does not take are asked for by no caller.
        taken = {kind for _, kind in share.subscriptions}
        for session in single:
            bounds = session.capacity.by_kind
            await pace.step(min(len(taken), len(bounds)))
            for kind in taken & bounds.keys():
                if kind not in share.by_kind:
                    share.by_kind[kind] = replace(share.workers)
    for share, single in bounded:
        for session in single:
            await pace.step(1 + len(share.by_kind))
            if session.state is SessionState.LIVE and sessions.get(session.id) is session:
                _add_bounded(share, session)
    one = Workers(draining=1)
    for session in sessions.all():
        if session.state in _LEAVES:
            await pace.step()
            _share(shares, session.scope.namespace, session.subscriptions).add(one)
    return [share for share in shares.values() if share.workers.sessions or share.workers.draining]


class _Pace:
    """Lets the loop go on after so many steps: 500 sessions take 1 ms."""

    def __init__(self) -> None:
        self._steps = 0

    async def step(self, count: int = 1) -> None:
        self._steps += count
        if self._steps >= _AT_ONCE:
            self._steps = 0
            await asyncio.sleep(0)


def _share(
    shares: dict[tuple[int, frozenset[tuple[str, str]]], Share],
    namespace: int,
    subscriptions: frozenset[tuple[str, str]],
) -> Share:
    found = shares.get((namespace, subscriptions))
    if found is None:
        found = shares[namespace, subscriptions] = Share(namespace, subscriptions)
    return found


def _unbounded(session: Session) -> Workers:
    free, isolating = _free(session, session.free), int(session.isolated > 0)
    largest = ANY_SIZE if free else 0
    slots = session.capacity.slots
    return Workers(1, slots, free, isolating=isolating, largest=largest, most_slots=slots, most_free=free)


def _add_bounded(share: Share, session: Session) -> None:
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
    share.workers.add(whole)
    for kind, of_kind in share.by_kind.items():
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
        of_kind.add(workers)


def _free(session: Session, left: int) -> int:
    """Its slots without a job. One that is reserved has none yet: for a moment, whether or not a job comes of it."""
    return 0 if session.receipts.wanted else max(0, left + session.capacity.reserved)


def _by_queue(taken: Iterable[tuple[int, frozenset[tuple[str, str]]]]) -> dict[tuple[int, str], list[int]]:
    """Where in these something of a queue is taken, by namespace and queue."""
    found: dict[tuple[int, str], list[int]] = {}
    for number, (namespace, subscriptions) in enumerate(taken):
        for queue in {queue for queue, _ in subscriptions}:
            found.setdefault((namespace, queue), []).append(number)
    return found


def _laid_out(shares: Iterable[Share], flows: Iterable[tuple[int, Flow]], lanes: Lanes) -> Load:
    """All of it, by place; also of kinds that came or ended and that no session takes."""
    load: Load = {}
    for share in shares:
        _add_share(load, share)
    _add_lanes(load, flows, lanes)
    return load


def _add_share(load: Load, share: Share) -> None:
    for queue, kind in places_of(share.subscriptions):
        at_place(load, (share.namespace, queue, kind)).add(share.of(kind))


def _add_lanes(load: Load, flows: Iterable[tuple[int, Flow]], lanes: Lanes) -> None:
    for lane_id, flow in flows:
        lane = lanes.lane_by_id(lane_id)
        if lane is not None:
            at_place(load, (lane.namespace, lane.queue, lane.kind)).flowed(flow)
    for place, workers in load.items():
        lane = lanes.lane_at(*place)
        if lane is not None and lane.weight > 1:
            workers.take_several()
