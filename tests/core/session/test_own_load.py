"""The load of this server: what is looked up by place is what all sessions come to, one by one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from random import Random
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from jobqueue_server.core.catalog.catalog import Lane
from jobqueue_server.core.claim.targets import Group
from jobqueue_server.core.events.ends import Ended, Ends
from jobqueue_server.core.events.flows import Flows
from jobqueue_server.core.lease.session import Session
from jobqueue_server.core.session import own_load
from jobqueue_server.core.session.load import ANY_SIZE, Place, Workers, read, written
from jobqueue_server.core.session.own_load import OwnLoad, OwnLoads
from tests.store.stored import SCOPE

from ..brain import lane, session

pytestmark = pytest.mark.unit

#: Two queues with three kinds each, the last of which weighs.
LANES = [
    lane(number, queue, f"k{kind}")
    for number, (queue, kind) in enumerate((q, k) for q in (1, 2) for k in (1, 2, 3))
]


class Here:
    """A server's sessions and lanes."""

    def __init__(self, *sessions: Session) -> None:
        self.lanes_seen = list(LANES)
        self.changed = 0
        self.clock = SimpleNamespace(now=100.0)
        self.ends = Ends()
        self.flows = Flows(self.ends, lambda: self.clock.now)
        self.open = list(sessions)
        self.asked = 0
        self.loads = OwnLoads(self, self, self.flows, self)

    def get(self, session_id: int) -> Session | None:
        return next((one for one in self.open if one.id == session_id), None)

    def all(self) -> list[Session]:
        return self.open

    @property
    def groups(self) -> list[Group]:
        """One for all that take the same and bound nothing else; one for each other."""
        found: dict[Any, Group] = {}
        for one in self.open:
            key = one.id if one.bounded else one.subscriptions
            found.setdefault(key, Group(SCOPE.namespace, one.subscriptions)).sessions.add(one)
        return list(found.values())

    @property
    def news(self) -> int:
        return len(self.lanes_seen) + self.changed

    def lane_by_id(self, lane_id: int) -> Lane | None:
        return next((one for one in self.lanes_seen if one.id == lane_id), None)

    def lane_at(self, namespace: int, queue: str, kind: str) -> Lane | None:
        return next(
            (
                one
                for one in self.lanes_seen
                if (one.namespace, one.queue, one.kind) == (namespace, queue, kind)
            ),
            None,
        )

    def happened(self, lane_id: int, arrived: int, ended: int) -> None:
        """In a second that is over."""
        self.flows.arrived(lane_id, arrived)
        self.ends.tell(_ended(lane_id, ended))
        self.clock.now += 1

    def places(self) -> Iterable[Place]:
        for queue in ("", "q1", "q2", "q3"):
            for kind in ("", "k1", "k2", "k3", "k4") if queue else ("",):
                yield SCOPE.namespace, queue, kind
        yield SCOPE.namespace + 1, "q1", "k1"

    def by_hand(self, place: Place) -> Workers:
        """Each session by itself."""
        namespace, queue, kind = place
        found = Workers()
        for one in self.open:
            takes = any(queue in (where, "") and kind in (what, "") for where, what in one.subscriptions)
            if not takes or namespace != SCOPE.namespace:
                continue
            if not one.takes_jobs:
                found.draining += 1
                continue
            cap = one.capacity.by_kind.get(kind)
            free = one.free if cap is None else one.free_for(kind)
            slots = one.capacity.slots if cap is None else min(one.capacity.slots, cap)
            full = int(cap is not None and not free and one.free > 0)
            most = one.free if free else 0
            found.add(
                Workers(
                    1, slots, free, full_by_kind=full, largest=ANY_SIZE if free else 0,
                    most_slots=one.capacity.slots, most_free=most,
                )
            )  # fmt: skip
        at = self.lane_at(*place)
        flow = None if at is None else self.flows.of(at.id)
        if flow is not None:
            found.flowed(flow)
        return found


def _ended(lane_id: int, jobs: int) -> list[Ended]:
    ids = tuple(uuid4() for _ in range(jobs))
    return [Ended(ids, "k", "succeeded", ran=1.0, lane_id=lane_id)] if jobs else []


def told(workers: Workers | None) -> dict[str, Any]:
    return {**asdict(workers or Workers()), "weighed": False}


def drawn(seed: int) -> Here:
    """Sessions of all sorts."""
    chance = Random(seed)
    made = []
    for number in range(chance.randrange(1, 12)):
        lanes = chance.sample(LANES, chance.randrange(1, 5))
        # Also a cap of a kind that it does not take.
        caps = {f"k{chance.randrange(1, 4)}": chance.randrange(3)} if chance.random() < 0.5 else None
        one = session(number, chance.randrange(1, 9), *lanes, by_kind=caps)
        one.reserve(None, 0, 0)
        if chance.random() < 0.2:
            one.drain()
        made.append(one)
    here = Here(*made)
    for _ in range(chance.randrange(4)):
        here.happened(chance.choice(LANES).id, chance.randrange(5), chance.randrange(3))
    return here


@pytest.mark.parametrize("seed", range(40))
async def test_each_place_has_what_all_sessions_come_to_looked_up_or_laid_out(seed: int) -> None:
    here = drawn(seed)
    wanted = {place: told(here.by_hand(place)) for place in here.places()}
    looked = await here.loads.now()
    assert {place: told(looked.get(place)) for place in here.places()} == wanted
    laid = await here.loads.now()
    whole = dict(laid.items())
    assert {place: told(whole.get(place)) for place in here.places()} == wanted
    assert {place: told(laid.get(place)) for place in here.places()} == wanted
    assert looked.totals().get(SCOPE.namespace, Workers()) == here.by_hand((SCOPE.namespace, "", ""))
    said = read(await here.loads.text())
    assert {place: workers.sessions for place, workers in said.items() if workers.sessions} == {
        place: workers.sessions for place, workers in whole.items() if workers.sessions
    }


async def test_kinds_that_a_session_bounds_and_does_not_take_are_not_counted() -> None:
    caps = {f"other{number}": 1 for number in range(1000)} | {"k1": 2}
    here = Here(session(1, 3, LANES[0], by_kind=caps), session(2, 3, LANES[0], by_kind={"k1": 1}))
    (share,) = await own_load.counted(here, here.groups)
    assert share.by_kind.keys() == {"k1"}


async def test_who_comes_takes_something_else_or_goes_is_seen_at_the_next_look() -> None:
    here = Here(session(1, 3, LANES[0]))

    async def sessions() -> tuple[int, int]:
        load: OwnLoad = await here.loads.now()
        return tuple((load.get((SCOPE.namespace, queue, "")) or Workers()).sessions for queue in ("q1", "q2"))  # type: ignore[return-value]

    assert await sessions() == (1, 0)
    here.open.append(session(2, 3, LANES[3]))
    assert await sessions() == (1, 1)
    here.open[1].subscriptions = frozenset({("q3", "k1")})
    assert await sessions() == (1, 0)
    here.open[1].subscriptions = frozenset({("q1", "k1")})
    assert await sessions() == (2, 0)
    del here.open[0]
    assert await sessions() == (1, 0)


async def test_to_look_up_a_few_places_lays_out_none_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    here = drawn(1)
    monkeypatch.setattr(own_load, "_laid_out", None)
    load = await here.loads.now()
    for place in here.places():
        load.get(place)


async def test_a_load_is_written_anew_where_anything_of_it_changed_and_only_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    laid = []
    made = written

    def counted(*args: Any) -> Any:
        laid.append(1)
        return made(*args)

    monkeypatch.setattr(own_load, "written", counted)
    one, other = session(1, 3, LANES[0], by_kind={"k1": 2}), session(2, 3, LANES[0])
    here = Here(one, other)
    first = await here.loads.text()
    assert [await here.loads.text() for _ in range(5)] == [first] * 5
    assert len(laid) == 1

    async def changed(before: str) -> str:
        text = await here.loads.text()
        assert text != before
        assert await here.loads.text() == text
        return text

    other.capacity.set(4, {}, 0)
    text = await changed(first)
    one.capacity.set(3, {"k1": 1}, 0)
    text = await changed(text)
    here.happened(LANES[0].id, 2, 0)
    text = await changed(text)
    here.happened(LANES[0].id, 0, 1)
    text = await changed(text)
    here.happened(77, 5, 0)
    assert await here.loads.text() == text
    here.lanes_seen.append(lane(77, 2, "k9"))
    text = await changed(text)
    LANES[0].weight = 2
    here.changed += 1
    try:
        text = await changed(text)
    finally:
        LANES[0].weight = 1
        here.changed += 1
    text = await changed(text)
    other.drain()
    await changed(text)
    assert len(laid) == 10
